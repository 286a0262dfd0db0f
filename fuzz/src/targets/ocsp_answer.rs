//! An OCSP answer: believed of nobody but the authority, in its time, and about what was asked.

use std::sync::OnceLock;
use std::time::Duration;

use cnsd::authority::status::ocsp::{OcspError, Question, Told};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::issuer::{Issuer, now, tlv};
use crate::liar::CERTIFICATE;

/// id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x06, 0x09, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// id-pkix-ocsp-nonce.
const NONCE: &[u8] = &[0x06, 0x09, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];

/// What is asked once and answered again and again.
struct Asked {
    question: Question,
    /// CertID, as it was asked for.
    id: Vec<u8>,
    /// The extensions with the nonce.
    nonce: Vec<u8>,
}

fn asked() -> &'static Asked {
    static ASKED: OnceLock<Asked> = OnceLock::new();
    ASKED.get_or_init(|| {
        let certificate = Certificate::from_der(CERTIFICATE).expect("the sample is a certificate");
        let (question, request) = Question::new(&certificate, &Issuer::get().certificate).expect("a request");
        // OCSPRequest { TBSRequest { requestList { Request { CertID } }, [2] extensions } }
        let tbs = inside(&request);
        let tbs = inside(&tbs);
        let id = inside(&inside(&tbs));
        let at = tbs.windows(NONCE.len()).position(|window| window == NONCE).expect("a nonce") + NONCE.len();
        let value = &tbs[at..];
        let nonce = tlv(0xA1, &tlv(0x30, &tlv(0x30, &[NONCE, value].concat())));
        Asked { question, id, nonce }
    })
}

/// The content of the first data object, which is shorter than 256 bytes.
fn inside(object: &[u8]) -> Vec<u8> {
    match object[1] {
        0x81 => object[3..3 + usize::from(object[2])].to_vec(),
        length => object[2..2 + usize::from(length)].to_vec(),
    }
}

/// OCSPResponse with a BasicOCSPResponse.
fn response(basic: &[u8]) -> Vec<u8> {
    let bytes = tlv(0x30, &[BASIC, &tlv(0x04, basic)].concat());
    tlv(0x30, &[&[0x0A, 0x01, 0x00][..], &tlv(0xA0, &bytes)].concat())
}

/// ResponseData that answers what was asked with this status and these times.
fn data(single: &[u8], asked: &Asked) -> Vec<u8> {
    let by_key = tlv(0xA2, &tlv(0x04, &[7; 20]));
    let made = tlv(0x18, b"20261201000000Z");
    let single = tlv(0x30, &[&asked.id, single].concat());
    tlv(0x30, &[by_key, made, tlv(0x30, &single), asked.nonce.clone()].concat())
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let (issuer, asked) = (Issuer::get(), asked());
    let read = |answer: &[u8], without_nonce| {
        asked.question.read(answer, &issuer.certificate, &issuer.anchors, without_nonce, now())
    };
    match how % 4 {
        0 => tell(&read(rest, true).expect_err("nobody's answer was believed")),
        1 => tell(&read(&response(rest), true).expect_err("nobody's answer was believed")),
        2 => {
            let answer = response(&issuer.signed(&tlv(0x30, rest), &[]));
            look(&read(&answer, true));
            // What was not asked for now does not return the nonce, which no input knows.
            tell(&read(&answer, false).expect_err("an answer without the nonce was believed"));
        }
        _ => {
            // Certificates may follow: the first byte says how much of the rest is one.
            let (single, certificates) = match rest.split_first() {
                Some((length, more)) => more.split_at(more.len().min(usize::from(*length))),
                None => (rest, rest),
            };
            let certificates = tlv(0xA0, &tlv(0x30, certificates));
            look(&read(&response(&issuer.signed(&data(single, asked), &certificates)), false));
        }
    }
}

fn look(told: &Result<Told, OcspError>) {
    match told {
        Ok(told) => {
            assert!(told.until >= now() && told.at <= now() + Duration::from_secs(300), "{told:?}");
        }
        Err(error) => tell(error),
    }
}

fn tell(error: &OcspError) {
    assert!(!error.to_string().chars().any(char::is_control), "a terminal would obey {error:?}");
}

#[cfg(test)]
mod tests {
    use cnsd::authority::checks::Revocation;

    use super::*;

    /// Else the target would try nothing but refusals.
    #[test]
    fn what_the_authority_signed_is_taken_apart() {
        let (issuer, asked) = (Issuer::get(), asked());
        let this = tlv(0x18, b"20261130235959Z");
        for (status, good) in [(&[0x80, 0x00][..], true), (&tlv(0xA1, &this), false)] {
            let data = data(&[status, &this].concat(), asked);
            let answer = response(&issuer.signed(&data, &[]));
            let told =
                asked.question.read(&answer, &issuer.certificate, &issuer.anchors, false, now()).unwrap();
            assert_eq!(told.standing == Revocation::Good, good);
        }
    }
}
