//! The object store of Oberthur and IDEMIA chips: a directory of certificates and keys below the signature DF, and
//! the attributes of each object (`real-cards` §2.3, seen on an ID-One Cosmo V7; the TS-CNS of 2021 by IDEMIA have
//! the same files and access conditions).
//!
//! EF `1400/4000` lists the public objects, which lie in DF `1400/9001`, and EF `1400/5000` the private ones, which
//! lie in DF `1400/9002`. Each has 48 records of five bytes: status, file identifier, size. Every object has a file
//! of attributes beside it, of its own identifier plus `0100`.

use crate::error::ApduError;
use crate::file_map::{Fid, FilePath, PRIVATE_OBJECTS_DF, PUBLIC_OBJECTS_DF};
use crate::object::ObjectId;

/// How many objects a directory can list.
pub const SLOTS: usize = 48;
/// Bytes of one record.
pub const SLOT_LENGTH: usize = 5;
/// Bytes of a directory.
pub const FILE_LENGTH: usize = SLOTS * SLOT_LENGTH;
/// Bytes of the token information, EF `1400/1000`.
pub const TOKEN_INFORMATION_LENGTH: usize = 36;

/// The status of a record that lists an object.
const USED: u8 = 0xFF;
/// The status of a record that does not.
const UNUSED: u8 = 0x00;
/// The file identifier in the record of an object that is gone.
const DELETED: Fid = Fid(0xFAFE);
/// What is added to the identifier of an object to name its attributes.
const ATTRIBUTES: u16 = 0x0100;
/// RSA-4096: what is longer is no key of a smart card.
const LONGEST_MODULUS: usize = 512;

/// What an object is: the high byte of its file identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// 10: public key. Has no content of its own beside the attributes.
    PublicKey,
    /// 20: certificate, in DER or in a maker's container.
    Certificate,
    /// 30: private key. The low byte is the reference that MANAGE SECURITY ENVIRONMENT takes.
    PrivateKey,
}

impl ObjectKind {
    const fn of(file: Fid) -> Option<Self> {
        match file.0 >> 8 {
            0x10 => Some(Self::PublicKey),
            0x20 => Some(Self::Certificate),
            0x30 => Some(Self::PrivateKey),
            _ => None,
        }
    }
}

/// An object that a directory lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryEntry {
    /// Its file identifier in the DF of its directory.
    pub file: Fid,
    /// Bytes of a certificate, bits of a key.
    pub size: u16,
}

impl DirectoryEntry {
    /// What it is; `None` for a kind that nobody has described (data objects, by their numbers).
    #[must_use]
    pub const fn kind(self) -> Option<ObjectKind> {
        ObjectKind::of(self.file)
    }

    /// The key's reference for MANAGE SECURITY ENVIRONMENT, if this is a private key and the chip can have such
    /// a key.
    #[must_use]
    pub const fn key(self) -> Option<ObjectId> {
        match self.kind() {
            Some(ObjectKind::PrivateKey) => {
                let [_, reference] = self.file.to_bytes();
                ObjectId::new(reference)
            }
            Some(ObjectKind::PublicKey | ObjectKind::Certificate) | None => None,
        }
    }

    /// The identifier of its attributes, in the same DF.
    #[must_use]
    pub const fn attributes(self) -> Fid {
        Fid(self.file.0.wrapping_add(ATTRIBUTES))
    }

    /// Where the object is.
    #[must_use]
    pub fn path(self) -> FilePath {
        self.df().child(self.file)
    }

    /// Where its attributes are.
    #[must_use]
    pub fn attributes_path(self) -> FilePath {
        self.df().child(self.attributes())
    }

    /// Private keys have their own DF; whatever else is listed is public.
    fn df(self) -> FilePath {
        match self.kind() {
            Some(ObjectKind::PrivateKey) => PRIVATE_OBJECTS_DF,
            Some(ObjectKind::PublicKey | ObjectKind::Certificate) | None => PUBLIC_OBJECTS_DF,
        }
    }
}

/// One record of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slot {
    /// Never used.
    #[default]
    Free,
    /// The object that was listed here is gone.
    Deleted,
    /// An object.
    Object(DirectoryEntry),
}

impl Slot {
    /// Anything but the status "used" lists nothing, whatever else the record holds.
    const fn decode(record: [u8; SLOT_LENGTH]) -> Self {
        let [status, high, low, size_high, size_low] = record;
        let file = Fid(u16::from_be_bytes([high, low]));
        match (status, file) {
            (USED, Fid(0)) => Self::Free,
            (_, DELETED) => Self::Deleted,
            (USED, file) => {
                Self::Object(DirectoryEntry { file, size: u16::from_be_bytes([size_high, size_low]) })
            }
            (_, _) => Self::Free,
        }
    }

    const fn encode(self) -> [u8; SLOT_LENGTH] {
        let (status, file, size) = match self {
            Self::Free => (UNUSED, Fid(0), 0),
            Self::Deleted => (UNUSED, DELETED, 0),
            Self::Object(entry) => (USED, entry.file, entry.size),
        };
        let ([high, low], [size_high, size_low]) = (file.to_bytes(), size.to_be_bytes());
        [status, high, low, size_high, size_low]
    }
}

