//! Decryption by the card.

use cns_virtual_card::{VirtualCard, sample};
use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType};
use cryptoki_sys::*;
use der::asn1::OctetString;
use der::{Decode, Encode};
use rsa::traits::{PaddingScheme, PublicKeyParts};
use rsa::{BigUint, Oaep, Pkcs1v15Encrypt};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use x509_cert::Certificate;
use x509_cert::ext::Extension;

use crate::desk::{CERTIFICATE, Desk, refusal};
use crate::public_key::public_object;
use crate::raw::{Raw, ask, begin, get};
use crate::signing::traffic;

/// What another implementation encrypts for the sample card.
fn encrypted(padding: impl PaddingScheme, data: &[u8]) -> Vec<u8> {
    let key = sample::key().unwrap().to_public_key();
    padding.encrypt(&mut rand_core::OsRng, &key, data).unwrap()
}

fn oaep(hash: MechanismType, mgf: PkcsMgfType, label: &[u8]) -> Mechanism<'_> {
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::data_specified(label)))
}

#[test]
fn what_another_implementation_encrypts_is_decrypted() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    for length in [0, 1, 32, 190, 245] {
        let data = vec![0x5A; length];
        let message = encrypted(Pkcs1v15Encrypt, &data);
        assert_eq!(session.decrypt(&Mechanism::RsaPkcs, key, &message).unwrap(), data);
    }
    let data = b"a key of thirty-two bytes, 256 b";
    let sha256 = oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, b"");
    let message = encrypted(Oaep::new::<Sha256>(), data);
    assert_eq!(session.decrypt(&sha256, key, &message).unwrap(), data);
    let sha1 = oaep(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, b"");
    assert_eq!(session.decrypt(&sha1, key, &encrypted(Oaep::new::<Sha1>(), data)).unwrap(), data);
    let mixed = oaep(MechanismType::SHA512, PkcsMgfType::MGF1_SHA1, b"label");
    let padding = Oaep::new_with_mgf_hash_and_label::<Sha512, Sha1, _>("label");
    assert_eq!(session.decrypt(&mixed, key, &encrypted(padding, data)).unwrap(), data);

    // What the module encrypts, the card decrypts.
    let public = public_object(&session);
    for mechanism in [Mechanism::RsaPkcs, sha256, mixed] {
        let message = session.encrypt(&mechanism, public, data).unwrap();
        assert_eq!(session.decrypt(&mechanism, key, &message).unwrap(), data);
    }
    let message = session.encrypt(&Mechanism::RsaX509, public, data).unwrap();
    let block = session.decrypt(&Mechanism::RsaX509, key, &message).unwrap();
    assert_eq!(block, [&[0; 224][..], data].concat());
}

#[test]
fn a_message_may_come_in_parts() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let message = encrypted(Pkcs1v15Encrypt, b"data");
    session.decrypt_init(&Mechanism::RsaPkcs, key).unwrap();
    assert_eq!(refusal(session.decrypt_init(&Mechanism::RsaPkcs, key)), RvError::OperationActive);
    assert!(session.decrypt_update(&message[..100]).unwrap().is_empty());
    assert!(session.decrypt_update(&message[100..]).unwrap().is_empty());
    assert_eq!(session.decrypt_final().unwrap(), b"data");
    assert_eq!(refusal(session.decrypt_final()), RvError::OperationNotInitialized);

    session.decrypt_init(&Mechanism::RsaPkcs, key).unwrap();
    session.decrypt_update(&message).unwrap();
    assert_eq!(refusal(session.decrypt_update(b"x")), RvError::EncryptedDataLenRange);
    assert_eq!(refusal(session.decrypt_update(b"x")), RvError::OperationNotInitialized);
    session.decrypt_init(&Mechanism::RsaPkcs, key).unwrap();
    session.decrypt_update(&message[1..]).unwrap();
    let functions = Raw::new();
    let decrypt = functions.functions().C_Decrypt.unwrap();
    assert_eq!(get(decrypt, &session, &message, 256), Err((CKR_OPERATION_ACTIVE, 256)));
}

#[test]
fn the_card_is_asked_once_however_small_the_buffer_is() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let message = encrypted(Pkcs1v15Encrypt, b"some data");
    session.decrypt(&Mechanism::RsaPkcs, key, &message).unwrap();
    let before = traffic();
    session.decrypt(&Mechanism::RsaPkcs, key, &message).unwrap();
    let once = traffic() - before;

    let functions = Raw::new();
    let (init, decrypt) =
        (functions.functions().C_DecryptInit.unwrap(), functions.functions().C_Decrypt.unwrap());
    assert_eq!(begin(init, &session, CKM_RSA_PKCS, key), CKR_OK);
    let before = traffic();
    // Before the card is asked nobody knows more than how much it can be.
    assert_eq!(ask(decrypt, &session, &message), (CKR_OK, 245));
    assert_eq!(traffic(), before);
    assert_eq!(get(decrypt, &session, &message, 8), Err((CKR_BUFFER_TOO_SMALL, 9)));
    assert_eq!(get(decrypt, &session, &message, 0), Err((CKR_BUFFER_TOO_SMALL, 9)));
    assert_eq!(ask(decrypt, &session, &message), (CKR_OK, 9));
    assert_eq!(get(decrypt, &session, &message, 9).unwrap(), b"some data");
    assert_eq!(traffic() - before, once);
    assert_eq!(get(decrypt, &session, &message, 9), Err((CKR_OPERATION_NOT_INITIALIZED, 9)));

    // What waits for room is given for the message that it is of, and for no other.
    assert_eq!(begin(init, &session, CKM_RSA_PKCS, key), CKR_OK);
    assert_eq!(get(decrypt, &session, &message, 8), Err((CKR_BUFFER_TOO_SMALL, 9)));
    let another = encrypted(Pkcs1v15Encrypt, b"another");
    assert_eq!(get(decrypt, &session, &another, 256).unwrap(), b"another");
}

