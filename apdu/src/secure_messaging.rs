//! Secure messaging: commands and responses enciphered and authenticated with triple DES (`cns-card` §2.4, §5.21).
//!
//! | tag | in a command or response |
//! |---|---|
//! | `81` | the data in clear, authenticated |
//! | `87` | `01`, then the cryptogram of the data |
//! | `8E` | the MAC, 8 bytes |
//! | `96` | the expected length, not authenticated; what this crate writes |
//! | `97` | the expected length, authenticated as ISO/IEC 7816-4 has it; only taken |
//!
//! The MAC covers a random number of the *other* side, the header with four zero bytes after it, and the objects of
//! odd tag as they travel: of a command the card's challenge, of a response the number of GIVE RANDOM. Status words
//! travel in clear and unauthenticated; so a refusal can be forged, but where the response is signed, 9000 and 62xx
//! cannot, nor can the end of a file that READ BINARY meets (6B00).
//!
//! [`Exchange`] is one protected command and its response; host and chip build the same one. [`Conditions`] says
//! which keys a file or object demands. The host's way to run commands through it is [`SecureTransport`].

mod conditions;
mod objects;
mod transport;

use cns_secret::{Secret, SecretError};
use subtle::ConstantTimeEq;
use thiserror::Error;

use self::objects::Objects;
use crate::bytes::concat;
use crate::command_apdu::{Body, CommandApdu};
use crate::status::StatusWord;
use crate::tlv::{self, TlvError};
use crate::triple_des::{self, BLOCK, MAC_LENGTH, TripleDesError};

pub use self::conditions::{
    Conditions, DF_CREATE, DF_OBJECTS, EF_APPEND, EF_READ_COMMAND, EF_READ_RESPONSE, EF_UPDATE, FILE_ADMIN,
    KeyNumbers, OBJECT_CHANGE, OBJECT_UNBLOCK, OBJECT_USE, OBJECT_USE_RESPONSE, Place,
};
pub use self::transport::{KeyHolder, LocalKeys, Protections, SecureError, SecureTransport};

/// The bits of the class byte that say so.
const CLASS_BITS: u8 = 0x0C;
/// The data objects of one command or response are not longer than this, in bytes.
pub const LONGEST: usize = tlv::MAX_LENGTH;
/// Tag and length of the longest data object, its padding indicator, and the MAC object.
const OVERHEAD: usize = 4 + 1 + 2 + MAC_LENGTH;

/// The card's challenge, or the host's number of GIVE RANDOM.
pub type Nonce = [u8; BLOCK];

