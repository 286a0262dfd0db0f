//! The authority's no: PKIStatusInfo (RFC 9810 §5.2.3).

use std::fmt;

use crate::authority::message::StatusInfo;

/// PKIFailureInfo, by bit.
const FAILURES: [&str; 27] = [
    "badAlg",
    "badMessageCheck",
    "badRequest",
    "badTime",
    "badCertId",
    "badDataFormat",
    "wrongAuthority",
    "incorrectData",
    "missingTimeStamp",
    "badPOP",
    "certRevoked",
    "certConfirmed",
    "wrongIntegrity",
    "badRecipientNonce",
    "timeNotAvailable",
    "unacceptedPolicy",
    "unacceptedExtension",
    "addInfoNotAvailable",
    "badSenderNonce",
    "badCertTemplate",
    "signerNotTrusted",
    "transactionIdInUse",
    "unsupportedVersion",
    "notAuthorized",
    "systemUnavail",
    "systemFailure",
    "duplicateCertReq",
];

/// More than that is no reason any more.
const TEXT_LIMIT: usize = 400;

/// What the authority says when it says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// PKIStatus.
    pub status: u8,
    /// The names of the PKIFailureInfo bits that are set.
    pub failures: Vec<&'static str>,
    /// The words, freed of what does not print. They are the authority's, not ours.
    pub text: String,
}

impl Refusal {
    pub(super) fn new(info: &StatusInfo) -> Self {
        let bits = info.fail_info.iter().flat_map(|bits| bits.bits());
        let failures = bits.zip(FAILURES).filter(|(set, _)| *set).map(|(_, name)| name).collect();
        let words = info.text.as_deref().unwrap_or_default().join("; ");
        let text = words.chars().filter(|sign| !sign.is_control()).take(TEXT_LIMIT).collect();
        Self { status: info.status, failures, text }
    }

    /// Whether this PKIFailureInfo bit is set.
    #[must_use]
    pub fn names(&self, failure: &str) -> bool {
        self.failures.contains(&failure)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.text.is_empty() { "no reason given" } else { &self.text };
        f.write_str(text)?;
        if self.failures.is_empty() { Ok(()) } else { write!(f, " ({})", self.failures.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use der::asn1::BitString;

    use super::*;

    #[test]
    fn bits_have_names_and_words_are_cleaned() {
        // badPOP is bit 9, badCertTemplate bit 19.
        let fail_info = Some(BitString::new(4, [0x00, 0x40, 0x10]).unwrap());
        let info =
            StatusInfo { status: 2, text: Some(vec!["no\u{1b}[31m".into(), "never".into()]), fail_info };
        let refusal = Refusal::new(&info);
        assert_eq!(refusal.failures, ["badPOP", "badCertTemplate"]);
        assert_eq!(refusal.to_string(), "no[31m; never (badPOP, badCertTemplate)");
        let empty = Refusal::new(&StatusInfo { status: 2, text: None, fail_info: None });
        assert_eq!(empty.to_string(), "no reason given");
    }
}
