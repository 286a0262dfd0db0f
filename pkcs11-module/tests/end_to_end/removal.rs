//! Cards and daemons that come and go.

use std::thread;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::session::{SessionState, UserType};

use crate::desk::{Desk, pin, private_keys, refusal, until};

#[test]
fn a_card_that_is_taken_out_takes_its_sessions_along() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let slot = desk.card();
    desk.plugged.pull_out();
    until("the daemon's notice", || {
        let outcome = session.sign(&Mechanism::RsaPkcs, key, b"x");
        outcome.is_err().then(|| refusal(outcome))
    });
    desk.no_card();
    assert_eq!(refusal(session.get_session_info()), RvError::SessionHandleInvalid);
    assert_eq!(refusal(desk.application.get_token_info(slot)), RvError::TokenNotPresent);
    assert_eq!(refusal(desk.application.open_ro_session(slot)), RvError::TokenNotPresent);
    assert!(!desk.application.get_slot_info(slot).unwrap().token_present());

    desk.plugged.put_in();
    assert_eq!(desk.card(), slot);
    assert!(private_keys(&desk.session()).is_empty());
    std::mem::forget(session);
}

#[test]
fn a_card_that_was_swapped_unseen_is_noticed() {
    let desk = Desk::set_up();
    let (session, _) = desk.logged_in();
    desk.plugged.pull_out();
    // The application does not look before a card is in again.
    thread::sleep(Duration::from_millis(300));
    desk.plugged.put_in();
    thread::sleep(Duration::from_millis(700));
    assert_eq!(refusal(session.get_session_info()), RvError::DeviceRemoved);
    assert_eq!(refusal(session.get_session_info()), RvError::SessionHandleInvalid);
    std::mem::forget(session);
}

#[test]
fn coming_and_going_are_events() {
    let desk = Desk::set_up();
    let slot = desk.card();
    assert_eq!(desk.application.get_slot_event().unwrap(), None);
    desk.plugged.pull_out();
    let gone = until("the removal", || desk.application.get_slot_event().unwrap());
    assert_eq!(gone, slot);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| desk.application.wait_for_slot_event().unwrap());
        desk.plugged.put_in();
        assert_eq!(waiting.join().unwrap(), slot);
    });
}

#[test]
fn a_restarted_daemon_has_forgotten_the_login_only() {
    let mut desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    desk.restart_daemon();
    // The card plugs itself in again; meanwhile the application does not look.
    thread::sleep(Duration::from_secs(2));
    let state = session.get_session_info();
    if state.is_ok() {
        assert_eq!(refusal(session.sign(&Mechanism::RsaPkcs, key, b"x")), RvError::UserNotLoggedIn);
        session.login(UserType::User, Some(&pin("12345"))).unwrap();
        assert_eq!(session.sign(&Mechanism::RsaPkcs, private_keys(&session)[0], b"x").unwrap().len(), 256);
    } else {
        // The new daemon had not seen the card yet.
        assert_eq!(refusal(state), RvError::DeviceRemoved);
        std::mem::forget(session);
    }
}

#[test]
fn a_daemon_that_stands_still_is_no_new_one() {
    let desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let slot = desk.card();
    desk.freeze_daemon();
    let asked = desk.application.get_slot_info(slot);
    desk.thaw_daemon();
    assert_eq!(refusal(asked), RvError::DeviceError);
    assert!(desk.application.get_slot_info(slot).unwrap().token_present());
    assert!(matches!(session.get_session_info().unwrap().session_state(), SessionState::RwUser));
    assert_eq!(session.sign(&Mechanism::RsaPkcs, key, b"x").unwrap().len(), 256);
}

#[test]
fn a_daemon_that_is_gone_leaves_empty_slots() {
    let mut desk = Desk::set_up();
    let (session, key) = desk.logged_in();
    let slot = desk.card();
    desk.stop_daemon();
    assert_eq!(refusal(session.sign(&Mechanism::RsaPkcs, key, b"x")), RvError::DeviceError);
    assert!(desk.application.get_slots_with_token().unwrap().is_empty());
    assert!(desk.application.get_all_slots().unwrap().contains(&slot));
    assert_eq!(refusal(session.get_session_info()), RvError::SessionHandleInvalid);
    std::mem::forget(session);
    desk.restart_daemon();
    assert_eq!(private_keys(&desk.logged_in().0).len(), 1);
}

/// As NSS ends a thread that waits for events.
#[test]
fn a_waiting_thread_ends_with_c_finalize() {
    let desk = Desk::set_up();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| refusal(desk.application.wait_for_slot_event()));
        thread::sleep(Duration::from_millis(200));
        desk.application.clone().finalize().unwrap();
        // Initialised anew at once: the thread still belongs to what has ended.
        desk.application.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        assert_eq!(waiting.join().unwrap(), RvError::CryptokiNotInitialized);
    });
    assert_eq!(desk.application.get_slots_with_token().unwrap().len(), 1);
}
