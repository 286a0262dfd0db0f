//! What is known of a certificate's standing.

use std::time::{SystemTime, UNIX_EPOCH};

use cns_protocol::certificate::Standing;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::authority::checks::{Revocation, reason_name};
use crate::authority::status::ocsp::Told;

/// Who said how a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCSP responder.
    Ocsp,
    /// A revocation list.
    List,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How.
    pub standing: Revocation,
    /// Who said so.
    pub source: Source,
    /// When it was so.
    pub at: SystemTime,
    /// Until when it counts.
    pub until: SystemTime,
}

impl From<Told> for Known {
    fn from(Told { standing, at, until }: Told) -> Self {
        Self { standing, source: Source::Ocsp, at, until }
    }
}

impl From<Revocation> for Standing {
    fn from(standing: Revocation) -> Self {
        match standing {
            Revocation::Good => Self::Good,
            Revocation::Revoked { suspended: true, .. } => Self::Suspended,
            Revocation::Revoked { suspended: false, .. } => Self::Revoked,
        }
    }
}

/// A standing as a sentence's end: "suspended since 2026-03-02T10:00:00Z (certificateHold)".
#[must_use]
pub fn standing_in_words(standing: &Revocation) -> String {
    match standing {
        Revocation::Good => "in force".to_owned(),
        Revocation::Revoked { since, suspended, reason } => {
            let word = if *suspended { "suspended" } else { "revoked" };
            let why = reason.map(|reason| format!(" ({})", reason_name(reason))).unwrap_or_default();
            format!("{word} since {}{why}", rfc3339(*since))
        }
    }
}

/// A time as RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use x509_cert::ext::pkix::CrlReason;

    use super::*;

    #[test]
    fn a_standing_is_told_with_its_time_and_reason() {
        let since = UNIX_EPOCH + Duration::from_secs(1_772_445_600);
        let told = |suspended, reason| standing_in_words(&Revocation::Revoked { since, suspended, reason });
        assert_eq!(told(false, None), "revoked since 2026-03-02T10:00:00Z");
        let held = told(true, Some(CrlReason::CertificateHold));
        assert_eq!(held, "suspended since 2026-03-02T10:00:00Z (certificateHold)");
        assert_eq!(standing_in_words(&Revocation::Good), "in force");
        // The end of what X.509 can say, and what follows it.
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(253_402_300_799)), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(253_402_300_800)), "");
    }
}
