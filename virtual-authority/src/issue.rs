//! From an application to a signed certificate.

mod proof;

use std::sync::Arc;
use std::time::Duration;

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{BitString, GeneralizedTime, Ia5String, OctetString, UtcTime};
use der::{Any, AnyRef, DateTime, Decode, Encode, Sequence};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use thiserror::Error;
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::CrlDistributionPoints;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::request::CertReqInfo;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

pub(crate) use proof::verify_signature;

use crate::authority::Ca;
use crate::error::AuthorityError;
use crate::profile::{Profile, ProfileError, Rules};
use crate::state::{Event, Record, State};
use crate::status::Status;

/// Clocks differ: a certificate is valid from a little before it is made.
const CLOCK_SKEW: u64 = 60;

/// Why a request for a certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IssueError {
    /// The subject does not fit the profile.
    #[error("{0}")]
    Profile(#[from] ProfileError),
    /// The key is not RSA, or cannot be read.
    #[error("the public key is not an RSA key that can be read")]
    Key,
    /// The key is too short, or longer than cards have.
    #[error("the RSA key has {bits} bits; {least} to {most} are accepted")]
    KeyLength {
        /// Its length.
        bits: usize,
        /// The shortest that the profile allows.
        least: usize,
        /// The longest that the profile allows.
        most: usize,
    },
    /// The key's exponent is weak.
    #[error("the RSA key's public exponent must be odd and at least 65537")]
    Exponent,
    /// The request is not signed with the key that it asks a certificate for.
    #[error("the proof of possession failed: the request is not signed with the key that it names")]
    Possession,
    /// The request gives no proof, or one that this certifier does not know.
    #[error("the request must prove possession by a signature with SHA-256, SHA-384 or SHA-512 and RSA")]
    NoProof,
    /// The structure cannot be read.
    #[error("the request cannot be read: {0}")]
    Malformed(der::Error),
    /// The template names no subject or no key.
    #[error("the request names no {0}")]
    Incomplete(&'static str),
    /// The requested end lies in the past.
    #[error("the certificate would end before it begins")]
    Validity,
    /// The holder's certificate is suspended, so it is neither given again nor replaced.
    #[error("the certificate of this key is suspended")]
    Suspended,
}

/// A checked request: the applicant holds the key, and the subject fits the profile.
pub(crate) struct Application {
    rules: Arc<Rules>,
    subject: Name,
    public_key: SubjectPublicKeyInfoOwned,
    not_after: Option<u64>,
}

/// A CertificationRequest (RFC 2986 §4.2) whose signed part is kept as it came.
#[derive(Sequence)]
struct Pkcs10<'a> {
    info: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

impl Application {
    /// Checks a PKCS#10 request.
    pub(crate) fn from_pkcs10(rules: &Arc<Rules>, request: &[u8]) -> Result<Self, IssueError> {
        let request = Pkcs10::from_der(request).map_err(IssueError::Malformed)?;
        let signed = request.info.to_der().map_err(IssueError::Malformed)?;
        let info = CertReqInfo::from_der(&signed).map_err(IssueError::Malformed)?;
        verify_signature(&info.public_key, &request.algorithm, &signed, &request.signature)?;
        Self::proved(rules, info.subject, info.public_key, None)
    }

    /// Checks everything but the proof of possession, which the caller has seen.
    pub(crate) fn proved(
        rules: &Arc<Rules>,
        subject: Name,
        public_key: SubjectPublicKeyInfoOwned,
        not_after: Option<u64>,
    ) -> Result<Self, IssueError> {
        proof::check_strength(&public_key, rules.key_bits())?;
        rules.check_subject(&subject)?;
        Ok(Self { rules: Arc::clone(rules), subject, public_key, not_after })
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.rules.profile
    }

    pub(crate) fn subject(&self) -> &Name {
        &self.subject
    }

    /// Two applications with the same identity ask for the same certificate.
    pub(crate) fn identity(&self) -> Result<String, AuthorityError> {
        let mut hash = Sha256::new();
        hash.update(self.rules.profile.path_name());
        hash.update([0]);
        hash.update(self.public_key.to_der()?);
        hash.update(self.subject.to_der()?);
        Ok(hex::encode(hash.finalize()))
    }
}

/// The certificate that this identity has already, if it is one to give again.
pub(crate) fn in_force<'s>(
    state: &'s State,
    identity: &str,
    now: u64,
) -> Result<Option<&'s Record>, IssueError> {
    let Some(record) = state.newest(identity).filter(|record| record.not_after > now) else {
        return Ok(None);
    };
    match record.status {
        Status::Unconfirmed | Status::Valid => Ok(Some(record)),
        Status::Suspended { .. } => Err(IssueError::Suspended),
        Status::Revoked { .. } => Ok(None),
    }
}

/// A certificate that is signed and not yet written down.
pub(crate) struct Issued {
    pub(crate) certificate: Certificate,
    profile: Profile,
    identity: String,
}

impl Issued {
    pub(crate) fn serial(&self) -> String {
        hex::encode(self.certificate.tbs_certificate.serial_number.as_bytes())
    }

