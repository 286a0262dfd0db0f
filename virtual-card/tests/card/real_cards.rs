//! What real cards were logged to answer, the virtual card of their generation answers too.

use std::str::FromStr;
use std::time::Duration;

use cns_apdu::trace::{Exchange, Kind, Trace};
use cns_test_vectors::traces;
use cns_virtual_card::{Generation, Personalisation, SignatureArea, VirtualCard, sample};
use der::Encode;
use der::asn1::{BitString, OctetString};
use rsa::RsaPublicKey;
use spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

use crate::bytes;

/// Trace, generation, and the length of the certificate on the real card.
const CARDS: [(&str, &str, usize); 10] = [
    ("ace2021-idemia.contact", "idemia2021", 1900),
    ("ace2025-gd-nxp.contact", "ace2025", 0x075D),
    ("chipdoc-digital-dna.contact", "chipdoc", 1900),
    ("idemia-2021.nfc", "idemia-nfc", 1900),
    ("idemia-cosmo91.contact", "idemia-cosmo91", 1900),
    ("oberthur-cosmo7-bit4id.contact", "oberthur-cosmo7", 0x0525),
    ("st2021-jsign.contact", "st2021", 1900),
    ("st2022-jsign4.nfc", "st2022-nfc", 1900),
    ("stincard-cns10-rsa1024.contact", "incard11", 1000),
    ("ts-cns-2018-dual.contact-nfc", "ts-cns-2018-dual", 1900),
];

/// A certificate with a serial number of three bytes, filled up to `length`.
fn certificate(generation: Generation, length: usize) -> Vec<u8> {
    let algorithm = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
        parameters: Some(der::Any::from(der::AnyRef::NULL)),
    };
    let key: RsaPublicKey = sample::key_of(generation).unwrap().to_public_key();
    let name = Name::from_str("CN=sample").unwrap();
    let filled = |filler: usize| {
        let extension = Extension {
            extn_id: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1"),
            critical: false,
            extn_value: OctetString::new(vec![0x55; filler]).unwrap(),
        };
        let tbs_certificate = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&[0x01, 0x02, 0x03]).unwrap(),
            signature: algorithm.clone(),
            issuer: name.clone(),
            validity: Validity {
                not_before: Time::UtcTime(der::asn1::UtcTime::from_unix_duration(Duration::ZERO).unwrap()),
                not_after: Time::UtcTime(der::asn1::UtcTime::from_unix_duration(Duration::ZERO).unwrap()),
            },
            subject: name.clone(),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_key(key.clone()).unwrap(),
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(vec![extension]),
        };
        let signature = BitString::from_bytes(&[0x5A; 256]).unwrap();
        let certificate = Certificate { tbs_certificate, signature_algorithm: algorithm.clone(), signature };
        certificate.to_der().unwrap()
    };
    (0..length).map(filled).find(|der| der.len() == length).unwrap()
}

/// What a log leaves out before one of its commands: the selection of an application, or a PIN.
fn missing_step(trace: &str, exchange: &Exchange) -> Option<&'static str> {
    match (trace, hex::encode_upper(&exchange.command).as_str()) {
        // After the second gap: the ESIGN application has been selected.
        ("ace2025-gd-nxp.contact", "00A4090002D00300") => Some("00A4040C0AA000000530455349474E"),
        // The conditions of the file ask for the PIN.
        ("oberthur-cosmo7-bit4id.contact", "00A408000614009002310E00") => Some("0020001008 3132333435FFFFFF"),
        (_, _) => None,
    }
}

/// Personal data are of another person: only their number is compared.
fn is_alike(exchange: &Exchange, answer: &[u8]) -> bool {
    let is_personal = |what: &str| what.contains("EF_DatiPersonali") || what.contains("personal data");
    let personal = exchange.missing.as_ref().filter(|missing| is_personal(&missing.what));
    match personal.and_then(|missing| missing.length) {
        Some(missing) => answer.len() == exchange.data.len() + missing + 2 && answer.ends_with(&[0x90, 0x00]),
        None => exchange.is_answer(answer),
    }
}

/// A read of a file whose selection is in a gap, so that nobody knows which one; and an example from a description,
/// of a file that is not selected there.
fn is_lost(trace: &str, exchange: &Exchange) -> bool {
    let command = hex::encode_upper(&exchange.command);
    match trace {
        "ace2025-gd-nxp.contact" => exchange.after_gap.is_some() && command == "00B0050000",
        "ts-cns-2018-dual.contact-nfc" => command == "00B0000006",
        _ => false,
    }
}

/// Sends the command of an exchange, with the sample card's PIN. As the programs do whose answers are not logged, it
/// repeats a SELECT that must not be silent.
fn send(card: &mut VirtualCard, exchange: &Exchange) -> Vec<u8> {
    let mut command = exchange.command.clone();
    if let [0x00, 0x20, 0x00, _, 0x08, value @ ..] = &mut command[..] {
        value.copy_from_slice(b"12345\xFF\xFF\xFF");
    }
    let answer = card.transmit(&command);
    match command[..] {
        [0x00, 0xA4, _, 0x0C, ..] if exchange.kind == Kind::Driver && answer == [0x6A, 0x86] => {
            command[3] = 0x00;
            card.transmit(&command)
        }
        _ => answer,
    }
}

#[test]
fn exchanges_with_real_cards_are_answered_alike() {
    let all = traces().unwrap();
    let (mut captured, mut driven) = (0, 0);
    let mut wrong = Vec::new();
    for (name, generation, length) in CARDS {
        let generation = Generation::from_name(generation).unwrap();
        let text = &all.iter().find(|(trace, _)| trace == name).unwrap_or_else(|| panic!("{name}")).1;
        let trace = Trace::parse(text).unwrap();
        let answer_to_reset = generation.answer_to_reset().to_vec();
        assert!(trace.atrs.is_empty() || trace.atrs.contains(&answer_to_reset), "{name}");
        // Of the logged cards only the token has a second certificate.
        let area = if name.starts_with("chipdoc") { SignatureArea::Filled } else { SignatureArea::Empty };
        let order =
            Personalisation { signature_area: area, ..sample::personalisation_of(generation).unwrap() };
        let mut card = VirtualCard::create(order).unwrap();
        let certificate = certificate(generation, length);
        card.load_certificate(&certificate).unwrap();
        if area == SignatureArea::Filled {
            card.load_signature_certificate(&certificate).unwrap();
        }
        for session in &trace.sessions {
            card.reset();
            for exchange in session.iter().filter(|exchange| !is_lost(name, exchange)) {
                if let Some(step) = missing_step(name, exchange) {
                    assert_eq!(card.transmit(&bytes(step)), [0x90, 0x00], "{name}: {step}");
                }
                let answer = send(&mut card, exchange);
                match exchange.kind {
                    Kind::Capture => captured += 1,
                    Kind::Driver => driven += 1,
                    Kind::Inferred => continue,
                }
                if !is_alike(exchange, &answer) {
                    let command = hex::encode_upper(&exchange.command);
                    let (kind, answer) = (exchange.kind, hex::encode_upper(answer));
                    let answer = &answer[answer.len().saturating_sub(40)..];
                    wrong.push(format!("{name}, line {} ({kind:?}): {command} -> {answer}", exchange.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((captured, driven), (77, 52));
}
