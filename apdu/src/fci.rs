//! File control information: what SELECT answers and CREATE FILE asks for (`cns-card` §5.1, §5.15).

use crate::access::AccessConditions;
use crate::error::ApduError;
use crate::file_map::{Fid, FileKind};
use crate::tlv;

/// Tag of the template in an answer.
const FCI: u32 = 0x6F;
/// Tag of the template in CREATE FILE.
const FCP: u32 = 0x62;

/// The three bytes of tag 82: kind and record length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDescriptor(pub [u8; 3]);

impl FileDescriptor {
    /// A string of bytes.
    pub const TRANSPARENT: Self = Self([0x01, 0x00, 0x00]);
    /// Simple-TLV records.
    pub const LINEAR_TLV: Self = Self([0x05, 0xFF, 0xFF]);
    /// A dedicated file.
    pub const DEDICATED: Self = Self([0x38, 0x00, 0x00]);

    /// What kind of file it is; `None` if unknown.
    #[must_use]
    pub const fn kind(self) -> Option<FileKind> {
        let [kind, _, _] = self.0;
        FileKind::new(kind)
    }

    /// The length of every record, for kinds where it is fixed.
    #[must_use]
    pub const fn record_length(self) -> u8 {
        let [_, _, length] = self.0;
        length
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [kind] => Some(Self([kind, 0, 0])),
            [kind, coding] => Some(Self([kind, coding, 0])),
            [kind, coding, length, ..] => Some(Self([kind, coding, length])),
            [] => None,
        }
    }
}

/// Where in its life a file is (tag 8A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeCycle {
    /// 05.
    Activated,
    /// 04.
    Deactivated,
    /// Anything else, kept.
    Other(u8),
}

impl LifeCycle {
    /// Its byte.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Activated => 0x05,
            Self::Deactivated => 0x04,
            Self::Other(byte) => byte,
        }
    }
}

/// What a chip tells about a file. Everything may be absent: chips differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileControlInformation {
    /// Bytes of an EF, room of a DF (tag 80 or 81).
    pub size: Option<u32>,
    /// Tag 82.
    pub descriptor: Option<FileDescriptor>,
    /// Tag 84: name of a DF, one to sixteen bytes.
    pub name: Option<Vec<u8>>,
    /// Tag 83.
    pub file: Option<Fid>,
    /// Tag 86.
    pub access: Option<AccessConditions>,
    /// Tag 8A.
    pub life_cycle: Option<LifeCycle>,
    /// Tag CB: secure messaging conditions, FF for none.
    pub secure_messaging: Option<[u8; 24]>,
}

impl FileControlInformation {
    /// Whether it is a dedicated file.
    #[must_use]
    pub fn is_dedicated(&self) -> bool {
        self.descriptor.and_then(FileDescriptor::kind) == Some(FileKind::Dedicated)
    }

    /// Decodes an answer of SELECT: template 6F or 62, any order, unknown tags ignored.
    ///
    /// # Errors
    /// When the bytes are no such template.
    pub fn decode(bytes: &[u8]) -> Result<Self, ApduError> {
        let template = tlv::parse(bytes)?;
        let tag: u64 = template.tag().clone().into();
        if tag != u64::from(FCI) && tag != u64::from(FCP) {
            return Err(ApduError::Malformed("file control information"));
        }
        let objects = tlv::children(&template);
        let find = |tag| tlv::find(objects, tag);
        Ok(Self {
            size: find(0x80).or_else(|| find(0x81)).and_then(number),
            descriptor: find(0x82).and_then(FileDescriptor::from_bytes),
            name: find(0x84).filter(|name| (1..=16).contains(&name.len())).map(<[u8]>::to_vec),
            file: find(0x83).and_then(|fid| fid.try_into().ok()).map(|fid| Fid(u16::from_be_bytes(fid))),
            access: find(0x86).map(AccessConditions::from_bytes),
            life_cycle: find(0x8A).and_then(<[u8]>::first).map(|byte| match byte {
                0x05 => LifeCycle::Activated,
                0x04 => LifeCycle::Deactivated,
                other => LifeCycle::Other(*other),
            }),
            secure_messaging: find(0xCB).and_then(|conditions| conditions.try_into().ok()),
        })
    }

    /// The answer of SELECT, tags in the order of a real chip.
    ///
    /// # Errors
    /// When the size does not fit two bytes.
    pub fn encode(&self) -> Result<Vec<u8>, ApduError> {
        Ok(tlv::encode(FCI, &self.objects()?))
    }

    /// The data of CREATE FILE.
    ///
    /// # Errors
    /// When the size does not fit two bytes.
    pub fn encode_template(&self) -> Result<Vec<u8>, ApduError> {
        Ok(tlv::encode(FCP, &self.objects()?))
    }

    fn objects(&self) -> Result<Vec<u8>, ApduError> {
        let mut bytes = Vec::new();
        let mut put = |tag, value: &[u8]| bytes.extend(tlv::encode(tag, value));
        if let Some(size) = self.size {
            let size = u16::try_from(size).map_err(|_| ApduError::OutOfRange("file size"))?;
            put(if self.is_dedicated() { 0x81 } else { 0x80 }, &size.to_be_bytes());
        }
        if let Some(FileDescriptor(descriptor)) = self.descriptor {
            put(0x82, &descriptor);
        }
        if let Some(name) = &self.name {
            put(0x84, name);
        }
        if let Some(file) = self.file {
            put(0x83, &file.to_bytes());
        }
        put(0x85, &[0x01]);
        if let Some(AccessConditions(access)) = self.access {
            put(0x86, &access);
        }
        if let Some(life_cycle) = self.life_cycle {
            put(0x8A, &[life_cycle.to_byte()]);
        }
        if let Some(conditions) = &self.secure_messaging {
            put(0xCB, conditions);
        }
        Ok(bytes)
    }
}

/// A big-endian number of up to four bytes.
pub(crate) fn number(bytes: &[u8]) -> Option<u32> {
    match bytes.len() {
        1..=4 => Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))),
        _ => None,
    }
}
