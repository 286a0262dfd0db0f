//! The RSA key to which import files are encrypted, and its self-signed certificate.

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
use sqlx::SqlitePool;
use x509_cert::Certificate;
use x509_cert::certificate::{TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Validity;

use crate::custody::error::CustodyError;
use crate::custody::seal::{RecordName, Sealer, random_secret};
use crate::database::now;

const NAME: &str = "import-key";
const RECORD: RecordName<'_> = RecordName { table: "daemon_secret", column: "sealed", key: NAME };
const CERTIFICATE_RECORD: &str = "daemon_secret.public[import-key]";
const SUBJECT: &str = "CN=cnsd custody import";
const LIFE: Duration = Duration::from_secs(3652 * 24 * 60 * 60);

/// The import key: its certificate, and the private key sealed until it is used.
pub(super) struct ImportKey {
    sealed: Vec<u8>,
    certificate: Certificate,
    pem: String,
}

impl ImportKey {
    /// Reads the key from the database; makes it at the first start.
    pub(super) async fn open(pool: &SqlitePool, sealer: &Sealer) -> Result<Self, CustodyError> {
        let row: Option<(Vec<u8>, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT sealed, public FROM daemon_secret WHERE name = $1")
                .bind(NAME)
                .fetch_optional(pool)
                .await?;
        let (sealed, der) = match row {
            Some((sealed, Some(der))) => (sealed, der),
            Some((_, None)) => return Err(tampered()),
            None => create(pool, sealer).await?,
        };
        let certificate = Certificate::from_der(&der).map_err(|_| tampered())?;
        let key = Self { sealed, pem: certificate.to_pem(LineEnding::LF)?, certificate };
        key.check(sealer)?;
        Ok(key)
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key, PKCS#8.
    pub(super) fn private(&self, sealer: &Sealer) -> Result<Secret, CustodyError> {
        sealer.open(RECORD, &self.sealed)
    }

    /// The certificate is not sealed: were it replaced in the database, import files would be sealed to a stranger.
    fn check(&self, sealer: &Sealer) -> Result<(), CustodyError> {
        let pair = KeyPair::from_pkcs8(self.private(sealer)?.expose()).map_err(|_| tampered())?;
        let certified = self.certificate.tbs_certificate.subject_public_key_info.to_der()?;
        if certified == public_key_info(&pair)? { Ok(()) } else { Err(tampered()) }
    }
}

fn tampered() -> CustodyError {
    CustodyError::Tampered { record: CERTIFICATE_RECORD.to_owned() }
}

async fn create(pool: &SqlitePool, sealer: &Sealer) -> Result<(Vec<u8>, Vec<u8>), CustodyError> {
    let sealer = sealer.clone();
    let made = tokio::task::spawn_blocking(move || generate(&sealer));
    let (sealed, der) = made.await.map_err(|_| CustodyError::Stopped)??;
    sqlx::query("INSERT INTO daemon_secret (name, sealed, public, created_at) VALUES ($1, $2, $3, $4)")
        .bind(NAME)
        .bind(&sealed)
        .bind(&der)
        .bind(now())
        .execute(pool)
        .await?;
    Ok((sealed, der))
}

fn generate(sealer: &Sealer) -> Result<(Vec<u8>, Vec<u8>), CustodyError> {
    let pair = KeyPair::generate(KeySize::Rsa3072)
        .map_err(|_| CustodyError::Cryptography("no RSA key could be generated"))?;
    // The library wipes this buffer when it is dropped.
    let pkcs8: Pkcs8V1Der<'_> =
        pair.as_der().map_err(|_| CustodyError::Cryptography("the RSA key cannot be encoded"))?;
    let sealed = sealer.seal(RECORD, &Secret::copy_from(pkcs8.as_ref())?)?;
    Ok((sealed, self_signed(&pair)?.to_der()?))
}

fn public_key_info(pair: &KeyPair) -> Result<Vec<u8>, CustodyError> {
    let der: PublicKeyX509Der<'_> = pair
        .public_key()
        .as_der()
        .map_err(|_| CustodyError::Cryptography("the RSA public key cannot be encoded"))?;
    Ok(der.as_ref().to_vec())
}

/// RFC 5280 §4.1; the key is for key encipherment alone (§4.2.1.3).
fn self_signed(pair: &KeyPair) -> Result<Certificate, CustodyError> {
    let algorithm = AlgorithmIdentifierOwned {
        oid: SHA_256_WITH_RSA_ENCRYPTION,
        parameters: Some(Any::encode_from(&Null)?),
    };
    let info = SubjectPublicKeyInfoOwned::from_der(&public_key_info(pair)?)?;
    let name = Name::from_str(SUBJECT)?;
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
            extension(&KeyUsage(KeyUsages::KeyEncipherment.into()), true)?,
            extension(&SubjectKeyIdentifier(OctetString::new(key_identifier.as_slice())?), false)?,
        ]),
    };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &tbs_certificate.to_der()?, &mut signature)
        .map_err(|_| CustodyError::Cryptography("the import certificate could not be signed"))?;
    Ok(Certificate {
        tbs_certificate,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature)?,
    })
}

fn extension<T: AssociatedOid + Encode>(value: &T, critical: bool) -> Result<Extension, CustodyError> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}
