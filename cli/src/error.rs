//! Why a command of `cnsctl` failed, in plain words with the next thing to do.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use cns_protocol::audit::ChainError;
use cns_protocol::client::ClientError;
use cns_secret::SecretError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The daemon refused, or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file is not the one whose digest was told.
    #[error("this is another file: its SHA-256 is {found}")]
    OtherFile {
        /// What it is.
        found: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody said that a report may be saved.
    #[error("the report was not saved: there was no answer to the question")]
    NotAgreed,
    /// Standard output, or the terminal, failed.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    /// The answer cannot be written as JSON.
    #[error("cannot write the answer as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// There is no terminal to ask at.
    #[error("there is no terminal to ask for {0}")]
    NoTerminal(String),
    /// What was typed is no PIN or PUK.
    #[error("{0}")]
    Secret(#[from] cns_protocol::secret_text::NotText),
    /// The two entries of a new PIN differ.
    #[error("the two entries of the new PIN differ")]
    EntriesDiffer,
    /// No locked memory for a secret.
    #[error("no locked memory for the PIN: {0}")]
    Memory(#[from] SecretError),
    /// The step needs an answer that was neither given as an option nor can be asked for.
    #[error("step {paragraph} wants an answer: {what}")]
    AnswerNeeded {
        /// The step.
        paragraph: String,
        /// What is wanted.
        what: String,
    },
    /// There is no reader, or more than one, and none was named.
    #[error("{0}")]
    WhichReader(String),
    /// A file or folder of another program is not as it should be, and was not touched.
    #[error("{path} was left alone: {reason}")]
    LeftAlone {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another program that is needed failed.
    #[error("{program} failed: {reason}")]
    Tool {
        /// The program.
        program: String,
        /// What it said.
        reason: String,
    },
    /// The PKCS#11 module was not found.
    #[error("libcns_pkcs11.so was not found beside cnsctl or in the system's library folders")]
    NoModule,
    /// The PKCS#11 module cannot be used.
    #[error("{path} cannot be used: {reason}")]
    ModuleUnusable {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The environment does not tell where the user's home is.
    #[error("HOME is not set")]
    NoHome,
    /// For some programs the module could not be registered or unregistered.
    #[error("for {0} of the programs it was not done")]
    Unfinished(usize),
    /// The doctor found what keeps the card from being used.
    #[error("{0} faults keep the card from being used")]
    Faults(usize),
    /// Records of custody do not open.
    #[error("{0} records were changed, truncated or moved")]
    Damaged(u64),
    /// The authority refused for some of the card's certificates.
    #[error("the authority refused for {0} of the card's certificates")]
    CertificatesRefused(usize),
    /// The audit log's chain is broken.
    #[error("the audit log was tampered with or damaged: {0}")]
    Chain(#[from] ChainError),
}

impl CliError {
    /// What to do next, where the error itself does not say.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            CliError::Client(ClientError::Connect { source, .. }) => Some(connect_hint(source.kind()).into()),
            CliError::Client(ClientError::Refused(error)) => error.hint.clone(),
            CliError::Client(_) => Some("See the daemon's log (journalctl -u cnsd), then try again".into()),
            CliError::NoTerminal(_) => {
                Some("Run at a terminal, or give it on standard input with --pin-stdin".into())
            }
            CliError::AnswerNeeded { .. } => {
                Some("Give it as an option (see --help), or run at a terminal".into())
            }
            CliError::EntriesDiffer => Some("Nothing was changed; try again".into()),
            CliError::WhichReader(_) => Some("`cnsctl reader list` shows the readers".into()),
            CliError::Chain(_) => Some("Keep the file as it is and tell the security officer".into()),
            CliError::Damaged(_) => Some("Restore them from a backup, and tell the security officer".into()),
            CliError::CertificatesRefused(_) => {
                Some("Its words are above. The same command again asks for those certificates alone".into())
            }
            CliError::Memory(_) => Some("Raise the limit of locked memory (ulimit -l)".into()),
            CliError::NotAgreed => Some("Run at a terminal, or agree beforehand with --yes".into()),
            CliError::NoModule => Some("Name it with --module".into()),
            CliError::Tool { program, .. } if program == "modutil" || program == "certutil" => Some(
                "It is in the package libnss3-tools (Debian), nss-tools (Fedora) or mozilla-nss-tools (SUSE)"
                    .into(),
            ),
            CliError::OtherFile { .. } => {
                Some("Nothing was sent. Ask the sender for the file and its SHA-256 again".into())
            }
            CliError::Unfinished(_) => Some("See above; the others were done".into()),
            CliError::Faults(_) => Some("Each is told above, with what to do".into()),
            CliError::LeftAlone { .. }
            | CliError::Tool { .. }
            | CliError::ModuleUnusable { .. }
            | CliError::NoHome
            | CliError::Read { .. }
            | CliError::Write { .. }
            | CliError::Output(_)
            | CliError::Json(_)
            | CliError::Secret(_) => None,
        }
    }

    /// The error and what to do next, in one line.
    pub(crate) fn in_full(&self) -> String {
        self.hint().map_or_else(|| self.to_string(), |hint| format!("{self}. {hint}"))
    }

    /// 1 when the daemon or the card refused, 3 when the daemon cannot be reached, 4 for a broken audit log.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if let CliError::Client(ClientError::Connect { .. }) = self {
            ExitCode::from(3)
        } else if let CliError::Chain(_) = self {
            ExitCode::from(4)
        } else {
            ExitCode::FAILURE
        }
    }
}

fn connect_hint(cause: io::ErrorKind) -> &'static str {
    if cause == io::ErrorKind::PermissionDenied {
        "Ask the administrator to add you to the group that may use the socket (usually `cns`)"
    } else if cause == io::ErrorKind::NotFound || cause == io::ErrorKind::ConnectionRefused {
        "Start the daemon (systemctl start cnsd), or name its socket with --socket or CNSD_SOCKET"
    } else {
        "See the daemon's log (journalctl -u cnsd)"
    }
}
