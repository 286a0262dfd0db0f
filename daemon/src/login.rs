//! Clients' logins. The chip's security status is one for all; a login here belongs to one connection, and the PIN
//! that it keeps is presented to the chip again for each use (the chip is reset after it).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cns_secret::{Secret, SecretError};

use crate::card::PinSource;

/// A card in a reader, at one insertion: a card that is taken out and put back is another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CardPlace {
    /// The reader.
    pub reader: String,
    /// The reader's insertion counter.
    pub insertion: u64,
}

/// The logins of one connection, with the PIN; nothing where it is typed on the reader. Dropped with it.
#[derive(Default)]
pub struct Logins(Mutex<HashMap<CardPlace, Option<Secret>>>);

impl Logins {
    /// Keeps the PIN that the chip has just accepted.
    pub fn keep(&self, place: CardPlace, pin: Secret) {
        self.lock().insert(place, Some(pin));
    }

    /// Remembers that the chip has just accepted a PIN that was typed on the reader, and will be for each use.
    pub fn keep_pad(&self, place: CardPlace) {
        self.lock().insert(place, None);
    }

    /// The PIN for one use, as a copy or from the reader, if this connection is logged in to this card.
    ///
    /// # Errors
    /// When no locked memory is left for the copy.
    pub fn pin(&self, place: &CardPlace) -> Result<Option<PinSource>, SecretError> {
        let logins = self.lock();
        let kept = logins.get(place).map(|kept| match kept {
            Some(pin) => pin.duplicate().map(PinSource::Given),
            None => Ok(PinSource::Pad),
        });
        kept.transpose()
    }

    /// Whether this connection is logged in to this card.
    pub fn is_logged_in(&self, place: &CardPlace) -> bool {
        self.lock().contains_key(place)
    }

    /// Ends the login to whatever card is in the reader; tells whether there was one.
    pub fn forget_reader(&self, reader: &str) -> bool {
        let mut logins = self.lock();
        let before = logins.len();
        logins.retain(|place, _| place.reader != reader);
        logins.len() < before
    }

    /// Ends all logins.
    pub fn forget_all(&self) {
        self.lock().clear();
    }

    fn retain(&self, keep: impl Fn(&CardPlace) -> bool) {
        self.lock().retain(|place, _| keep(place));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CardPlace, Option<Secret>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The logins of all connections, to end those whose card is gone or whose PIN was changed.
#[derive(Default)]
pub struct LoginRegistry(Mutex<Vec<Weak<Logins>>>);

impl LoginRegistry {
    /// The (empty) logins of a new connection.
    pub fn open(&self) -> Arc<Logins> {
        let logins = Arc::new(Logins::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|logins| logins.strong_count() > 0);
        all.push(Arc::downgrade(&logins));
        logins
    }

    /// Ends every login for which `keep` says no, on all connections.
    pub fn retain(&self, keep: impl Fn(&CardPlace) -> bool) {
        for logins in self.alive() {
            logins.retain(&keep);
        }
    }

    /// Ends every connection's login to a card whose PIN has become another: the old one would cost a try.
    pub fn forget_card(&self, place: &CardPlace) {
        self.retain(|kept| kept != place);
    }

    fn alive(&self) -> Vec<Arc<Logins>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(reader: &str, insertion: u64) -> CardPlace {
        CardPlace { reader: reader.into(), insertion }
    }

    fn secret(digits: &[u8]) -> Secret {
        Secret::copy_from(digits).unwrap()
    }

    #[test]
    fn one_clients_login_never_serves_another() {
        let registry = LoginRegistry::default();
        let (first, second) = (registry.open(), registry.open());
        first.keep(place("a", 1), secret(b"12345"));
        let kept = first.pin(&place("a", 1)).unwrap().unwrap();
        assert!(matches!(kept, PinSource::Given(pin) if pin.ct_eq(&secret(b"12345"))));
        second.keep_pad(place("b", 1));
        assert!(matches!(second.pin(&place("b", 1)), Ok(Some(PinSource::Pad))));
        assert!(second.pin(&place("a", 1)).unwrap().is_none());
    }

    #[test]
    fn a_login_ends_with_the_insertion() {
        let registry = LoginRegistry::default();
        let logins = registry.open();
        logins.keep(place("a", 1), secret(b"12345"));
        logins.keep(place("b", 7), secret(b"54321"));
        assert!(logins.pin(&place("a", 3)).unwrap().is_none(), "another insertion is another card");
        registry.retain(|place| place.reader == "b");
        assert!(logins.pin(&place("a", 1)).unwrap().is_none());
        assert!(logins.pin(&place("b", 7)).unwrap().is_some());
    }

    #[test]
    fn logout_and_a_changed_pin_end_logins() {
        let registry = LoginRegistry::default();
        let (first, second) = (registry.open(), registry.open());
        for logins in [&first, &second] {
            logins.keep(place("a", 1), secret(b"12345"));
            logins.keep(place("b", 1), secret(b"12345"));
        }
        assert!(first.forget_reader("a"));
        assert!(!first.forget_reader("a"));
        assert!(second.pin(&place("a", 1)).unwrap().is_some());
        registry.forget_card(&place("b", 1));
        assert!(first.pin(&place("b", 1)).unwrap().is_none());
        assert!(second.pin(&place("b", 1)).unwrap().is_none());
        second.forget_all();
        assert!(second.pin(&place("a", 1)).unwrap().is_none());
    }

    #[test]
    fn closed_connections_leave_nothing_behind() {
        let registry = LoginRegistry::default();
        for _ in 0..100 {
            registry.open().keep(place("a", 1), secret(b"12345"));
        }
        let _last = registry.open();
        assert_eq!(registry.0.lock().unwrap().len(), 1);
    }
}