/// Why a command or response could not be protected, or is not to be believed.
#[derive(Debug, Error)]
pub enum SecureMessagingError {
    /// An object that the keys demand is not there.
    #[error("secure messaging: the {0} is missing")]
    Missing(&'static str),
    /// An object has the wrong form, comes twice, or is not expected.
    #[error("secure messaging: the {0} is wrong")]
    Wrong(&'static str),
    /// The objects are no TLV.
    #[error("secure messaging: {0}")]
    Tlv(#[from] TlvError),
    /// The MAC does not belong to the bytes.
    #[error("secure messaging: the MAC is wrong")]
    Mac,
    /// There is no challenge for the MAC of the command.
    #[error("secure messaging: no challenge was asked for")]
    NoChallenge,
    /// There is no random number for the MAC of the response.
    #[error("secure messaging: no random number was given")]
    NoRandom,
    /// The data does not fit a protected command or response.
    #[error("secure messaging: {0} bytes are too long")]
    TooLong(usize),
    /// The key cannot be used.
    #[error("secure messaging: {0}")]
    Key(TripleDesError),
    /// No locked memory.
    #[error(transparent)]
    Memory(#[from] SecretError),
}

impl SecureMessagingError {
    /// What a chip answers.
    #[must_use]
    pub const fn status(&self) -> StatusWord {
        match self {
            Self::Missing(_) => StatusWord::SECURE_MESSAGING_OBJECT_MISSING,
            Self::Wrong(_) | Self::Tlv(_) | Self::Mac => StatusWord::SECURE_MESSAGING_OBJECT_WRONG,
            Self::NoChallenge | Self::NoRandom => StatusWord::CONDITIONS_NOT_SATISFIED,
            Self::TooLong(_) => StatusWord::WRONG_LENGTH,
            Self::Key(_) => StatusWord::INVALID_OBJECT,
            Self::Memory(_) => StatusWord::MEMORY_FAILURE,
        }
    }
}

impl From<TripleDesError> for SecureMessagingError {
    fn from(error: TripleDesError) -> Self {
        match error {
            TripleDesError::Cryptogram => Self::Wrong("cryptogram"),
            TripleDesError::Key => Self::Key(error),
            TripleDesError::Memory(source) => Self::Memory(source),
        }
    }
}

/// Whether a class byte announces secure messaging: bits 2 and 3 set.
#[must_use]
pub const fn is_secure(cla: u8) -> bool {
    cla & CLASS_BITS == CLASS_BITS
}

/// The class byte without the bits of secure messaging.
#[must_use]
pub const fn plain_class(cla: u8) -> u8 {
    cla & !CLASS_BITS
}

/// How one direction is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protection {
    /// The data is enciphered.
    pub encrypted: bool,
    /// Header and data are authenticated.
    pub signed: bool,
}

impl Protection {
    /// Not at all.
    pub const NONE: Self = Self { encrypted: false, signed: false };
    /// SIG.
    pub const SIGNED: Self = Self { encrypted: false, signed: true };
    /// ENC. What is not authenticated can be replayed and changed.
    pub const ENCRYPTED: Self = Self { encrypted: true, signed: false };
    /// ENC and SIG.
    pub const BOTH: Self = Self { encrypted: true, signed: true };

    /// The most plain data that, protected like this, is not longer than `room` bytes.
    #[must_use]
    pub fn most_data(self, room: usize) -> usize {
        let value = room.min(LONGEST).saturating_sub(OVERHEAD);
        match (self.encrypted, self.signed) {
            (false, false) => room,
            (false, true) => value,
            // Whole blocks, of which the last has at least one byte of padding.
            (true, _) => (value / BLOCK * BLOCK).saturating_sub(1),
        }
    }
}

/// The keys of one direction; one that is there is demanded, one that is not must not be used.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// Enciphers the data.
    pub encryption: Option<&'a Secret>,
    /// Authenticates header and data.
    pub signature: Option<&'a Secret>,
}

impl Keys<'_> {
    /// How these keys protect.
    #[must_use]
    pub const fn protection(&self) -> Protection {
        Protection { encrypted: self.encryption.is_some(), signed: self.signature.is_some() }
    }

    /// Whether nothing is demanded.
    #[must_use]
    pub const fn are_none(&self) -> bool {
        self.encryption.is_none() && self.signature.is_none()
    }
}

/// One protected command and its response, as host and chip agree on it.
#[derive(Clone, Copy, Default)]
pub struct Exchange<'a> {
    /// The keys of the command.
    pub command: Keys<'a>,
    /// The keys of the response.
    pub response: Keys<'a>,
    /// The chip's challenge; needed where the command is authenticated, and worth one command.
    pub challenge: Option<Nonce>,
    /// The number of GIVE RANDOM; needed where the response is authenticated, and worth one response.
    pub random: Option<Nonce>,
}

