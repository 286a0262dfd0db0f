//! The quirks of real cards (`real-cards` §4), each with its number. Quirk 23, which is the reader's, is tested with
//! the readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

mod codes;
mod files;
mod keys;

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_virtual_card::vpcd::Plugged;
use cns_virtual_card::{VirtualCard, sample};
use cnsd::card::{CardError, LastTry, pin, sign};
use cnsd_test_support::plugged::{self, Reader, secret};
use cnsd_test_support::wire::{self, Wire, connect, connect_changed, settled, take};

/// A classic ATR of the card of 2021 by ST, and one without historical bytes.
const ST_ATR: &str = "3BFF1800FF8131FE55006B02091617011101434E531131808D";
const SILENT_ATR: &str = "3B00";
/// An ATR of Oberthur's classic cards.
const OBERTHUR_ATR: &str = "3BFF1800008131FE45006B04050100012101434E5310318059";

type Answer = Box<dyn FnMut(&[u8], &mut VirtualCard) -> Option<Vec<u8>> + Send>;

fn is(command: &[u8], start: &[u8]) -> bool {
    command.starts_with(start)
}

async fn sign(reader: &Reader, key_use: KeyUse, digits: &'static [u8]) -> Result<Vec<u8>, CardError> {
    reader
        .run(move |session| {
            sign::sign(session, key_use, &secret(digits), LastTry::Ask, &Mechanism::RsaPkcs1, &[7; 20])
        })
        .await
}

async fn log_in(reader: &Reader, digits: &'static [u8]) -> Result<(), CardError> {
    reader.run(move |session| pin::verify(session, PinName::Cns, &secret(digits), LastTry::Ask)).await
}

/// A card that was listed; what went over the wire for it is forgotten.
async fn listed(card: VirtualCard) -> (Reader, Plugged<Wire>) {
    let reader = Reader::start();
    let plugged = connect(&reader, card);
    settled(&reader).await;
    take(&plugged);
    (reader, plugged)
}

async fn listed_changed(card: VirtualCard, atr: Option<&str>, change: Answer) -> (Reader, Plugged<Wire>) {
    let reader = Reader::start();
    let plugged = connect_changed(&reader, card, atr, change);
    settled(&reader).await;
    (reader, plugged)
}

/// What was sent for one signature.
async fn sent_for_signature(card: VirtualCard) -> Vec<String> {
    let (reader, plugged) = listed(card).await;
    sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    take(&plugged).into_iter().map(|(sent, _)| sent).collect()
}
