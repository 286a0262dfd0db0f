//! RSA keys of the daemon's own, each with a self-signed certificate: the one to which import files are encrypted, the one
//! to which orders are, and the one that signs the receipts of orders.

use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use cns_secret::Secret;
use const_oid::AssociatedOid;
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
use der::asn1::{BitString, Null, OctetString};
use der::pem::LineEnding;
use der::{Any, Decode, Encode, EncodePem};
use sha1::{Digest, Sha1};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::Certificate;
use x509_cert::certificate::{TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Validity;

use crate::custody::error::CustodyError;
use crate::custody::seal::{RecordName, Sealer, random_secret};
use crate::database::{Pool, now};

const LIFE: Duration = Duration::from_secs(3652 * 24 * 60 * 60);

/// Which of the daemon's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Import files are encrypted to it (§9.1.1).
    Import,
    /// Sealed orders are encrypted to it.
    Orders,
    /// It signs the receipts of orders.
    Receipts,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Import => "import-key",
            Self::Orders => "order-key",
            Self::Receipts => "receipt-key",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Import => "CN=cnsd custody import",
            Self::Orders => "CN=cnsd orders",
            Self::Receipts => "CN=cnsd receipts",
        }
    }

    fn usage(self) -> KeyUsages {
        match self {
            Self::Import | Self::Orders => KeyUsages::KeyEncipherment,
            Self::Receipts => KeyUsages::DigitalSignature,
        }
    }

    fn record(self) -> RecordName<'static> {
        RecordName { table: "daemon_secret", column: "sealed", key: self.name() }
    }

    fn tampered(self) -> CustodyError {
        CustodyError::Tampered { record: format!("daemon_secret.public[{}]", self.name()) }
    }
}

/// A key of the daemon's: its certificate, and the private key sealed until it is used.
pub(crate) struct OwnKey {
    purpose: Purpose,
    sealed: Vec<u8>,
    certificate: Certificate,
    pem: String,
}

impl OwnKey {
    /// Reads the key from the database; makes it the first time.
    pub(super) async fn open(pool: &Pool, sealer: &Sealer, purpose: Purpose) -> Result<Self, CustodyError> {
        let (sealed, der) = match stored(pool, purpose).await? {
            Some(known) => known,
            None => create(pool, sealer, purpose).await?,
        };
        let der = der.ok_or_else(|| purpose.tampered())?;
        let certificate = Certificate::from_der(&der).map_err(|_| purpose.tampered())?;
        let key = Self { purpose, sealed, pem: certificate.to_pem(LineEnding::LF)?, certificate };
        key.check(sealer)?;
        Ok(key)
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key, PKCS#8.
    pub(super) fn private(&self, sealer: &Sealer) -> Result<Secret, CustodyError> {
        sealer.open(self.purpose.record(), &self.sealed)
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256.
    pub(crate) fn sign(&self, sealer: &Sealer, message: &[u8]) -> Result<Vec<u8>, CustodyError> {
        let tampered = |_| self.purpose.tampered();
        let pair = KeyPair::from_pkcs8(self.private(sealer)?.expose()).map_err(tampered)?;
        rsa_sha256(&pair, message)
    }

    /// The certificate is not sealed: were it replaced in the database, import files would be sealed to a stranger.
    fn check(&self, sealer: &Sealer) -> Result<(), CustodyError> {
        let pair =
            KeyPair::from_pkcs8(self.private(sealer)?.expose()).map_err(|_| self.purpose.tampered())?;
        let certified = self.certificate.tbs_certificate.subject_public_key_info.to_der()?;
        if certified == public_key_info(&pair)? { Ok(()) } else { Err(self.purpose.tampered()) }
    }
}

/// The sealed private key, and the certificate.
type Stored = (Vec<u8>, Option<Vec<u8>>);

async fn stored(pool: &Pool, purpose: Purpose) -> Result<Option<Stored>, CustodyError> {
    let row = sqlx::query_as("SELECT sealed, public FROM daemon_secret WHERE name = $1").bind(purpose.name());
    Ok(row.fetch_optional(pool).await?)
}

/// Of two daemons that make one, the first to store it wins, and both use that one.
async fn create(pool: &Pool, sealer: &Sealer, purpose: Purpose) -> Result<Stored, CustodyError> {
    let sealer = sealer.clone();
    let made = tokio::task::spawn_blocking(move || generate(&sealer, purpose));
    let (sealed, der) = made.await.map_err(|_| CustodyError::Stopped)??;
    sqlx::query(
        "INSERT INTO daemon_secret (name, sealed, public, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(purpose.name())
    .bind(sealed)
    .bind(der)
    .bind(now())
    .execute(pool)
    .await?;
    stored(pool, purpose).await?.ok_or_else(|| purpose.tampered())
}

fn generate(sealer: &Sealer, purpose: Purpose) -> Result<(Vec<u8>, Vec<u8>), CustodyError> {
    let pair = KeyPair::generate(KeySize::Rsa3072)
        .map_err(|_| CustodyError::Cryptography("no RSA key could be generated"))?;
    // The library wipes this buffer when it is dropped.
    let pkcs8: Pkcs8V1Der<'_> =
        pair.as_der().map_err(|_| CustodyError::Cryptography("the RSA key cannot be encoded"))?;
    let sealed = sealer.seal(purpose.record(), &Secret::copy_from(pkcs8.as_ref())?)?;
    Ok((sealed, self_signed(&pair, purpose)?.to_der()?))
}

fn public_key_info(pair: &KeyPair) -> Result<Vec<u8>, CustodyError> {
    let der: PublicKeyX509Der<'_> = pair
        .public_key()
        .as_der()
        .map_err(|_| CustodyError::Cryptography("the RSA public key cannot be encoded"))?;
    Ok(der.as_ref().to_vec())
}

/// RFC 5280 §4.1; the key is for its purpose alone (§4.2.1.3).
fn self_signed(pair: &KeyPair, purpose: Purpose) -> Result<Certificate, CustodyError> {
    let algorithm = AlgorithmIdentifierOwned {
        oid: SHA_256_WITH_RSA_ENCRYPTION,
        parameters: Some(Any::encode_from(&Null)?),
    };
    let info = SubjectPublicKeyInfoOwned::from_der(&public_key_info(pair)?)?;
    let name = Name::from_str(purpose.subject())?;
    let mut serial = random_secret(16)?;
    if let Some(first) = serial.expose_mut().first_mut() {
        // RFC 5280 §4.1.2.2: positive; and of the same length for every certificate.
        *first = (*first & 0x7F) | 0x40;
    }
    let key_identifier = Sha1::digest(info.subject_public_key.raw_bytes());
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(serial.expose())?,
        signature: algorithm.clone(),
        issuer: name.clone(),
        validity: Validity::from_now(LIFE)?,
        subject: name,
        subject_public_key_info: info,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(vec![
            extension(&KeyUsage(purpose.usage().into()), true)?,
            extension(&SubjectKeyIdentifier(OctetString::new(key_identifier.as_slice())?), false)?,
        ]),
    };
    let signature = rsa_sha256(pair, &tbs_certificate.to_der()?)?;
    Ok(Certificate {
        tbs_certificate,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature)?,
    })
}

fn rsa_sha256(pair: &KeyPair, message: &[u8]) -> Result<Vec<u8>, CustodyError> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
        .map_err(|_| CustodyError::Cryptography("nothing could be signed"))?;
    Ok(signature)
}

fn extension<T: AssociatedOid + Encode>(value: &T, critical: bool) -> Result<Extension, CustodyError> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}
