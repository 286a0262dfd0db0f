//! Base security objects (PINs, keys) and security environments, as the chip stores them.

use cns_apdu::access::{Condition, ObjectConditions};
use cns_apdu::file_map::FilePath;
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_apdu::secure_messaging::{
    Conditions, KeyNumbers, OBJECT_CHANGE, OBJECT_UNBLOCK, OBJECT_USE, OBJECT_USE_RESPONSE,
};
use cns_secret::Secret;
use serde::{Deserialize, Serialize};

use crate::hexadecimal;

/// The error counter of an object without a limit.
const UNLIMITED: u8 = 0x0F;
/// The use counter of an object without a limit.
const UNLIMITED_USES: u8 = 0xFF;

/// One object of the whole card: several directories may hold the same class and identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectReference {
    pub(crate) directory: FilePath,
    pub(crate) address: ObjectAddress,
}

impl ObjectReference {
    /// The same identifier in another class: the other component of a key.
    pub(crate) fn of_class(&self, class: ObjectClass) -> Self {
        Self { directory: self.directory.clone(), address: ObjectAddress::new(class, self.address.id) }
    }
}

/// Tags 83, 85, 86, CB and 8F of PUT DATA OCI, and the counter that the chip keeps beside them.
#[derive(Serialize, Deserialize)]
pub(crate) struct SecurityObject {
    #[serde(with = "address")]
    pub(crate) address: ObjectAddress,
    #[serde(with = "hexadecimal")]
    pub(crate) attributes: [u8; 8],
    #[serde(with = "hexadecimal")]
    pub(crate) access: [u8; 7],
    #[serde(with = "hexadecimal")]
    pub(crate) secure_messaging: [u8; 16],
    /// Errors still allowed; without meaning where there is no limit.
    pub(crate) tries_left: u8,
    /// Uses still allowed; FF is no limit.
    #[serde(default = "unlimited_uses")]
    pub(crate) uses_left: u8,
    #[serde(with = "hexadecimal::secret")]
    pub(crate) body: Secret,
}

const fn unlimited_uses() -> u8 {
    UNLIMITED_USES
}

/// Operations on an object that its access conditions guard (tag 86).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectOperation {
    /// A use whose answer is data: PERFORM SECURITY OPERATION, INTERNAL AUTHENTICATE.
    Use,
    /// A use whose answer is a status word: VERIFY, EXTERNAL AUTHENTICATE.
    Present,
    Change,
    Unblock,
    GenerateKeyPair,
}

impl SecurityObject {
    pub(crate) fn attributes(&self) -> ObjectAttributes {
        ObjectAttributes::from_bytes(self.attributes)
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.attributes().algorithm
    }

    pub(crate) fn condition(&self, operation: ObjectOperation) -> Condition {
        let conditions = ObjectConditions(self.access);
        match operation {
            ObjectOperation::Use | ObjectOperation::Present => conditions.use_(),
            ObjectOperation::Change => conditions.change(),
            ObjectOperation::Unblock => conditions.unblock(),
            ObjectOperation::GenerateKeyPair => conditions.generate(),
        }
    }

    /// The secure messaging keys that `operation` demands of the command (tag CB of the object).
    pub(crate) fn command_keys(&self, operation: ObjectOperation) -> KeyNumbers {
        let conditions = Conditions(&self.secure_messaging);
        match operation {
            ObjectOperation::Use | ObjectOperation::Present => conditions.at(OBJECT_USE),
            ObjectOperation::Change => conditions.at(OBJECT_CHANGE),
            ObjectOperation::Unblock => conditions.at(OBJECT_UNBLOCK),
            ObjectOperation::GenerateKeyPair => KeyNumbers::default(),
        }
    }

    /// The secure messaging keys that `operation` demands of the response; most have none that could be protected.
    pub(crate) fn response_keys(&self, operation: ObjectOperation) -> KeyNumbers {
        match operation {
            ObjectOperation::Use => Conditions(&self.secure_messaging).at(OBJECT_USE_RESPONSE),
            ObjectOperation::Present
            | ObjectOperation::Change
            | ObjectOperation::Unblock
            | ObjectOperation::GenerateKeyPair => KeyNumbers::default(),
        }
    }

    /// The counter that a new object starts with: the flags byte for a PIN, else the maximum.
    pub(crate) fn initial_tries(&self) -> u8 {
        let attributes = self.attributes();
        let maximum = attributes.tries_allowed().unwrap_or(UNLIMITED);
        match (attributes.algorithm, attributes.flags & 0x0F) {
            (Algorithm::Pin, 1..) => maximum.min(attributes.flags & 0x0F),
            (_, _) => maximum,
        }
    }

    pub(crate) fn maximum_tries(&self) -> u8 {
        self.attributes().tries_allowed().unwrap_or(UNLIMITED)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.attributes().tries_allowed().is_some()
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_limited() && self.tries_left == 0
    }

    /// Whether the object may be used only so many times.
    pub(crate) fn has_limited_uses(&self) -> bool {
        self.attributes().uses != UNLIMITED_USES
    }

    /// Gives the object a new value: all its tries and uses come back.
    pub(crate) fn set_body(&mut self, body: Secret) {
        self.body = body;
        self.tries_left = self.maximum_tries();
        self.uses_left = self.attributes().uses;
    }

    /// How many protected operations one verification covers; `None` is unlimited.
    pub(crate) fn validity(&self) -> Option<u8> {
        match self.attributes().validity {
            0 | 0xFF => None,
            limited => Some(limited),
        }
    }
}

/// A security environment: which key serves which kind of operation.
#[derive(Serialize, Deserialize)]
pub(crate) struct SecurityEnvironment {
    pub(crate) identifier: u8,
    #[serde(with = "hexadecimal")]
    pub(crate) access: [u8; 2],
    #[serde(with = "hexadecimal")]
    pub(crate) components: [u8; 6],
}

impl SecurityEnvironment {
    /// The condition for loading it.
    pub(crate) fn restore_condition(&self) -> Condition {
        let [restore, _] = self.access;
        Condition::from_byte(restore)
    }

    pub(crate) fn signature_key(&self) -> Option<ObjectId> {
        let [_, key, ..] = self.components;
        ObjectId::new(key)
    }

    pub(crate) fn confidentiality_key(&self) -> Option<ObjectId> {
        let [_, _, _, key, ..] = self.components;
        ObjectId::new(key)
    }

    pub(crate) fn test_object(&self) -> Option<ObjectId> {
        let [_, _, _, _, object, _] = self.components;
        ObjectId::new(object)
    }
}

/// An object's address as four hexadecimal digits, class first.
mod address {
    use cns_apdu::object::ObjectAddress;
    use serde::{Deserializer, Serializer, de::Error};

    use crate::hexadecimal;

    pub(super) fn serialize<S: Serializer>(
        address: &ObjectAddress,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        hexadecimal::serialize(address.to_bytes(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectAddress, D::Error> {
        let bytes: [u8; 2] = hexadecimal::deserialize(deserializer)?;
        ObjectAddress::from_bytes(bytes).ok_or_else(|| D::Error::custom("no such class or identifier"))
    }
}
