//! The structures of RFC 9810 §5 that the client meets.
//!
//! Not those of the `cmpv2` crate: its PKIFailureInfo has wrong bits, its error content cannot be read, and it decodes
//! what is protected, where the very bytes that came must be verified.

use cmpv2::r#gen::InfoTypeAndValue;
use const_oid::ObjectIdentifier;
use crmf::request::CertTemplate;
use der::asn1::{BitString, GeneralizedTime, Int, OctetString};
use der::{Any, AnyRef, Sequence};
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::name::GeneralName;

/// id-it-implicitConfirm (RFC 4210 §5.1.1.1).
const IMPLICIT_CONFIRM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.13");

/// PKIMessage, its header and body as they came.
#[derive(Sequence)]
pub(super) struct Message<'a> {
    pub(super) header: AnyRef<'a>,
    pub(super) body: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) protection: Option<BitString>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extra_certs: Option<Vec<AnyRef<'a>>>,
}

/// PKIMessage, to be sent.
#[derive(Sequence)]
pub(super) struct Request {
    pub(super) header: Any,
    pub(super) body: Any,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) protection: Option<BitString>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extra_certs: Option<Vec<Any>>,
}

/// ProtectedPart: what the protection is computed over.
#[derive(Sequence)]
pub(super) struct Protected<'a> {
    pub(super) header: AnyRef<'a>,
    pub(super) body: AnyRef<'a>,
}

/// PKIHeader.
#[derive(Clone, Debug, Sequence)]
pub(super) struct Header {
    pub(super) pvno: u8,
    pub(super) sender: GeneralName,
    pub(super) recipient: GeneralName,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) message_time: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) protection_alg: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) sender_kid: Option<OctetString>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) recip_kid: Option<OctetString>,
    #[asn1(context_specific = "4", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) transaction_id: Option<OctetString>,
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) sender_nonce: Option<OctetString>,
    #[asn1(context_specific = "6", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) recip_nonce: Option<OctetString>,
    #[asn1(context_specific = "7", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) free_text: Option<Any>,
    #[asn1(context_specific = "8", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) general_info: Option<Vec<InfoTypeAndValue>>,
}

impl Header {
    /// The word that a message does without certConf, or asks to.
    pub(super) fn implicit_confirm() -> InfoTypeAndValue {
        InfoTypeAndValue { oid: IMPLICIT_CONFIRM, value: Some(Any::null()) }
    }

    /// Whether the authority does without certConf.
    pub(super) fn grants_implicit_confirm(&self) -> bool {
        self.general_info.iter().flatten().any(|info| info.oid == IMPLICIT_CONFIRM)
    }
}

/// PKIStatusInfo.
#[derive(Clone, Debug, Sequence)]
pub(super) struct StatusInfo {
    pub(super) status: u8,
    pub(super) text: Option<Vec<String>>,
    pub(super) fail_info: Option<BitString>,
}

/// ErrorMsgContent.
#[derive(Sequence)]
pub(super) struct ErrorContent {
    pub(super) status: StatusInfo,
    pub(super) error_code: Option<Int>,
    pub(super) error_details: Option<Vec<String>>,
}

/// CertRepMessage.
#[derive(Sequence)]
pub(super) struct CertRepMessage<'a> {
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) ca_pubs: Option<Vec<AnyRef<'a>>>,
    pub(super) response: Vec<CertResponse<'a>>,
}

/// CertResponse.
#[derive(Sequence)]
pub(super) struct CertResponse<'a> {
    pub(super) cert_req_id: i32,
    pub(super) status: StatusInfo,
    pub(super) certified_key_pair: Option<CertifiedKeyPair<'a>>,
    pub(super) response_info: Option<OctetString>,
}

/// CertifiedKeyPair with a certificate in the clear; keys are made on the chip, so nothing else can come.
#[derive(Sequence)]
pub(super) struct CertifiedKeyPair<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(super) certificate: AnyRef<'a>,
}

/// CertStatus, of which certConf is a sequence.
#[derive(Sequence)]
pub(super) struct CertStatus {
    pub(super) cert_hash: OctetString,
    pub(super) cert_req_id: i32,
    pub(super) status_info: Option<StatusInfo>,
}

/// One of PollReqContent.
#[derive(Sequence)]
pub(super) struct PollRequest {
    pub(super) cert_req_id: i32,
}

/// One of PollRepContent.
#[derive(Sequence)]
pub(super) struct PollReply {
    pub(super) cert_req_id: i32,
    /// Seconds.
    pub(super) check_after: i64,
    pub(super) reason: Option<Vec<String>>,
}

/// RevDetails, of which rr is a sequence.
#[derive(Sequence)]
pub(super) struct RevDetails {
    pub(super) cert_details: CertTemplate,
    pub(super) crl_entry_details: Option<Extensions>,
}

/// RevRepContent.
#[derive(Sequence)]
pub(super) struct RevReply<'a> {
    pub(super) status: Vec<StatusInfo>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) rev_certs: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) crls: Option<AnyRef<'a>>,
}
