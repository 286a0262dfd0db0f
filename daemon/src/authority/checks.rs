//! Whether a certificate is what it should be: the chip's key, the card's holder, a trusted issuer, the right kind.
//!
//! An RSA path of one step is judged: every certificate of the configured bundle is trusted for itself, so the issuing
//! authority stands in it. Anything critical that is not understood is refused (RFC 5280 §4.2).

mod crl;
mod profile;

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    UnparsedPublicKey,
};
use cns_protocol::card::KeyUse;
use const_oid::db::rfc5912::{
    RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::BitString;
use der::{AnyRef, Decode, Encode, Sequence};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;

pub use crate::authority::checks::crl::{Revocation, check_crl, reason_name};
pub(super) use crate::authority::checks::profile::Subject;
pub use crate::authority::checks::profile::{Holder, Profile};

/// Clocks differ by this much.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// No certificate of a card has more than some kilobytes.
const CERTIFICATE_LIMIT: usize = 64 * 1024;
const ID_KP_CMC_CA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.27");
const ID_KP_CMC_RA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28");

/// Why a certificate, or a revocation list, is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(der::Error),
    /// The bundle of trust anchors is empty or unreadable.
    #[error("the bundle of trusted certificates cannot be read")]
    Anchors,
    /// It certifies another key.
    #[error("it is for another key than the chip's")]
    Key,
    /// Nobody who is trusted issued it.
    #[error("its issuer, {0}, is not trusted here")]
    Issuer(String),
    /// The issuer's signature is wrong.
    #[error("its signature is not its issuer's")]
    Signature,
    /// It is signed with an algorithm that is not accepted.
    #[error("it is not signed with RSA and SHA-256, SHA-384 or SHA-512")]
    Algorithm,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It is not valid any more.
    #[error("it has expired")]
    Expired,
    /// Something critical in it is not understood.
    #[error("it has a critical extension that is not understood ({0})")]
    Critical(String),
    /// It has an extension twice.
    #[error("it has an extension more than once ({0})")]
    Repeated(String),
    /// It is a certification authority's.
    #[error("it is a certification authority's own certificate")]
    IsAuthority,
    /// Its key usage is not that of its kind.
    #[error("its key usage is not that of {0}")]
    KeyUsage(Profile),
    /// Its extended key usage is not that of its kind.
    #[error("its extended key usage is not that of {0}")]
    ExtendedKeyUsage(Profile),
    /// It has no certificate policy, or not the one of its kind.
    #[error("its certificate policies are not those of {0}")]
    Policy(Profile),
    /// It does not say that it is a qualified certificate on a signature device.
    #[error("it does not state that it is a qualified certificate whose key is in a signature device")]
    NotQualified,
    /// It names somebody else.
    #[error("its {0} is not the card holder's")]
    Holder(&'static str),
    /// It may not sign for an authority.
    #[error("it is neither a certification authority's nor one that speaks for such")]
    NoSpokesman,
    /// The revocation list is out of date.
    #[error("the revocation list is out of date")]
    Stale,
}

/// A certificate or a revocation list, its signed part as it came.
#[derive(Sequence)]
struct Signed<'a> {
    content: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// The certificates that are trusted to issue others.
#[derive(Clone, Debug)]
pub struct TrustAnchors {
    anchors: Vec<Certificate>,
}

impl TrustAnchors {
    /// Reads a PEM bundle of at least one certificate.
    ///
    /// # Errors
    /// [`CheckError::Anchors`].
    pub fn from_pem(bundle: &[u8]) -> Result<Self, CheckError> {
        let bundle = bundle.trim_ascii();
        // x509-cert 0.2.5 subtracts one from the length of what it is given.
        if bundle.is_empty() {
            return Err(CheckError::Anchors);
        }
        let anchors = Certificate::load_pem_chain(bundle).map_err(|_| CheckError::Anchors)?;
        if anchors.is_empty() { Err(CheckError::Anchors) } else { Ok(Self { anchors }) }
    }

    /// Their encodings.
    pub(super) fn encoded(&self) -> impl Iterator<Item = Vec<u8>> {
        self.anchors.iter().filter_map(|anchor| anchor.to_der().ok())
    }

    /// The subject of the first: whom requests are addressed to.
    #[must_use]
    pub fn first_subject(&self) -> Name {
        self.anchors.first().map(|anchor| anchor.tbs_certificate.subject.clone()).unwrap_or_default()
    }
}

/// Checks a certificate that the authority issued for a key that the chip made.
///
/// # Errors
/// See [`CheckError`].
pub fn check_issued(
    certificate: &[u8],
    expected_public_key: &[u8],
    holder: &Holder<'_>,
    anchors: &TrustAnchors,
    now: SystemTime,
    profile: Profile,
) -> Result<(), CheckError> {
    let certificate = read_certificate(certificate)?;
    let key = certificate.tbs_certificate.subject_public_key_info.to_der().map_err(CheckError::Malformed)?;
    if key != expected_public_key {
        return Err(CheckError::Key);
    }
    check_path(&certificate, anchors, now)?;
    profile::check(&certificate, holder, profile)
}

/// Checks that a trusted authority issued `leaf`, for now, and to no authority; returns the issuer.
///
/// # Errors
/// See [`CheckError`].
pub fn verify_chain<'a>(
    leaf: &[u8],
    anchors: &'a TrustAnchors,
    now: SystemTime,
) -> Result<&'a Certificate, CheckError> {
    check_path(&read_certificate(leaf)?, anchors, now)
}

