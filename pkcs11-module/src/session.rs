//! A session and the operations that are active in it (PKCS#11 v2.40 §5.6).

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SLOT_ID};

use crate::mechanism::Hasher;
use crate::sign_operation::SignOperation;

/// An open session.
pub(crate) struct Session {
    /// The slot whose token it is with.
    pub(crate) slot: CK_SLOT_ID,
    /// Whether it may change the token, which here means its PIN.
    pub(crate) read_write: bool,
    /// `C_FindObjectsInit` … `C_FindObjectsFinal`: what was found and not fetched yet.
    pub(crate) found: Option<Vec<CK_OBJECT_HANDLE>>,
    /// `C_DigestInit` … `C_DigestFinal`.
    pub(crate) digest: Option<DigestOperation>,
    /// `C_SignInit` … `C_SignFinal`.
    pub(crate) sign: Option<SignOperation>,
}

impl Session {
    /// A session without any operation.
    pub(crate) fn new(slot: CK_SLOT_ID, read_write: bool) -> Self {
        Self { slot, read_write, found: None, digest: None, sign: None }
    }
}

/// A digest that is being made.
pub(crate) struct DigestOperation {
    pub(crate) hasher: Hasher,
    /// Whether `C_DigestUpdate` was called: then `C_Digest` may not be.
    pub(crate) in_parts: bool,
}
