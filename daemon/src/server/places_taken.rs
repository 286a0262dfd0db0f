//! How many connections there are, in all and per Unix user: no user may take all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
#[derive(Clone)]
pub(super) struct PlacesTaken {
    most: u32,
    by_user: Arc<Mutex<HashMap<u32, u32>>>,
}

/// A connection's place; free again when dropped.
pub(super) struct Place {
    uid: u32,
    taken: PlacesTaken,
}

impl PlacesTaken {
    /// `most` connections in all; one user gets at most half of them, rounded up.
    pub(super) fn new(most: u32) -> Self {
        Self { most, by_user: Arc::default() }
    }

    /// A place for this user, unless there is none left.
    pub(super) fn take(&self, uid: u32) -> Option<Place> {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        let all = by_user.values().copied().fold(0, u32::saturating_add);
        let own = by_user.get(&uid).copied().unwrap_or(0);
        if all >= self.most || own >= self.most.div_ceil(2) {
            return None;
        }
        by_user.insert(uid, own.saturating_add(1));
        Some(Place { uid, taken: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = self.taken.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        match by_user.get_mut(&self.uid) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) | None => drop(by_user.remove(&self.uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_takes_all_places_and_places_come_back() {
        let places = PlacesTaken::new(4);
        let mine: Vec<Place> = (0..2).map(|_| places.take(1).unwrap()).collect();
        assert!(places.take(1).is_none(), "half is enough for one");
        let theirs: Vec<Place> = (0..2).map(|_| places.take(2).unwrap()).collect();
        assert!(places.take(3).is_none(), "all are taken");
        drop(mine);
        assert!(places.take(3).is_some());
        drop(theirs);
        assert!(places.by_user.lock().unwrap().is_empty());
        assert!(PlacesTaken::new(1).take(1).is_some());
    }
}
