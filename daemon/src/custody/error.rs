//! Why custody refuses. Nothing here holds a secret; codes and serial numbers are not secret.

use std::io;
use std::path::PathBuf;

use cns_secret::SecretError;

use crate::custody::envelope::EnvelopeState;
use crate::custody::import::ImportError;
use crate::database::DatabaseError;

/// Why custody did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyError {
    /// The key file cannot be read or made.
    #[error("the key file {path}: {source}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The key file is there, but must not be used as it is.
    #[error("the key file {path} {fault}")]
    KeyFileFault {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyFileFault,
    },
    /// The database holds sealed records, and the key file is missing: a new one could not open them.
    #[error("the key file {path} is missing, and the database cannot be read without it")]
    KeyFileMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The data key is wrapped by a key in an HSM.
    #[error("the database needs the key {needed}, and no HSM is configured ([custody.hsm])")]
    HsmNotConfigured {
        /// The identifier of the key.
        needed: String,
    },
    /// The HSM.
    #[error("the HSM: {0}")]
    Hsm(#[from] HsmError),
    /// The key file is sound, but belongs to another database.
    #[error(
        "the key file does not belong to this database (it is key {found}, the database needs key {needed})"
    )]
    WrongKey {
        /// The identifier of the key in the file.
        found: String,
        /// The identifier of the key that wrapped the data key.
        needed: String,
    },
    /// A sealed record was changed, truncated, or copied from another place.
    #[error("the record {record} was changed, truncated or moved")]
    Tampered {
        /// `table.column[primary key]`.
        record: String,
    },
    /// The kernel refused locked memory.
    #[error(transparent)]
    Memory(#[from] SecretError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The cryptographic library failed at something that cannot fail with sound input.
    #[error("cryptography: {0}")]
    Cryptography(&'static str),
    /// The import certificate cannot be built or read.
    #[error("import certificate: {0}")]
    Certificate(#[from] der::Error),
    /// The blocking task that did the work was stopped.
    #[error("custody is stopping")]
    Stopped,
    /// The import file cannot be read or written where it is kept until it is taken in.
    #[error("the import file: {0}")]
    ImportFile(io::Error),
    /// The import file was refused; nothing was taken in.
    #[error("{0}")]
    Import(#[from] ImportError),
    /// There is no PUK of this card and kind.
    #[error("custody holds no such PUK for card {serial}")]
    NoPuk {
        /// The card.
        serial: String,
    },
    /// The chip refused this PUK before: it is not presented again by itself.
    #[error("the PUK of card {serial} was refused by the card and is not presented again")]
    PukRefused {
        /// The card.
        serial: String,
        /// The tries that the chip left then, when it told.
        tries_left: Option<u8>,
    },
    /// Another PUK of this card and kind is in custody already.
    #[error("custody holds another PUK for card {serial} already")]
    PukKnown {
        /// The card.
        serial: String,
    },
    /// A PUK, a serial number or an operator's name cannot be one.
    #[error("{0} is not valid")]
    Invalid(&'static str),
    /// An envelope's outside code has the wrong form or check digits.
    #[error("the envelope code is not 8 digits with their two check digits")]
    CodeInvalid,
    /// No such envelope.
    #[error("there is no envelope {code}")]
    EnvelopeUnknown {
        /// The code.
        code: String,
    },
    /// The envelope exists, but not for this use.
    #[error("envelope {code} cannot be used: {reason}")]
    EnvelopeUnavailable {
        /// The code.
        code: String,
        /// Why.
        reason: Unavailable,
    },
    /// A procedure of the holder is not over.
    #[error("procedure {procedure} of this holder is not over")]
    InProcedure {
        /// Its identifier.
        procedure: String,
    },
    /// Something else of this holder is not over.
    #[error("{what} {name} names this holder and is not over")]
    Waits {
        /// A request to or from another region, an order, an import.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The backup cannot be written.
    #[error("the backup {path}: {source}")]
    Backup {
        /// The file or its folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The database is a server's, which has tools for it.
    #[error("the database is on a PostgreSQL server: its own tools back it up (pg_dump)")]
    BackupElsewhere,
    /// The envelope's PIN was destroyed.
    #[error("the PIN of envelope {code} was destroyed")]
    PinDestroyed {
        /// The code.
        code: String,
    },
    /// More envelopes at once than allowed.
    #[error("at most {0} envelopes at a time, and at least one")]
    Count(u64),
    /// What one person asked for must be confirmed by another.
    #[error("another person must confirm this: not the one who asked for it")]
    SecondPerson,
}

/// Why a PKCS#11 HSM is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    /// A function of its library failed.
    #[error("{0}")]
    Call(#[from] cryptoki::error::Error),
    /// No token of this label is there.
    #[error("there is no token {label:?}")]
    NoToken {
        /// The label.
        label: String,
    },
    /// The key that the database needs is not on the token.
    #[error("the token has no key {identifier}, which the database needs")]
    NoKey {
        /// The key's identifier.
        identifier: String,
    },
    /// Which of several keys is meant, nobody can tell.
    #[error("the token has several keys {label:?}, and the database names none yet")]
    SeveralKeys {
        /// Their label.
        label: String,
    },
    /// The key has no CKA_ID.
    #[error("the key {label:?} has no CKA_ID")]
    NoIdentifier {
        /// The key's label.
        label: String,
    },
    /// The key is not one that never left the HSM.
    #[error("the key {label:?} can be taken out of the HSM, or was made outside of it")]
    Extractable {
        /// The key's label.
        label: String,
    },
}

/// Why an envelope cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It is in a state that does not allow it.
    #[error("it is {0}")]
    State(EnvelopeState),
    /// It is assigned to another operator (§9.3.2-6).
    #[error("it is assigned to another operator")]
    OtherOperator,
    /// It is assigned to another counter (§9.3.2-6).
    #[error("it is assigned to another counter")]
    OtherCounter,
    /// Somebody asked to void it, and a second person has not decided yet.
    #[error("it was reported lost or damaged, and waits for a second person's word")]
    VoidRequested,
    /// Another procedure has it, or had it.
    #[error("it belongs to another procedure")]
    OtherProcedure,
}

/// What is wrong with a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileFault {
    /// Not a regular file, or a symbolic link.
    #[error("is not a regular file")]
    NotAFile,
    /// Group or others have rights on it.
    #[error("is accessible by group or others: it must have mode 0600 or 0400")]
    Mode,
    /// It belongs to a user who is neither root nor the daemon's.
    #[error("does not belong to root or to the daemon's user")]
    Owner,
    /// Its length, mark or checksum is wrong.
    #[error("is damaged or is no key file")]
    Damaged,
}

impl From<sqlx::Error> for CustodyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}
