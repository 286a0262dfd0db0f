//! `custody.*`: what the custodian brings in and hands out.

use std::sync::Arc;

use cns_protocol::custody::{
    Assign, AssignEnvelopes, Assignee, Envelopes, Import, ImportCertificate, Imported, PemCertificate, Stock,
    StockReport,
};
use cns_protocol::pin::Done;
use cns_protocol::{ErrorKind, RpcError};

use super::{Act, Daemon, recorded};
use crate::dispatch::Call;

/// The largest import file, in bytes.
const LARGEST_FILE: usize = 1024 * 1024;

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
    if request.file.len() > LARGEST_FILE {
        return Err(RpcError::new(ErrorKind::ImportRefused, "the import file is larger than 1 MiB")
            .hint("Split it: each file is taken in as a whole or not at all"));
    }
    let act = Act { name: "custody-import", card: None, paragraph: Some("§9.1.1") };
    let work = daemon.custody.import(&request.file);
    recorded(&daemon, &call, act, work, |imported| {
        format!("took in {} cards, {} envelopes", imported.cards, imported.envelopes)
    })
    .await
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
