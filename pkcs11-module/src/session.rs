//! A session and the operations that are active in it (PKCS#11 v2.40 §5.6).

use std::sync::Arc;

use cns_secret::Secret;
use cryptoki_sys as ck;
use cryptoki_sys::{CK_FLAGS, CK_OBJECT_HANDLE, CK_SLOT_ID};

use crate::cipher::Cipher;
use crate::input::Input;
use crate::mechanism::{Hasher, Scheme};
use crate::object::PrivateKey;
use crate::public_key::PublicKey;
use crate::sign_operation::{PinSource, SignOperation};

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
    /// `C_SignRecoverInit` … `C_SignRecover`.
    pub(crate) sign_recover: Option<SignOperation>,
    /// `C_VerifyInit` … `C_VerifyFinal`, or `C_VerifySignatureInit` … `C_VerifySignatureFinal`.
    pub(crate) verify: Option<VerifyOperation>,
    /// `C_VerifyRecoverInit` … `C_VerifyRecover`.
    pub(crate) verify_recover: Option<VerifyOperation>,
    /// `C_EncryptInit` … `C_EncryptFinal`.
    pub(crate) encrypt: Option<EncryptOperation>,
    /// `C_DecryptInit` … `C_DecryptFinal`.
    pub(crate) decrypt: Option<DecryptOperation>,
}

impl Session {
    /// A session without any operation.
    pub(crate) fn new(slot: CK_SLOT_ID, read_write: bool) -> Self {
        Self {
            slot,
            read_write,
            found: None,
            digest: None,
            sign: None,
            sign_recover: None,
            verify: None,
            verify_recover: None,
            encrypt: None,
            decrypt: None,
        }
    }
}

impl Session {
    /// The operation whose key wants the PIN anew, if there is one.
    pub(crate) fn wanting_pin(&mut self) -> Option<&mut Option<PinSource>> {
        let operations = [&mut self.sign, &mut self.sign_recover].into_iter().flatten();
        operations
            .filter(|operation| operation.key.pin_for_each_use)
            .map(|operation| &mut operation.pin)
            .next()
    }

    /// Forgets what only the login gave, which is gone: what was decrypted and not fetched yet, and the PIN that was
    /// given for a signature.
    pub(crate) fn lose_login(&mut self) {
        if let Some(operation) = &mut self.decrypt {
            operation.done = None;
        }
        for operation in [&mut self.sign, &mut self.sign_recover].into_iter().flatten() {
            operation.pin = None;
        }
    }

    /// Ends the operations that `flags` names (PKCS#11 v3.2 §5.6 `C_SessionCancel`); answers whether one was active.
    pub(crate) fn cancel(&mut self, flags: CK_FLAGS) -> bool {
        // Named one by one, so that an operation that is added is not forgotten here.
        let Self {
            slot: _,
            read_write: _,
            found,
            digest,
            sign,
            sign_recover,
            verify,
            verify_recover,
            encrypt,
            decrypt,
        } = self;
        let ended = [
            end(found, flags, ck::CKF_FIND_OBJECTS),
            end(digest, flags, ck::CKF_DIGEST),
            end(sign, flags, ck::CKF_SIGN),
            end(sign_recover, flags, ck::CKF_SIGN_RECOVER),
            end(verify, flags, ck::CKF_VERIFY),
            end(verify_recover, flags, ck::CKF_VERIFY_RECOVER),
            end(encrypt, flags, ck::CKF_ENCRYPT),
            end(decrypt, flags, ck::CKF_DECRYPT),
        ];
        ended.contains(&true)
    }
}

fn end<T>(operation: &mut Option<T>, flags: CK_FLAGS, its_flag: CK_FLAGS) -> bool {
    flags & its_flag != 0 && operation.take().is_some()
}

/// A digest that is being made.
pub(crate) struct DigestOperation {
    pub(crate) hasher: Hasher,
    /// Whether `C_DigestUpdate` was called: then `C_Digest` may not be.
    pub(crate) in_parts: bool,
}

/// A signature that is being verified.
pub(crate) struct VerifyOperation {
    pub(crate) key: Arc<PublicKey>,
    pub(crate) scheme: Scheme,
    pub(crate) input: Input,
    /// Whether `C_VerifyUpdate` was called: then `C_Verify` may not be.
    pub(crate) in_parts: bool,
    /// The signature, where it came with `C_VerifySignatureInit`.
    pub(crate) signature: Option<Vec<u8>>,
}

/// Data that is being decrypted.
pub(crate) struct DecryptOperation {
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) cipher: Cipher,
    /// The most data that there can be.
    pub(crate) most: usize,
    pub(crate) input: Input,
    /// Whether `C_DecryptUpdate` was called: then `C_Decrypt` may not be.
    pub(crate) in_parts: bool,
    /// What was decrypted, and what of, when it did not fit into the application's buffer.
    pub(crate) done: Option<(Vec<u8>, Secret)>,
}

impl DecryptOperation {
    /// How much room the data needs at most: all that can be said before it is decrypted.
    pub(crate) fn length(&self) -> usize {
        self.done.as_ref().map_or(self.most, |(_, data)| data.len())
    }
}

/// Data that is being encrypted.
pub(crate) struct EncryptOperation {
    pub(crate) key: Arc<PublicKey>,
    pub(crate) cipher: Cipher,
    pub(crate) input: Input,
    /// Whether `C_EncryptUpdate` was called: then `C_Encrypt` may not be.
    pub(crate) in_parts: bool,
}