impl Exchange<'_> {
    /// The command as it travels. Its Le goes along in object `96`; the outer Le leaves room for what the response
    /// grows by.
    ///
    /// # Errors
    /// No challenge, an unusable key, data that is too long, or no locked memory.
    pub fn wrap_command(&self, plain: &CommandApdu) -> Result<CommandApdu, SecureMessagingError> {
        let cla = plain.cla | CLASS_BITS;
        let header = [cla, plain.ins, plain.p1, plain.p2];
        let value = value_object(plain.data.as_bytes(), self.command)?;
        let mac = match self.command.signature {
            Some(key) => {
                let challenge = self.challenge.ok_or(SecureMessagingError::NoChallenge)?;
                mac_object(key, &challenge, header, value.expose())?
            }
            None => Vec::new(),
        };
        let le = plain.le.map(length_object).unwrap_or_default();
        let data = concat(&[value.expose(), &mac, &le])?;
        if data.len() > LONGEST {
            return Err(SecureMessagingError::TooLong(plain.data.len()));
        }
        let outer = plain.le.map(|le| self.outer_length(le));
        let wrapped = CommandApdu { cla, le: outer, ..CommandApdu::new(plain.ins, plain.p1, plain.p2) };
        Ok(wrapped.sensitive(data))
    }

    /// The chip's side of [`Exchange::wrap_command`]: the plain command, if all that the keys demand is there and
    /// right.
    ///
    /// # Errors
    /// What is missing or wrong; nothing of the command may then be executed.
    pub fn unwrap_command(&self, wrapped: &CommandApdu) -> Result<CommandApdu, SecureMessagingError> {
        let header = [wrapped.cla, wrapped.ins, wrapped.p1, wrapped.p2];
        let objects = Objects::parse(wrapped.data.as_bytes())?;
        let data =
            self.open(&objects, self.command, header, self.challenge, SecureMessagingError::NoChallenge)?;
        let le = objects.expected_length()?.or(wrapped.le);
        let plain = CommandApdu {
            cla: plain_class(wrapped.cla),
            le,
            data: Body::None,
            ..CommandApdu::new(wrapped.ins, wrapped.p1, wrapped.p2)
        };
        Ok(plain.sensitive(data))
    }

    /// The chip's answer to a command that it accepted, without the status word.
    ///
    /// # Errors
    /// No random number, an unusable key, data that is too long, or no locked memory.
    pub fn wrap_response(&self, header: [u8; 4], data: &[u8]) -> Result<Vec<u8>, SecureMessagingError> {
        if self.response.are_none() {
            return Ok(data.to_vec());
        }
        let mut wrapped = value_object(data, self.response)?.expose().to_vec();
        if let Some(key) = self.response.signature {
            let random = self.random.ok_or(SecureMessagingError::NoRandom)?;
            let mac = mac_object(key, &random, header, &wrapped)?;
            wrapped.extend_from_slice(&mac);
        }
        if wrapped.len() > LONGEST { Err(SecureMessagingError::TooLong(data.len())) } else { Ok(wrapped) }
    }

    /// The host's side of [`Exchange::wrap_response`]: the data of a response to the command with this header, as it
    /// travelled.
    ///
    /// # Errors
    /// What is missing or wrong; nothing of the response is then to be believed.
    pub fn unwrap_response(&self, header: [u8; 4], data: &[u8]) -> Result<Secret, SecureMessagingError> {
        if self.response.are_none() {
            return Ok(Secret::copy_from(data)?);
        }
        let objects = Objects::parse(data)?;
        if objects.expected_length()?.is_some() {
            return Err(SecureMessagingError::Wrong("expected length"));
        }
        self.open(&objects, self.response, header, self.random, SecureMessagingError::NoRandom)
    }

    /// The least of the usual lengths that lets `le` bytes come back protected.
    fn outer_length(&self, le: u32) -> u32 {
        let fits = |room: usize| {
            usize::try_from(le).is_ok_and(|le| le <= self.response.protection().most_data(room))
        };
        if self.response.are_none() {
            le
        } else if fits(256) {
            256
        } else {
            65_536
        }
    }

    /// Checks the MAC first: bytes of which nobody knows whose they are, are not deciphered.
    fn open(
        &self,
        objects: &Objects<'_>,
        keys: Keys<'_>,
        header: [u8; 4],
        nonce: Option<Nonce>,
        no_nonce: SecureMessagingError,
    ) -> Result<Secret, SecureMessagingError> {
        match (keys.signature, objects.mac) {
            (Some(key), Some(given)) => {
                let right = mac(key, &nonce.ok_or(no_nonce)?, header, objects.authenticated)?;
                if !bool::from(right.ct_eq(given)) {
                    return Err(SecureMessagingError::Mac);
                }
            }
            (Some(_), None) => return Err(SecureMessagingError::Missing("MAC")),
            (None, Some(_)) => return Err(SecureMessagingError::Wrong("MAC")),
            (None, None) => {}
        }
        match (keys.encryption, objects.cryptogram, objects.clear) {
            (Some(key), Some(cryptogram), None) => Ok(triple_des::decrypt(key, cryptogram)?),
            (None, None, Some(clear)) => Ok(Secret::copy_from(clear)?),
            (_, None, None) => Ok(Secret::zeroed(0)?),
            (Some(_), None, Some(_)) => Err(SecureMessagingError::Missing("cryptogram")),
            (None, Some(_), None) | (_, Some(_), Some(_)) => Err(SecureMessagingError::Wrong("cryptogram")),
        }
    }
}

/// Object `81` or `87` around `data`; nothing around nothing.
fn value_object(data: &[u8], keys: Keys<'_>) -> Result<Secret, SecureMessagingError> {
    let too_long = |_| SecureMessagingError::TooLong(data.len());
    match keys.encryption {
        _ if data.is_empty() => Ok(Secret::zeroed(0)?),
        Some(key) => {
            let cryptogram = triple_des::encrypt(key, data)?;
            let length = u16::try_from(cryptogram.len() + 1).map_err(too_long)?;
            let header = tlv::header(objects::CRYPTOGRAM, length);
            Ok(concat(&[&header, &[objects::PADDED], &cryptogram])?)
        }
        None => {
            let length = u16::try_from(data.len()).map_err(too_long)?;
            Ok(concat(&[&tlv::header(objects::CLEAR, length), data])?)
        }
    }
}

/// Object `96`: one byte up to 256, else two; zero stands for the most.
fn length_object(le: u32) -> Vec<u8> {
    let [_, _, high, low] = le.to_be_bytes();
    if le <= 256 { tlv::encode(objects::LENGTH, &[low]) } else { tlv::encode(objects::LENGTH, &[high, low]) }
}

fn mac_object(
    key: &Secret,
    nonce: &Nonce,
    header: [u8; 4],
    objects: &[u8],
) -> Result<Vec<u8>, SecureMessagingError> {
    Ok(tlv::encode(objects::MAC, &mac(key, nonce, header, objects)?))
}

/// The MAC over nonce, header, four zeros and objects.
fn mac(
    key: &Secret,
    nonce: &Nonce,
    header: [u8; 4],
    objects: &[u8],
) -> Result<[u8; MAC_LENGTH], SecureMessagingError> {
    let message = concat(&[nonce, &header, &[0; 4], objects])?;
    Ok(triple_des::mac3(key, message.expose())?)
}
