//! Functions that the `cryptoki` crate has no method for: two operations in one call, and a signature that comes first.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::*;
use rsa::{Pkcs1v15Encrypt, Pkcs1v15Sign};
use sha2::{Digest, Sha256};

use crate::desk::Desk;
use crate::public_key::{key, public_object};
use crate::raw::{Raw, Turn, begin};

const TEXT: &[u8] = b"a text that comes in two parts";

/// Passes data to two operations, in two parts; what comes, which is nothing before the end.
fn pass(turn: Turn, session: &Session, data: &[u8]) -> CK_RV {
    let middle = data.len() / 2;
    for part in [&data[..middle], &data[middle..]] {
        let (mut place, mut length) = ([0xEE; 256], 256);
        let count = CK_ULONG::try_from(part.len()).unwrap();
        let code = unsafe {
            turn(session.handle(), part.as_ptr().cast_mut(), count, place.as_mut_ptr(), &raw mut length)
        };
        if code != CKR_OK {
            return code;
        }
        assert_eq!((length, place), (0, [0xEE; 256]));
    }
    CKR_OK
}

/// Ends an operation that gives something.
fn last(
    end: unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV,
    session: &Session,
) -> Vec<u8> {
    let (mut place, mut length) = (vec![0; 256], 256);
    assert_eq!(unsafe { end(session.handle(), place.as_mut_ptr(), &raw mut length) }, CKR_OK);
    place.truncate(usize::try_from(length).unwrap());
    place
}

#[test]
fn two_operations_take_the_same_parts() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let public = public_object(&session);
    let raw = Raw::new();
    let p11 = raw.functions();
    let digest_init = || session.digest_init(&Mechanism::Sha256).unwrap();
    let opened = |encrypted: &[u8]| key().decrypt(Pkcs1v15Encrypt, encrypted).unwrap();

    digest_init();
    assert_eq!(begin(p11.C_EncryptInit.unwrap(), &session, CKM_RSA_PKCS, public), CKR_OK);
    assert_eq!(pass(p11.C_DigestEncryptUpdate.unwrap(), &session, TEXT), CKR_OK);
    let encrypted = last(p11.C_EncryptFinal.unwrap(), &session);
    assert_eq!(opened(&encrypted), TEXT);
    assert_eq!(last(p11.C_DigestFinal.unwrap(), &session), Sha256::digest(TEXT).to_vec());

    assert_eq!(begin(p11.C_SignInit.unwrap(), &session, CKM_SHA256_RSA_PKCS, private), CKR_OK);
    assert_eq!(begin(p11.C_EncryptInit.unwrap(), &session, CKM_RSA_PKCS, public), CKR_OK);
    assert_eq!(pass(p11.C_SignEncryptUpdate.unwrap(), &session, TEXT), CKR_OK);
    assert_eq!(opened(&last(p11.C_EncryptFinal.unwrap(), &session)), TEXT);
    let signature = last(p11.C_SignFinal.unwrap(), &session);
    let scheme = Pkcs1v15Sign::new::<Sha256>();
    key().to_public_key().verify(scheme, &Sha256::digest(TEXT), &signature).unwrap();

    // What is decrypted comes at the end, and the application passes it on itself.
    digest_init();
    assert_eq!(begin(p11.C_DecryptInit.unwrap(), &session, CKM_RSA_PKCS, private), CKR_OK);
    assert_eq!(pass(p11.C_DecryptDigestUpdate.unwrap(), &session, &encrypted), CKR_OK);
    let text = last(p11.C_DecryptFinal.unwrap(), &session);
    session.digest_update(&text).unwrap();
    assert_eq!(session.digest_final().unwrap(), Sha256::digest(TEXT).to_vec());

    assert_eq!(begin(p11.C_VerifyInit.unwrap(), &session, CKM_SHA256_RSA_PKCS, public), CKR_OK);
    assert_eq!(begin(p11.C_DecryptInit.unwrap(), &session, CKM_RSA_PKCS, private), CKR_OK);
    assert_eq!(pass(p11.C_DecryptVerifyUpdate.unwrap(), &session, &encrypted), CKR_OK);
    session.verify_update(&last(p11.C_DecryptFinal.unwrap(), &session)).unwrap();
    session.verify_final(&signature).unwrap();
}

