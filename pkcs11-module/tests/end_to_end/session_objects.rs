//! Objects that an application makes for itself, and keys that are wrapped and unwrapped.

use cns_virtual_card::{Generation, sample};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki_sys::CKR_OK;
use rsa::pkcs1v15::{Pkcs1v15Encrypt, Pkcs1v15Sign};
use rsa::traits::{PaddingScheme, PublicKeyParts};
use rsa::{Oaep, RsaPrivateKey};
use sha2::{Digest, Sha256};

use crate::desk::{Desk, pin, refusal};
use crate::public_key::public_object;
use crate::raw::Raw;
use crate::signing::traffic;

/// Somebody else's key, of 1,024 bits.
fn stranger() -> RsaPrivateKey {
    sample::key_of(Generation::from_name("incard10").unwrap()).unwrap()
}

fn public_template(key: &RsaPrivateKey) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Modulus(key.n().to_bytes_be()),
        Attribute::PublicExponent(key.e().to_bytes_be()),
    ]
}

fn secret_template(kind: KeyType, more: &[Attribute]) -> Vec<Attribute> {
    [&[Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(kind)], more].concat()
}

fn value(session: &Session, object: ObjectHandle) -> Result<Vec<u8>, Error> {
    let told = session.get_attributes(object, &[AttributeType::Value])?;
    match told.as_slice() {
        [Attribute::Value(value)] => Ok(value.clone()),
        other => panic!("{other:?}"),
    }
}

fn encrypted(padding: impl PaddingScheme, data: &[u8]) -> Vec<u8> {
    padding.encrypt(&mut rand_core::OsRng, &sample::key().unwrap().to_public_key(), data).unwrap()
}

#[test]
fn anybodys_public_key_verifies_and_encrypts() {
    let desk = Desk::set_up();
    let (session, key) = (desk.session(), stranger());
    let before = traffic();
    let object = session.create_object(&public_template(&key)).unwrap();
    let signature = key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"a text")).unwrap();
    assert_eq!(signature.len(), 128);
    session.verify(&Mechanism::Sha256RsaPkcs, object, b"a text", &signature).unwrap();
    let wrong = session.verify(&Mechanism::Sha256RsaPkcs, object, b"another", &signature);
    assert_eq!(refusal(wrong), RvError::SignatureInvalid);
    let message = session.encrypt(&Mechanism::RsaPkcs, object, b"data").unwrap();
    assert_eq!(key.decrypt(Pkcs1v15Encrypt, &message).unwrap(), b"data");
    let asked =
        [AttributeType::ModulusBits, AttributeType::Token, AttributeType::Private, AttributeType::Local];
    let told = session.get_attributes(object, &asked).unwrap();
    let expected = [
        Attribute::ModulusBits(1024.into()),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Local(false),
    ];
    assert_eq!(told, expected);

    // What the template does not allow is not done.
    let restricted =
        [public_template(&key), vec![Attribute::Verify(false), Attribute::Encrypt(false)]].concat();
    let object = session.create_object(&restricted).unwrap();
    let refused = session.verify(&Mechanism::Sha256RsaPkcs, object, b"a text", &signature);
    assert_eq!(refusal(refused), RvError::KeyFunctionNotPermitted);
    let refused = session.encrypt(&Mechanism::RsaPkcs, object, b"data");
    assert_eq!(refusal(refused), RvError::KeyFunctionNotPermitted);
    assert_eq!(traffic(), before, "the card had nothing to do");
}

