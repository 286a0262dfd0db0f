//! What is done with public keys: verified, recovered, encrypted. No login is needed, and the card is left alone.

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::*;
use rsa::pkcs1v15::{Pkcs1v15Encrypt, Pkcs1v15Sign};
use rsa::pss::Pss;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Oaep, RsaPrivateKey};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::desk::{Desk, private_keys, refusal};
use crate::raw::{Raw, ask, begin, get};
use crate::signing::{pss, traffic};

/// The sample card's key: another implementation signs and decrypts with it.
pub(crate) fn key() -> RsaPrivateKey {
    cns_virtual_card::sample::key().unwrap()
}

pub(crate) fn public_object(session: &Session) -> ObjectHandle {
    session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY)]).unwrap()[0]
}

/// The private operation on a number.
fn private(number: &BigUint) -> BigUint {
    use rsa::traits::PrivateKeyParts;
    number.modpow(key().d(), key().n())
}

#[test]
fn signatures_of_another_implementation_are_verified() {
    let desk = Desk::set_up();
    let session = desk.session();
    let (public, key, text) = (public_object(&session), key(), b"a text");
    let mut random = rand_core::OsRng;
    let before = traffic();

    let pkcs1 = [
        (Mechanism::Sha1RsaPkcs, key.sign(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(text))),
        (Mechanism::Sha224RsaPkcs, key.sign(Pkcs1v15Sign::new::<Sha224>(), &Sha224::digest(text))),
        (Mechanism::Sha256RsaPkcs, key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text))),
        (Mechanism::Sha384RsaPkcs, key.sign(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(text))),
        (Mechanism::Sha512RsaPkcs, key.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(text))),
        (Mechanism::RsaPkcs, key.sign(Pkcs1v15Sign::new_unprefixed(), text)),
    ];
    let (sha256, sha384) = (Sha256::digest(text), Sha384::digest(text));
    let with_sha256 = key.sign_with_rng(&mut random, Pss::new_with_salt::<Sha256>(32), &sha256);
    let with_sha384 = key.sign_with_rng(&mut random, Pss::new_with_salt::<Sha384>(7), &sha384);
    let with_sha1 = key.sign_with_rng(&mut random, Pss::new_with_salt::<Sha1>(0), &Sha1::digest(text));
    let pss = [
        (Mechanism::Sha256RsaPkcsPss(pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32)), with_sha256),
        (Mechanism::Sha384RsaPkcsPss(pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 7)), with_sha384),
        (Mechanism::Sha1RsaPkcsPss(pss(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, 0)), with_sha1),
    ];
    for (mechanism, signature) in pkcs1.into_iter().chain(pss) {
        let signature = signature.unwrap();
        session.verify(&mechanism, public, text, &signature).unwrap();
        let verify =
            |text: &[u8], signature: &[u8]| refusal(session.verify(&mechanism, public, text, signature));
        assert_eq!(verify(b"a texT", &signature), RvError::SignatureInvalid, "{mechanism:?}");
        let mut damaged = signature.clone();
        damaged[100] ^= 1;
        assert_eq!(verify(text, &damaged), RvError::SignatureInvalid, "{mechanism:?}");
        assert_eq!(verify(text, &[0xFF; 256]), RvError::SignatureInvalid, "{mechanism:?}");
        assert_eq!(verify(text, &signature[1..]), RvError::SignatureLenRange, "{mechanism:?}");
        assert_eq!(verify(text, &[0; 257]), RvError::SignatureLenRange, "{mechanism:?}");
        assert_eq!(verify(text, &[]), RvError::SignatureLenRange, "{mechanism:?}");
    }
    let bare = private(&BigUint::from(0x1234_u32)).to_bytes_be();
    let bare = [&vec![0; 256 - bare.len()], &bare[..]].concat();
    session.verify(&Mechanism::RsaX509, public, &[0x12, 0x34], &bare).unwrap();
    let other = session.verify(&Mechanism::RsaX509, public, &[0x12, 0x35], &bare);
    assert_eq!(refusal(other), RvError::SignatureInvalid);
    assert_eq!(traffic(), before, "the card had nothing to do");
}

