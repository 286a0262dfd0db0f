//! `custody.*`: what the custodian brings in and hands out.

use std::sync::Arc;

use cns_protocol::RpcError;
use cns_protocol::custody::{
    Assign, AssignEnvelopes, Assignee, Envelopes, Import, ImportCertificate, Imported, PemCertificate, Stock,
    StockReport,
};
use cns_protocol::pin::Done;

use super::{Act, Daemon, recorded};
use crate::dispatch::Call;

/// `custody.import_certificate`.
///
/// # Errors
/// None.
pub async fn import_certificate(
    daemon: Arc<Daemon>,
    _: Call,
    _: ImportCertificate,
) -> Result<PemCertificate, RpcError> {
    Ok(PemCertificate { pem: daemon.custody.import_certificate_pem().to_owned() })
}

/// `custody.import`.
///
/// # Errors
/// When the file is refused; then nothing of it was taken in.
pub async fn import(daemon: Arc<Daemon>, call: Call, request: Import) -> Result<Imported, RpcError> {
    let act = Act { name: "custody-import", card: None, paragraph: Some("§9.1.1") };
    recorded(&daemon, &call, act, daemon.custody.import(&request.file), imported_text).await
}

/// What the audit log says of an import.
pub(super) fn imported_text(imported: &Imported) -> String {
    let (cards, envelopes) = (imported.cards, imported.envelopes);
    let verb = if imported.already { "had taken in before" } else { "took in" };
    format!("{verb} {cards} cards, {envelopes} envelopes")
}

/// `custody.assign`.
///
/// # Errors
/// When the operator is not in the registry or an envelope is not available; then none was assigned.
pub async fn assign(daemon: Arc<Daemon>, call: Call, request: Assign) -> Result<Done, RpcError> {
    let envelopes = Envelopes::Codes(request.codes);
    let request = AssignEnvelopes { envelopes, to: Assignee::Operator(request.operator) };
    super::envelopes::assign(daemon, call, request).await?;
    Ok(Done {})
}

/// `custody.stock`.
///
/// # Errors
/// When the database fails.
pub async fn stock(daemon: Arc<Daemon>, _: Call, _: Stock) -> Result<StockReport, RpcError> {
    Ok(daemon.custody.stock().await?)
}
