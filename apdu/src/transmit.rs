//! From a command to its answer over any transport: length form, chaining, GET RESPONSE, wrong Le, in one place
//! (ISO/IEC 7816-4:2005 §5.1.1.1, §5.1.3, ISO/IEC 7816-3:2006 §12.2).

mod file;
mod limits;

use std::error::Error;
use std::mem;

use thiserror::Error as ThisError;
use zeroize::Zeroizing;

use crate::chaining;
use crate::command::{CardCommand, GetResponse};
use crate::command_apdu::{CommandApdu, Form};
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::{Status, StatusWord};

pub use self::limits::Limits;

/// The most data that one answer may bring, however many responses it takes.
pub const LONGEST_ANSWER: usize = 65_536;
/// The most GET RESPONSE commands for one answer: enough for the longest in short responses.
const MOST_RESPONSES: usize = LONGEST_ANSWER / 256;

/// What carries bytes to a chip and back.
pub trait Transport {
    /// Why it could not.
    type Error: Error + 'static;

    /// Sends a command, returns the response. The command may hold secrets: it must not be copied or logged.
    ///
    /// # Errors
    /// When the reader or the card fails; whatever the chip itself answers is no error here.
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Self::Error>;
}

impl<T: Transport + ?Sized> Transport for &mut T {
    type Error = T::Error;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Self::Error> {
        (**self).exchange(command)
    }
}

/// Why a command has no answer.
#[derive(Debug, ThisError)]
pub enum TransmitError<E: Error + 'static> {
    /// The reader or the card failed.
    #[error("the reader failed: {0}")]
    Transport(#[source] E),
    /// The command cannot be written for this chip: nothing was sent of it, or only the first parts of a chain.
    #[error("the exchange failed: {0}")]
    Apdu(#[from] ApduError),
    /// What came back is no response: the chip may have executed the command or not.
    #[error("what came back is no response: {0}")]
    Response(#[source] ApduError),
    /// The chip refused, or its answer makes no sense.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The chip announces more and more data.
    #[error("the chip's answer does not end")]
    Endless,
}

impl<E: Error + 'static> TransmitError<E> {
    /// What the chip said, if it refused.
    #[must_use]
    pub fn status(&self) -> Option<StatusWord> {
        match self {
            Self::Command(error) => error.status(),
            Self::Transport(_) | Self::Apdu(_) | Self::Response(_) | Self::Endless => None,
        }
    }
}

/// What has gone over a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Command APDUs.
    pub commands: u64,
    /// Bytes to the chip.
    pub sent: u64,
    /// Bytes from the chip.
    pub received: u64,
}

/// A transport, what may be sent over it, and what has been.
pub struct Channel<T> {
    transport: T,
    limits: Limits,
    traffic: Traffic,
}

impl<T: Transport> Channel<T> {
    /// Over this transport, within these limits.
    pub const fn new(transport: T, limits: Limits) -> Self {
        Self { transport, limits, traffic: Traffic { commands: 0, sent: 0, received: 0 } }
    }

    /// What may be sent.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Other limits, once the card's generation is known.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What has been sent and received so far.
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The transport, for what is not an APDU.
    pub const fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Gives the transport back.
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// Runs a command and decodes its answer.
    ///
    /// # Errors
    /// When it cannot be sent, the reader fails, or the chip refuses. Nothing that may cost a PIN try is ever
    /// repeated.
    pub fn run<C: CardCommand>(&mut self, command: &C) -> Result<C::Answer, TransmitError<T::Error>> {
        let apdu = command.encode()?;
        let response = self.transmit(&apdu)?;
        Ok(command.decode_answer(response)?)
    }

    /// Sends a command in the form that the limits allow, and collects the whole answer. Le is lowered to what
    /// the limits let come back at once.
    ///
    /// # Errors
    /// When it cannot be sent, or the reader fails; a refusal by the chip is a response.
    pub fn transmit(&mut self, apdu: &CommandApdu) -> Result<ResponseApdu, TransmitError<T::Error>> {
        let plan = self.limits.plan(apdu)?;
        let le = apdu.le.map(|le| le.min(plan.max_receive));
        if let Some(part) = plan.part {
            return self.transmit_chain(apdu, part, le);
        }
        let mut first = self.exchange(apdu, le, plan.form)?;
        // Only a command that expects data is repeated, once; those that may cost a PIN try expect none.
        if let (Status::WrongLe(right), Some(_)) = (first.status().meaning(), le) {
            first = self.exchange(apdu, Some(at_most_256(right)), plan.form)?;
        }
        self.complete(first)
    }

    fn transmit_chain(
        &mut self,
        apdu: &CommandApdu,
        part: usize,
        le: Option<u32>,
    ) -> Result<ResponseApdu, TransmitError<T::Error>> {
        let parts = chaining::split(apdu, part)?;
        let Some((last, firsts)) = parts.split_last() else {
            return Err(ApduError::BrokenChain.into());
        };
        for part in firsts {
            let response = self.exchange(part, None, Form::Short)?;
            if response.status() != StatusWord::SUCCESS {
                return Ok(response);
            }
        }
        // A wrong Le ends here: the chip has forgotten the parts before.
        let first = self.exchange(last, le, Form::Short)?;
        self.complete(first)
    }

    /// Follows 61xx to the end of the answer.
    fn complete(&mut self, first: ResponseApdu) -> Result<ResponseApdu, TransmitError<T::Error>> {
        let (data, mut status) = first.into_parts();
        let mut data = Zeroizing::new(data);
        for _ in 0..=MOST_RESPONSES {
            let Status::BytesAvailable(count) = status.meaning() else {
                return Ok(ResponseApdu::new(mem::take(&mut *data), status));
            };
            let rest = GetResponse { length: at_most_256(count) }.encode()?;
            let (more, next) = self.exchange(&rest, rest.le, Form::Short)?.into_parts();
            let more = Zeroizing::new(more);
            let grown = data.len().saturating_add(more.len());
            if grown > LONGEST_ANSWER
                || (more.is_empty() && matches!(next.meaning(), Status::BytesAvailable(_)))
            {
                return Err(TransmitError::Endless);
            }
            // In a new place, so that the old one is wiped: a vector that grows would leave it behind.
            data = Zeroizing::new([data.as_slice(), &more].concat());
            status = next;
        }
        Err(TransmitError::Endless)
    }

    fn exchange(
        &mut self,
        apdu: &CommandApdu,
        le: Option<u32>,
        form: Form,
    ) -> Result<ResponseApdu, TransmitError<T::Error>> {
        let bytes = apdu.to_bytes_expecting(le, form)?;
        self.traffic.commands += 1;
        self.traffic.sent += length(bytes.expose());
        let response = self.transport.exchange(bytes.expose()).map_err(TransmitError::Transport)?;
        let response = Zeroizing::new(response);
        self.traffic.received += length(&response);
        ResponseApdu::parse(&response).map_err(TransmitError::Response)
    }
}

/// In 61xx and 6Cxx zero stands for 256.
fn at_most_256(count: u8) -> u32 {
    if count == 0 { 256 } else { u32::from(count) }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