/// A directory of objects: EF `1400/4000` or `1400/5000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDirectory {
    slots: [Slot; SLOTS],
}

impl Default for ObjectDirectory {
    fn default() -> Self {
        Self { slots: [Slot::Free; SLOTS] }
    }
}

impl ObjectDirectory {
    /// A directory of these objects, in this order.
    ///
    /// # Errors
    /// When there are more than 48.
    pub fn new(entries: &[DirectoryEntry]) -> Result<Self, ApduError> {
        let mut slots = [Slot::Free; SLOTS];
        for (index, entry) in entries.iter().enumerate() {
            *slots.get_mut(index).ok_or(ApduError::OutOfRange("number of objects"))? = Slot::Object(*entry);
        }
        Ok(Self { slots })
    }

    /// Decodes the file, or as much of it as was read: any bytes are a directory. What is missing at the end, a
    /// record that is cut, and every status other than FF list nothing; what follows the 48th record is ignored.
    #[must_use]
    pub fn decode(file: &[u8]) -> Self {
        let (records, _cut) = file.as_chunks::<SLOT_LENGTH>();
        let mut directory = Self::default();
        for (slot, record) in directory.slots.iter_mut().zip(records) {
            *slot = Slot::decode(*record);
        }
        directory
    }

    /// The file.
    #[must_use]
    pub fn encode(&self) -> [u8; FILE_LENGTH] {
        let mut file = [0; FILE_LENGTH];
        let (records, _none) = file.as_chunks_mut::<SLOT_LENGTH>();
        for (record, slot) in records.iter_mut().zip(&self.slots) {
            *record = slot.encode();
        }
        file
    }

    /// Lists an object: in place of one of the same identifier, else behind the last record that was ever used, else
    /// in the first that lists none.
    ///
    /// # Errors
    /// When all 48 are taken.
    pub fn put(&mut self, entry: DirectoryEntry) -> Result<(), ApduError> {
        let same = |slot: &Slot| matches!(slot, Slot::Object(other) if other.file == entry.file);
        let unused = |slot: &Slot| matches!(slot, Slot::Free | Slot::Deleted);
        let behind = self.slots.iter().rposition(|slot| *slot != Slot::Free).map_or(0, |last| last + 1);
        let place = self.slots.iter().position(same);
        let place = place.or_else(|| Some(behind).filter(|place| *place < SLOTS));
        let place = place.or_else(|| self.slots.iter().position(unused));
        let slot = place.and_then(|place| self.slots.get_mut(place));
        *slot.ok_or(ApduError::OutOfRange("number of objects"))? = Slot::Object(entry);
        Ok(())
    }

    /// All 48 records.
    #[must_use]
    pub const fn slots(&self) -> &[Slot; SLOTS] {
        &self.slots
    }

    /// The objects, in the file's order: 48 at most, and nothing says that each is listed once.
    pub fn entries(&self) -> impl Iterator<Item = DirectoryEntry> + '_ {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Object(entry) => Some(*entry),
            Slot::Free | Slot::Deleted => None,
        })
    }

    /// The objects of one kind, in the file's order.
    pub fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = DirectoryEntry> + '_ {
        self.entries().filter(move |entry| entry.kind() == Some(kind))
    }
}

/// The attributes of a certificate: EF `21xx` of DF `1400/9001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateAttributes {
    /// What stands in front; `0001` on the card that was seen.
    pub flags: u16,
    /// `CKA_LABEL`.
    pub label: Vec<u8>,
    /// `CKA_ID`, which the key of the certificate has as well.
    pub id: Vec<u8>,
    /// `CKA_SERIAL_NUMBER`: the number of the certificate, in the form that the writer chose.
    pub serial: Vec<u8>,
}

impl CertificateAttributes {
    /// The flags of the card that was seen.
    pub const FLAGS: u16 = 0x0001;

    /// Decodes the file; what follows the last value is ignored.
    ///
    /// # Errors
    /// When a length reaches beyond the bytes.
    pub fn decode(file: &[u8]) -> Result<Self, ApduError> {
        let mut rest = Values(file);
        let (flags, label, id) = (rest.number()?, rest.value()?, rest.value()?);
        // Two values that were empty wherever one was seen; by their place CKA_SUBJECT and CKA_ISSUER.
        let (_subject, _issuer) = (rest.value()?, rest.value()?);
        Ok(Self { flags, label: label.to_vec(), id: id.to_vec(), serial: rest.value()?.to_vec() })
    }

    /// The file.
    ///
    /// # Errors
    /// When a value has more than 65,535 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, ApduError> {
        let mut file = self.flags.to_be_bytes().to_vec();
        for value in [&self.label[..], &self.id, &[], &[], &self.serial] {
            put(&mut file, value)?;
        }
        Ok(file)
    }
}

