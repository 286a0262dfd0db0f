//! Whether a certificate is in force, and how that may change (manual §1.3.5, §1.3.12–13).

pub(crate) mod crl;
pub(crate) mod ocsp;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_cert::ext::pkix::CrlReason;

use crate::state::Record;

/// The state of an issued certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Issued, and the client has not yet said that it received it (RFC 4210 §5.2.8).
    Unconfirmed,
    /// In force.
    Valid,
    /// Out of force for a time.
    Suspended {
        /// Since when, in seconds since 1970.
        since: u64,
    },
    /// Out of force for good.
    Revoked {
        /// Since when, in seconds since 1970.
        since: u64,
        /// Why.
        reason: Reason,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconfirmed => f.write_str("unconfirmed"),
            Self::Valid => f.write_str("valid"),
            Self::Suspended { .. } => f.write_str("suspended"),
            Self::Revoked { reason, .. } => write!(f, "revoked ({reason})"),
        }
    }
}

/// Why a certificate's status changes: the CRLReason of RFC 5280 §5.3.1, without the codes that only
/// attribute authorities and certification authorities themselves have use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// No reason given.
    Unspecified,
    /// The key, or the codes that guard it, may be in other hands.
    KeyCompromise,
    /// The holder's data have changed.
    AffiliationChanged,
    /// Another certificate takes its place.
    Superseded,
    /// No longer needed.
    CessationOfOperation,
    /// Suspended: may be taken back.
    CertificateHold,
    /// A suspension is taken back.
    #[serde(rename = "removeFromCRL")]
    RemoveFromCrl,
    /// The holder is no longer entitled.
    PrivilegeWithdrawn,
}

impl Reason {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Unspecified, "unspecified"),
        (Self::KeyCompromise, "keyCompromise"),
        (Self::AffiliationChanged, "affiliationChanged"),
        (Self::Superseded, "superseded"),
        (Self::CessationOfOperation, "cessationOfOperation"),
        (Self::CertificateHold, "certificateHold"),
        (Self::RemoveFromCrl, "removeFromCRL"),
        (Self::PrivilegeWithdrawn, "privilegeWithdrawn"),
    ];

    /// The reason of a CRL entry; `None` for those that only attribute and certification authorities have.
    pub(crate) fn from_crl(reason: CrlReason) -> Option<Self> {
        match reason {
            CrlReason::Unspecified => Some(Self::Unspecified),
            CrlReason::KeyCompromise => Some(Self::KeyCompromise),
            CrlReason::AffiliationChanged => Some(Self::AffiliationChanged),
            CrlReason::Superseded => Some(Self::Superseded),
            CrlReason::CessationOfOperation => Some(Self::CessationOfOperation),
            CrlReason::CertificateHold => Some(Self::CertificateHold),
            CrlReason::RemoveFromCRL => Some(Self::RemoveFromCrl),
            CrlReason::PrivilegeWithdrawn => Some(Self::PrivilegeWithdrawn),
            CrlReason::CaCompromise | CrlReason::AaCompromise => None,
        }
    }

    fn crl_reason(self) -> CrlReason {
        match self {
            Self::Unspecified => CrlReason::Unspecified,
            Self::KeyCompromise => CrlReason::KeyCompromise,
            Self::AffiliationChanged => CrlReason::AffiliationChanged,
            Self::Superseded => CrlReason::Superseded,
            Self::CessationOfOperation => CrlReason::CessationOfOperation,
            Self::CertificateHold => CrlReason::CertificateHold,
            Self::RemoveFromCrl => CrlReason::RemoveFromCRL,
            Self::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            Self::NAMES.iter().find(|(reason, _)| reason == self).map_or("unspecified", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Reason {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        Self::NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(reason, _)| *reason)
            .ok_or_else(|| StatusError::UnknownReason(text.to_owned()))
    }
}

/// Why a certificate's status does not change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StatusError {
    /// No certificate has that serial number.
    #[error("no certificate with serial number {0} was issued here")]
    UnknownSerial(String),
    /// The reason is not one of RFC 5280.
    #[error(
        "{0:?} is not a revocation reason; reasons are those of RFC 5280 section 5.3.1, such as keyCompromise"
    )]
    UnknownReason(String),
    /// Revocation is final (manual §1.3.5).
    #[error("the certificate is revoked already, and revocation is final")]
    AlreadyRevoked,
    /// A suspended certificate was suspended again.
    #[error("the certificate is suspended already")]
    AlreadySuspended,
    /// What has expired is out of force by itself.
    #[error("the certificate has expired, so its status changes no more")]
    Expired,
    /// Only a suspension can be taken back.
    #[error("the certificate is not suspended, so there is nothing to take back")]
    NotSuspended,
}

/// The status that follows when `reason` is applied to this certificate at `now`.
pub(crate) fn judge(record: &Record, reason: Reason, now: u64) -> Result<Status, StatusError> {
    if record.not_after <= now { Err(StatusError::Expired) } else { change(record.status, reason, now) }
}

/// The status that follows when `reason` is applied to `current` at `now`.
pub(crate) fn change(current: Status, reason: Reason, now: u64) -> Result<Status, StatusError> {
    match (current, reason) {
        (Status::Revoked { .. }, _) => Err(StatusError::AlreadyRevoked),
        (Status::Suspended { .. }, Reason::CertificateHold) => Err(StatusError::AlreadySuspended),
        (Status::Suspended { .. }, Reason::RemoveFromCrl) => Ok(Status::Valid),
        (Status::Unconfirmed | Status::Valid, Reason::RemoveFromCrl) => Err(StatusError::NotSuspended),
        (Status::Unconfirmed | Status::Valid, Reason::CertificateHold) => {
            Ok(Status::Suspended { since: now })
        }
        // Manual X 9.5a: a suspended card may become revoked.
        (Status::Unconfirmed | Status::Valid | Status::Suspended { .. }, reason) => {
            Ok(Status::Revoked { since: now, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocation_is_final_and_suspension_is_not() {
        let held = change(Status::Valid, Reason::CertificateHold, 7).unwrap();
        assert_eq!(held, Status::Suspended { since: 7 });
        assert_eq!(change(held, Reason::CertificateHold, 8), Err(StatusError::AlreadySuspended));
        assert_eq!(change(held, Reason::RemoveFromCrl, 8), Ok(Status::Valid));
        assert_eq!(change(Status::Valid, Reason::RemoveFromCrl, 8), Err(StatusError::NotSuspended));
        let revoked = change(held, Reason::KeyCompromise, 9).unwrap();
        assert_eq!(revoked, Status::Revoked { since: 9, reason: Reason::KeyCompromise });
        for (reason, _) in Reason::NAMES {
            assert_eq!(change(revoked, reason, 10), Err(StatusError::AlreadyRevoked));
        }
    }

    #[test]
    fn reasons_read_back_as_they_print() {
        for (reason, name) in Reason::NAMES {
            assert_eq!(reason.to_string(), name);
            assert_eq!(name.parse::<Reason>().unwrap(), reason);
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{name}\""));
        }
        assert!("KEYCOMPROMISE".parse::<Reason>().is_err());
    }
}
