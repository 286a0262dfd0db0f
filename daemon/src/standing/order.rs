//! What is asked for a card, and what came of it so far.

use cns_protocol::certificate::{Channel, Identified, Paper};
use cns_protocol::counter::Reason;

use crate::procedure::status::{StatusChange, StatusError};

/// What is asked for all certificates of a card.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its identifier: the procedure's, or a new one. What is asked again under it is asked once.
    pub request: String,
    /// The card's serial number.
    pub card: String,
    /// What becomes of them.
    pub change: StatusChange,
    /// Why.
    pub reason: Option<Reason>,
    /// Who asks.
    pub channel: Channel,
    /// The rule by which they may.
    pub paragraph: &'static str,
    /// The Unix user.
    pub user: Option<u32>,
    /// The operator.
    pub operator: Option<String>,
    /// Who was identified.
    pub identified: Option<Identified>,
    /// What was shown of a theft or loss.
    pub paper: Option<Paper>,
}

/// What came of an order so far.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Certificates that stand as was asked.
    pub done: usize,
    /// Those that the authority was not told of yet, with the reason.
    pub pending: Vec<String>,
    /// Those that the authority refused, with its words.
    pub refused: Vec<String>,
    /// Where the operator's card failed to sign.
    pub officer: Option<StatusError>,
}