/// The attributes of a key: EF `11xx` of DF `1400/9001` for a public one, EF `31xx` of DF `1400/9002`, which takes
/// the PIN to read, for a private one. There is nothing secret in either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttributes {
    /// What stands in front: `004D` or `0035` on the card that was seen.
    pub flags: u16,
    /// `CKA_LABEL`.
    pub label: Vec<u8>,
    /// `CKA_ID`, which the certificate of the key has as well.
    pub id: Vec<u8>,
    /// The modulus, big-endian.
    pub modulus: Vec<u8>,
    /// The public exponent, big-endian.
    pub exponent: Vec<u8>,
}

/// Which of the two files of a key: they differ in the zeros between the identifier and the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHalf {
    /// EF `11xx`: 18 zeros.
    Public,
    /// EF `31xx`: 15 zeros, by the size of the file that was seen.
    Private,
}

impl KeyHalf {
    /// The flags of the card that was seen.
    #[must_use]
    pub const fn flags(self) -> u16 {
        match self {
            Self::Public => 0x004D,
            Self::Private => 0x0035,
        }
    }

    /// Bytes without known meaning between the identifier and the modulus.
    const fn gap(self) -> usize {
        match self {
            Self::Public => 18,
            Self::Private => 15,
        }
    }
}

impl KeyAttributes {
    /// Decodes the file; what follows the exponent is ignored.
    ///
    /// # Errors
    /// When a length reaches beyond the bytes, or the modulus is longer than any chip's.
    pub fn decode(half: KeyHalf, file: &[u8]) -> Result<Self, ApduError> {
        let mut rest = Values(file);
        let (flags, label, id) = (rest.number()?, rest.value()?, rest.value()?);
        rest.skip(half.gap())?;
        let (modulus, exponent) = (rest.value()?, rest.value()?);
        if modulus.len() > LONGEST_MODULUS || exponent.len() > modulus.len() {
            return Err(ApduError::OutOfRange("length of the modulus"));
        }
        Ok(Self {
            flags,
            label: label.to_vec(),
            id: id.to_vec(),
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// The file.
    ///
    /// # Errors
    /// When a value has more than 65,535 bytes.
    pub fn encode(&self, half: KeyHalf) -> Result<Vec<u8>, ApduError> {
        let mut file = self.flags.to_be_bytes().to_vec();
        put(&mut file, &self.label)?;
        put(&mut file, &self.id)?;
        file.resize(file.len() + half.gap(), 0);
        put(&mut file, &self.modulus)?;
        put(&mut file, &self.exponent)?;
        Ok(file)
    }
}

/// The token information: EF `1400/1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInformation {
    /// `label` of `CK_TOKEN_INFO`, without the spaces that fill it.
    pub label: String,
    /// `flags` of `CK_TOKEN_INFO`.
    pub flags: u32,
}

impl TokenInformation {
    /// Bytes of the label.
    const LABEL: usize = 32;

    /// Decodes the file; what follows the flags is ignored. Bytes of the label that are no printable ASCII, which a
    /// terminal might obey, become U+FFFD.
    ///
    /// # Errors
    /// When there are fewer than 36 bytes.
    pub fn decode(file: &[u8]) -> Result<Self, ApduError> {
        let cut = || ApduError::Malformed("token information");
        let (label, rest) = file.split_first_chunk::<{ Self::LABEL }>().ok_or_else(cut)?;
        let flags = rest.first_chunk::<4>().ok_or_else(cut)?;
        let label: String = label
            .iter()
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => char::REPLACEMENT_CHARACTER,
            })
            .collect();
        Ok(Self { label: label.trim_end().to_owned(), flags: u32::from_be_bytes(*flags) })
    }

    /// The first 36 bytes of the file.
    ///
    /// # Errors
    /// When the label is longer than 32 characters, or not of printable ASCII.
    pub fn encode(&self) -> Result<[u8; TOKEN_INFORMATION_LENGTH], ApduError> {
        let printable = self.label.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable || self.label.len() > Self::LABEL {
            return Err(ApduError::OutOfRange("label of the token"));
        }
        let mut file = [b' '; TOKEN_INFORMATION_LENGTH];
        let bytes = format!("{:<32}", self.label).into_bytes();
        let all = bytes.into_iter().chain(self.flags.to_be_bytes());
        file.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
        Ok(file)
    }
}

/// Values one after the other, each with its length in two bytes.
struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    fn number(&mut self) -> Result<u16, ApduError> {
        let (number, rest) =
            self.0.split_first_chunk::<2>().ok_or(ApduError::Malformed("object attributes"))?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*number))
    }

    fn skip(&mut self, count: usize) -> Result<&'a [u8], ApduError> {
        let (skipped, rest) =
            self.0.split_at_checked(count).ok_or(ApduError::Malformed("object attributes"))?;
        self.0 = rest;
        Ok(skipped)
    }

    fn value(&mut self) -> Result<&'a [u8], ApduError> {
        let length = self.number()?;
        self.skip(usize::from(length))
    }
}

fn put(file: &mut Vec<u8>, value: &[u8]) -> Result<(), ApduError> {
    let length = u16::try_from(value.len()).map_err(|_| ApduError::OutOfRange("length of an attribute"))?;
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(value);
    Ok(())
}