#[test]
fn a_text_is_verified_in_parts() {
    let desk = Desk::set_up();
    let session = desk.session();
    let public = public_object(&session);
    let digest = Sha512::digest(vec![0x5A; 100_000]);
    let signature = key().sign(Pkcs1v15Sign::new::<Sha512>(), &digest).unwrap();
    for (parts, expected) in [(100, Ok(())), (99, Err(RvError::SignatureInvalid))] {
        session.verify_init(&Mechanism::Sha512RsaPkcs, public).unwrap();
        for _ in 0..parts {
            session.verify_update(&[0x5A; 1000]).unwrap();
        }
        let verified = session.verify_final(&signature);
        assert_eq!(verified.map_err(|error| refusal(Err::<(), _>(error))), expected);
    }
    assert_eq!(refusal(session.verify_final(&signature)), RvError::OperationNotInitialized);
    // What is not hashed comes in parts as well, as long as the modulus at most.
    let signature = key().sign(Pkcs1v15Sign::new_unprefixed(), b"any data").unwrap();
    session.verify_init(&Mechanism::RsaPkcs, public).unwrap();
    assert_eq!(refusal(session.verify_init(&Mechanism::RsaPkcs, public)), RvError::OperationActive);
    session.verify_update(b"any ").unwrap();
    session.verify_update(b"data").unwrap();
    session.verify_final(&signature).unwrap();
    session.verify_init(&Mechanism::RsaPkcs, public).unwrap();
    session.verify_update(&[0; 200]).unwrap();
    assert_eq!(refusal(session.verify_update(&[0; 57])), RvError::DataLenRange);
    assert_eq!(refusal(session.verify_update(b"x")), RvError::OperationNotInitialized);
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let public = public_object(&session);
    let certificate = session.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]).unwrap()[0];
    let init = |mechanism, key| refusal(session.verify_init(&mechanism, key));
    assert_eq!(init(Mechanism::RsaPkcs, private), RvError::KeyFunctionNotPermitted);
    assert_eq!(init(Mechanism::RsaPkcs, certificate), RvError::KeyFunctionNotPermitted);
    assert_eq!(init(Mechanism::EcdsaSha256, public), RvError::MechanismInvalid);
    assert_eq!(init(Mechanism::Sha256, public), RvError::MechanismInvalid);
    let salt = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 256 - 32 - 1);
    assert_eq!(init(Mechanism::RsaPkcsPss(salt), public), RvError::MechanismParamInvalid);
    let other = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
    assert_eq!(init(Mechanism::Sha512RsaPkcsPss(other), public), RvError::MechanismParamInvalid);
    let verify = |mechanism, data: &[u8]| refusal(session.verify(&mechanism, public, data, &[1; 256]));
    assert_eq!(verify(Mechanism::RsaPkcs, &[1; 246]), RvError::DataLenRange);
    let parameters: PkcsPssParams = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
    assert_eq!(verify(Mechanism::RsaPkcsPss(parameters), &[1; 31]), RvError::DataLenRange);
    assert_eq!(refusal(session.sign_init(&Mechanism::RsaPkcs, public)), RvError::KeyFunctionNotPermitted);
}