#[test]
fn one_of_two_operations_that_is_missing_or_fails_is_told() {
    let desk = Desk::set_up();
    let (session, _) = desk.logged_in();
    let public = public_object(&session);
    let raw = Raw::new();
    let p11 = raw.functions();
    let update = p11.C_DigestEncryptUpdate.unwrap();
    session.digest_init(&Mechanism::Sha256).unwrap();
    assert_eq!(pass(update, &session, TEXT), CKR_OPERATION_NOT_INITIALIZED);
    // The one that is there goes on.
    session.digest_update(TEXT).unwrap();
    assert_eq!(begin(p11.C_EncryptInit.unwrap(), &session, CKM_RSA_PKCS, public), CKR_OK);
    assert_eq!(pass(update, &session, &[0; 600]), CKR_DATA_LEN_RANGE);
    // One has lost a part, so both are over.
    assert_eq!(pass(update, &session, TEXT), CKR_OPERATION_NOT_INITIALIZED);
    session.digest_init(&Mechanism::Sha256).unwrap();
    assert_eq!(begin(p11.C_EncryptInit.unwrap(), &session, CKM_RSA_PKCS, public), CKR_OK);
}

/// The functions of version 3.2 by which a signature is verified that comes before what is signed.
struct VerifySignature {
    raw: Raw,
}

impl VerifySignature {
    fn init(&self, session: &Session, key: ObjectHandle, signature: &[u8]) -> CK_RV {
        type Init = unsafe extern "C" fn(
            CK_SESSION_HANDLE,
            *mut CK_MECHANISM,
            CK_OBJECT_HANDLE,
            *const CK_BYTE,
            CK_ULONG,
        ) -> CK_RV;
        let init = self.raw.symbol::<Init>(b"C_VerifySignatureInit\0");
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_SHA256_RSA_PKCS,
            pParameter: std::ptr::null_mut(),
            ulParameterLen: 0,
        };
        let length = CK_ULONG::try_from(signature.len()).unwrap();
        unsafe { init(session.handle(), &raw mut mechanism, key.handle(), signature.as_ptr(), length) }
    }

    fn data(&self, name: &[u8], session: &Session, data: &[u8]) -> CK_RV {
        type Take = unsafe extern "C" fn(CK_SESSION_HANDLE, *const CK_BYTE, CK_ULONG) -> CK_RV;
        let take = self.raw.symbol::<Take>(name);
        unsafe { take(session.handle(), data.as_ptr(), CK_ULONG::try_from(data.len()).unwrap()) }
    }

    fn end(&self, session: &Session) -> CK_RV {
        type End = unsafe extern "C" fn(CK_SESSION_HANDLE) -> CK_RV;
        unsafe { self.raw.symbol::<End>(b"C_VerifySignatureFinal\0")(session.handle()) }
    }
}

#[test]
fn a_signature_may_come_before_the_text() {
    let desk = Desk::set_up();
    let session = desk.session();
    let public = public_object(&session);
    let p11 = VerifySignature { raw: Raw::new() };
    let signature = key().sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(TEXT)).unwrap();
    let whole = b"C_VerifySignature\0";
    let part = b"C_VerifySignatureUpdate\0";

    assert_eq!(p11.init(&session, public, &signature[1..]), CKR_SIGNATURE_LEN_RANGE);
    for (text, wanted) in [(TEXT, CKR_OK), (b"another text".as_slice(), CKR_SIGNATURE_INVALID)] {
        assert_eq!(p11.init(&session, public, &signature), CKR_OK);
        assert_eq!(p11.init(&session, public, &signature), CKR_OPERATION_ACTIVE);
        assert_eq!(p11.data(whole, &session, text), wanted);
        assert_eq!(p11.data(whole, &session, text), CKR_OPERATION_NOT_INITIALIZED);

        assert_eq!(p11.init(&session, public, &signature), CKR_OK);
        let (first, rest) = text.split_at(5);
        assert_eq!(p11.data(part, &session, first), CKR_OK);
        assert_eq!(p11.data(part, &session, rest), CKR_OK);
        assert_eq!(p11.end(&session), wanted);
        assert_eq!(p11.end(&session), CKR_OPERATION_NOT_INITIALIZED);
    }
    // The other way to verify does not end what was begun this way.
    assert_eq!(p11.init(&session, public, &signature), CKR_OK);
    assert!(session.verify_final(&signature).is_err());
}
