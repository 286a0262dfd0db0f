//! What the module answers by itself: the daemon is frozen meanwhile, and could answer nothing.

use std::thread;
use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::SessionState;

use crate::desk::{Desk, private_keys, refusal, until};

#[test]
fn calls_that_need_no_card_ask_nobody() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    // The login may have changed what is known of the PIN, which is told once more.
    until("silence", || {
        session.get_session_info().unwrap();
        thread::sleep(Duration::from_millis(50));
        desk.freeze_daemon();
        let began = Instant::now();
        let answered = session.get_session_info();
        desk.thaw_daemon();
        // The module would wait ten seconds for the daemon.
        (answered.is_ok() && began.elapsed() < Duration::from_secs(5)).then_some(())
    });
    desk.freeze_daemon();
    let began = Instant::now();
    let info = session.get_session_info();
    let keys = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]);
    let modulus = session.get_attributes(key, &[AttributeType::Modulus]);
    let taken = began.elapsed();
    desk.thaw_daemon();
    assert!(matches!(info.unwrap().session_state(), SessionState::RwUser));
    assert_eq!(keys.unwrap(), [key]);
    assert_eq!(modulus.unwrap().len(), 1);
    assert!(taken < Duration::from_secs(5), "{taken:?}");
}

#[test]
fn what_changes_is_noticed_all_the_same() {
    let desk = Desk::set_up();
    let (session, _) = desk.logged_in();
    // Nothing else is called, so that nothing else could notice.
    assert_eq!(private_keys(&session).len(), 1);
    desk.plugged.pull_out();
    let refused = until("the removal", || session.get_session_info().err());
    assert_eq!(refusal::<()>(Err(refused)), RvError::DeviceRemoved);
    desk.plugged.put_in();
    let mut desk = desk;
    let session = desk.session();
    session.get_session_info().unwrap();
    desk.stop_daemon();
    let refused = until("the daemon's end", || session.get_session_info().err());
    assert_eq!(refusal::<()>(Err(refused)), RvError::DeviceRemoved);
    desk.restart_daemon();
    desk.card();
    std::mem::forget(session);
}
