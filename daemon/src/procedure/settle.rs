//! Finishing what was cut off: at start-up, and whenever a card comes into a reader.

use std::collections::HashMap;

use crate::dispatch::ProgressSender;
use crate::procedure::dossier::{Dossier, Ends, Intent};
use crate::procedure::{Actor, Engine, ProcedureError};

/// The insertion of each card that was tried already: a failure is tried again only when the card comes back.
type Tried = HashMap<String, (String, u64)>;

impl Engine {
    /// Settles every procedure that can be settled now.
    pub(super) async fn settle_all(&self) -> Result<(), ProcedureError> {
        self.settle_new(&mut Tried::new()).await
    }

    /// Settles on and on, until the readers stop.
    pub(super) async fn settle_loop(&self) {
        let mut changes = self.readers.changes();
        let mut tried = Tried::new();
        loop {
            if let Err(error) = self.settle_new(&mut tried).await {
                tracing::error!(%error, "procedures cannot be settled");
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn settle_new(&self, tried: &mut Tried) -> Result<(), ProcedureError> {
        for dossier in self.store.with_intent().await? {
            // The end of a procedure needs no card, and must not use up the card's turn.
            if !matches!(dossier.intent, Some(Intent::Close { .. })) {
                let Some(contents) = self.readers.find_card(&dossier.card) else { continue };
                let place = (contents.card.reader.clone(), contents.card.insertion);
                if tried.get(&dossier.card) == Some(&place) {
                    continue;
                }
                tried.insert(dossier.card.clone(), place);
            }
            if let Err(error) = self.settle_one(&dossier).await {
                tracing::warn!(procedure = %dossier.id, %error, "the procedure is not settled yet");
            }
        }
        Ok(())
    }

    async fn settle_one(&self, found: &Dossier) -> Result<(), ProcedureError> {
        let _guard = self.locks.lock(&found.card).await;
        // Somebody may have settled or cancelled it while the lock was waited for.
        let mut dossier = self.load(&found.id).await?;
        match dossier.intent.clone() {
            Some(Intent::SetPin(_)) => {
                self.set_pin(&Actor::daemon(), &mut dossier, &ProgressSender::nobody()).await
            }
            Some(Intent::Close { envelope, area }) => {
                self.finish_close(&mut dossier, Ends { card: envelope, area }).await
            }
            // The operator answers the step again; a half-made area does no harm meanwhile.
            // So it is with requests to an authority.
            Some(Intent::Signature(_) | Intent::Status { .. } | Intent::National { .. }) | None => Ok(()),
        }
    }
}
