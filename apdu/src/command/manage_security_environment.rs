//! MANAGE SECURITY ENVIRONMENT (ISO/IEC 7816-4:2005 §7.5.11, in the CNS's coding; `cns-card` §5.12)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::object::ObjectId;
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// MANAGE SECURITY ENVIRONMENT (ISO/IEC 7816-4:2005 §7.5.11)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManageSecurityEnvironment {
    /// Makes a stored environment the current one.
    Restore {
        /// Its identifier.
        se: u8,
    },
    /// Puts a key in the current environment.
    Set {
        /// For which use.
        template: Template,
        /// Which key.
        key: ObjectId,
    },
}

/// What a key in the security environment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// B6: digital signature (component CDS).
    Signature,
    /// B8: confidentiality (component CON).
    Confidentiality,
    /// A4: authentication (component TEST).
    Authentication,
}

impl Template {
    const fn new(tag: u8) -> Option<Self> {
        match tag {
            0xB6 => Some(Self::Signature),
            0xB8 => Some(Self::Confidentiality),
            0xA4 => Some(Self::Authentication),
            _ => None,
        }
    }

    const fn tag(self) -> u8 {
        match self {
            Self::Signature => 0xB6,
            Self::Confidentiality => 0xB8,
            Self::Authentication => 0xA4,
        }
    }
}

impl ManageSecurityEnvironment {
    /// What a chip makes of it. RESTORE comes with or without a fifth byte of zero; SET names the key under tag
    /// 83 or 84.
    ///
    /// # Errors
    /// 6A86, 6700, 6A80, or 6A88 for a key that cannot exist.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        match (apdu.p1, Template::new(apdu.p2)) {
            (0xF3, _) => parameters::no_data(apdu).map(|()| Self::Restore { se: apdu.p2 }),
            (0xF1, Some(template)) => match apdu.data.as_bytes() {
                [0x83 | 0x84, 0x01, key] => {
                    let key = ObjectId::new(*key).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
                    Ok(Self::Set { template, key })
                }
                [_, _, _] => Err(StatusWord::WRONG_DATA),
                _ => Err(StatusWord::WRONG_LENGTH),
            },
            (_, _) => Err(StatusWord::WRONG_PARAMETERS),
        }
    }
}

impl CardCommand for ManageSecurityEnvironment {
    type Answer = ();
    const NAME: &'static str = "MANAGE SECURITY ENVIRONMENT";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(match self {
            // The fifth byte is meant as Lc = 00; in a reader's eyes it is Le, and every chip takes it.
            Self::Restore { se } => CommandApdu::new(0x22, 0xF3, *se).expecting(256),
            Self::Set { template, key } => {
                CommandApdu::new(0x22, 0xF1, template.tag()).plain(vec![0x83, 0x01, key.value()])
            }
        })
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}

/// MANAGE SECURITY ENVIRONMENT RESTORE of four bytes: what chips were seen to take as well (`real-cards` §4, 11), for
/// those that answer 6700 to the fifth byte
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreWithoutLength {
    /// The environment's identifier.
    pub se: u8,
}

impl CardCommand for RestoreWithoutLength {
    type Answer = ();
    const NAME: &'static str = ManageSecurityEnvironment::NAME;

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        Ok(CommandApdu::new(0x22, 0xF3, self.se))
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        Self::accepted(response).map(drop)
    }
}