#[test]
fn what_is_made_lives_as_long_as_its_session() {
    let desk = Desk::set_up();
    let (first, second) = (desk.session(), desk.session());
    let mine = [Attribute::Token(false)];
    let public = first.create_object(&public_template(&stranger())).unwrap();
    assert_eq!(second.find_objects(&mine).unwrap(), [public], "all sessions see it");
    assert!(second.get_attributes(public, &[AttributeType::Modulus]).is_ok());

    let secret = secret_template(KeyType::AES, &[Attribute::Value(vec![7; 16])]);
    assert_eq!(refusal(first.create_object(&secret)), RvError::UserNotLoggedIn);
    let open = [secret.clone(), vec![Attribute::Private(false)]].concat();
    let open = first.create_object(&open).unwrap();
    assert_eq!(value(&first, open).unwrap(), [7; 16]);
    first.login(UserType::User, Some(&pin("12345"))).unwrap();
    let private = first.create_object(&secret).unwrap();
    assert_eq!(second.find_objects(&mine).unwrap(), [public, open, private]);
    first.logout().unwrap();
    assert_eq!(second.find_objects(&mine).unwrap(), [public, open], "the private one went with the login");
    first.login(UserType::User, Some(&pin("12345"))).unwrap();
    assert_eq!(refusal(value(&first, private)), RvError::ObjectHandleInvalid);

    first.destroy_object(open).unwrap();
    assert_eq!(refusal(first.destroy_object(open)), RvError::ObjectHandleInvalid);
    let of_card = first.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]).unwrap()[0];
    assert_eq!(refusal(first.destroy_object(of_card)), RvError::ActionProhibited);
    drop(first);
    assert!(second.find_objects(&mine).unwrap().is_empty());
    assert_eq!(second.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]).unwrap(), [of_card]);

    second.create_object(&public_template(&stranger())).unwrap();
    let close_all = Raw::new().functions().C_CloseAllSessions.unwrap();
    assert_eq!(unsafe { close_all(desk.card().id()) }, CKR_OK);
    assert!(desk.session().find_objects(&mine).unwrap().is_empty());
}

#[test]
fn templates_that_cannot_be_are_refused() {
    let desk = Desk::set_up();
    let (session, _) = desk.logged_in();
    let read_only = desk.application.open_ro_session(desk.card()).unwrap();
    let public = || public_template(&stranger());
    let with = |mut template: Vec<Attribute>, more: Attribute| {
        template.push(more);
        template
    };
    let aes = |more: &[Attribute]| secret_template(KeyType::AES, more);
    let certificate = vec![Attribute::Class(ObjectClass::CERTIFICATE), Attribute::Value(vec![0x30])];
    let cases = [
        (vec![], RvError::TemplateIncomplete),
        (public()[1..].to_vec(), RvError::TemplateIncomplete),
        (public()[..3].to_vec(), RvError::TemplateIncomplete),
        (with(public(), Attribute::Token(true)), RvError::TokenWriteProtected),
        (with(certificate.clone(), Attribute::Token(true)), RvError::TemplateIncomplete),
        (certificate, RvError::AttributeValueInvalid),
        (with(public(), Attribute::Derive(true)), RvError::AttributeValueInvalid),
        (with(public(), Attribute::Modulus(vec![7; 128])), RvError::TemplateInconsistent),
        (with(public(), Attribute::Value(vec![7; 16])), RvError::AttributeTypeInvalid),
        (with(public()[..3].to_vec(), Attribute::PublicExponent(vec![])), RvError::AttributeValueInvalid),
        (aes(&[]), RvError::TemplateIncomplete),
        (aes(&[Attribute::Value(vec![])]), RvError::AttributeValueInvalid),
        (aes(&[Attribute::Value(vec![7; 15])]), RvError::AttributeValueInvalid),
        (
            aes(&[Attribute::Value(vec![7; 16]), Attribute::ValueLen(16.into())]),
            RvError::TemplateInconsistent,
        ),
        (secret_template(KeyType::EC, &[Attribute::Value(vec![7; 16])]), RvError::AttributeValueInvalid),
    ];
    for (template, expected) in cases {
        assert_eq!(refusal(session.create_object(&template)), expected, "{template:?}");
    }
    let on_card = with(public(), Attribute::Token(true));
    assert_eq!(refusal(read_only.create_object(&on_card)), RvError::SessionReadOnly);
    read_only.create_object(&public()).unwrap();
}

