//! What the bureau makes: contents, request, and orders that it refuses.

use cns_secret::Secret;
use cns_virtual_card::holder::Holder;
use cns_virtual_card::{Generation, Personalisation, VirtualCard, sample};
use der::{Decode, Encode};
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::sha2::Sha256;
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;
use x509_cert::request::CertReq;

use crate::{bytes, card, expect, run, send};

#[test]
fn the_request_is_for_the_chips_key_and_signed_by_it() {
    let holder = sample::holder();
    let der = card().certificate_request(&holder.administration()).unwrap();
    let request = CertReq::from_der(&der).unwrap();
    assert_eq!(
        request.info.subject.to_string(),
        "CN=RSSMRA80A01H501U/6999000000001230.2spivQIFMotW\\+2Ieae0CdZBGvaM=,OU=Ente emettitore 999,C=IT"
    );
    let key = VerifyingKey::<Sha256>::new(sample::key().unwrap().to_public_key());
    let signature = Signature::try_from(request.signature.raw_bytes()).unwrap();
    key.verify(&request.info.to_der().unwrap(), &signature).unwrap();
}

#[test]
fn the_public_key_lies_in_its_file() {
    let mut card = card();
    expect(&mut card, "00A4080C023F01", "9000");
    let record = bytes(&send(&mut card, "00B20104000000"));
    assert_eq!(record[..6], bytes("10FF0102FF00"));
    assert_eq!(record[6..262], sample::key().unwrap().n().to_bytes_be());
    run(&mut card, &[("00B2020400", "11050400010001 9000"), ("00B0000001", "6981")]);
}

#[test]
fn a_certificate_must_fit() {
    let mut card = card();
    assert!(card.load_certificate(&[0x30; 2049]).is_err());
    card.load_certificate(&[0x30; 2048]).unwrap();
    assert!(card.summary().authentication_certificate);
}

#[test]
fn impossible_orders_are_refused() {
    let secret = |digits: &[u8]| Secret::copy_from(digits).unwrap();
    let order = || sample::personalisation().unwrap();
    let refused = |order| assert!(VirtualCard::create(order).is_err());
    refused(Personalisation { pin: secret(b"1234"), ..order() });
    refused(Personalisation { pin: secret(b"123456789"), ..order() });
    refused(Personalisation { pin: secret(b"1234A"), ..order() });
    refused(Personalisation { puk: secret(b"1234567"), ..order() });
    refused(Personalisation { generation: Generation::from_name("incard10").unwrap(), ..order() });
    let holder = Holder { birth_date: "yesterday".to_owned(), ..sample::holder() };
    refused(Personalisation { holder, ..order() });
}

#[test]
fn the_summary_holds_no_secret() {
    let card = card();
    let text = format!("{}{}", card.summary(), serde_json::to_string(&card.summary()).unwrap());
    for secret in ["12345", "87654321", "3132333435", "3837363534333231"] {
        // The serial number and the tax code must not hold them by chance either.
        assert!(!text.contains(secret), "{text}");
    }
}
