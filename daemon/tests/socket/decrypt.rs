//! `key.decrypt`: what others encrypt for the authentication key, where its certificate lets them.

use std::ops::Deref;

use cns_protocol::card::KeyUse;
use cns_protocol::key::{Decrypt, Decryption, Hash, Mechanism, Sign};
use cns_protocol::pin::{PinName, Verify};
use cns_protocol::{Client, ErrorKind, reader};
use cns_virtual_card::fault::{Fault, Garbage, Trigger};
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_card::{VirtualCard, sample};
use der::asn1::OctetString;
use der::{Decode, Encode};
use rsa::traits::{PaddingScheme, PublicKeyParts};
use rsa::{BigUint, Oaep, Pkcs1v15Encrypt};
use sha1::Sha1;
use sha2::Sha256;
use x509_cert::Certificate;
use x509_cert::ext::Extension;

use crate::plugged::issue_authentication;
use crate::running::{Running, kind, text};

const READER: &str = "citizen";
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_ENCIPHERMENT: u8 = 0x20;
const DATA_ENCIPHERMENT: u8 = 0x10;

/// A daemon with a citizen's card in its reader.
struct Citizen(Running);

impl Deref for Citizen {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

/// The sample card, whose certificate has these bits for its key usage, or none.
fn with_usage(bits: Option<u8>) -> (Citizen, Plugged) {
    let mut card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
    let request = card.certificate_request("Regione di prova").unwrap();
    let mut certificate = Certificate::from_der(&issue_authentication(&request)).unwrap();
    let extension = |bits: u8| Extension {
        extn_id: "2.5.29.15".parse().unwrap(),
        critical: true,
        extn_value: OctetString::new([3, 2, 0, bits]).unwrap(),
    };
    certificate.tbs_certificate.extensions = bits.map(|bits| vec![extension(bits)]);
    card.load_certificate(&certificate.to_der().unwrap()).unwrap();
    let running = Running::start(&[READER]);
    let plugged = plug(card, Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    (Citizen(running), plugged)
}

impl Citizen {
    fn decrypt(&self, mechanism: Decryption, data: &[u8]) -> Decrypt {
        let reader = self.reader(READER);
        Decrypt {
            reader,
            insertion: None,
            mechanism,
            data: data.to_vec(),
            pin: None,
            confirm_last_try: false,
        }
    }

    fn logged_in(&self) -> Client {
        let mut client = self.client();
        let (reader, pin) = (self.reader(READER), text("12345"));
        let which = PinName::Cns;
        client
            .call(&Verify { reader, insertion: None, which, pin: Some(pin), confirm_last_try: false })
            .unwrap();
        client
    }
}

fn encrypted(padding: impl PaddingScheme, data: &[u8]) -> Vec<u8> {
    let key = sample::key().unwrap().to_public_key();
    padding.encrypt(&mut rand_core::OsRng, &key, data).unwrap()
}

fn opened(client: &mut Client, request: &Decrypt) -> Vec<u8> {
    client.call(request).unwrap().plaintext.into_secret().expose().to_vec()
}

fn commands(client: &mut Client) -> u64 {
    client.call(&reader::List {}).unwrap().readers[0].traffic.commands
}

const fn oaep(hash: Hash, mgf_hash: Hash) -> Decryption {
    Decryption::RsaOaep { hash, mgf_hash, label: Vec::new() }
}

#[test]
fn what_others_encrypt_is_decrypted() {
    for usage in [None, Some(KEY_ENCIPHERMENT | DIGITAL_SIGNATURE), Some(DATA_ENCIPHERMENT)] {
        let (running, _plugged) = with_usage(usage);
        let mut client = running.logged_in();
        for length in [0, 32, 190] {
            let data = vec![0x5A; length];
            let request = running.decrypt(Decryption::RsaPkcs1, &encrypted(Pkcs1v15Encrypt, &data));
            assert_eq!(opened(&mut client, &request), data);
            let request =
                running.decrypt(oaep(Hash::Sha256, Hash::Sha256), &encrypted(Oaep::new::<Sha256>(), &data));
            assert_eq!(opened(&mut client, &request), data);
        }
        let padding = Oaep::new_with_mgf_hash_and_label::<Sha1, Sha256, _>("label");
        let mechanism =
            Decryption::RsaOaep { hash: Hash::Sha1, mgf_hash: Hash::Sha256, label: b"label".to_vec() };
        let request = running.decrypt(mechanism, &encrypted(padding, b"data"));
        assert_eq!(opened(&mut client, &request), b"data");

        let key = sample::key().unwrap();
        let number = BigUint::from(0x1234_u32).modpow(key.e(), key.n()).to_bytes_be();
        let number = [&vec![0; 256 - number.len()], &number[..]].concat();
        let block = opened(&mut client, &running.decrypt(Decryption::RsaRaw, &number));
        assert_eq!((block.len(), BigUint::from_bytes_be(&block)), (256, BigUint::from(0x1234_u32)));

        let pin_instead =
            Decrypt { pin: Some(text("12345")), ..running.decrypt(Decryption::RsaRaw, &number) };
        assert_eq!(opened(&mut running.client(), &pin_instead), block);
    }
}

#[test]
fn a_decryption_costs_what_a_login_costs() {
    let (running, _plugged) = with_usage(None);
    let mut client = running.logged_in();
    let request = running.decrypt(Decryption::RsaPkcs1, &encrypted(Pkcs1v15Encrypt, b"data"));
    let sign = Sign {
        reader: running.reader(READER),
        insertion: None,
        key_use: KeyUse::Authentication,
        mechanism: Mechanism::RsaPkcs1,
        data: b"data".to_vec(),
        pin: None,
        confirm_last_try: false,
    };
    client.call(&sign).unwrap();
    let before = commands(&mut client);
    client.call(&sign).unwrap();
    let signed = commands(&mut client);
    opened(&mut client, &request);
    assert_eq!(commands(&mut client) - signed, signed - before);
}

#[test]
fn a_badly_padded_message_is_not_told_from_another() {
    let (running, _plugged) = with_usage(None);
    let mut client = running.logged_in();
    // A message for OAEP is as good as random under PKCS#1 v1.5.
    let other = encrypted(Oaep::new::<Sha256>(), b"data");
    let request = running.decrypt(Decryption::RsaPkcs1, &other);
    let first = opened(&mut client, &request);
    assert_eq!(opened(&mut client, &request), first);
    assert_eq!(opened(&mut running.logged_in(), &request), first);
    // With OAEP nothing but one refusal is told, whatever is wrong.
    let refused = |client: &mut Client, mechanism, data: &[u8]| {
        let error = client.call(&running.decrypt(mechanism, data)).err().unwrap();
        error.to_string()
    };
    let (sha256, sha1) = (oaep(Hash::Sha256, Hash::Sha256), oaep(Hash::Sha1, Hash::Sha1));
    let wrong_padding = refused(&mut client, sha256, &encrypted(Pkcs1v15Encrypt, b"data"));
    assert_eq!(refused(&mut client, sha1, &other), wrong_padding);
    let label = Decryption::RsaOaep { hash: Hash::Sha256, mgf_hash: Hash::Sha256, label: b"x".to_vec() };
    assert_eq!(refused(&mut client, label.clone(), &other), wrong_padding);
    assert_eq!(kind(&mut client, &running.decrypt(label, &other)), ErrorKind::CiphertextInvalid);
}

#[test]
fn what_cannot_be_decrypted_costs_the_card_nothing() {
    let (running, _plugged) = with_usage(None);
    let mut client = running.logged_in();
    let before = commands(&mut client);
    let mut refused = |mechanism, data: &[u8]| kind(&mut client, &running.decrypt(mechanism, data));
    for data in [vec![], vec![1; 255], vec![1; 257], vec![1; 600], vec![0xFF; 256]] {
        assert_eq!(refused(Decryption::RsaPkcs1, &data), ErrorKind::CiphertextInvalid);
    }
    let label = Decryption::RsaOaep { hash: Hash::Sha1, mgf_hash: Hash::Sha1, label: vec![0; 1025] };
    assert_eq!(refused(label, &[1; 256]), ErrorKind::MechanismInvalid);
    assert_eq!(commands(&mut client), before);

    let mut stranger = running.client();
    let request = running.decrypt(Decryption::RsaPkcs1, &[1; 256]);
    assert_eq!(kind(&mut stranger, &request), ErrorKind::NotLoggedIn);
}

/// What a chip computes wrongly, or a reader garbles, is no plaintext: neither the real one nor another.
#[test]
fn a_garbled_answer_is_no_plaintext() {
    let (running, plugged) = with_usage(None);
    let mut client = running.logged_in();
    let message = encrypted(Pkcs1v15Encrypt, b"data");
    for mechanism in [Decryption::RsaPkcs1, Decryption::RsaRaw] {
        for garbage in [Garbage::StatusOnly, Garbage::Longer(1), Garbage::Longer(300)] {
            let trigger = Trigger::Instruction { ins: 0x2A, after: 0 };
            plugged.with_card(|card| card.plan_at(trigger, Fault::Garbage(garbage)));
            let refused = kind(&mut client, &running.decrypt(mechanism.clone(), &message));
            let told = [ErrorKind::CardAnswerInvalid, ErrorKind::ReaderFailed];
            assert!(told.contains(&refused), "{mechanism:?} {garbage:?}: {refused:?}");
        }
        let request = running.decrypt(mechanism, &message);
        assert!(opened(&mut client, &request).ends_with(b"data"), "the card is well again");
    }
}

#[test]
fn a_certificate_for_signatures_decrypts_nothing() {
    let (running, _plugged) = with_usage(Some(DIGITAL_SIGNATURE));
    let mut client = running.logged_in();
    let before = commands(&mut client);
    let request = running.decrypt(Decryption::RsaPkcs1, &encrypted(Pkcs1v15Encrypt, b"data"));
    assert_eq!(kind(&mut client, &request), ErrorKind::MechanismInvalid);
    assert_eq!(commands(&mut client), before);
}
