//! A certificate that is loaded while the application runs: seen at the next look, without a restart or a new login.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use cns_secret::Secret;
use cns_virtual_card::{VirtualCard, sample};
use cnsd::card::signature_area::renewal;
use cnsd::card::{CardError, CardSession, signature_area};
use cnsd::config::Config;
use cnsd::connection::Service;
use cnsd::custody::Custody;
use cnsd::database::Database;
use cnsd::methods::Daemon;
use cnsd::operator::Operators;
use cnsd::outside::Outside;
use cnsd::peer::Access;
use cnsd::procedure::Procedures;
use cnsd::reader::Readers;
use cnsd::server::{self, Door, SocketPlace};
use cnsd::{audit::Audit, dispatch};
use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;
use rsa::pkcs1v15::Pkcs1v15Sign;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::desk::{CERTIFICATE, Desk, private_keys, refusal, until, write_configuration};
use crate::signature_key::{AREA_PIN, certify, give_pin, keys, make_area};

/// `cnsd` inside the test: its readers can be worked with as the counter's procedures do.
struct Inside {
    readers: Readers,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
}

impl Inside {
    fn start(folder: &Path) -> Self {
        let configuration =
            write_configuration(folder, &format!("vpcd:{}", folder.join("card.sock").display()));
        let config = Config::load(Some(&configuration)).unwrap();
        let state = folder.join("state");
        server::prepare_state(&state).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let readers = {
            let _context = runtime.enter();
            Readers::start(&config.readers).unwrap()
        };
        let (stop, stopping) = watch::channel(false);
        let daemon = runtime.block_on(async {
            let database = Database::open(&config.custody.database, &state).await.unwrap();
            let custody = Custody::open(&database, &config.custody, &state).await.unwrap();
            let audit = Audit::open(&state, custody.sealer()).await.unwrap();
            let operators = Operators::open(&config.operators, &config.operator, &readers).unwrap();
            let procedures = Procedures::open(&database, &custody, &readers, &audit, None);
            let rooms = (&custody, &readers, &audit);
            let outside = Outside::open(&config, &database, rooms, &procedures).await.unwrap();
            let (readers, logins, started) = (readers.clone(), Arc::default(), Instant::now());
            Arc::new(Daemon { readers, custody, audit, operators, procedures, outside, logins, started })
        });
        let access = Access::resolve(&config.access);
        let handle = runtime.handle().clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let socket = folder.join("cnsd.sock");
        let server = thread::spawn(move || {
            handle.block_on(async {
                let socket = SocketPlace::bind(&socket, &Door::Everyone).unwrap();
                let service = Service { router: dispatch::router(&daemon), limits: config.limits.clone() };
                ready.send(()).unwrap();
                let logins = Arc::clone(&daemon.logins);
                server::run(socket, access, Arc::new(service), logins, stopping).await;
            });
        });
        is_ready.recv().unwrap();
        Self { readers, runtime, stop, server: Some(server) }
    }

    /// Works on the card, then lets the daemon read it anew, as `procedure/signature.rs` does. The application hears of it
    /// on its own connection, a moment later.
    fn load(&self, job: fn(&mut CardSession<'_>) -> Result<(), CardError>) {
        let reader = self.readers.list().readers[0].name.clone();
        self.runtime.block_on(async {
            self.readers.run(&reader, None, job).await.unwrap();
            self.readers.reread(&reader).await.unwrap();
        });
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.readers.stop();
        self.server.take().unwrap().join().unwrap();
    }
}

fn certificates(session: &Session) -> Vec<Vec<u8>> {
    let objects = session.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]).unwrap();
    let value = |object| match &session.get_attributes(object, &[AttributeType::Value]).unwrap()[..] {
        [Attribute::Value(value)] => value.clone(),
        other => panic!("{other:?}"),
    };
    objects.into_iter().map(value).collect()
}

fn sign_with_the_new_key(session: &Session) {
    let (key, public) = keys(session);
    session.sign_init(&Mechanism::Sha256RsaPkcs, key).unwrap();
    give_pin(session, AREA_PIN).unwrap();
    session.sign_update(b"a contract").unwrap();
    let signature = session.sign_final().unwrap();
    let hash = Sha256::digest(b"a contract");
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &hash, &signature).unwrap();
}

fn renew(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let secret = |digits: &[u8]| Secret::copy_from(digits).unwrap();
    let (card_pin, area_pin) = (secret(sample::PIN), secret(AREA_PIN.as_bytes()));
    renewal::prepare(session, &card_pin, &area_pin, &|_| {})?;
    let key = renewal::generate_key(session, &card_pin, &area_pin, &|_| {})?;
    renewal::lock(session, &card_pin, &|_| {})?;
    let certificate = certify(session, &key, |session, hash| {
        renewal::sign_request(session, &Secret::copy_from(AREA_PIN.as_bytes()).unwrap(), hash)
    })?;
    renewal::load_certificate(session, &card_pin, &certificate, &|_| {})?;
    renewal::finish(session, &card_pin, &area_pin, &certificate, &|_| {})
}

fn empty(session: &mut CardSession<'_>) -> Result<(), CardError> {
    let secret = |digits: &[u8]| Secret::copy_from(digits).unwrap();
    signature_area::remove(session, &secret(sample::PIN), &secret(AREA_PIN.as_bytes()), &|_| {})
}

#[test]
fn a_running_application_sees_a_certificate_come_change_and_go() {
    let mut inside = None;
    let desk = Desk::set_up_at(
        |_| {
            let mut card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
            card.load_certificate(CERTIFICATE).unwrap();
            card
        },
        |folder| {
            inside = Some(Inside::start(folder));
            None
        },
    );
    let inside = inside.unwrap();
    let (session, key) = desk.logged_in();
    let before = certificates(&session);
    assert_eq!((before.len(), private_keys(&session).len()), (1, 1));

    inside.load(make_area);
    let made = until("the certificate", || Some(certificates(&session)).filter(|now| *now != before));
    assert_eq!((made.len(), private_keys(&session).len()), (2, 2));
    assert!(made.contains(&before[0]));
    sign_with_the_new_key(&session);
    // Neither the card nor the login is another one: the key that was there keeps its handle.
    assert!(desk.application.get_slot_event().unwrap().is_none());
    assert_eq!(session.sign(&Mechanism::Sha256RsaPkcs, key, b"x").unwrap().len(), 256);

    let (old_key, _) = keys(&session);
    inside.load(renew);
    let renewed = until("the next certificate", || Some(certificates(&session)).filter(|now| *now != made));
    assert_eq!((renewed.len(), private_keys(&session).len()), (2, 2));
    assert_eq!(refusal(session.sign(&Mechanism::Sha256RsaPkcs, old_key, b"x")), RvError::KeyHandleInvalid);
    sign_with_the_new_key(&session);

    inside.load(empty);
    until("no certificate", || (certificates(&session) == before).then_some(()));
    assert_eq!(private_keys(&session), [key]);
    assert_eq!(session.sign(&Mechanism::Sha256RsaPkcs, key, b"x").unwrap().len(), 256);
    drop(desk);
}
