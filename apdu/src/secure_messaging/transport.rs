//! The host's way to run commands in secure messaging: a transport over a channel, itself to be put under one.

use std::error::Error;

use cns_secret::Secret;
use thiserror::Error as ThisError;

use super::{Exchange, Keys, Nonce, Protection, SecureMessagingError};
use crate::chaining::is_part;
use crate::command::{CardCommand, GetChallenge, GiveRandom};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;
use crate::transmit::{Channel, Limits, Traffic, TransmitError, Transport};
use crate::triple_des::BLOCK;

/// How one command and its response are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protections {
    /// The command.
    pub command: Protection,
    /// The response.
    pub response: Protection,
}

/// Who has the keys: [`LocalKeys`], or somebody elsewhere to whom the commands are carried.
pub trait KeyHolder {
    /// Why it could not.
    type Error: Error + 'static;

    /// A fresh random number for GIVE RANDOM.
    ///
    /// # Errors
    /// When there is none.
    fn random(&mut self) -> Result<Nonce, Self::Error>;

    /// See [`Exchange::wrap_command`].
    ///
    /// # Errors
    /// When the command cannot be protected in this way.
    fn wrap_command(
        &mut self,
        plain: &CommandApdu,
        protections: Protections,
        challenge: Option<Nonce>,
    ) -> Result<CommandApdu, Self::Error>;

    /// See [`Exchange::unwrap_response`].
    ///
    /// # Errors
    /// When the response is not to be believed.
    fn unwrap_response(
        &mut self,
        header: [u8; 4],
        data: &[u8],
        protections: Protections,
        random: Option<Nonce>,
    ) -> Result<Secret, Self::Error>;
}

/// Keys in this process.
pub struct LocalKeys<R> {
    /// Enciphers; 8, 16 or 24 bytes.
    pub encryption: Option<Secret>,
    /// Authenticates; 8, 16 or 24 bytes.
    pub signature: Option<Secret>,
    /// Gives fresh random numbers, `None` if it cannot.
    pub random: R,
}

impl<R> LocalKeys<R> {
    fn exchange(&self, protections: Protections) -> Result<Exchange<'_>, SecureMessagingError> {
        let keys = |protection: Protection| {
            let encryption = self.encryption.as_ref().filter(|_| protection.encrypted);
            let signature = self.signature.as_ref().filter(|_| protection.signed);
            let keys = Keys { encryption, signature };
            if keys.protection() == protection { Ok(keys) } else { Err(SecureMessagingError::Missing("key")) }
        };
        let (command, response) = (keys(protections.command)?, keys(protections.response)?);
        Ok(Exchange { command, response, ..Exchange::default() })
    }
}

impl<R: FnMut() -> Option<Nonce>> KeyHolder for LocalKeys<R> {
    type Error = SecureMessagingError;

    fn random(&mut self) -> Result<Nonce, Self::Error> {
        (self.random)().ok_or(SecureMessagingError::NoRandom)
    }

    fn wrap_command(
        &mut self,
        plain: &CommandApdu,
        protections: Protections,
        challenge: Option<Nonce>,
    ) -> Result<CommandApdu, Self::Error> {
        Exchange { challenge, ..self.exchange(protections)? }.wrap_command(plain)
    }

    fn unwrap_response(
        &mut self,
        header: [u8; 4],
        data: &[u8],
        protections: Protections,
        random: Option<Nonce>,
    ) -> Result<Secret, Self::Error> {
        Exchange { random, ..self.exchange(protections)? }.unwrap_response(header, data)
    }
}

const READ_BINARY: u8 = 0xB0;

/// 62xx: done, with a remark; decoders take some of them for a success.
const fn is_warning(status: StatusWord) -> bool {
    status.0 >> 8 == 0x62
}

