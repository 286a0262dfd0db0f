//! Work on a card's PIN beside the procedures: never while one is open for the card.

use tokio::sync::OwnedMutexGuard;

use crate::card::CardContents;
use crate::procedure::{ProcedureError, Procedures, start};

impl Procedures {
    /// Waits until nobody else works with this card, and keeps procedures from it until the guard is dropped; nothing
    /// where a procedure is open for it.
    ///
    /// # Errors
    /// [`ProcedureError::ReaderLogs`], [`ProcedureError::Store`].
    pub(crate) async fn lock_card(
        &self,
        contents: &CardContents,
    ) -> Result<Option<OwnedMutexGuard<()>>, ProcedureError> {
        start::refuse_logging_reader(contents)?;
        let guard = self.0.locks.lock(&contents.card.serial).await;
        let open = self.0.store.of_card(&contents.card.serial).await?;
        Ok(open.is_none().then_some(guard))
    }

    /// To be called before and after a card's PIN may become another.
    pub(crate) fn tell_pin(&self, contents: &CardContents) {
        self.0.tell_pin(contents);
    }
}
