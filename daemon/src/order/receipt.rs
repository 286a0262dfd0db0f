//! The daemon's receipt: what came of an order, signed by its receipt key.

use std::time::SystemTime;

use cns_protocol::order::{Action, OrderResult};
use serde::Serialize;
use x509_cert::time::Time;

use super::Inner;
use super::error::OrderError;
use super::signed_data;
use super::store::Kept;
use crate::database::now;

/// The content of a receipt; `docs/orders.md` describes it.
#[derive(Serialize)]
struct Content<'a> {
    format: &'static str,
    version: u32,
    number: &'a str,
    signer: &'a str,
    order_sha256: &'a str,
    card: &'a str,
    action: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    puk_tries_left: Option<u8>,
    at: String,
    daemon: &'static str,
}

pub(super) fn sign(
    orders: &Inner,
    kept: &Kept,
    action: Action,
    result: OrderResult,
    puk_tries_left: Option<u8>,
) -> Result<Vec<u8>, OrderError> {
    let content = Content {
        format: "cns-receipt",
        version: 1,
        number: &kept.number,
        signer: &kept.signer,
        order_sha256: &kept.sha256,
        card: &kept.card,
        action: action.name(),
        result: result.name(),
        puk_tries_left,
        at: now(),
        daemon: env!("CARGO_PKG_VERSION"),
    };
    let content = serde_json::to_vec(&content).map_err(|_| OrderError::Damaged(kept.number.clone()))?;
    let at = Time::try_from(SystemTime::now()).map_err(OrderError::Receipt)?;
    signed_data::make(&content, orders.receipt_key.certificate(), at, |attributes| {
        Ok(orders.receipt_key.sign(orders.custody.sealer(), attributes)?)
    })
}