/// Why a command has no answer.
#[derive(Debug, ThisError)]
pub enum SecureError<E: Error + 'static, K: Error + 'static> {
    /// The channel below failed, or the chip refused GET CHALLENGE or GIVE RANDOM.
    #[error(transparent)]
    Transmit(#[from] TransmitError<E>),
    /// The command is none, or a part of a chain: whole commands are protected, and the channel below chains.
    #[error("the exchange failed: {0}")]
    Apdu(#[from] ApduError),
    /// The command cannot be protected, or the response is not to be believed.
    #[error(transparent)]
    Keys(K),
    /// The response was to be signed, and a status without a MAC would end a read as if that were the file's end.
    #[error("the card says {0} without a MAC, which would cut the file short")]
    UnprovenEnd(StatusWord),
}

/// Protects the commands that a rule names, and passes on the others. One protected command costs up to three
/// APDUs: GET CHALLENGE where it is authenticated, GIVE RANDOM where its response is, and the command.
pub struct SecureTransport<T, K, P> {
    channel: Channel<T>,
    keys: K,
    rule: P,
}

impl<T, K, P> SecureTransport<T, K, P>
where
    T: Transport,
    K: KeyHolder,
    P: FnMut(&CommandApdu) -> Option<Protections>,
{
    /// Over this channel, which keeps the limits of chip and reader; `rule` says of a plain command how it is to be
    /// protected, `None` for not at all.
    pub const fn new(channel: Channel<T>, keys: K, rule: P) -> Self {
        Self { channel, keys, rule }
    }

    /// The channel to run plain commands over; it hands them down whole, however long.
    pub const fn into_channel(self) -> Channel<Self> {
        Channel::new(self, Limits::EXTENDED)
    }

    /// What has gone over the channel below, the challenges and random numbers included.
    pub const fn traffic(&self) -> Traffic {
        self.channel.traffic()
    }

    /// The channel below, for what is to stay plain.
    pub const fn channel_mut(&mut self) -> &mut Channel<T> {
        &mut self.channel
    }

    /// Gives the channel below back.
    pub fn into_inner(self) -> Channel<T> {
        self.channel
    }

    fn protected(
        &mut self,
        mut plain: CommandApdu,
        protections: Protections,
    ) -> Result<ResponseApdu, SecureError<T::Error, K::Error>> {
        let room = self.channel.limits().max_receive;
        let most = protections.response.most_data(usize::try_from(room).unwrap_or(usize::MAX));
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(1);
        plain.le = plain.le.map(|le| le.min(most));
        let challenge = if protections.command.signed { Some(self.challenge()?) } else { None };
        let random = if protections.response.signed { Some(self.give_random()?) } else { None };
        let wrapped = self.keys.wrap_command(&plain, protections, challenge).map_err(SecureError::Keys)?;
        let (data, status) = self.channel.transmit(&wrapped)?.into_parts();
        let header = [wrapped.cla, wrapped.ins, wrapped.p1, wrapped.p2];
        // A refusal has no objects. A success without the MAC that was asked for is none, and a warning is a success.
        let is_success = status == StatusWord::SUCCESS || (protections.response.signed && is_warning(status));
        if data.is_empty() && !is_success {
            // A read takes this one for the end of the file, and anybody can say it.
            let ends_a_read = status == StatusWord::OFFSET_OUTSIDE_FILE && plain.ins == READ_BINARY;
            if protections.response.signed && ends_a_read {
                return Err(SecureError::UnprovenEnd(status));
            }
            return Ok(status.into());
        }
        let plain = self.keys.unwrap_response(header, &data, protections, random);
        Ok(ResponseApdu::new(plain.map_err(SecureError::Keys)?.expose().to_vec(), status))
    }

    fn challenge(&mut self) -> Result<Nonce, TransmitError<T::Error>> {
        let length = u32::try_from(BLOCK).map_err(|_| ApduError::OutOfRange("challenge"))?;
        let challenge = self.channel.run(&GetChallenge { length })?;
        challenge.try_into().map_err(|_| {
            let source = ApduError::Malformed("challenge");
            TransmitError::Command(CommandError::Answer { command: GetChallenge::NAME, source })
        })
    }

    fn give_random(&mut self) -> Result<Nonce, SecureError<T::Error, K::Error>> {
        let random = self.keys.random().map_err(SecureError::Keys)?;
        self.channel.run(&GiveRandom { value: random.to_vec() })?;
        Ok(random)
    }
}

impl<T, K, P> Transport for SecureTransport<T, K, P>
where
    T: Transport,
    K: KeyHolder,
    P: FnMut(&CommandApdu) -> Option<Protections>,
{
    type Error = SecureError<T::Error, K::Error>;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Self::Error> {
        let plain = CommandApdu::parse(command)?;
        let response = match (self.rule)(&plain) {
            None => self.channel.transmit(&plain)?,
            Some(_) if is_part(plain.cla) => return Err(ApduError::BrokenChain.into()),
            Some(protections) => self.protected(plain, protections)?,
        };
        Ok(response.to_bytes())
    }
}
