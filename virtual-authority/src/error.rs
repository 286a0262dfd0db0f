//! What can go wrong in the certifier, seen from its callers.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::issue::IssueError;
use crate::profile::Profile;
use crate::state::StateError;
use crate::status::StatusError;

/// Why the certifier could not do what was asked.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// A file of the certifier could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `init` was asked for a folder that already holds a certifier.
    #[error("{} already holds a certifier", .0.display())]
    AlreadyInitialised(PathBuf),
    /// A file of the certifier does not have the form that `init` gave it.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
    /// The CMP secret is too short to protect anything, or too long to be one.
    #[error("the CMP secret must be 8 to 256 bytes long")]
    SecretLength,
    /// The record of issued certificates could not be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The request was refused.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The status of the certificate could not be changed.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// A structure could not be encoded or decoded.
    #[error("DER: {0}")]
    Der(#[from] der::Error),
    /// A key could not be read, made or used.
    #[error("the certifier's key: {0}")]
    Key(String),
    /// A profile's file does not say what a profile says.
    #[error("the profile {}: {fault}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// There is no such profile.
    #[error("there is no profile {0}")]
    UnknownProfile(Profile),
    /// A registration officer's certificate cannot be used.
    #[error("the officer's certificate: {0}")]
    Officer(String),
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
}

impl From<rsa::Error> for AuthorityError {
    fn from(error: rsa::Error) -> Self {
        Self::Key(error.to_string())
    }
}

impl From<pkcs8::Error> for AuthorityError {
    fn from(error: pkcs8::Error) -> Self {
        Self::Key(error.to_string())
    }
}

impl From<spki::Error> for AuthorityError {
    fn from(error: spki::Error) -> Self {
        Self::Key(error.to_string())
    }
}

impl From<signature::Error> for AuthorityError {
    fn from(error: signature::Error) -> Self {
        Self::Key(error.to_string())
    }
}
