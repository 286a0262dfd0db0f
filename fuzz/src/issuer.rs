//! An authority whose key is known here, so that what it signed is taken apart and not only refused.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use cnsd::authority::TrustAnchors;
use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};

const CERTIFICATE: &[u8] = include_bytes!("../data/issuer.pem");
const KEY: &[u8] = include_bytes!("../data/issuer.key");
/// sha256WithRSAEncryption.
pub(crate) const ALGORITHM: &[u8] =
    &[0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B, 0x05, 0x00];

/// The authority.
pub(crate) struct Issuer {
    pub(crate) certificate: Certificate,
    pub(crate) anchors: TrustAnchors,
    /// Its name, DER.
    pub(crate) name: Vec<u8>,
    key: RsaKeyPair,
}

impl Issuer {
    pub(crate) fn get() -> &'static Self {
        static ISSUER: OnceLock<Issuer> = OnceLock::new();
        ISSUER.get_or_init(|| {
            let certificate = Certificate::from_pem(CERTIFICATE).expect("a certificate");
            Self {
                name: certificate.tbs_certificate.subject.to_der().expect("a name"),
                certificate,
                anchors: TrustAnchors::from_pem(CERTIFICATE).expect("a certificate"),
                key: RsaKeyPair::from_pkcs8(KEY).expect("a key"),
            }
        })
    }

    /// Content, algorithm and signature, in a sequence with what follows them.
    pub(crate) fn signed(&self, content: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), content, &mut signature).expect("a signature");
        let signature = tlv(0x03, &[&[0][..], &signature].concat());
        tlv(0x30, &[content, ALGORITHM, &signature, rest].concat())
    }
}

/// The moment at which everything is looked at: 1 December 2026, in the authority's time.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_796_083_200)
}

/// A data object of DER.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("an input is short").to_be_bytes();
    let head = match (high, low) {
        (0, 0..0x80) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}
