//! RFC 5652 SignedData: one signer, verified, and made for receipts.
//!
//! Read by hand to the signer, so that a message of many digest algorithms, certificates or signers costs no more than its
//! length: the decoder of SET OF sorts.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA, ID_SIGNING_TIME};
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ID_EC_PUBLIC_KEY, ID_SHA_256, ID_SHA_384, ID_SHA_512,
    RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION,
    SHA_512_WITH_RSA_ENCRYPTION,
};
use der::asn1::{Null, OctetString, OctetStringRef, SetOfVec};
use der::{Any, AnyRef, Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};
use sha2::{Digest, Sha256, Sha384, Sha512};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::time::Time;

use super::error::OrderError;
use crate::authority::checks::CheckError;

const CONTEXT_0: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
const CONTEXT_1: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N1 };
/// A CMS system's certificate and its chain.
const MOST_CERTIFICATES: usize = 8;
const LONGEST_CERTIFICATE: usize = 8192;
/// A name, three algorithms, four attributes and a signature.
const LONGEST_SIGNER: usize = 4096;

/// A message whose signature is good, and who signed it. Whether that signer may is another question.
pub(super) struct Verified {
    pub(super) content: Vec<u8>,
    pub(super) signer: Certificate,
    /// The signer's certificate as it came.
    pub(super) signer_der: Vec<u8>,
}

struct Parts<'a> {
    content: EncapsulatedContentInfo,
    certificates: &'a [u8],
    signers: &'a [u8],
}

/// Verifies a message (RFC 5652 §5.4, §5.6).
pub(super) fn verify(message: &[u8]) -> Result<Verified, OrderError> {
    let parts = parse(message).map_err(OrderError::NotSignedData)?;
    let content = parts.content.econtent.as_ref().ok_or(OrderError::Signers)?;
    let content: OctetStringRef<'_> = content.decode_as().map_err(OrderError::NotSignedData)?;
    let signer_info = only_signer(parts.signers)?;
    let (signer, signer_der) = find_certificate(parts.certificates, &signer_info.sid)?;
    let digest = digest_of(signer_info.digest_alg.oid, content.as_bytes())?;
    let attributes = signer_info.signed_attrs.as_ref().ok_or(OrderError::Signers)?;
    let content_type = Any::encode_from(&parts.content.econtent_type).map_err(OrderError::NotSignedData)?;
    let message_digest = OctetString::new(digest).and_then(|digest| Any::encode_from(&digest));
    let message_digest = message_digest.map_err(OrderError::NotSignedData)?;
    if only_value(attributes, ID_CONTENT_TYPE) != Some(&content_type)
        || only_value(attributes, ID_MESSAGE_DIGEST) != Some(&message_digest)
    {
        return Err(OrderError::Altered);
    }
    let signed = attributes.to_der().map_err(OrderError::NotSignedData)?;
    verify_signature(&signer, &signer_info, &signed)?;
    Ok(Verified { content: content.as_bytes().to_vec(), signer, signer_der })
}

fn parse(message: &[u8]) -> der::Result<Parts<'_>> {
    let mut outermost = SliceReader::new(message)?;
    let mut content_info = SliceReader::new(tagged(&mut outermost, Tag::Sequence)?)?;
    let content_type = ObjectIdentifier::decode(&mut content_info)?;
    if content_type != ID_SIGNED_DATA {
        return Err(der::ErrorKind::OidUnknown { oid: content_type }.into());
    }
    let mut explicit = SliceReader::new(tagged(&mut content_info, CONTEXT_0)?)?;
    let mut signed_data = SliceReader::new(tagged(&mut explicit, Tag::Sequence)?)?;
    let _version = u8::decode(&mut signed_data)?;
    let _digest_algorithms = tagged(&mut signed_data, Tag::Set)?;
    let content = EncapsulatedContentInfo::decode(&mut signed_data)?;
    let certificates =
        if signed_data.peek_tag()? == CONTEXT_0 { tagged(&mut signed_data, CONTEXT_0)? } else { &[] };
    if signed_data.peek_tag()? == CONTEXT_1 {
        let _revocation_lists = tagged(&mut signed_data, CONTEXT_1)?;
    }
    let signers = tagged(&mut signed_data, Tag::Set)?;
    signed_data.finish(())?;
    explicit.finish(())?;
    content_info.finish(())?;
    outermost.finish(Parts { content, certificates, signers })
}

/// The value of the next element, which must have this tag.
fn tagged<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    let element = AnyRef::decode(reader)?;
    element.tag().assert_eq(tag)?;
    Ok(element.value())
}

fn only_signer(signers: &[u8]) -> Result<SignerInfo, OrderError> {
    let mut reader = SliceReader::new(signers).map_err(OrderError::NotSignedData)?;
    if reader.is_finished() {
        return Err(OrderError::Signers);
    }
    let first = reader.tlv_bytes().map_err(OrderError::NotSignedData)?;
    if !reader.is_finished() || first.len() > LONGEST_SIGNER {
        return Err(OrderError::Signers);
    }
    SignerInfo::from_der(first).map_err(OrderError::NotSignedData)
}

fn find_certificate(
    certificates: &[u8],
    signer: &SignerIdentifier,
) -> Result<(Certificate, Vec<u8>), OrderError> {
    let mut reader = SliceReader::new(certificates).map_err(OrderError::NotSignedData)?;
    for _ in 0..MOST_CERTIFICATES {
        if reader.is_finished() {
            break;
        }
        let der = reader.tlv_bytes().map_err(OrderError::NotSignedData)?;
        if der.len() > LONGEST_CERTIFICATE {
            continue;
        }
        let Ok(certificate) = Certificate::from_der(der) else { continue };
        if names(signer, &certificate) {
            return Ok((certificate, der.to_vec()));
        }
    }
    Err(OrderError::Signers)
}