#[test]
fn data_is_signed_and_recovered() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let (public, raw) = (public_object(&session), Raw::new());
    let functions = raw.functions();
    let (sign_init, sign) = (functions.C_SignRecoverInit.unwrap(), functions.C_SignRecover.unwrap());
    let (open_init, open) = (functions.C_VerifyRecoverInit.unwrap(), functions.C_VerifyRecover.unwrap());

    for (kind, data) in [(CKM_RSA_PKCS, b"some data".to_vec()), (CKM_RSA_X_509, vec![0x11; 256])] {
        assert_eq!(begin(sign_init, &session, kind, private), CKR_OK);
        assert_eq!(begin(sign_init, &session, kind, private), CKR_OPERATION_ACTIVE);
        assert_eq!(ask(sign, &session, &data), (CKR_OK, 256));
        assert_eq!(get(sign, &session, &data, 255), Err((CKR_BUFFER_TOO_SMALL, 256)));
        let signature = get(sign, &session, &data, 256).unwrap();
        assert_eq!(get(sign, &session, &data, 256), Err((CKR_OPERATION_NOT_INITIALIZED, 256)));
        if kind == CKM_RSA_PKCS {
            key().to_public_key().verify(Pkcs1v15Sign::new_unprefixed(), &data, &signature).unwrap();
        }

        assert_eq!(begin(open_init, &session, kind, public), CKR_OK);
        assert_eq!(begin(open_init, &session, kind, public), CKR_OPERATION_ACTIVE);
        assert_eq!(ask(open, &session, &signature), (CKR_OK, data.len()));
        let short = get(open, &session, &signature, data.len() - 1);
        assert_eq!(short, Err((CKR_BUFFER_TOO_SMALL, data.len())));
        assert_eq!(get(open, &session, &signature, 300).unwrap(), data);
        assert_eq!(ask(open, &session, &signature).0, CKR_OPERATION_NOT_INITIALIZED);
    }
    for (signature, expected) in
        [(vec![1; 255], CKR_SIGNATURE_LEN_RANGE), (vec![1; 256], CKR_SIGNATURE_INVALID)]
    {
        assert_eq!(begin(open_init, &session, CKM_RSA_PKCS, public), CKR_OK);
        assert_eq!(get(open, &session, &signature, 256), Err((expected, 256)));
        assert_eq!(ask(open, &session, &signature).0, CKR_OPERATION_NOT_INITIALIZED, "it has ended");
    }
    for (init, key) in [(sign_init, private), (open_init, public)] {
        assert_eq!(begin(init, &session, CKM_SHA256_RSA_PKCS, key), CKR_MECHANISM_INVALID);
        assert_eq!(begin(init, &session, CKM_RSA_PKCS_PSS, key), CKR_MECHANISM_INVALID);
    }
    session.logout().unwrap();
    assert_eq!(begin(open_init, &session, CKM_RSA_PKCS, public), CKR_OK);
    assert_eq!(begin(sign_init, &session, CKM_RSA_PKCS, private), CKR_KEY_HANDLE_INVALID);
}

#[test]
fn another_implementation_decrypts_what_is_encrypted() {
    let desk = Desk::set_up();
    let session = desk.session();
    let (public, before) = (public_object(&session), traffic());
    let data = b"a key of thirty-two bytes, 256 b";
    let encrypted = session.encrypt(&Mechanism::RsaPkcs, public, data).unwrap();
    assert_eq!(key().decrypt(Pkcs1v15Encrypt, &encrypted).unwrap(), data);

    let oaep = |hash, mgf, label| Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, label));
    let empty = PkcsOaepSource::empty;
    let plain = oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, empty());
    let encrypted = session.encrypt(&plain, public, data).unwrap();
    assert_eq!(key().decrypt(Oaep::new::<Sha256>(), &encrypted).unwrap(), data);
    let mixed = oaep(MechanismType::SHA512, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::data_specified(b"label"));
    let encrypted = session.encrypt(&mixed, public, data).unwrap();
    let other = Oaep::new_with_mgf_hash_and_label::<Sha512, Sha1, _>("label");
    assert_eq!(key().decrypt(other, &encrypted).unwrap(), data);
    assert!(key().decrypt(Oaep::new_with_mgf_hash::<Sha512, Sha1>(), &encrypted).is_err());

    let encrypted =
        BigUint::from_bytes_be(&session.encrypt(&Mechanism::RsaX509, public, b"\x12\x34").unwrap());
    assert_eq!(private(&encrypted), BigUint::from(0x1234_u32));

    // In parts: all of it comes at the end.
    session.encrypt_init(&Mechanism::RsaPkcs, public).unwrap();
    assert!(session.encrypt_update(b"two ").unwrap().is_empty());
    assert!(session.encrypt_update(b"parts").unwrap().is_empty());
    let encrypted = session.encrypt_final().unwrap();
    assert_eq!(key().decrypt(Pkcs1v15Encrypt, &encrypted).unwrap(), b"two parts");
    assert_eq!(refusal(session.encrypt_final()), RvError::OperationNotInitialized);
    assert_eq!(traffic(), before, "the card had nothing to do");
}

