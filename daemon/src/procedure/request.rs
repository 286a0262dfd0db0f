//! The request for a signature certificate (PKCS#10, RFC 2986, or CRMF, RFC 4211), signed on the chip with the key that it is for.

use cns_protocol::card::Holder;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc4519::{COMMON_NAME, COUNTRY_NAME, GIVEN_NAME, SERIAL_NUMBER, SURNAME};
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
use crmf::pop::{PopoSigningKey, ProofOfPossession};
use crmf::request::{CertReqMsg, CertRequest, CertTemplate};
use der::asn1::{BitString, Int, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Any, Encode};
use rsa::RsaPublicKey;
use sha2::{Digest, Sha256};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReq, CertReqInfo, Version};

use crate::config::RequestForm;
use crate::procedure::ProcedureError;

/// A request that waits for its signature.
pub(super) struct Unsigned {
    content: Content,
    digest: Vec<u8>,
}

enum Content {
    Pkcs10(CertReqInfo),
    Crmf(Box<CertRequest>),
}

impl Unsigned {
    /// The request of this holder for this key.
    pub(super) fn new(
        holder: &Holder,
        key: &RsaPublicKey,
        form: RequestForm,
    ) -> Result<Self, ProcedureError> {
        let build = || -> spki::Result<Self> {
            let public_key = SubjectPublicKeyInfoOwned::from_key(key.clone())?;
            let (content, signed) = match form {
                RequestForm::P10cr => {
                    let info = CertReqInfo {
                        version: Version::V1,
                        subject: subject(holder)?,
                        public_key,
                        attributes: SetOfVec::new(),
                    };
                    let signed = info.to_der()?;
                    (Content::Pkcs10(info), signed)
                }
                RequestForm::Ir => {
                    let request = CertRequest {
                        cert_req_id: Int::new(&[0])?,
                        cert_template: template(subject(holder)?, public_key),
                        controls: None,
                    };
                    let signed = request.to_der()?;
                    (Content::Crmf(Box::new(request)), signed)
                }
            };
            Ok(Self { content, digest: Sha256::digest(signed).to_vec() })
        };
        build().map_err(ProcedureError::Request)
    }

    /// SHA-256 of what is signed.
    pub(super) fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The request with its signature (sha256WithRSAEncryption), DER: the proof that the key is the chip's.
    pub(super) fn sign(self, signature: &[u8]) -> Result<Vec<u8>, ProcedureError> {
        let sign = || {
            let signature = BitString::from_bytes(signature)?;
            let algorithm =
                AlgorithmIdentifierOwned { oid: SHA_256_WITH_RSA_ENCRYPTION, parameters: Some(Any::null()) };
            match self.content {
                Content::Pkcs10(info) => CertReq { info, algorithm, signature }.to_der(),
                Content::Crmf(cert_req) => {
                    let cert_req = *cert_req;
                    let key = PopoSigningKey { poposk_input: None, alg_id: algorithm, signature };
                    let popo = Some(ProofOfPossession::Signature(Box::new(key)));
                    CertReqMsg { cert_req, popo, reg_info: None }.to_der()
                }
            }
        };
        sign().map_err(|error| ProcedureError::Request(error.into()))
    }
}

/// RFC 4211 §4.1: with subject and key in the template, its signature is that of the whole CertRequest.
fn template(subject: Name, key: SubjectPublicKeyInfoOwned) -> CertTemplate {
    CertTemplate {
        version: None,
        serial_number: None,
        signature: None,
        issuer: None,
        validity: None,
        subject: Some(subject),
        subject_public_key_info: Some(key),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: None,
    }
}

/// The subject of a qualified certificate of a natural person (ETSI EN 319 412-2), with the Italian tax number as
/// serialNumber (ETSI EN 319 412-1 §5.1.3).
fn subject(holder: &Holder) -> der::Result<Name> {
    let tax_number = format!("TINIT-{}", holder.codice_fiscale);
    // At most 64 characters (RFC 5280 appendix A.1, ub-common-name).
    let common_name: String = format!("{} {}", holder.name, holder.surname).chars().take(64).collect();
    let country = Any::encode_from(&PrintableStringRef::new("IT")?)?;
    let number = Any::encode_from(&PrintableStringRef::new(&tax_number)?)?;
    let text = |text: &str| Utf8StringRef::new(text).and_then(|text| Any::encode_from(&text));
    Ok(RdnSequence(vec![
        attribute(COUNTRY_NAME, country)?,
        attribute(SERIAL_NUMBER, number)?,
        attribute(SURNAME, text(&holder.surname)?)?,
        attribute(GIVEN_NAME, text(&holder.name)?)?,
        attribute(COMMON_NAME, text(&common_name)?)?,
    ]))
}

fn attribute(oid: ObjectIdentifier, value: Any) -> der::Result<RelativeDistinguishedName> {
    Ok(RelativeDistinguishedName(SetOfVec::from_iter([AttributeTypeAndValue { oid, value }])?))
}
