//! What the authority is told of the manual's reasons: RFC 5280 §5.3.1, by paragraph.
//!
//! Theft and loss count as a compromised key: the card may be in other hands, and its codes with it. A card whose data are
//! wrong or that does not work is in nobody's hands; another one takes its place.

use cns_protocol::counter::Reason;
use x509_cert::ext::pkix::CrlReason;

use crate::procedure::status::StatusChange;

/// A reason for a revocation.
#[derive(Debug)]
pub struct ReasonRule {
    /// The manual's.
    pub reason: Reason,
    /// The paragraphs that have it.
    pub paragraphs: &'static [&'static str],
    /// What stands on the revocation list.
    pub code: CrlReason,
}

/// By the holder, at a counter.
const HOLDER: &[&str] = &["§9.7.1"];
/// By the issuing body.
const BODY: &[&str] = &["§9.7.2"];

/// Every reason for a revocation.
pub static REVOCATION: [ReasonRule; 8] = [
    rule(Reason::CodesCompromised, HOLDER, CrlReason::KeyCompromise),
    rule(Reason::Theft, HOLDER, CrlReason::KeyCompromise),
    rule(Reason::Loss, HOLDER, CrlReason::KeyCompromise),
    rule(Reason::WrongData, &["§9.7.1", "§9.7.2"], CrlReason::AffiliationChanged),
    rule(Reason::Malfunction, &["§9.7.1e"], CrlReason::Superseded),
    rule(Reason::NotDelivered, BODY, CrlReason::CessationOfOperation),
    rule(Reason::Death, BODY, CrlReason::CessationOfOperation),
    rule(Reason::EntitlementEnded, BODY, CrlReason::PrivilegeWithdrawn),
];

const fn rule(reason: Reason, paragraphs: &'static [&'static str], code: CrlReason) -> ReasonRule {
    ReasonRule { reason, paragraphs, code }
}

impl StatusChange {
    /// What the authority is told: `certificateHold` suspends, `removeFromCRL` reactivates, all others revoke.
    #[must_use]
    pub fn code(self) -> CrlReason {
        match self {
            Self::Suspend(_) => CrlReason::CertificateHold,
            Self::Reactivate => CrlReason::RemoveFromCRL,
            Self::Revoke(reason) => REVOCATION
                .iter()
                .find(|rule| rule.reason == reason)
                .map_or(CrlReason::Unspecified, |rule| rule.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use cns_protocol::counter::Case;

    use super::*;
    use crate::procedure::steps::case_rule;

    #[test]
    fn every_reason_has_a_code_that_revokes_and_its_paragraphs() {
        let counter = case_rule(Case::Revocation).reasons;
        for (place, rule) in REVOCATION.iter().enumerate() {
            let code = StatusChange::Revoke(rule.reason).code();
            assert_eq!(code, rule.code);
            assert!(!matches!(
                code,
                CrlReason::Unspecified | CrlReason::CertificateHold | CrlReason::RemoveFromCRL
            ));
            assert!(REVOCATION.iter().skip(place + 1).all(|other| other.reason != rule.reason));
            let at_counter = rule.paragraphs.iter().any(|paragraph| paragraph.starts_with("§9.7.1"));
            assert_eq!(at_counter, counter.contains(&rule.reason), "{:?}", rule.reason);
        }
        for reason in counter {
            assert!(REVOCATION.iter().any(|rule| rule.reason == *reason), "{reason:?}");
        }
        let held =
            case_rule(Case::Suspension).reasons.iter().map(|reason| StatusChange::Suspend(Some(*reason)));
        assert!(held.map(StatusChange::code).all(|code| code == CrlReason::CertificateHold));
        assert_eq!(StatusChange::Reactivate.code(), CrlReason::RemoveFromCRL);
    }
}