#[test]
fn what_cannot_be_encrypted_is_refused() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let public = public_object(&session);
    let encrypt = |mechanism, data: &[u8]| refusal(session.encrypt(&mechanism, public, data));
    assert_eq!(encrypt(Mechanism::RsaPkcs, &[1; 246]), RvError::DataLenRange);
    assert_eq!(encrypt(Mechanism::RsaX509, &[1; 257]), RvError::DataLenRange);
    assert_eq!(encrypt(Mechanism::RsaX509, &[0xFF; 256]), RvError::DataInvalid);
    assert_eq!(encrypt(Mechanism::Sha256RsaPkcs, b"x"), RvError::MechanismInvalid);
    let oaep = |hash, mgf, label| {
        Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::data_specified(label)))
    };
    let (sha256, mgf1) = (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256);
    assert_eq!(encrypt(oaep(sha256, mgf1, b""), &[1; 191]), RvError::DataLenRange);
    assert_eq!(encrypt(oaep(MechanismType::AES_CBC, mgf1, b""), b"x"), RvError::MechanismParamInvalid);
    assert_eq!(encrypt(oaep(sha256, mgf1, &[0; 1025]), b"x"), RvError::MechanismParamInvalid);
    let init = refusal(session.encrypt_init(&Mechanism::RsaPkcs, private));
    assert_eq!(init, RvError::KeyFunctionNotPermitted);
    assert_eq!(private_keys(&session), [private]);

    session.encrypt_init(&Mechanism::RsaPkcs, public).unwrap();
    session.encrypt_update(&[1; 200]).unwrap();
    let functions = Raw::new();
    let encrypt = functions.functions().C_Encrypt.unwrap();
    assert_eq!(get(encrypt, &session, b"x", 256), Err((CKR_OPERATION_ACTIVE, 256)));
    session.encrypt_init(&Mechanism::RsaPkcs, public).unwrap();
    assert_eq!(get(encrypt, &session, b"x", 255), Err((CKR_BUFFER_TOO_SMALL, 256)));
    assert_eq!(get(encrypt, &session, b"x", 256).unwrap().len(), 256);
}

#[test]
fn the_attributes_say_what_a_public_key_can() {
    let desk = Desk::set_up();
    let session = desk.session();
    let asked = [AttributeType::Verify, AttributeType::VerifyRecover, AttributeType::Encrypt];
    let told = session.get_attributes(public_object(&session), &asked).unwrap();
    // The sample's certificate has no key usage, which limits nothing.
    let expected = [Attribute::Verify(true), Attribute::VerifyRecover(true), Attribute::Encrypt(true)];
    assert_eq!(told, expected);
    let info = desk.application.get_mechanism_info(desk.card(), MechanismType::RSA_PKCS_OAEP).unwrap();
    assert!(info.encrypt() && !info.sign() && !info.verify() && info.max_key_size() == 2048);
    let info = desk.application.get_mechanism_info(desk.card(), MechanismType::SHA256_RSA_PKCS).unwrap();
    assert!(info.verify() && info.sign() && !info.hardware() && !info.encrypt());
}