#[test]
fn what_cannot_be_decrypted_is_refused() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let decrypt = |mechanism, data: &[u8]| refusal(session.decrypt(&mechanism, key, data));
    for length in [0, 255, 257] {
        assert_eq!(decrypt(Mechanism::RsaPkcs, &vec![1; length]), RvError::EncryptedDataLenRange);
    }
    assert_eq!(decrypt(Mechanism::RsaX509, &[0xFF; 256]), RvError::EncryptedDataInvalid);
    let sha256 = || oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, b"");
    assert_eq!(decrypt(sha256(), &encrypted(Pkcs1v15Encrypt, b"x")), RvError::EncryptedDataInvalid);
    assert_eq!(decrypt(sha256(), &encrypted(Oaep::new::<Sha512>(), b"x")), RvError::EncryptedDataInvalid);
    assert_eq!(decrypt(Mechanism::Sha256RsaPkcs, &[1; 256]), RvError::MechanismInvalid);
    // A bad padding of PKCS#1 v1.5 is not told: other bytes come, the same ones again and again.
    let other = encrypted(Oaep::new::<Sha256>(), b"x");
    let first = session.decrypt(&Mechanism::RsaPkcs, key, &other).unwrap();
    assert_eq!(session.decrypt(&Mechanism::RsaPkcs, key, &other).unwrap(), first);

    let public = public_object(&session);
    let init = refusal(session.decrypt_init(&Mechanism::RsaPkcs, public));
    assert_eq!(init, RvError::KeyFunctionNotPermitted);
    session.decrypt_init(&Mechanism::RsaPkcs, key).unwrap();
    session.logout().unwrap();
    assert_eq!(refusal(session.decrypt_update(b"x")), RvError::OperationNotInitialized);
    assert_eq!(refusal(session.decrypt_init(&Mechanism::RsaPkcs, key)), RvError::KeyHandleInvalid);
}

/// The sample card with a certificate whose key usage has these bits.
fn with_usage(bits: u8) -> VirtualCard {
    let mut certificate = Certificate::from_der(CERTIFICATE).unwrap();
    certificate.tbs_certificate.extensions = Some(vec![Extension {
        extn_id: "2.5.29.15".parse().unwrap(),
        critical: true,
        extn_value: OctetString::new([3, 2, 0, bits]).unwrap(),
    }]);
    let mut card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
    card.load_certificate(&certificate.to_der().unwrap()).unwrap();
    card
}

#[test]
fn the_key_usage_decides() {
    for (bits, decrypts) in [(0b1010_0000, true), (0b1000_0000, false)] {
        let desk = Desk::set_up_with(|_| with_usage(bits));
        let (session, key) = desk.logged_in();
        let public = public_object(&session);
        let told = session.get_attributes(key, &[AttributeType::Decrypt]).unwrap();
        assert_eq!(told, [Attribute::Decrypt(decrypts)]);
        let told = session.get_attributes(public, &[AttributeType::Encrypt]).unwrap();
        assert_eq!(told, [Attribute::Encrypt(decrypts)]);
        let info = desk.application.get_mechanism_info(desk.card(), MechanismType::RSA_PKCS_OAEP).unwrap();
        assert_eq!((info.decrypt(), info.hardware(), info.encrypt()), (decrypts, decrypts, true));
        let message = encrypted(Pkcs1v15Encrypt, b"data");
        let opened = session.decrypt(&Mechanism::RsaPkcs, key, &message);
        if decrypts {
            assert_eq!(opened.unwrap(), b"data");
        } else {
            assert_eq!(refusal(opened), RvError::KeyFunctionNotPermitted);
            let encrypted = session.encrypt(&Mechanism::RsaPkcs, public, b"data");
            assert_eq!(refusal(encrypted), RvError::KeyFunctionNotPermitted);
        }
        // The bare signature, which other middleware signs with, stays as it is.
        let signature = session.sign(&Mechanism::RsaX509, key, &[1]).unwrap();
        let public = sample::key().unwrap().to_public_key();
        let number = BigUint::from_bytes_be(&signature).modpow(public.e(), public.n());
        assert_eq!(number, BigUint::from(1_u32));
    }
}

/// PKCS#11 v2.40 §5.2: one buffer may be both what is given and the place for what comes.
#[test]
fn one_buffer_may_be_both() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let functions = Raw::new();
    let (init, decrypt) =
        (functions.functions().C_DecryptInit.unwrap(), functions.functions().C_Decrypt.unwrap());
    let mut buffer = encrypted(Pkcs1v15Encrypt, b"some data");
    assert_eq!(begin(init, &session, CKM_RSA_PKCS, key), CKR_OK);
    let mut length = 256;
    let place = buffer.as_mut_ptr();
    let code = unsafe { decrypt(session.handle(), place, 256, place, &raw mut length) };
    assert_eq!((code, length), (CKR_OK, 9));
    assert_eq!(&buffer[..9], b"some data");
    // Too small a place leaves what is encrypted there as it is.
    let message = encrypted(Pkcs1v15Encrypt, b"some data");
    let mut buffer = message.clone();
    assert_eq!(begin(init, &session, CKM_RSA_PKCS, key), CKR_OK);
    let (mut length, place) = (8, buffer.as_mut_ptr());
    let code = unsafe { decrypt(session.handle(), place, 256, place, &raw mut length) };
    assert_eq!((code, length), (CKR_BUFFER_TOO_SMALL, 9));
    assert_eq!(buffer, message);
}
