//! One at a time: a lock for each card that is worked with.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Locks by card serial number.
#[derive(Default)]
pub(crate) struct Locks(std::sync::Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Locks {
    /// Waits until nobody else works with this card.
    pub(crate) async fn lock(&self, card: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(card.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}