#[test]
fn keys_are_wrapped_in_software_and_unwrapped_by_the_card() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let public = public_object(&session);
    let aes =
        session.create_object(&secret_template(KeyType::AES, &[Attribute::Value(vec![7; 32])])).unwrap();
    let oaep = Mechanism::RsaPkcsOaep(PkcsOaepParams::new(
        MechanismType::SHA256,
        PkcsMgfType::MGF1_SHA256,
        PkcsOaepSource::empty(),
    ));
    let template = secret_template(KeyType::AES, &[]);
    for (mechanism, is_oaep) in [(Mechanism::RsaPkcs, false), (oaep, true)] {
        let wrapped = session.wrap_key(&mechanism, public, aes).unwrap();
        let key = sample::key().unwrap();
        let opened = if is_oaep {
            key.decrypt(Oaep::new::<Sha256>(), &wrapped)
        } else {
            key.decrypt(Pkcs1v15Encrypt, &wrapped)
        };
        assert_eq!(opened.unwrap(), [7; 32]);
        let unwrapped = session.unwrap_key(&mechanism, private, &wrapped, &template).unwrap();
        assert_eq!(value(&session, unwrapped).unwrap(), [7; 32]);
    }
    // Without a padding the key is at the end of the block.
    let wrapped = session.wrap_key(&Mechanism::RsaX509, public, aes).unwrap();
    let short = secret_template(KeyType::GENERIC_SECRET, &[Attribute::ValueLen(5.into())]);
    let unwrapped = session.unwrap_key(&Mechanism::RsaX509, private, &wrapped, &short).unwrap();
    assert_eq!(value(&session, unwrapped).unwrap(), [7; 5]);
    let without_length = session.unwrap_key(&Mechanism::RsaX509, private, &wrapped, &template);
    assert_eq!(refusal(without_length), RvError::TemplateIncomplete);

    // A key can be digested although nobody can read it.
    let hidden = [Attribute::Value(b"abc".to_vec()), Attribute::Sensitive(true)];
    let hidden = session.create_object(&secret_template(KeyType::GENERIC_SECRET, &hidden)).unwrap();
    // `cryptoki` leaves out what it is refused.
    assert_eq!(session.get_attributes(hidden, &[AttributeType::Value]).unwrap(), []);
    session.digest_init(&Mechanism::Sha256).unwrap();
    session.digest_key(hidden).unwrap();
    assert_eq!(session.digest_final().unwrap(), Sha256::digest(b"abc").to_vec());
    session.digest_init(&Mechanism::Sha256).unwrap();
    assert_eq!(refusal(session.digest_key(private)), RvError::KeyIndigestible);
    assert_eq!(refusal(session.digest_final()), RvError::OperationNotInitialized);
}

/// An error, or a length, would tell how the padding was (RFC 3218).
#[test]
fn a_wrapped_key_of_the_wrong_length_is_not_told() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let unwrap = |message: &[u8], template: &[Attribute]| {
        let object = session.unwrap_key(&Mechanism::RsaPkcs, private, message, template).unwrap();
        value(&session, object).unwrap()
    };
    let long = secret_template(KeyType::GENERIC_SECRET, &[Attribute::ValueLen(100.into())]);
    for (template, length) in [
        (secret_template(KeyType::AES, &[]), 32),
        (secret_template(KeyType::AES, &[Attribute::ValueLen(16.into())]), 16),
        (secret_template(KeyType::DES3, &[]), 24),
        (long, 100),
    ] {
        for message in
            [encrypted(Pkcs1v15Encrypt, b"17 bytes are here"), encrypted(Oaep::new::<Sha256>(), b"x")]
        {
            let first = unwrap(&message, &template);
            assert_eq!(first.len(), length);
            assert_eq!(unwrap(&message, &template), first);
            assert!(first.iter().any(|byte| *byte != 0));
        }
    }
}

