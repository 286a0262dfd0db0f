//! Saying no in CMP: a status, a bit, and words.

use der::asn1::BitString;

use super::message::StatusInfo;
use crate::issue::IssueError;
use crate::status::StatusError;

/// PKIStatus values that are used here (RFC 4210 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PkiStatus {
    Accepted = 0,
    GrantedWithMods = 1,
    Rejection = 2,
    Waiting = 3,
}

impl PkiStatus {
    pub(crate) fn value(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::GrantedWithMods => 1,
            Self::Rejection => 2,
            Self::Waiting => 3,
        }
    }

    /// The status, with nothing to add.
    pub(crate) fn info(self) -> StatusInfo {
        StatusInfo { status: self.value(), text: None, fail_info: None }
    }
}

/// The bits of PKIFailureInfo that this certifier sets (RFC 4210 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    BadAlg,
    BadMessageCheck,
    BadRequest,
    BadCertId,
    BadDataFormat,
    BadPop,
    CertRevoked,
    BadRecipientNonce,
    BadSenderNonce,
    BadCertTemplate,
    SignerNotTrusted,
    TransactionIdInUse,
    UnsupportedVersion,
    NotAuthorized,
}

impl Why {
    fn bit(self) -> u8 {
        match self {
            Self::BadAlg => 0,
            Self::BadMessageCheck => 1,
            Self::BadRequest => 2,
            Self::BadCertId => 4,
            Self::BadDataFormat => 5,
            Self::BadPop => 9,
            Self::CertRevoked => 10,
            Self::BadRecipientNonce => 13,
            Self::BadSenderNonce => 18,
            Self::BadCertTemplate => 19,
            Self::SignerNotTrusted => 20,
            Self::TransactionIdInUse => 21,
            Self::UnsupportedVersion => 22,
            Self::NotAuthorized => 23,
        }
    }
}

/// A no, and its reason.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) why: Why,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(why: Why, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }

    /// As PKIStatusInfo; the bit string ends with the bit that is set, as DER wants of named bits (X.690 §11.2.2).
    pub(crate) fn status(&self) -> der::Result<StatusInfo> {
        let (bytes, within) = (self.why.bit() / 8, self.why.bit() % 8);
        let mut bits = vec![0; usize::from(bytes)];
        bits.push(0x80 >> within);
        Ok(StatusInfo {
            status: PkiStatus::Rejection.value(),
            text: Some(vec![self.text.clone()]),
            fail_info: Some(BitString::new(7_u8.saturating_sub(within), bits)?),
        })
    }
}

impl From<IssueError> for Refusal {
    fn from(error: IssueError) -> Self {
        let why = match &error {
            IssueError::Profile(_)
            | IssueError::Key
            | IssueError::KeyLength { .. }
            | IssueError::Exponent
            | IssueError::Incomplete(_)
            | IssueError::Validity => Why::BadCertTemplate,
            IssueError::Possession | IssueError::NoProof => Why::BadPop,
            IssueError::Malformed(_) => Why::BadDataFormat,
            IssueError::Suspended => Why::CertRevoked,
        };
        Self::new(why, error.to_string())
    }
}

impl From<StatusError> for Refusal {
    fn from(error: StatusError) -> Self {
        let why = match &error {
            StatusError::UnknownSerial(_) | StatusError::Expired => Why::BadCertId,
            StatusError::AlreadyRevoked => Why::CertRevoked,
            StatusError::UnknownReason(_) | StatusError::AlreadySuspended | StatusError::NotSuspended => {
                Why::BadRequest
            }
        };
        Self::new(why, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use der::Encode;

    use super::*;

    #[test]
    fn failure_bits_are_named_bits() {
        // X.690 §11.2.2: no trailing zero bits. badPOP is bit 9: 0000 0000 01.
        let info = Refusal::new(Why::BadPop, "no").status().unwrap();
        assert_eq!(info.fail_info.unwrap().to_der().unwrap(), [0x03, 0x03, 0x06, 0x00, 0x40]);
        let info = Refusal::new(Why::BadAlg, "no").status().unwrap();
        assert_eq!(info.fail_info.unwrap().to_der().unwrap(), [0x03, 0x02, 0x07, 0x80]);
    }
}
