//! The structures of RFC 4210 §5 and RFC 4211 that are needed here.
//!
//! Not those of the `cmpv2` crate: its PKIFailureInfo has wrong bits, its error content cannot be built, and it
//! decodes what is signed, where the very bytes that came must be verified. Unsigned parts are its own.

use cmpv2::r#gen::InfoTypeAndValue;
use const_oid::ObjectIdentifier;
use crmf::controls::CertId;
use crmf::pop::ProofOfPossession;
use crmf::request::OptionalValidity;
use der::asn1::{BitString, GeneralizedTime, Int, OctetString};
use der::{Any, AnyRef, Sequence};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// id-it-implicitConfirm (RFC 4210 §5.1.1.1).
const IMPLICIT_CONFIRM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.13");

/// PKIMessage, its header and body as they came.
#[derive(Sequence)]
pub(crate) struct Message<'a> {
    pub(crate) header: AnyRef<'a>,
    pub(crate) body: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) protection: Option<BitString>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extra_certs: Option<AnyRef<'a>>,
}

/// PKIMessage, to be sent.
#[derive(Sequence)]
pub(crate) struct Reply {
    pub(crate) header: Any,
    pub(crate) body: Any,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) protection: Option<BitString>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extra_certs: Option<Vec<Any>>,
}

/// ProtectedPart: what the protection is computed over.
#[derive(Sequence)]
pub(crate) struct Protected<'a> {
    pub(crate) header: AnyRef<'a>,
    pub(crate) body: AnyRef<'a>,
}

/// PKIHeader.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct Header {
    pub(crate) pvno: u8,
    pub(crate) sender: GeneralName,
    pub(crate) recipient: GeneralName,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) message_time: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) protection_alg: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) sender_kid: Option<OctetString>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) recip_kid: Option<OctetString>,
    #[asn1(context_specific = "4", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) transaction_id: Option<OctetString>,
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) sender_nonce: Option<OctetString>,
    #[asn1(context_specific = "6", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) recip_nonce: Option<OctetString>,
    #[asn1(context_specific = "7", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) free_text: Option<Any>,
    #[asn1(context_specific = "8", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) general_info: Option<Vec<InfoTypeAndValue>>,
}

impl Header {
    /// Whether the sender would rather not send certConf.
    pub(crate) fn asks_implicit_confirm(&self) -> bool {
        self.general_info.iter().flatten().any(|info| info.oid == IMPLICIT_CONFIRM)
    }
}

/// The header's entry that asks for, and grants, doing without certConf.
pub(crate) fn implicit_confirm() -> InfoTypeAndValue {
    InfoTypeAndValue { oid: IMPLICIT_CONFIRM, value: Some(Any::null()) }
}

/// PKIStatusInfo.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct StatusInfo {
    pub(crate) status: u8,
    pub(crate) text: Option<Vec<String>>,
    pub(crate) fail_info: Option<BitString>,
}

/// ErrorMsgContent.
#[derive(Sequence)]
pub(crate) struct ErrorContent {
    pub(crate) status: StatusInfo,
    pub(crate) error_code: Option<Int>,
    pub(crate) error_details: Option<Vec<String>>,
}

/// CertRepMessage.
#[derive(Sequence)]
pub(crate) struct CertRepMessage {
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) ca_pubs: Option<Vec<Any>>,
    pub(crate) response: Vec<CertResponse>,
}

/// CertResponse.
#[derive(Sequence)]
pub(crate) struct CertResponse {
    pub(crate) cert_req_id: i32,
    pub(crate) status: StatusInfo,
    pub(crate) certified_key_pair: Option<CertifiedKeyPair>,
}

/// CertifiedKeyPair with a certificate in the clear.
#[derive(Sequence)]
pub(crate) struct CertifiedKeyPair {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(crate) certificate: Any,
}

/// CertStatus, of which certConf is a sequence; the hash algorithm is that of RFC 9480 §2.10.
#[derive(Sequence)]
pub(crate) struct CertStatus {
    pub(crate) cert_hash: OctetString,
    pub(crate) cert_req_id: i32,
    pub(crate) status_info: Option<StatusInfo>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) hash_alg: Option<AlgorithmIdentifierOwned>,
}

/// CertReqMsg (RFC 4211 §3), its signed part as it came.
#[derive(Sequence)]
pub(crate) struct CertReqMsg<'a> {
    pub(crate) cert_req: AnyRef<'a>,
    pub(crate) popo: Option<ProofOfPossession>,
    pub(crate) reg_info: Option<AnyRef<'a>>,
}

/// CertRequest (RFC 4211 §5).
#[derive(Sequence)]
pub(crate) struct CertRequest<'a> {
    pub(crate) cert_req_id: i32,
    pub(crate) template: CertTemplate,
    pub(crate) controls: Option<AnyRef<'a>>,
}

/// CertTemplate (RFC 4211 §5); the `crmf` crate's wants a whole Validity where only an end may stand.
#[derive(Sequence)]
pub(crate) struct CertTemplate {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) version: Option<Int>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) serial_number: Option<Int>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) signing_algorithm: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) issuer: Option<Name>,
    #[asn1(context_specific = "4", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) validity: Option<OptionalValidity>,
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) subject: Option<Name>,
    #[asn1(context_specific = "6", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) public_key: Option<SubjectPublicKeyInfoOwned>,
    #[asn1(context_specific = "7", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) issuer_unique_id: Option<BitString>,
    #[asn1(context_specific = "8", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) subject_unique_id: Option<BitString>,
    #[asn1(context_specific = "9", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) extensions: Option<Extensions>,
}

/// A control of a request (RFC 4211 §6), of which some are read.
#[derive(Sequence)]
pub(crate) struct Control<'a> {
    pub(crate) kind: ObjectIdentifier,
    pub(crate) value: AnyRef<'a>,
}

/// RevDetails, of which `rr` is a sequence.
#[derive(Sequence)]
pub(crate) struct RevDetails {
    pub(crate) cert_details: CertTemplate,
    pub(crate) crl_entry_details: Option<Extensions>,
}

/// RevRepContent.
#[derive(Sequence)]
pub(crate) struct RevRepContent {
    pub(crate) status: Vec<StatusInfo>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) rev_certs: Option<Vec<CertId>>,
}

/// What `pollReq` is a sequence of.
#[derive(Clone, Copy, Debug, Sequence)]
pub(crate) struct PollRequest {
    pub(crate) cert_req_id: i32,
}

/// What `pollRep` is a sequence of.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct PollAnswer {
    pub(crate) cert_req_id: i32,
    pub(crate) check_after: u32,
    pub(crate) reason: Option<Vec<String>>,
}