/// Checks that a trusted authority issued `leaf` to this holder, for this use: as of now or, where its term is over, as of
/// its end. Of an authentication certificate, whose holder the card itself is compared with, the issuer alone.
///
/// # Errors
/// See [`CheckError`].
pub fn verify_issued(
    leaf: &[u8],
    (key_use, codice_fiscale): (KeyUse, &str),
    anchors: &TrustAnchors,
    now: SystemTime,
) -> Result<(), CheckError> {
    let leaf = read_certificate(leaf)?;
    let end = leaf.tbs_certificate.validity.not_after.to_system_time();
    check_path(&leaf, anchors, now.min(end))?;
    match key_use {
        KeyUse::Authentication => Ok(()),
        KeyUse::Signature => profile::check_named(&leaf, codice_fiscale),
    }
}

fn read_certificate(certificate: &[u8]) -> Result<Certificate, CheckError> {
    if certificate.len() > CERTIFICATE_LIMIT {
        return Err(CheckError::Malformed(der::ErrorKind::Overlength.into()));
    }
    Certificate::from_der(certificate).map_err(CheckError::Malformed)
}

fn check_path<'a>(
    leaf: &Certificate,
    anchors: &'a TrustAnchors,
    now: SystemTime,
) -> Result<&'a Certificate, CheckError> {
    check_critical(leaf)?;
    check_validity(leaf, now)?;
    if extension::<BasicConstraints>(leaf)?.is_some_and(|constraints| constraints.ca) {
        return Err(CheckError::IsAuthority);
    }
    let encoded = leaf.to_der().map_err(CheckError::Malformed)?;
    // Authorities renew their keys and keep their names, so several anchors may fit; one must verify.
    let mut verdict = Err(CheckError::Issuer(leaf.tbs_certificate.issuer.to_string()));
    for issuer in &anchors.anchors {
        if !names(leaf, issuer)? || !may_issue(issuer, KeyUsages::KeyCertSign)? {
            continue;
        }
        let key = &issuer.tbs_certificate.subject_public_key_info;
        verdict = check_validity(issuer, now)
            .and_then(|()| verify_signed(&encoded, &leaf.tbs_certificate.signature, key))
            .map(|()| issuer);
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// Whether `leaf` says that `anchor` issued it: by name, and by key identifier where both tell one.
fn names(leaf: &Certificate, anchor: &Certificate) -> Result<bool, CheckError> {
    let wanted = extension::<AuthorityKeyIdentifier>(leaf)?.and_then(|identifier| identifier.key_identifier);
    let has = extension::<SubjectKeyIdentifier>(anchor)?.map(|identifier| identifier.0);
    let same_key = wanted.is_none() || has.is_none() || wanted == has;
    Ok(same_key && anchor.tbs_certificate.subject == leaf.tbs_certificate.issuer)
}

/// Whether an anchor is an authority whose key may be used so (RFC 5280 §4.2.1.3, §4.2.1.9).
pub(super) fn may_issue(anchor: &Certificate, usage: KeyUsages) -> Result<bool, CheckError> {
    let authority = extension::<BasicConstraints>(anchor)?.is_some_and(|constraints| constraints.ca);
    let usable = extension::<KeyUsage>(anchor)?.is_none_or(|allowed| allowed.0.contains(usage));
    Ok(authority && usable)
}

fn check_validity(certificate: &Certificate, now: SystemTime) -> Result<(), CheckError> {
    let validity = certificate.tbs_certificate.validity;
    if validity.not_before.to_system_time() > now + CLOCK_SKEW {
        Err(CheckError::NotYetValid)
    } else if validity.not_after.to_system_time() < now {
        Err(CheckError::Expired)
    } else {
        Ok(())
    }
}

fn check_critical(certificate: &Certificate) -> Result<(), CheckError> {
    let known = [KeyUsage::OID, ExtendedKeyUsage::OID, BasicConstraints::OID, CertificatePolicies::OID];
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    match extensions.into_iter().find(|extension| extension.critical && !known.contains(&extension.extn_id)) {
        Some(unknown) => Err(CheckError::Critical(unknown.extn_id.to_string())),
        None => Ok(()),
    }
}

/// The extension of this type, if the certificate has it.
pub(super) fn extension<T: AssociatedOid + for<'a> Decode<'a>>(
    certificate: &Certificate,
) -> Result<Option<T>, CheckError> {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut found = extensions.filter(|extension| extension.extn_id == T::OID);
    let Some(extension) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(CheckError::Repeated(T::OID.to_string()));
    }
    T::from_der(extension.extn_value.as_bytes()).map(Some).map_err(CheckError::Malformed)
}

