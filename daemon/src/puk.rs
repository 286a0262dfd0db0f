//! The holder's own way to the PUK (§4.1-PUK, §6.3-PUK): who is logged in with the card gets it as a message that only this
//! card and its PIN open. Off unless configured.
//!
//! Anybody can make a card that announces a serial number, so three things are asked for before custody is: the
//! certificate is a configured authority's, names this card, and is in force; the card agrees with it; and the card's key
//! signs a fresh challenge with the PIN of the connection's login.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_secret::Secret;
use der::Decode;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::ext::pkix::KeyUsage;

use crate::authority::checks::{CheckError, Revocation, TrustAnchors, check_crl, verify_chain};
use crate::card::{CardContents, CardError};
use crate::config::PukDeliveryConfig;
use crate::custody::import_line::{Value, members};
use crate::custody::{Custody, CustodyError, PukKind};
use crate::operator::TrustError;

/// What a card signs here begins with this: see [`crate::operator`].
const CONTEXT: &[u8] = b"cnsd PUK delivery, version 1\0";
/// The largest file of anchors or revocations that is read.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;
const MEMBERS: [&str; 4] = ["format", "version", "card", "puk"];

/// Why there is no PUK for this holder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PukError {
    /// It is not configured.
    #[error("no PUKs are delivered here")]
    Off,
    /// The connection is not logged in.
    #[error("this connection is not logged in to the card")]
    NotLoggedIn,
    /// The card has no authentication certificate, or its files do not agree with it.
    #[error("the card and its certificate do not agree")]
    Disagree,
    /// The certificate is not good.
    #[error("the card's certificate is refused: {0}")]
    Certificate(CheckError),
    /// The certificate is revoked or suspended.
    #[error("the card's certificate is revoked or suspended")]
    Revoked,
    /// The configured trust cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The certificate's key usage has no keyEncipherment, which the configuration demands.
    #[error("the card's certificate is not made for encryption")]
    Usage,
    /// The card's signature is not its certificate's.
    #[error("the card's signature does not belong to its certificate")]
    Signature,
    /// The message is none of `puk.deliver`, or for another card.
    #[error("this is no PUK that was encrypted for the card in the reader")]
    Message,
    /// The card or the reader.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Custody.
    #[error(transparent)]
    Custody(#[from] CustodyError),
}

/// Delivers PUKs to holders.
pub struct PukDelivery {
    custody: Custody,
    anchors: TrustAnchors,
    crl: Option<PathBuf>,
    demand_key_encipherment: bool,
}

impl PukDelivery {
    /// Reads the trust that the configuration names.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub fn open(config: &PukDeliveryConfig, custody: &Custody) -> Result<Self, TrustError> {
        let path = &config.trust_anchors;
        let anchors =
            TrustAnchors::from_pem(&read_file(path)?).map_err(|_| TrustError::Anchors(path.clone()))?;
        if config.crl.is_none() {
            tracing::warn!("[puk_delivery]: no revocation list is configured: revoked cards are not noticed");
        }
        let demand_key_encipherment = config.demand_key_encipherment;
        Ok(Self { custody: custody.clone(), anchors, crl: config.crl.clone(), demand_key_encipherment })
    }

    /// Whether a certificate without keyEncipherment opens what was encrypted to it.
    #[must_use]
    pub fn allows_any_usage(&self) -> bool {
        !self.demand_key_encipherment
    }

    /// Judges the card's certificate; gives it.
    ///
    /// # Errors
    /// See [`PukError`].
    pub fn judge(&self, contents: &CardContents, now: SystemTime) -> Result<Certificate, PukError> {
        let der = contents.certificate(KeyUse::Authentication).ok_or(PukError::Disagree)?;
        if !contents.card.data_agree {
            return Err(PukError::Disagree);
        }
        let issuer = verify_chain(der, &self.anchors, now).map_err(PukError::Certificate)?;
        let malformed = |error| PukError::Certificate(CheckError::Malformed(error));
        let certificate = Certificate::from_der(der).map_err(malformed)?;
        let usage = certificate.tbs_certificate.get::<KeyUsage>().map_err(malformed)?;
        if self.demand_key_encipherment && usage.is_some_and(|(_, usage)| !usage.key_encipherment()) {
            return Err(PukError::Usage);
        }
        if let Some(path) = &self.crl {
            let serial = certificate.tbs_certificate.serial_number.as_bytes();
            match check_crl(&read_file(path)?, issuer, serial, now).map_err(TrustError::Crl)? {
                Revocation::Good => {}
                Revocation::Revoked { .. } => return Err(PukError::Revoked),
            }
        }
        Ok(certificate)
    }

    /// The PUK of a card whose holder was judged, encrypted to its certificate.
    ///
    /// # Errors
    /// [`PukError::Custody`].
    pub async fn message(&self, card: &str, certificate: &Certificate) -> Result<Vec<u8>, PukError> {
        let puk = self.custody.puk(card, PukKind::Cns).await?;
        Ok(puk.lend(|puk| -> Result<_, CustodyError> {
            crate::custody::seal_to(certificate, &content(card, puk)?)
        })?)
    }
}