#[test]
fn what_cannot_be_wrapped_or_unwrapped_is_refused() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let public = public_object(&session);
    let make =
        |more: &[Attribute]| session.create_object(&secret_template(KeyType::GENERIC_SECRET, more)).unwrap();
    let wrap = |wrapping, key| refusal(session.wrap_key(&Mechanism::RsaPkcs, wrapping, key));
    let key = make(&[Attribute::Value(vec![7; 16])]);
    assert_eq!(wrap(private, key), RvError::KeyFunctionNotPermitted);
    assert_eq!(wrap(public, private), RvError::KeyUnextractable);
    assert_eq!(wrap(public, public), RvError::KeyNotWrappable);
    let kept = make(&[Attribute::Value(vec![7; 16]), Attribute::Extractable(false)]);
    assert_eq!(wrap(public, kept), RvError::KeyUnextractable);
    assert_eq!(wrap(public, make(&[Attribute::Value(vec![7; 246])])), RvError::KeySizeRange);
    session.destroy_object(key).unwrap();
    assert_eq!(wrap(public, key), RvError::KeyHandleInvalid);
    assert_eq!(wrap(key, kept), RvError::WrappingKeyHandleInvalid);

    let before = traffic();
    let unwrap = |unwrapping, message: &[u8], template: &[Attribute]| {
        refusal(session.unwrap_key(&Mechanism::RsaPkcs, unwrapping, message, template))
    };
    let template = secret_template(KeyType::AES, &[]);
    let message = encrypted(Pkcs1v15Encrypt, &[7; 16]);
    assert_eq!(unwrap(public, &message, &template), RvError::KeyFunctionNotPermitted);
    assert_eq!(unwrap(key, &message, &template), RvError::UnwrappingKeyHandleInvalid);
    assert_eq!(unwrap(private, &message[1..], &template), RvError::WrappedKeyLenRange);
    let with_value = secret_template(KeyType::AES, &[Attribute::Value(vec![7; 16])]);
    assert_eq!(unwrap(private, &message, &with_value), RvError::TemplateInconsistent);
    let of_card = secret_template(KeyType::AES, &[Attribute::Token(true)]);
    assert_eq!(unwrap(private, &message, &of_card), RvError::TokenWriteProtected);
    for length in [0, 17, 300] {
        let template = secret_template(KeyType::AES, &[Attribute::ValueLen(length.into())]);
        assert_eq!(unwrap(private, &message, &template), RvError::AttributeValueInvalid);
    }
    assert_eq!(traffic(), before, "nothing reached the card");
    let oaep = Mechanism::RsaPkcsOaep(PkcsOaepParams::new(
        MechanismType::SHA256,
        PkcsMgfType::MGF1_SHA256,
        PkcsOaepSource::empty(),
    ));
    let refused = session.unwrap_key(&oaep, private, &message, &template);
    assert_eq!(refusal(refused), RvError::WrappedKeyInvalid);
}

#[test]
fn keys_of_the_card_are_made_at_a_counter() {
    let desk = Desk::set_up();
    let session = desk.session();
    let generate = |session: &Session, mechanism, template: &[Attribute]| {
        refusal(session.generate_key_pair(&mechanism, template, &[Attribute::Token(true)]))
    };
    let on_card = [Attribute::Token(true), Attribute::ModulusBits(2048.into())];
    let rsa = || Mechanism::RsaPkcsKeyPairGen;
    assert_eq!(generate(&session, Mechanism::EccKeyPairGen, &on_card), RvError::MechanismInvalid);
    assert_eq!(generate(&session, rsa(), &on_card[1..]), RvError::TemplateInconsistent);
    let read_only = desk.application.open_ro_session(desk.card()).unwrap();
    assert_eq!(generate(&read_only, rsa(), &on_card), RvError::SessionReadOnly);
    let before = traffic();
    assert_eq!(generate(&session, rsa(), &on_card), RvError::TokenWriteProtected);
    assert_eq!(traffic(), before);
}

