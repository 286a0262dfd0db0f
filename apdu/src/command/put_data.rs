//! PUT DATA (ISO/IEC 7816-4:2005 §7.4.3, in the CNS's coding; `cns-card` §5.14)

use cns_secret::Secret;

use super::CardCommand;
use crate::access::{AccessConditions, ObjectConditions};
use crate::bytes::concat;
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::object::{ObjectAddress, ObjectAttributes};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;
use crate::tlv::{self, Element, Lengths};

/// PUT DATA (ISO/IEC 7816-4:2005 §7.4.3): creates and changes objects in the current DF, and the current file's rights
pub enum PutData {
    /// 6E: a security object (OCI).
    Oci(ObjectSettings),
    /// 6D: a security environment (SECI).
    Seci(EnvironmentSettings),
    /// 6F: rights and name of the current file (FCI).
    Fci(FileSettings),
}

/// A security object. To create one takes all but secure messaging; to change one, what changes.
pub struct ObjectSettings {
    /// Tag 83: which object.
    pub address: ObjectAddress,
    /// Tag 85.
    pub attributes: Option<ObjectAttributes>,
    /// Tag 86.
    pub conditions: Option<ObjectConditions>,
    /// Tag CB (or 8B): secure messaging conditions.
    pub secure_messaging: Option<[u8; 16]>,
    /// Tag 8F: PIN value, key, or key component.
    pub body: Option<Secret>,
}

/// A security environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvironmentSettings {
    /// Tag 83: which environment.
    pub se: u8,
    /// Tag 86: to restore it, and a reserved byte.
    pub conditions: Option<[u8; 2]>,
    /// Tag 8F: key identifiers; index 1 signature, 3 confidentiality, 4 test.
    pub components: Option<[u8; 6]>,
}

/// Rights and name of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSettings {
    /// Tag 84: name of a DF, one to sixteen bytes.
    pub name: Option<Vec<u8>>,
    /// Tag 86.
    pub access: Option<AccessConditions>,
    /// Tag CB: secure messaging conditions.
    pub secure_messaging: Option<[u8; 24]>,
}

impl PutData {
    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86, 6A85 when the lengths do not fit the data, 6A80 when an object is missing or malformed, or 6581 when
    /// there is no locked memory.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        if apdu.p1 != 0x01 || !matches!(apdu.p2, 0x6D..=0x6F) {
            return Err(StatusWord::WRONG_PARAMETERS);
        }
        let data = apdu.data.as_bytes();
        // Incard writes one plain length byte even above 7F, so `8F 82 81 00 ...` is 130 bytes. BER is believed
        // where it fits to the byte.
        let objects = tlv::elements(data, Lengths::Ber)
            .or_else(|_| tlv::elements(data, Lengths::OneByte))
            .map_err(|_| StatusWord::LENGTH_AGAINST_TLV)?;
        match apdu.p2 {
            0x6E => ObjectSettings::from_objects(&objects).map(Self::Oci),
            0x6D => EnvironmentSettings::from_objects(&objects).map(Self::Seci),
            _ => FileSettings::from_objects(&objects).map(Self::Fci),
        }
    }
}

impl CardCommand for PutData {
    type Answer = ();
    const NAME: &'static str = "PUT DATA";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p2, data) = match self {
            Self::Oci(object) => (0x6E, object.to_bytes()?),
            Self::Seci(environment) => (0x6D, environment.to_bytes()?),
            Self::Fci(file) => (0x6F, file.to_bytes()?),
        };
        Ok(CommandApdu::new(0xDA, 0x01, p2).sensitive(data))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}

