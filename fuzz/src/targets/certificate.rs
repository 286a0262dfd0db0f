//! A certificate file, from its first byte to what clients are told of it.

use cns_apdu::certificate_container::{self, CertificateForm, LONGEST};
use cns_apdu::file_map::AUTHENTICATION_CERTIFICATE;
use cns_protocol::card::KeyUse;
use cnsd::reader::direct::DirectCard;

use crate::liar::{FileCard, answer_to_reset};

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(der) = certificate_container::open(bytes) {
        assert!(der.len() <= LONGEST);
        assert!(
            matches!(CertificateForm::of(&der), Some(CertificateForm::Der(length)) if length == der.len())
        );
    }
    let mut card = FileCard::sample();
    card.put(&AUTHENTICATION_CERTIFICATE, bytes);
    let mut direct = DirectCard::new(&answer_to_reset(0), |command| Ok(card.answer(command)));
    let Ok(contents) = direct.read() else { return };
    for certificate in &contents.card.certificates {
        assert!(certificate.der.len() <= LONGEST);
        for text in [&certificate.subject, &certificate.issuer, &certificate.not_before] {
            assert!(!text.chars().any(char::is_control), "a terminal would obey {text:?}");
        }
    }
    if let Some(der) = contents.certificate(KeyUse::Authentication) {
        assert!(bytes.starts_with(der) || certificate_container::open(bytes).is_ok_and(|open| open == der));
        assert!(contents.public_key(KeyUse::Authentication).is_some());
    }
    serde_json::to_vec(&contents.card).expect("a card can be told about");
}