#[test]
fn what_an_application_made_can_be_copied_and_changed_as_far_as_it_allows() {
    let desk = Desk::set_up();
    let (session, _) = desk.logged_in();
    let made = [Attribute::Value(vec![7; 16]), Attribute::Label(b"first".to_vec())];
    let key = session.create_object(&secret_template(KeyType::AES, &made)).unwrap();
    let label = |object| session.get_attributes(object, &[AttributeType::Label]).unwrap();
    let copy = session.copy_object(key, &[Attribute::Label(b"second".to_vec())]).unwrap();
    assert_ne!(copy, key);
    assert_eq!(value(&session, copy).unwrap(), [7; 16]);
    session.update_attributes(key, &[Attribute::Label(b"third".to_vec())]).unwrap();
    assert_eq!(label(key), [Attribute::Label(b"third".to_vec())]);
    assert_eq!(label(copy), [Attribute::Label(b"second".to_vec())], "each is its own");

    // One way only, and all of a template or nothing.
    session.update_attributes(copy, &[Attribute::Extractable(false)]).unwrap();
    let both = [Attribute::Label(b"fourth".to_vec()), Attribute::Extractable(true)];
    assert_eq!(refusal(session.update_attributes(copy, &both)), RvError::AttributeReadOnly);
    assert_eq!(label(copy), [Attribute::Label(b"second".to_vec())]);
    let public = public_object(&session);
    assert_eq!(refusal(session.wrap_key(&Mechanism::RsaPkcs, public, copy)), RvError::KeyUnextractable);
    session.wrap_key(&Mechanism::RsaPkcs, public, key).unwrap();
    for fixed in [Attribute::Value(vec![8; 16]), Attribute::KeyType(KeyType::DES3), Attribute::Local(true)] {
        assert_eq!(refusal(session.update_attributes(key, &[fixed])), RvError::AttributeReadOnly);
    }

    let kept = [Attribute::Modifiable(false), Attribute::Copyable(false), Attribute::Destroyable(false)];
    let kept = session.copy_object(key, &kept).unwrap();
    let name = [Attribute::Label(b"x".to_vec())];
    assert_eq!(refusal(session.update_attributes(kept, &name)), RvError::ActionProhibited);
    assert_eq!(refusal(session.copy_object(kept, &name)), RvError::ActionProhibited);
    assert_eq!(refusal(session.destroy_object(kept)), RvError::ActionProhibited);
    let on_card = session.copy_object(key, &[Attribute::Token(true)]);
    assert_eq!(refusal(on_card), RvError::TokenWriteProtected);
    assert_eq!(refusal(session.update_attributes(public, &name)), RvError::ActionProhibited);
    assert_eq!(refusal(session.copy_object(public, &name)), RvError::ActionProhibited);
}

#[test]
fn secret_keys_are_generated_to_be_wrapped() {
    let desk = Desk::set_up();
    let (session, private) = desk.logged_in();
    let before = traffic();
    let length = |bytes: u64| Attribute::ValueLen(bytes.into());
    let key = session.generate_key(&Mechanism::AesKeyGen, &[length(32)]).unwrap();
    let other = session.generate_key(&Mechanism::AesKeyGen, &[length(32)]).unwrap();
    assert_ne!(value(&session, key).unwrap(), value(&session, other).unwrap());
    let told = session.get_attributes(key, &[AttributeType::Local, AttributeType::Token]).unwrap();
    assert_eq!(told, [Attribute::Local(true), Attribute::Token(false)]);
    for wrong in [0, 15, 33] {
        let refused = session.generate_key(&Mechanism::AesKeyGen, &[length(wrong)]);
        assert_eq!(refusal(refused), RvError::KeySizeRange);
    }
    let refused = session.generate_key(&Mechanism::GenericSecretKeyGen, &[]);
    assert_eq!(refusal(refused), RvError::TemplateIncomplete);
    let des = [length(16), Attribute::KeyType(KeyType::DES2)];
    assert_eq!(refusal(session.generate_key(&Mechanism::AesKeyGen, &des)), RvError::TemplateInconsistent);
    assert_eq!(traffic(), before, "the card had nothing to do");
    let wrapped = session.wrap_key(&Mechanism::RsaPkcs, public_object(&session), key).unwrap();
    let template = secret_template(KeyType::AES, &[]);
    let unwrapped = session.unwrap_key(&Mechanism::RsaPkcs, private, &wrapped, &template).unwrap();
    assert_eq!(value(&session, unwrapped).unwrap(), value(&session, key).unwrap());
}
