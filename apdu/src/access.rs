//! Access conditions: one byte per operation, naming the object that must be verified (`cns-card` §2.3, §3.2).

use crate::object::ObjectId;

/// What it takes to be allowed an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// Cannot be had.
    Never,
    /// This test object, searched from the protected object's DF up to the MF, is verified.
    Verified(ObjectId),
}

impl Condition {
    /// From its byte. Bytes that name no object can never be satisfied.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match (byte, ObjectId::new(byte)) {
            (0x00, _) => Self::Always,
            (_, Some(id)) => Self::Verified(id),
            (_, None) => Self::Never,
        }
    }

    /// Its byte.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Always => 0x00,
            Self::Never => 0xFF,
            Self::Verified(id) => id.value(),
        }
    }
}

/// Operations on an elementary file, by the index of their condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EfOperation {
    /// READ BINARY, READ RECORD.
    Read = 0,
    /// UPDATE BINARY, UPDATE RECORD.
    Update = 1,
    /// APPEND RECORD; the public key written by GENERATE KEY PAIR.
    Append = 2,
    /// DEACTIVATE FILE.
    Deactivate = 3,
    /// ACTIVATE FILE.
    Activate = 4,
    /// DELETE FILE.
    Delete = 5,
    /// PUT DATA FCI.
    Admin = 6,
}

/// Operations on a dedicated file and on what it holds, by the index of their condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DfOperation {
    /// PUT DATA on an object that exists.
    UpdateObjects = 1,
    /// PUT DATA that creates an object.
    AppendObjects = 2,
    /// DEACTIVATE FILE.
    Deactivate = 3,
    /// ACTIVATE FILE.
    Activate = 4,
    /// DELETE FILE.
    Delete = 5,
    /// PUT DATA FCI.
    Admin = 6,
    /// CREATE FILE inside.
    Create = 7,
}

/// The nine access bytes of a file (tag 86).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessConditions(pub [u8; 9]);

impl AccessConditions {
    /// Nothing is allowed.
    pub const NEVER: Self = Self([0xFF; 9]);
    /// An elementary file that all may read and none may change.
    pub const READ_ONLY: Self = Self([0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);

    /// From the bytes of tag 86: missing ones count as "never", more than nine are ignored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut conditions = Self::NEVER;
        for (condition, byte) in conditions.0.iter_mut().zip(bytes) {
            *condition = *byte;
        }
        conditions
    }

    /// The condition of an operation on this elementary file.
    #[must_use]
    pub fn ef(&self, operation: EfOperation) -> Condition {
        self.at(operation as usize)
    }

    /// The condition of an operation on this dedicated file.
    #[must_use]
    pub fn df(&self, operation: DfOperation) -> Condition {
        self.at(operation as usize)
    }

    fn at(&self, index: usize) -> Condition {
        self.0.get(index).map_or(Condition::Never, |byte| Condition::from_byte(*byte))
    }
}

/// The access bytes of a security object (tag 86): use, change, unblock, three reserved, generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectConditions(pub [u8; 7]);

impl ObjectConditions {
    /// With these four conditions; the reserved ones are "never".
    #[must_use]
    pub const fn new(use_: Condition, change: Condition, unblock: Condition, generate: Condition) -> Self {
        Self([use_.to_byte(), change.to_byte(), unblock.to_byte(), 0xFF, 0xFF, 0xFF, generate.to_byte()])
    }

    /// From the bytes of tag 86: missing ones count as "never", more than seven (Incard writes ten) are ignored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut conditions = Self([0xFF; 7]);
        for (condition, byte) in conditions.0.iter_mut().zip(bytes) {
            *condition = *byte;
        }
        conditions
    }

    /// To use it: VERIFY, EXTERNAL AUTHENTICATE, PERFORM SECURITY OPERATION.
    #[must_use]
    pub fn use_(&self) -> Condition {
        Condition::from_byte(self.0[0])
    }

    /// To change it: CHANGE REFERENCE DATA, CHANGE KEY DATA.
    #[must_use]
    pub fn change(&self) -> Condition {
        Condition::from_byte(self.0[1])
    }

    /// To unblock it: RESET RETRY COUNTER.
    #[must_use]
    pub fn unblock(&self) -> Condition {
        Condition::from_byte(self.0[2])
    }

    /// To generate it: GENERATE KEY PAIR.
    #[must_use]
    pub fn generate(&self) -> Condition {
        Condition::from_byte(self.0[6])
    }
}