fn names(signer: &SignerIdentifier, certificate: &Certificate) -> bool {
    let it = &certificate.tbs_certificate;
    match signer {
        SignerIdentifier::IssuerAndSerialNumber(name) => {
            name.issuer == it.issuer && name.serial_number == it.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(identifier) => {
            matches!(it.get::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *identifier)
        }
    }
}

/// The one value of an attribute that is there once (RFC 5652 §11.1, §11.2).
fn only_value(attributes: &SetOfVec<Attribute>, oid: ObjectIdentifier) -> Option<&Any> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    let attribute = found.next()?;
    match (found.next(), attribute.values.as_slice()) {
        (None, [value]) => Some(value),
        _ => None,
    }
}

fn digest_of(algorithm: ObjectIdentifier, content: &[u8]) -> Result<Vec<u8>, OrderError> {
    match algorithm {
        ID_SHA_256 => Ok(Sha256::digest(content).to_vec()),
        ID_SHA_384 => Ok(Sha384::digest(content).to_vec()),
        ID_SHA_512 => Ok(Sha512::digest(content).to_vec()),
        other => Err(OrderError::Algorithm(other)),
    }
}

fn verify_signature(signer: &Certificate, signer_info: &SignerInfo, signed: &[u8]) -> Result<(), OrderError> {
    let key = &signer.tbs_certificate.subject_public_key_info;
    let named = signer_info.signature_algorithm.oid;
    let is_rsa = key.algorithm.oid == RSA_ENCRYPTION;
    let curve = (key.algorithm.oid == ID_EC_PUBLIC_KEY)
        .then(|| key.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok())
        .flatten();
    let algorithm: &'static dyn VerificationAlgorithm = match (signer_info.digest_alg.oid, named) {
        (ID_SHA_256, RSA_ENCRYPTION | SHA_256_WITH_RSA_ENCRYPTION) if is_rsa => &RSA_PKCS1_2048_8192_SHA256,
        (ID_SHA_384, RSA_ENCRYPTION | SHA_384_WITH_RSA_ENCRYPTION) if is_rsa => &RSA_PKCS1_2048_8192_SHA384,
        (ID_SHA_512, RSA_ENCRYPTION | SHA_512_WITH_RSA_ENCRYPTION) if is_rsa => &RSA_PKCS1_2048_8192_SHA512,
        (ID_SHA_256, ECDSA_WITH_SHA_256) if curve == Some(SECP_256_R_1) => &ECDSA_P256_SHA256_ASN1,
        (ID_SHA_384, ECDSA_WITH_SHA_384) if curve == Some(SECP_384_R_1) => &ECDSA_P384_SHA384_ASN1,
        _ => return Err(OrderError::Algorithm(named)),
    };
    let key = key.subject_public_key.as_bytes().ok_or(OrderError::Signer(CheckError::Key))?;
    let signature = signer_info.signature.as_bytes();
    UnparsedPublicKey::new(algorithm, key).verify(signed, signature).map_err(|_| OrderError::Signature)
}

/// Makes a message of one signer, who has an RSA key; `sign` signs with SHA-256.
pub(super) fn make(
    content: &[u8],
    certificate: &Certificate,
    at: Time,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, OrderError>,
) -> Result<Vec<u8>, OrderError> {
    let failed = OrderError::Receipt;
    let attributes = signed_attributes(content, at).map_err(failed)?;
    let signature = sign(&attributes.to_der().map_err(failed)?)?;
    signed_data(content, certificate, attributes, &signature).map_err(failed)
}

fn signed_attributes(content: &[u8], at: Time) -> der::Result<SetOfVec<Attribute>> {
    let attribute = |oid, value: Any| -> der::Result<Attribute> {
        Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
    };
    SetOfVec::try_from(vec![
        attribute(ID_CONTENT_TYPE, Any::encode_from(&ID_DATA)?)?,
        attribute(ID_SIGNING_TIME, Any::encode_from(&at)?)?,
        attribute(
            ID_MESSAGE_DIGEST,
            Any::encode_from(&OctetString::new(Sha256::digest(content).to_vec())?)?,
        )?,
    ])
}

fn signed_data(
    content: &[u8],
    certificate: &Certificate,
    attributes: SetOfVec<Attribute>,
    signature: &[u8],
) -> der::Result<Vec<u8>> {
    let algorithm = |oid| -> der::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid, parameters: Some(Any::encode_from(&Null)?) })
    };
    let named = &certificate.tbs_certificate;
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: named.issuer.clone(),
            serial_number: named.serial_number.clone(),
        }),
        digest_alg: algorithm(ID_SHA_256)?,
        signed_attrs: Some(attributes),
        signature_algorithm: algorithm(RSA_ENCRYPTION)?,
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    let certificates = SetOfVec::try_from(vec![CertificateChoices::Certificate(certificate.clone())])?;
    let signed_data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![algorithm(ID_SHA_256)?])?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: ID_DATA,
            econtent: Some(Any::encode_from(&OctetString::new(content)?)?),
        },
        certificates: Some(CertificateSet(certificates)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
    };
    ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&signed_data)? }.to_der()
}