    /// The line that writes it down.
    pub(crate) fn event(&self, unconfirmed: bool) -> Result<Event, AuthorityError> {
        let tbs = &self.certificate.tbs_certificate;
        Ok(Event::Issued {
            serial: self.serial(),
            profile: self.profile.clone(),
            subject: tbs.subject.to_string(),
            identity: self.identity.clone(),
            not_before: tbs.validity.not_before.to_unix_duration().as_secs(),
            not_after: tbs.validity.not_after.to_unix_duration().as_secs(),
            unconfirmed,
            certificate: hex::encode(self.certificate.to_der()?),
        })
    }
}

/// Signs a certificate for `application`.
pub(crate) fn sign(
    ca: &Ca,
    application: &Application,
    base_url: Option<&str>,
    now: u64,
) -> Result<Issued, AuthorityError> {
    let latest = now.saturating_add(application.rules.lifetime());
    let not_after = application.not_after.map_or(latest, |wanted| wanted.min(latest));
    if not_after <= now {
        return Err(IssueError::Validity.into());
    }
    let algorithm = AlgorithmIdentifierOwned {
        oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        parameters: Some(Any::null()),
    };
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: random_serial()?,
        signature: algorithm.clone(),
        issuer: ca.certificate().tbs_certificate.subject.clone(),
        validity: Validity { not_before: time(now.saturating_sub(CLOCK_SKEW))?, not_after: time(not_after)? },
        subject: application.subject.clone(),
        subject_public_key_info: application.public_key.clone(),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions(ca, application, base_url)?),
    };
    let signature = ca.sign(&tbs.to_der()?)?;
    let certificate = Certificate {
        tbs_certificate: tbs,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature)?,
    };
    Ok(Issued { certificate, profile: application.profile().clone(), identity: application.identity()? })
}

fn extensions(
    ca: &Ca,
    application: &Application,
    base_url: Option<&str>,
) -> Result<Vec<Extension>, AuthorityError> {
    let mut extensions = application.rules.extensions()?;
    extensions.push(extension(false, &BasicConstraints { ca: false, path_len_constraint: None })?);
    extensions.push(authority_key_identifier(ca)?);
    let identifier = OctetString::new(key_identifier(&application.public_key))?;
    extensions.push(extension(false, &SubjectKeyIdentifier(identifier))?);
    if let Some(base) = base_url {
        let point = at_address(&format!("{base}/crl.der"))?;
        extensions.push(extension(false, &CrlDistributionPoints(vec![point]))?);
        let issuer = AccessDescription {
            access_method: const_oid::db::rfc5280::ID_AD_CA_ISSUERS,
            access_location: uri(&format!("{base}/ca.der"))?,
        };
        let responder = AccessDescription {
            access_method: const_oid::db::rfc5280::ID_AD_OCSP,
            access_location: uri(&format!("{base}/ocsp"))?,
        };
        extensions.push(extension(false, &AuthorityInfoAccessSyntax(vec![issuer, responder]))?);
    }
    Ok(extensions)
}

/// The distribution point of a CRL at `url`.
pub(crate) fn at_address(url: &str) -> der::Result<DistributionPoint> {
    let name = DistributionPointName::FullName(vec![uri(url)?]);
    Ok(DistributionPoint { distribution_point: Some(name), reasons: None, crl_issuer: None })
}

fn uri(text: &str) -> der::Result<GeneralName> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(text)?))
}

/// The extension that names the key that signs.
pub(crate) fn authority_key_identifier(ca: &Ca) -> der::Result<Extension> {
    let identifier = key_identifier(&ca.certificate().tbs_certificate.subject_public_key_info);
    let identifier =
        AuthorityKeyIdentifier { key_identifier: Some(OctetString::new(identifier)?), ..Default::default() };
    extension(false, &identifier)
}

/// RFC 5280 §4.2.1.2, method 1.
pub(crate) fn key_identifier(key: &SubjectPublicKeyInfoOwned) -> Vec<u8> {
    Sha1::digest(key.subject_public_key.raw_bytes()).to_vec()
}

/// An extension of a type that knows its own identifier.
pub(crate) fn extension<E: AssociatedOid + Encode>(critical: bool, value: &E) -> der::Result<Extension> {
    extension_of(E::OID, critical, value)
}

/// An extension.
pub(crate) fn extension_of(
    oid: ObjectIdentifier,
    critical: bool,
    value: &impl Encode,
) -> der::Result<Extension> {
    Ok(Extension { extn_id: oid, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// 126 random bits, positive and of one length (RFC 5280 §4.1.2.2).
pub(crate) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = random::<16>()?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(SerialNumber::new(&bytes)?)
}

/// Bytes that nobody can foresee.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], AuthorityError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(AuthorityError::Random)?;
    Ok(bytes)
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5).
pub(crate) fn time(seconds: u64) -> der::Result<Time> {
    let date = DateTime::from_unix_duration(Duration::from_secs(seconds))?;
    Ok(if date.year() < 2050 {
        Time::UtcTime(UtcTime::from_date_time(date)?)
    } else {
        Time::GeneralTime(GeneralizedTime::from_date_time(date))
    })
}
