//! The certifier's key and its self-signed certificate.

use der::asn1::{BitString, OctetString, PrintableString, SetOfVec, Utf8StringRef};
use der::{Any, Decode, Encode};
use pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rand_core::OsRng;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use sha2::Sha256;
use signature::{RandomizedSigner, SignatureEncoding};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::time::Validity;
use zeroize::Zeroizing;

use crate::authority::now;
use crate::error::AuthorityError;
use crate::issue::{extension, key_identifier, random_serial, time};

/// Longer than any certificate that it will sign.
const LIFETIME: u64 = 20 * 365 * 24 * 3600;

/// Who signs.
pub(crate) struct Ca {
    key: RsaPrivateKey,
    signer: SigningKey<Sha256>,
    certificate: Certificate,
}

impl Ca {
    /// A new key and a certificate on it.
    pub(crate) fn generate(name: &str, key_bits: usize) -> Result<Self, AuthorityError> {
        let key = RsaPrivateKey::new(&mut OsRng, key_bits)?;
        let signer = SigningKey::new(key.clone());
        let tbs = tbs_certificate(&key, name)?;
        let signature = sign(&signer, &tbs.to_der()?)?;
        let certificate = Certificate {
            signature_algorithm: tbs.signature.clone(),
            tbs_certificate: tbs,
            signature: BitString::from_bytes(&signature)?,
        };
        Ok(Self { key, signer, certificate })
    }

    /// The key and certificate that `generate` made.
    pub(crate) fn load(key_pem: &[u8], certificate: &[u8]) -> Result<Self, AuthorityError> {
        let text = std::str::from_utf8(key_pem).map_err(|error| AuthorityError::Key(error.to_string()))?;
        let key = RsaPrivateKey::from_pkcs8_pem(text)?;
        let certificate = Certificate::from_der(certificate)?;
        let own = SubjectPublicKeyInfoOwned::from_der(key.to_public_key().to_public_key_der()?.as_bytes())?;
        if certificate.tbs_certificate.subject_public_key_info != own {
            return Err(AuthorityError::Key(
                "the key file and the certificate do not belong together".to_owned(),
            ));
        }
        Ok(Self { signer: SigningKey::new(key.clone()), key, certificate })
    }

    pub(crate) fn key_pem(&self) -> Result<Zeroizing<String>, AuthorityError> {
        Ok(self.key.to_pkcs8_pem(LineEnding::LF)?)
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// sha256WithRSAEncryption over `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        sign(&self.signer, message)
    }
}

fn sign(signer: &SigningKey<Sha256>, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
    Ok(signer.try_sign_with_rng(&mut OsRng, message)?.to_vec())
}

fn tbs_certificate(key: &RsaPrivateKey, name: &str) -> Result<TbsCertificate, AuthorityError> {
    let public_key =
        SubjectPublicKeyInfoOwned::from_der(key.to_public_key().to_public_key_der()?.as_bytes())?;
    let subject = subject(name)?;
    let begin = now();
    let extensions = vec![
        extension(true, &BasicConstraints { ca: true, path_len_constraint: Some(0) })?,
        extension(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?,
        extension(false, &SubjectKeyIdentifier(OctetString::new(key_identifier(&public_key))?))?,
    ];
    Ok(TbsCertificate {
        version: Version::V3,
        serial_number: random_serial()?,
        signature: AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
            parameters: Some(Any::null()),
        },
        issuer: subject.clone(),
        validity: Validity {
            not_before: time(begin.saturating_sub(60))?,
            not_after: time(begin.saturating_add(LIFETIME))?,
        },
        subject,
        subject_public_key_info: public_key,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    })
}

/// C, O and CN: the issuer's country and organisation are mandatory for qualified certificates.
fn subject(name: &str) -> Result<Name, AuthorityError> {
    let attributes = [
        (const_oid::db::rfc4519::COUNTRY_NAME, Any::encode_from(&PrintableString::new("IT")?)?),
        (
            const_oid::db::rfc4519::ORGANIZATION_NAME,
            Any::encode_from(&Utf8StringRef::new("Certificatore di prova")?)?,
        ),
        (const_oid::db::rfc4519::COMMON_NAME, Any::encode_from(&Utf8StringRef::new(name)?)?),
    ];
    let mut name = RdnSequence::default();
    for (oid, value) in attributes {
        let attribute = SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])?;
        name.0.push(RelativeDistinguishedName(attribute));
    }
    Ok(name)
}
