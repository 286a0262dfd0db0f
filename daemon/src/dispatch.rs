//! One line per method: its name, through the request type, and its handler.

mod router;

use std::sync::Arc;

use cns_protocol::rpc::Progress;
use tokio::sync::mpsc;

pub use router::{Begun, Call, Caller, Encoded, OnHangUp, Router, Sessions, Work};

use crate::methods::{
    Daemon, audit, card, certificate, counter, custody, daemon as itself, envelopes, holder, imports, key,
    key_pair, national, operator, order, pin, puk, reader, upkeep,
};

/// Every method of the daemon.
#[expect(clippy::too_many_lines, reason = "one line for each method")]
#[must_use]
pub fn router(daemon: &Arc<Daemon>) -> Router {
    let operators = daemon.operators.clone();
    let mut router = Router::new(Box::new(move |uid| operators.session(uid)));
    router.add(daemon, itself::discover);
    router.add(daemon, itself::status);
    router.add(daemon, reader::list);
    router.add_waiting(daemon, reader::wait);
    router.add(daemon, card::list);
    router.add(daemon, card::show);
    router.add(daemon, card::report);
    router.add_waiting(daemon, card::trace);
    router.add(daemon, pin::verify);
    router.add(daemon, pin::logout);
    router.add(daemon, pin::change);
    router.add(daemon, pin::unblock);
    router.add(daemon, pin::status);
    router.add(daemon, puk::deliver);
    router.add(daemon, puk::open);
    router.add(daemon, key::sign);
    router.add(daemon, key::decrypt);
    router.add(daemon, key::random);
    router.add(daemon, holder::verify_user_code);
    router.add(daemon, certificate::status);
    router.add(daemon, certificate::suspend);
    router.add(daemon, certificate::reactivate);
    router.add(daemon, certificate::revoke);
    router.add(daemon, operator::login);
    router.add(daemon, operator::logout);
    router.add(daemon, operator::status);
    router.add(daemon, counter::cases);
    router.add(daemon, counter::start);
    router.add(daemon, counter::next);
    router.add(daemon, counter::answer);
    router.add(daemon, counter::show);
    router.add(daemon, counter::list);
    router.add(daemon, counter::cancel);
    router.add(daemon, key_pair::generate_key);
    router.add(daemon, key_pair::load_certificate);
    router.add(daemon, counter::remove_signature);
    router.add(daemon, counter::sheet);
    router.add(daemon, custody::import_certificate);
    router.add(daemon, custody::import);
    router.add(daemon, imports::begin);
    router.add(daemon, imports::chunk);
    router.add(daemon, imports::finish);
    router.add(daemon, imports::forget);
    router.add(daemon, custody::assign);
    router.add(daemon, custody::stock);
    router.add(daemon, envelopes::assign);
    router.add(daemon, envelopes::give_back);
    router.add(daemon, envelopes::void);
    router.add(daemon, envelopes::decide_void);
    router.add(daemon, envelopes::void_requests);
    router.add(daemon, envelopes::choices);
    router.add(daemon, envelopes::show);
    router.add(daemon, national::request);
    router.add(daemon, national::show);
    router.add(daemon, national::receive);
    router.add(daemon, national::list);
    router.add(daemon, national::decide);
    router.add(daemon, order::execute);
    router.add(daemon, order::receipt);
    router.add(daemon, order::certificates);
    router.add(daemon, upkeep::rotate_key);
    router.add(daemon, upkeep::decide_rotation);
    router.add(daemon, upkeep::rotation_requests);
    router.add(daemon, upkeep::keys);
    router.add(daemon, upkeep::verify);
    router.add(daemon, upkeep::backup);
    router.add(daemon, upkeep::erase);
    router.add(daemon, audit::list);
    router.add(daemon, audit::verify);
    router.add(daemon, audit::rotate);
    router
}

/// How many progress notifications wait for a slow client before further ones are dropped.
const PROGRESS_QUEUE: usize = 64;

/// Where long work says how far it has come. Never blocks: what a slow client does not take is dropped.
#[derive(Clone)]
pub struct ProgressSender(Option<mpsc::Sender<Progress>>);

impl ProgressSender {
    /// A sender and the end that takes the notifications out.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Progress>) {
        let (sender, receiver) = mpsc::channel(PROGRESS_QUEUE);
        (Self(Some(sender)), receiver)
    }

    /// A sender that nobody listens to, for work that the daemon does by itself.
    #[must_use]
    pub fn nobody() -> Self {
        Self(None)
    }

    /// Says how far the work has come.
    pub fn send(&self, progress: Progress) {
        if let Some(sender) = &self.0 {
            // A full queue or a client that went away must not hold up the card.
            drop(sender.try_send(progress));
        }
    }
}

#[cfg(test)]
mod access_table;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use super::*;
    use crate::audit::Audit;
    use crate::config::{Config, CustodyConfig, OperatorsConfig};
    use crate::custody::Custody;
    use crate::database::Database;
    use crate::operator::Operators;
    use crate::outside::Outside;
    use crate::procedure::Procedures;
    use crate::reader::Readers;

    pub(super) async fn daemon(state: &std::path::Path) -> Arc<Daemon> {
        let config = CustodyConfig::default();
        let database = Database::open(&config.database, state).await.unwrap();
        let custody = Custody::open(&database, &config, state).await.unwrap();
        let audit = Audit::open(state, custody.sealer()).await.unwrap();
        let readers = Readers::start(&[]).unwrap();
        let operators = Operators::open(&OperatorsConfig::default(), &[], &readers).unwrap();
        let procedures = Procedures::open(&database, &custody, &readers, &audit, None);
        let rooms = (&custody, &readers, &audit);
        let outside = Outside::open(&Config::default(), &database, rooms, &procedures).await.unwrap();
        let (logins, started) = (Arc::default(), Instant::now());
        Arc::new(Daemon { readers, custody, audit, operators, procedures, outside, logins, started })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_document_and_the_daemon_have_the_same_methods() {
        let state = tempfile::tempdir().unwrap();
        let router = router(&daemon(state.path()).await);
        let served: BTreeSet<&str> = router.names().collect();
        let document = cns_protocol::openrpc::document();
        let methods = document["methods"].as_array().unwrap();
        let described: BTreeSet<&str> = methods.iter().filter_map(|method| method["name"].as_str()).collect();
        assert_eq!(served, described);
        assert_eq!(methods.len(), described.len(), "none is described twice");
    }

    fn progress(done: u32) -> Progress {
        Progress { request: None, step: "s".into(), paragraph: None, message: "m".into(), done, total: None }
    }

    #[test]
    fn a_full_queue_drops_and_never_blocks() {
        let (sender, mut receiver) = ProgressSender::channel();
        for done in 0..1000 {
            sender.send(progress(done));
        }
        let mut taken = 0;
        while receiver.try_recv().is_ok() {
            taken += 1;
        }
        assert_eq!(taken, PROGRESS_QUEUE);
        drop(receiver);
        sender.send(progress(1));
        ProgressSender::nobody().send(progress(1));
    }
}
