//! What the chip forgets on reset and without power.

use cns_apdu::chaining::Assembler;
use cns_apdu::file_map::{Fid, FilePath};
use cns_apdu::object::ObjectAddress;

use crate::access::SecurityStatus;
use crate::handler::Waiting;
use crate::objects::ObjectReference;
use crate::secure_messaging::Demand;

/// What the chip forgets on reset and without power.
pub(crate) struct Session {
    pub(crate) directory: FilePath,
    /// The current elementary file, in the current directory.
    pub(crate) file: Option<Fid>,
    /// The current record's place, counted from 0.
    pub(crate) record: Option<usize>,
    pub(crate) status: SecurityStatus,
    pub(crate) environment: Option<Environment>,
    pub(crate) challenge: Option<Vec<u8>>,
    pub(crate) host_random: Option<Vec<u8>>,
    pub(crate) chain: Assembler,
    /// What the command that is being executed was protected with, if it came in secure messaging.
    pub(crate) protection: Option<Demand>,
    /// Data that the host has yet to fetch, over T=0.
    pub(crate) waiting: Option<Waiting>,
}

impl Session {
    /// A new session, in the directory where the chip starts.
    pub(crate) fn at(directory: FilePath) -> Self {
        Self {
            directory,
            file: None,
            record: None,
            status: SecurityStatus::default(),
            environment: None,
            challenge: None,
            host_random: None,
            chain: Assembler::default(),
            protection: None,
            waiting: None,
        }
    }
}

/// The current security environment: which key each kind of operation uses.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    pub(crate) signature: Option<KeyChoice>,
    pub(crate) confidentiality: Option<KeyChoice>,
    pub(crate) test: Option<KeyChoice>,
}

/// A key of a security environment.
#[derive(Clone)]
pub(crate) enum KeyChoice {
    /// Found when it was chosen.
    Found(ObjectReference),
    /// To be looked for when it is used.
    Named(ObjectAddress),
}
