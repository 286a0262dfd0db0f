//! The response APDU (ISO/IEC 7816-4:2005 §5.1).

use std::fmt::{self, Debug, Formatter};
use std::mem;

use zeroize::Zeroizing;

use crate::error::ApduError;
use crate::status::StatusWord;

/// The longest response: 65,536 bytes of data and the status word.
pub(crate) const LONGEST: usize = 65_536 + 2;

/// What a chip answered. It can be neither used nor dropped without looking at the status word. Data that nobody took are
/// wiped: they may be what a key deciphered.
#[must_use]
pub struct ResponseApdu {
    data: Zeroizing<Vec<u8>>,
    status: StatusWord,
}

impl ResponseApdu {
    /// An answer with data; what a chip sends.
    pub fn new(data: Vec<u8>, status: StatusWord) -> Self {
        Self { data: Zeroizing::new(data), status }
    }

    /// Decodes the bytes that came from the reader.
    ///
    /// # Errors
    /// When they are too short for a status word or longer than any response.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApduError> {
        if bytes.len() > LONGEST {
            return Err(ApduError::TooLong(bytes.len()));
        }
        let Some((data, status)) = bytes.split_last_chunk::<2>() else {
            return Err(ApduError::TooShort(bytes.len()));
        };
        Ok(Self { data: Zeroizing::new(data.to_vec()), status: StatusWord(u16::from_be_bytes(*status)) })
    }

    /// The status word.
    pub fn status(&self) -> StatusWord {
        self.status
    }

    /// The data if the chip reports success, else its status word.
    ///
    /// # Errors
    /// The status word, when it is not 9000.
    pub fn into_data(self) -> Result<Vec<u8>, StatusWord> {
        let (data, status) = self.into_parts();
        if status == StatusWord::SUCCESS { Ok(data) } else { Err(status) }
    }

    /// Data and status word; for commands that answer data with a warning too, and for the envelope.
    pub fn into_parts(mut self) -> (Vec<u8>, StatusWord) {
        (mem::take(&mut *self.data), self.status)
    }

    /// The bytes that go to the reader.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // In one piece: a vector that grows leaves its old bytes behind.
        [self.data.as_slice(), &self.status.to_bytes()].concat()
    }
}

impl Debug for ResponseApdu {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseApdu({} bytes, {})", self.data.len(), self.status)
    }
}

impl From<StatusWord> for ResponseApdu {
    fn from(status: StatusWord) -> Self {
        Self::new(Vec::new(), status)
    }
}
