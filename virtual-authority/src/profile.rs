//! What a certificate of each kind must say.

mod authentication;
mod qualified_signature;
mod subject;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use x509_cert::ext::Extension;
use x509_cert::name::Name;

pub(crate) use subject::Subject;

const DAY: u64 = 24 * 3600;

/// The kinds of certificate that this certifier issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Profile {
    /// The CNS authentication certificate.
    Authentication,
    /// The qualified certificate for electronic signatures.
    QualifiedSignature,
}

impl Profile {
    /// The name of the profile in the CMP address (`/pkix/NAME`).
    pub fn path_name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::QualifiedSignature => "signature",
        }
    }

    /// Refuses a subject that a certificate of this kind may not bear.
    pub(crate) fn check_subject(self, subject: &Name) -> Result<(), ProfileError> {
        let subject = Subject::read(subject)?;
        match self {
            Self::Authentication => authentication::check_subject(&subject),
            Self::QualifiedSignature => qualified_signature::check_subject(&subject),
        }
    }

    /// The extensions that are the profile's own, not the issuer's.
    pub(crate) fn extensions(self) -> der::Result<Vec<Extension>> {
        match self {
            Self::Authentication => authentication::extensions(),
            Self::QualifiedSignature => qualified_signature::extensions(),
        }
    }

    /// The longest that a certificate of this kind may be valid, in seconds.
    pub(crate) fn lifetime(self) -> u64 {
        match self {
            // Six years less a few days, so that it never outlives the card (manual §9.2).
            Self::Authentication => (6 * 365 - 3) * DAY,
            Self::QualifiedSignature => 3 * 365 * DAY,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path_name())
    }
}

impl FromStr for Profile {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Authentication, Self::QualifiedSignature]
            .into_iter()
            .find(|profile| profile.path_name() == name)
            .ok_or(())
    }
}

/// Why a subject does not fit the profile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// An attribute that the profile demands is not there.
    #[error("the subject lacks {0}")]
    Missing(&'static str),
    /// An attribute stands twice.
    #[error("the subject has {0} more than once")]
    Repeated(&'static str),
    /// An attribute has no place in the profile.
    #[error("the subject has an attribute that the profile does not know ({0})")]
    NotAllowed(String),
    /// An attribute is not a string, or is empty or too long.
    #[error("the subject's {0} is not a string of 1 to {1} characters")]
    NotText(&'static str, usize),
    /// The country is not Italy.
    #[error("the subject's countryName must be IT")]
    Country,
    /// The common name of the authentication profile has a form of its own.
    #[error(
        "the subject's commonName must be the codice fiscale, '/', the 16 digits of ID_Carta, '.', and the 28 \
         Base64 characters of the hash of the personal data"
    )]
    CommonName,
    /// The serial number of the signature profile has a form of its own.
    #[error("the subject's serialNumber must be TINIT- and the codice fiscale")]
    SerialNumber,
}
