//! The readers of a real pcscd, in namespaces of its own, with the virtual card in vpcd's reader.
//!
//! Needs root, `pcscd`, `vsmartcard-vpcd`, `unshare` and `ip`; says so and ends where one is missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may
#![allow(clippy::print_stdout)] // figures

mod hanging;
mod login;
mod many;
mod neighbours;
mod pin_pad;
mod restart;
mod sharing;
mod stale;

use std::time::{Duration, Instant};

use cns_apdu::command::{ManageSecurityEnvironment, PerformSecurityOperation};
use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::reader::{Reader, ReaderState};
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cnsd::card::{CardError, LastTry, sign};
use cnsd::reader::{ReaderSpec, Readers, pcsc};
use cnsd_test_support::plugged::{WAIT, sample_card, secret};
pub use cnsd_test_support::private_pcscd::Pcscd;
use cnsd_test_support::{keypad, plugged, private_pcscd, soak, wire};

#[test]
fn a_real_pcscd_is_survived_used_and_waited_for() {
    alone("a_real_pcscd_is_survived_used_and_waited_for", inside());
}

/// Runs a test in namespaces of its own, by starting this program again in them for this test alone.
pub fn alone(test: &str, inside: impl Future<Output = ()>) {
    private_pcscd::alone(test, || tokio::runtime::Runtime::new().unwrap().block_on(inside));
}

pub async fn until(readers: &Readers, what: &str, holds: impl Fn(&[Reader]) -> bool) {
    let ends = Instant::now() + WAIT;
    let mut list = readers.list();
    while !holds(&list.readers) {
        assert!(Instant::now() < ends, "never: {what}; now {list:?}");
        list = readers.wait(list.change, Duration::from_millis(500)).await;
    }
}

pub fn card_in(readers: &[Reader]) -> Option<&Reader> {
    readers.iter().find(|reader| matches!(reader.state, ReaderState::Card(_)))
}

pub async fn plug_in(readers: &Readers) -> (Plugged, String) {
    let plugged = plug_into(35963);
    until(readers, "a card", |readers| card_in(readers).is_some()).await;
    let name = card_in(&readers.list().readers).unwrap().name.clone();
    (plugged, name)
}

/// Plugs a card into the reader of a port: 35963 and 35964 are vpcd's two.
pub fn plug_into(port: u16) -> Plugged {
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
    plug(sample_card(|_| {}), endpoint).unwrap()
}

pub(crate) async fn sign_once(readers: &Readers, reader: &str) -> Result<Vec<u8>, CardError> {
    let job = |session: &mut cnsd::card::CardSession<'_>| {
        let (pin, mechanism) = (secret(sample::PIN), Mechanism::RsaPkcs1);
        sign::sign(session, KeyUse::Authentication, &pin, LastTry::Ask, &mechanism, &[1; 20])
    };
    readers.run(reader, None, job).await
}

async fn inside() {
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    assert!(readers.list().readers.is_empty() && !pcsc::logs_apdus());
    let daemon = Pcscd::start(&[]);
    until(&readers, "vpcd's two readers", |readers| readers.len() == 2).await;
    let (plugged, name) = plug_in(&readers).await;
    assert!(!readers.card(&name).unwrap().card.is_virtual);
    println!("first listing through pcscd: {:?}", readers.traffic(&name));
    sign_once(&readers, &name).await.unwrap();
    let began = Instant::now();
    sign_once(&readers, &name).await.unwrap();
    println!("one signature through pcscd: {:?}", began.elapsed());
    neighbours(&readers, &name).await;
    let insertion = readers.card(&name).unwrap().card.insertion;
    let report = readers.report(&name, false).await.unwrap();
    assert!(report.matches("\n> ").count() > 17, "{report}");
    sign_once(&readers, &name).await.unwrap();
    assert_eq!(readers.card(&name).unwrap().card.insertion, insertion);

    let insertion = readers.card(&name).unwrap().card.insertion;
    plugged.pull_out();
    until(&readers, "an empty reader", |readers| card_in(readers).is_none()).await;
    let gone = readers.run(&name, Some(insertion), |_| Ok(())).await;
    assert!(matches!(gone, Err(CardError::Removed)), "{gone:?}");
    plugged.put_in();
    until(&readers, "the card again", |readers| card_in(readers).is_some()).await;

    drop(daemon);
    until(&readers, "no reader", <[Reader]>::is_empty).await;
    let daemon = Pcscd::start(&["--apdu"]);
    until(&readers, "the card in a new pcscd", |readers| card_in(readers).is_some()).await;
    assert!(readers.card(&name).unwrap().card.insertion > insertion);
    assert!(pcsc::logs_apdus());
    sign_once(&readers, &name).await.unwrap();
    drop(daemon);
}

/// Another program on the same card: it cannot use what the daemon opened, and its reset is repaired.
async fn neighbours(readers: &Readers, name: &str) {
    let context = ::pcsc::Context::establish(::pcsc::Scope::System).unwrap();
    let reader = std::ffi::CString::new(name).unwrap();
    let mut other = context.connect(&reader, ::pcsc::ShareMode::Shared, ::pcsc::Protocols::ANY).unwrap();
    sign_once(readers, name).await.unwrap();
    let open = readers.run(name, None, |session| {
        session.run(&ManageSecurityEnvironment::Restore { se: 3 })?;
        session.run(&PerformSecurityOperation::Decipher { block: secret(&[1; 256]) })
    });
    let refused = open.await.unwrap_err();
    assert_eq!(refused.status(), Some(cns_apdu::StatusWord::SECURITY_NOT_SATISFIED), "{refused}");
    let (shared, any) = (::pcsc::ShareMode::Shared, ::pcsc::Protocols::ANY);
    other.reconnect(shared, any, ::pcsc::Disposition::ResetCard).unwrap();
    sign_once(readers, name).await.unwrap();
    other.disconnect(::pcsc::Disposition::ResetCard).map_err(|(_, error)| error).unwrap();
    sign_once(readers, name).await.unwrap();
    // Alone on the reader, the other program keeps the daemon waiting, not failing.
    let mut other = context.connect(&reader, shared, any).unwrap();
    let held = other.transaction().unwrap();
    let waiting = {
        let (readers, name) = (readers.clone(), name.to_owned());
        tokio::spawn(async move { sign_once(&readers, &name).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    held.end(::pcsc::Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
    waiting.await.unwrap().unwrap();
    other.disconnect(::pcsc::Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
}
