//! Which keys a file or object demands for an operation (tag CB, `cns-card` §2.4).

/// Where the pair of an operation lies: the key that enciphers there, the key that signs in the next byte.
pub type Place = usize;

/// Of an elementary file: the response to READ BINARY and READ RECORD.
pub const EF_READ_RESPONSE: Place = 0;
/// Of an elementary file: UPDATE BINARY and UPDATE RECORD.
pub const EF_UPDATE: Place = 2;
/// Of an elementary file: APPEND RECORD.
pub const EF_APPEND: Place = 4;
/// Of an elementary file: the command READ BINARY or READ RECORD.
pub const EF_READ_COMMAND: Place = 22;
/// Of a dedicated file: PUT DATA on its objects and environments, new or not.
pub const DF_OBJECTS: Place = 2;
/// Of a dedicated file: CREATE FILE in it.
pub const DF_CREATE: Place = 14;
/// Of any file: PUT DATA FCI.
pub const FILE_ADMIN: Place = 12;
/// Of a security object: VERIFY, EXTERNAL and INTERNAL AUTHENTICATE, PERFORM SECURITY OPERATION.
pub const OBJECT_USE: Place = 0;
/// Of a security object: CHANGE REFERENCE DATA and CHANGE KEY DATA.
pub const OBJECT_CHANGE: Place = 2;
/// Of a security object: RESET RETRY COUNTER.
pub const OBJECT_UNBLOCK: Place = 4;
/// Of a security object: the response to a use of it.
pub const OBJECT_USE_RESPONSE: Place = 14;

const NONE: u8 = 0xFF;

/// The bytes of tag CB: 24 of a file, 16 of a security object.
#[derive(Clone, Copy)]
pub struct Conditions<'a>(pub &'a [u8]);

/// The numbers of the keys that one direction of an operation demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyNumbers {
    /// The key that enciphers, as its byte.
    pub encryption: Option<u8>,
    /// The key that signs, as its byte.
    pub signature: Option<u8>,
}

impl Conditions<'_> {
    /// What is demanded at `place`. Bytes that are not there demand nothing.
    #[must_use]
    pub fn at(self, place: Place) -> KeyNumbers {
        let key = |place: usize| self.0.get(place).copied().filter(|key| *key != NONE);
        KeyNumbers { encryption: key(place), signature: key(place + 1) }
    }
}

impl KeyNumbers {
    /// Whether nothing is demanded.
    #[must_use]
    pub const fn are_none(self) -> bool {
        self.encryption.is_none() && self.signature.is_none()
    }
}