/// Verifies the signature of a certificate or revocation list with its issuer's key; `named` is the algorithm that
/// its signed part names, which must be the one beside the signature (RFC 5280 §4.1.1.2, §5.1.1.2).
fn verify_signed(
    signed: &[u8],
    named: &AlgorithmIdentifierOwned,
    key: &SubjectPublicKeyInfoOwned,
) -> Result<(), CheckError> {
    let signed = Signed::from_der(signed).map_err(CheckError::Malformed)?;
    if signed.algorithm != *named {
        return Err(CheckError::Signature);
    }
    let signature = signed.signature.as_bytes().ok_or(CheckError::Signature)?;
    let content = signed.content.to_der().map_err(CheckError::Malformed)?;
    verify_signature(signed.algorithm.oid, key, &content, signature)
}

/// Verifies a signature of RSA with PKCS#1 v1.5 padding, by the name of its algorithm.
pub(super) fn verify_signature(
    algorithm: ObjectIdentifier,
    key: &SubjectPublicKeyInfoOwned,
    content: &[u8],
    signature: &[u8],
) -> Result<(), CheckError> {
    let algorithm: &'static RsaParameters = match algorithm {
        SHA_256_WITH_RSA_ENCRYPTION => &RSA_PKCS1_2048_8192_SHA256,
        SHA_384_WITH_RSA_ENCRYPTION => &RSA_PKCS1_2048_8192_SHA384,
        SHA_512_WITH_RSA_ENCRYPTION => &RSA_PKCS1_2048_8192_SHA512,
        _ => return Err(CheckError::Algorithm),
    };
    if key.algorithm.oid != RSA_ENCRYPTION {
        return Err(CheckError::Algorithm);
    }
    let key = key.subject_public_key.as_bytes().ok_or(CheckError::Algorithm)?;
    UnparsedPublicKey::new(algorithm, key).verify(content, signature).map_err(|_| CheckError::Signature)
}

/// Whether a certificate may sign CMP messages for an authority: it is a configured authority's own, or one that such
/// an authority issued for that purpose (RFC 9810 §5.1.3.3: id-kp-cmcCA or id-kp-cmcRA).
pub(super) fn may_speak_for_authority(
    certificate: &[u8],
    anchors: &TrustAnchors,
    now: SystemTime,
) -> Result<Certificate, CheckError> {
    let certificate = read_certificate(certificate)?;
    if anchors.anchors.contains(&certificate) {
        check_validity(&certificate, now)?;
        return Ok(certificate);
    }
    check_path(&certificate, anchors, now)?;
    let usage = extension::<KeyUsage>(&certificate)?;
    let purposes = extension::<ExtendedKeyUsage>(&certificate)?.map(|usages| usages.0).unwrap_or_default();
    let purpose = [ID_KP_CMC_CA, ID_KP_CMC_RA].iter().any(|wanted| purposes.contains(wanted));
    if purpose && usage.is_none_or(|usage| usage.0.contains(KeyUsages::DigitalSignature)) {
        Ok(certificate)
    } else {
        Err(CheckError::NoSpokesman)
    }
}