/// What the card is to sign: the challenge, and DigestInfo of it.
pub(crate) fn challenge() -> Result<Vec<u8>, PukError> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| PukError::Custody(CustodyError::Cryptography("no random numbers")))?;
    Ok([CONTEXT, &random].concat())
}

/// The mechanism and the data that a challenge is signed with.
pub(crate) fn to_sign(challenge: &[u8]) -> (Mechanism, Vec<u8>) {
    (
        Mechanism::RsaPkcs1,
        [crate::operator::SHA256_DIGEST_INFO.as_slice(), &Sha256::digest(challenge)].concat(),
    )
}

/// Checks the card's signature.
pub(crate) fn check_signature(
    certificate: &Certificate,
    challenge: &[u8],
    signature: &[u8],
) -> Result<(), PukError> {
    let key = crate::operator::rsa_public_key(certificate)?;
    let algorithm = &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
    aws_lc_rs::signature::UnparsedPublicKey::new(algorithm, key)
        .verify(challenge, signature)
        .map_err(|_| PukError::Signature)
}

/// The content of a message, in locked memory of its length.
fn content(card: &str, puk: &Secret) -> Result<Secret, CustodyError> {
    let parts: [&[u8]; 5] = [
        b"{\"format\":\"cns-puk\",\"version\":1,\"card\":\"",
        card.as_bytes(),
        b"\",\"puk\":\"",
        puk.expose(),
        b"\"}",
    ];
    let mut content = Secret::zeroed(parts.iter().map(|part| part.len()).sum())?;
    let mut rest = content.expose_mut();
    for part in parts {
        let Some((place, next)) = rest.split_at_mut_checked(part.len()) else { break };
        place.copy_from_slice(part);
        rest = next;
    }
    Ok(content)
}

/// The PUK in the content of a message for this card.
pub(crate) fn read_content(content: &Secret, card: &str) -> Result<Secret, PukError> {
    match members(content.expose(), MEMBERS) {
        Some([Value::Text("cns-puk"), Value::Number(1), Value::Text(named), Value::Text(puk)])
            if named == card =>
        {
            Secret::copy_from(puk.as_bytes()).map_err(|error| CardError::Memory(error).into())
        }
        Some(_) | None => Err(PukError::Message),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > LARGEST_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_read_by_its_card_alone() {
        let puk = Secret::copy_from(b"87654321").unwrap();
        let made = content("6999000000001230", &puk).unwrap();
        assert!(read_content(&made, "6999000000001230").unwrap().ct_eq(&puk));
        assert!(matches!(read_content(&made, "6999000000001248"), Err(PukError::Message)));
        let cut = Secret::copy_from(&made.expose()[..20]).unwrap();
        assert!(matches!(read_content(&cut, "6999000000001230"), Err(PukError::Message)));
    }
}
