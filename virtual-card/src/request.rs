//! Requests for certificates: PKCS#10 (RFC 2986) over a key that the bureau made.

use der::asn1::{BitString, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Any, Encode};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer};
use spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReq, CertReqInfo, Version};

use const_oid::db::rfc4519::{
    CN, COUNTRY_NAME, GIVEN_NAME, ORGANIZATIONAL_UNIT_NAME, SERIAL_NUMBER, SURNAME,
};
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;

/// Why no request was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A value does not fit its ASN.1 type.
    #[error("certificate request: {0}")]
    Der(#[from] der::Error),
    /// The public key has no encoding.
    #[error("certificate request: {0}")]
    Key(#[from] spki::Error),
    /// The key could not sign.
    #[error("sign the certificate request: {0}")]
    Sign(#[from] rsa::signature::Error),
}

/// `C=IT, OU=administration, CN=common name`, in that order.
pub(crate) fn subject(administration: &str, common_name: &str) -> Result<Name, RequestError> {
    let country = Any::encode_from(&PrintableStringRef::new("IT")?)?;
    let unit = Any::encode_from(&Utf8StringRef::new(administration)?)?;
    let name = Any::encode_from(&Utf8StringRef::new(common_name)?)?;
    Ok(RdnSequence(vec![
        attribute(COUNTRY_NAME, country)?,
        attribute(ORGANIZATIONAL_UNIT_NAME, unit)?,
        attribute(CN, name)?,
    ]))
}

/// The subject of a qualified certificate: country, name, surname, both together, and the tax code.
pub(crate) fn signature_subject(
    name: &str,
    surname: &str,
    codice_fiscale: &str,
) -> Result<Name, RequestError> {
    let text = |text: &str| Any::encode_from(&Utf8StringRef::new(text)?);
    let printable = |text: &str| Any::encode_from(&PrintableStringRef::new(text)?);
    Ok(RdnSequence(vec![
        attribute(COUNTRY_NAME, printable("IT")?)?,
        attribute(GIVEN_NAME, text(name)?)?,
        attribute(SURNAME, text(surname)?)?,
        attribute(CN, text(&format!("{name} {surname}"))?)?,
        attribute(SERIAL_NUMBER, printable(&format!("TINIT-{codice_fiscale}"))?)?,
    ]))
}

fn attribute(oid: ObjectIdentifier, value: Any) -> Result<RelativeDistinguishedName, der::Error> {
    Ok(RelativeDistinguishedName(SetOfVec::try_from([AttributeTypeAndValue { oid, value }])?))
}

/// The request in DER, signed with SHA-256.
pub(crate) fn certificate_request(subject: Name, key: &RsaPrivateKey) -> Result<Vec<u8>, RequestError> {
    let info = CertReqInfo {
        version: Version::V1,
        subject,
        public_key: SubjectPublicKeyInfoOwned::from_key(key.to_public_key())?,
        attributes: SetOfVec::new(),
    };
    let signature = SigningKey::<Sha256>::new(key.clone()).try_sign(&info.to_der()?)?;
    let request = CertReq {
        info,
        algorithm: AlgorithmIdentifierOwned {
            oid: SHA_256_WITH_RSA_ENCRYPTION,
            parameters: Some(Any::from(der::AnyRef::NULL)),
        },
        signature: BitString::from_bytes(&signature.to_vec())?,
    };
    Ok(request.to_der()?)
}
