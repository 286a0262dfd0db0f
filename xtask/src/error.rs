//! Why a command failed.

use std::io;
use std::path::PathBuf;

/// Why a command failed, in words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program could not be run or ended with an error.
    #[error("`{program}` failed ({status})\n{output}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// Something did not come about in time.
    #[error("{what} did not happen within {seconds} s\n{output}")]
    TooSlow {
        /// What was awaited.
        what: String,
        /// For how long.
        seconds: u64,
        /// What was seen meanwhile.
        output: String,
    },
    /// What came about is not what should have.
    #[error("{0}")]
    Wrong(String),
    /// System packages are missing and must not be installed.
    #[error("these Debian packages are missing: {0}\nInstall them with: apt-get install {0}")]
    PackagesMissing(String),
    /// pyHanko is missing, or not in these versions, and must not be installed.
    #[error("pyHanko is not in {}, or not in the versions of xtask/pyhanko.txt; without --no-install it is put there",
        folder.display())]
    PythonPackagesMissing {
        /// The virtual environment.
        folder: PathBuf,
    },
    /// No locked memory for a secret.
    #[error("no locked memory for a PIN: {0}")]
    Memory(#[from] cns_secret::SecretError),
    /// Tests failed.
    #[error("{0} of the checks and tests failed")]
    Tests(usize),
}

/// Says what was tried when a system call fails.
pub(crate) trait During<T> {
    /// Adds what was tried.
    fn during(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what.into(), source })
    }
}
