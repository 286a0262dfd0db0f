//! `order.*`: sealed orders of CMS systems.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::order::{Certificates, Execute, Executed, OrderCertificates, Receipt};

use super::Daemon;
use crate::dispatch::Call;
use crate::order::{Bearer, OrderError, Orders};

/// `order.execute`.
///
/// # Errors
/// When the order is refused, or the card.
pub async fn execute(daemon: Arc<Daemon>, call: Call, request: Execute) -> Result<Executed, RpcError> {
    let bearer = Bearer {
        user: Some(call.caller.peer.uid),
        operator: call.session.as_ref().map(|session| session.operator.clone()),
    };
    Ok(orders(&daemon)?.execute(&bearer, &request.reader, request.order).await?)
}

/// `order.receipt`.
///
/// # Errors
/// When no such order is over.
pub async fn receipt(daemon: Arc<Daemon>, _: Call, request: Receipt) -> Result<Executed, RpcError> {
    Ok(orders(&daemon)?.receipt(&request.sha256).await?)
}

/// `order.certificates`.
///
/// # Errors
/// When no orders are taken here.
pub async fn certificates(
    daemon: Arc<Daemon>,
    _: Call,
    _: Certificates,
) -> Result<OrderCertificates, RpcError> {
    Ok(orders(&daemon)?.certificates())
}

fn orders(daemon: &Daemon) -> Result<&Orders, OrderError> {
    daemon.outside.orders.as_ref().ok_or(OrderError::Off)
}
