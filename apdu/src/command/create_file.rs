//! CREATE FILE (ISO/IEC 7816-9; `cns-card` §5.15)

use super::{CardCommand, parameters};
use crate::access::AccessConditions;
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::fci::{FileControlInformation, FileDescriptor};
use crate::file_map::Fid;
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;
use crate::tlv::{self, Element, Lengths};

/// CREATE FILE (ISO/IEC 7816-9) in the current DF; the new file becomes the current one
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateFile {
    /// Its identifier.
    pub file: Fid,
    /// What it is.
    pub descriptor: FileDescriptor,
    /// Bytes of an EF, room for a DF.
    pub size: u16,
    /// Who may do what with it.
    pub access: AccessConditions,
    /// Name of a DF, one to sixteen bytes.
    pub name: Option<Vec<u8>>,
    /// Secure messaging conditions.
    pub secure_messaging: Option<[u8; 24]>,
}

impl CreateFile {
    /// A file without name and without secure messaging.
    #[must_use]
    pub const fn new(file: Fid, descriptor: FileDescriptor, size: u16, access: AccessConditions) -> Self {
        Self { file, descriptor, size, access, name: None, secure_messaging: None }
    }

    /// What a chip makes of it. The template is 62 or 6F; an unknown kind of file, a reserved identifier, or a
    /// size that does not suit the kind is wrong data.
    ///
    /// # Errors
    /// 6A86 or 6A80.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        parameters::require(apdu, 0x00, 0x00)?;
        let template = match tlv::elements(apdu.data.as_bytes(), Lengths::Ber).as_deref() {
            Ok([Element { tag: 0x62 | 0x6F, value }]) => *value,
            Ok(_) | Err(_) => return Err(StatusWord::WRONG_DATA),
        };
        let objects = tlv::elements(template, Lengths::Ber).map_err(|_| StatusWord::WRONG_DATA)?;
        Self::from_objects(&objects).ok_or(StatusWord::WRONG_DATA)
    }

    fn from_objects(objects: &[Element<'_>]) -> Option<Self> {
        let find = |tag| tlv::value_of(objects, tag);
        let descriptor = FileDescriptor(find(0x82)?.try_into().ok()?);
        let dedicated = descriptor.kind()?.is_dedicated();
        let size = match (find(0x80), find(0x81)) {
            (Some(size), None) if !dedicated => size,
            (None, Some(size)) if dedicated => size,
            (_, _) => return None,
        };
        let file = Fid(u16::from_be_bytes(find(0x83)?.try_into().ok()?));
        let access = AccessConditions(find(0x86)?.try_into().ok()?);
        let secure_messaging = find(0xCB).map(TryInto::try_into).transpose().ok()?;
        let name = find(0x84);
        let name_fits = name.is_none_or(|name| dedicated && (1..=16).contains(&name.len()));
        if file.is_reserved() || !name_fits {
            return None;
        }
        let size = u16::from_be_bytes(size.try_into().ok()?);
        Some(Self { file, descriptor, size, access, name: name.map(<[u8]>::to_vec), secure_messaging })
    }
}

impl CardCommand for CreateFile {
    type Answer = ();
    const NAME: &'static str = "CREATE FILE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let template = FileControlInformation {
            size: Some(u32::from(self.size)),
            descriptor: Some(self.descriptor),
            name: self.name.clone(),
            file: Some(self.file),
            access: Some(self.access),
            life_cycle: None,
            secure_messaging: self.secure_messaging,
        };
        Ok(CommandApdu::new(0xE0, 0x00, 0x00).plain(template.encode_template()?))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
