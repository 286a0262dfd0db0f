//! Why CMP brought nothing.

use cns_secret::SecretError;
use thiserror::Error;

use crate::authority::cmp::Refusal;
use crate::authority::protection::{ProtectionError, SignerError};

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CmpError {
    /// The authority refused, under protection.
    #[error("the certification authority refused: {0}")]
    Refused(Refusal),
    /// The answer is not protected as was agreed. What it says is repeated for whoever looks for the fault (a wrong
    /// secret, most likely) and believed by nobody.
    #[error("the answer is not believed, for {fault}{}", claim(said.as_deref()))]
    Unbelieved {
        /// What is wrong with its protection.
        fault: ProtectionError,
        /// What it claims to refuse for.
        said: Option<String>,
    },
    /// The answer is no PKIMessage.
    #[error("the certification authority's answer cannot be read: {0}")]
    Malformed(der::Error),
    /// The answer belongs to another message.
    #[error("the certification authority's answer is not to our message ({0} differs)")]
    Mismatch(&'static str),
    /// The answer is of a kind that was not asked for.
    #[error("the certification authority answered something else than was asked")]
    Unexpected,
    /// The authority wants to be asked again later than we wait.
    #[error("the certification authority wants time{}", later(*.0))]
    Waiting(Option<u32>),
    /// certConf needs the hash of the certificate's signature, and this signature has none that is known here.
    #[error("the certificate is signed with an algorithm that is not known here")]
    Algorithm,
    /// The request is neither PKCS#10 nor a CertReqMsg.
    #[error("the request is neither PKCS#10 nor CRMF: {0}")]
    Request(der::Error),
    /// Nobody signs: the officer's card and PIN are missing.
    #[error("the request wants the signature of an operator's own card (§7)")]
    NoOfficer,
    /// Whoever signs our messages did not.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A message could not be made.
    #[error("no CMP message can be made: {0}")]
    Unmade(#[source] ProtectionError),
}

fn claim(said: Option<&str>) -> String {
    said.map(|said| format!(" (unproven, it says: {said})")).unwrap_or_default()
}

fn later(seconds: Option<u32>) -> String {
    match seconds {
        Some(seconds) => format!("; ask it again in {seconds} seconds"),
        None => "; ask it again later".to_owned(),
    }
}

impl From<der::Error> for CmpError {
    fn from(error: der::Error) -> Self {
        Self::Unmade(error.into())
    }
}

impl From<SecretError> for CmpError {
    fn from(error: SecretError) -> Self {
        Self::Unmade(error.into())
    }
}