impl ObjectSettings {
    fn from_objects(objects: &[Element<'_>]) -> Result<Self, StatusWord> {
        let address =
            sized(objects, 0x83)?.and_then(ObjectAddress::from_bytes).ok_or(StatusWord::WRONG_DATA)?;
        let secure_messaging = match sized(objects, 0xCB)? {
            Some(conditions) => Some(conditions),
            None => sized(objects, 0x8B)?,
        };
        let conditions = match tlv::value_of(objects, 0x86) {
            Some(bytes) if !(7..=10).contains(&bytes.len()) => return Err(StatusWord::WRONG_DATA),
            conditions => conditions.map(ObjectConditions::from_bytes),
        };
        let body = tlv::value_of(objects, 0x8F).map(Secret::copy_from).transpose();
        Ok(Self {
            address,
            attributes: sized(objects, 0x85)?.map(ObjectAttributes::from_bytes),
            conditions,
            secure_messaging,
            body: body.map_err(|_| StatusWord::MEMORY_FAILURE)?,
        })
    }

    fn to_bytes(&self) -> Result<Secret, ApduError> {
        let attributes = self.attributes.map(ObjectAttributes::to_bytes);
        let address = self.address.to_bytes();
        write(&[
            (0x83, Some(&address)),
            (0x85, attributes.as_ref().map(<[u8; 8]>::as_slice)),
            (0x86, self.conditions.as_ref().map(|conditions| conditions.0.as_slice())),
            (0xCB, self.secure_messaging.as_ref().map(<[u8; 16]>::as_slice)),
            (0x8F, self.body.as_ref().map(Secret::expose)),
        ])
    }
}

impl EnvironmentSettings {
    fn from_objects(objects: &[Element<'_>]) -> Result<Self, StatusWord> {
        let [se] = sized(objects, 0x83)?.ok_or(StatusWord::WRONG_DATA)?;
        Ok(Self { se, conditions: sized(objects, 0x86)?, components: sized(objects, 0x8F)? })
    }

    fn to_bytes(self) -> Result<Secret, ApduError> {
        write(&[
            (0x83, Some(&[self.se])),
            (0x86, self.conditions.as_ref().map(<[u8; 2]>::as_slice)),
            (0x8F, self.components.as_ref().map(<[u8; 6]>::as_slice)),
        ])
    }
}

impl FileSettings {
    fn from_objects(objects: &[Element<'_>]) -> Result<Self, StatusWord> {
        let name = tlv::value_of(objects, 0x84);
        if name.is_some_and(|name| !(1..=16).contains(&name.len())) {
            return Err(StatusWord::WRONG_DATA);
        }
        Ok(Self {
            name: name.map(<[u8]>::to_vec),
            access: sized(objects, 0x86)?.map(AccessConditions),
            secure_messaging: sized(objects, 0xCB)?,
        })
    }

    fn to_bytes(&self) -> Result<Secret, ApduError> {
        write(&[
            (0x84, self.name.as_deref()),
            (0x86, self.access.as_ref().map(|access| access.0.as_slice())),
            (0xCB, self.secure_messaging.as_ref().map(<[u8; 24]>::as_slice)),
        ])
    }
}

/// The value of a tag, which must have this length if it is there.
fn sized<const N: usize>(objects: &[Element<'_>], tag: u32) -> Result<Option<[u8; N]>, StatusWord> {
    tlv::value_of(objects, tag).map(TryInto::try_into).transpose().map_err(|_| StatusWord::WRONG_DATA)
}

/// Tags, lengths and values: one length byte below 100, BER's `82 xx xx` from there on.
fn write(objects: &[(u8, Option<&[u8]>)]) -> Result<Secret, ApduError> {
    let mut headers = Vec::with_capacity(objects.len());
    for (tag, value) in objects {
        let Some(value) = value else { continue };
        let length = u16::try_from(value.len()).map_err(|_| ApduError::DataTooLong(value.len()))?;
        let header = match length.to_be_bytes() {
            [0, length] => vec![*tag, length],
            [high, low] => vec![*tag, 0x82, high, low],
        };
        headers.push((header, *value));
    }
    let parts: Vec<&[u8]> = headers.iter().flat_map(|(header, value)| [header.as_slice(), *value]).collect();
    Ok(concat(&parts)?)
}
