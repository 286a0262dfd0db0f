//! `card.*`.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::card::{Card, List, Show};
use cns_protocol::reader::ReaderState;

use super::Daemon;
use crate::dispatch::Call;

/// `card.list`.
///
/// # Errors
/// None.
pub async fn list(daemon: Arc<Daemon>, _: Call, _: List) -> Result<Vec<Card>, RpcError> {
    let readers = daemon.readers.list().readers.into_iter();
    Ok(readers.filter_map(|reader| card_in(reader.state)).collect())
}

/// `card.show`.
///
/// # Errors
/// When there is no such reader, or no CNS in it.
pub async fn show(daemon: Arc<Daemon>, _: Call, request: Show) -> Result<Card, RpcError> {
    let mut readers = daemon.readers.list().readers.into_iter();
    let found = readers.find(|reader| reader.name == request.reader).and_then(|reader| card_in(reader.state));
    match found {
        Some(card) => Ok(card),
        None => Ok(daemon.readers.card(&request.reader)?.card.clone()),
    }
}

fn card_in(state: ReaderState) -> Option<Card> {
    match state {
        ReaderState::Card(card) => Some(*card),
        ReaderState::Empty | ReaderState::Reading | ReaderState::Unusable(_) => None,
    }
}
