//! The holder who owns the PUK sets a new PIN with it, as a security officer.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::session::{Session, SessionState, UserType};

use crate::desk::{Desk, pin, private_keys, refusal};

const PUK: &str = "87654321";

fn login(session: &Session, user: UserType, digits: &str) -> Result<(), cryptoki::error::Error> {
    session.login(user, Some(&pin(digits)))
}

/// The tries left on the chip's own counter of the PUK.
fn puk_tries(desk: &Desk) -> u8 {
    desk.plugged.with_card(|card| card.card().summary().puk_tries)
}

#[test]
fn a_blocked_pin_is_set_anew() {
    let desk = Desk::set_up();
    let session = desk.session();
    for _ in 0..4 {
        drop(login(&session, UserType::User, "99999"));
    }
    assert_eq!(desk.tries(), 0);
    assert_eq!(refusal(login(&session, UserType::User, "12345")), RvError::PinLocked);
    assert!(desk.application.get_token_info(desk.card()).unwrap().user_pin_locked());

    login(&session, UserType::So, PUK).unwrap();
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwSecurityOfficer);
    session.init_pin(&pin("2468013")).unwrap();
    assert_eq!((desk.tries(), puk_tries(&desk)), (3, 3));
    assert!(!desk.application.get_token_info(desk.card()).unwrap().user_pin_locked());
    session.logout().unwrap();
    assert_eq!(refusal(session.init_pin(&pin("12345"))), RvError::UserNotLoggedIn);
    assert_eq!(refusal(session.logout()), RvError::UserNotLoggedIn);

    assert_eq!(refusal(login(&session, UserType::User, "12345")), RvError::PinIncorrect);
    login(&session, UserType::User, "2468013").unwrap();
    assert_eq!(session.sign(&Mechanism::Sha256RsaPkcs, private_keys(&session)[0], b"x").unwrap().len(), 256);
}

#[test]
fn the_officer_uses_no_key_and_is_alone() {
    let desk = Desk::set_up();
    let read_only = desk.application.open_ro_session(desk.card()).unwrap();
    let session = desk.session();
    assert_eq!(refusal(login(&session, UserType::So, PUK)), RvError::SessionReadOnlyExists);
    drop(read_only);
    login(&session, UserType::User, "12345").unwrap();
    let key = private_keys(&session)[0];
    assert_eq!(refusal(login(&session, UserType::So, PUK)), RvError::UserAnotherAlreadyLoggedIn);
    assert_eq!(refusal(session.init_pin(&pin("12345"))), RvError::UserNotLoggedIn);
    session.logout().unwrap();

    login(&session, UserType::So, PUK).unwrap();
    assert_eq!(refusal(login(&session, UserType::So, PUK)), RvError::UserAlreadyLoggedIn);
    assert_eq!(refusal(login(&session, UserType::User, "12345")), RvError::UserAnotherAlreadyLoggedIn);
    assert!(private_keys(&session).is_empty());
    assert_eq!(refusal(session.sign(&Mechanism::RsaPkcs, key, b"x")), RvError::KeyHandleInvalid);
    assert_eq!(refusal(desk.application.open_ro_session(desk.card())), RvError::SessionReadWriteSoExists);
    assert_eq!(refusal(session.set_pin(&pin(PUK), &pin("11223344"))), RvError::FunctionNotSupported);
    let second = desk.session();
    assert_eq!(second.get_session_info().unwrap().session_state(), SessionState::RwSecurityOfficer);

    // The login ends with the last session, and the PUK with it.
    drop(session);
    drop(second);
    let session = desk.session();
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwPublic);
    assert_eq!(refusal(session.init_pin(&pin("12345"))), RvError::UserNotLoggedIn);
    assert_eq!((desk.tries(), puk_tries(&desk)), (3, 3));
}

#[test]
fn what_cannot_be_a_puk_or_a_pin_costs_no_try() {
    let desk = Desk::set_up();
    let session = desk.session();
    for (wrong, code) in [
        ("8765432", RvError::PinLenRange),
        ("876543210", RvError::PinLenRange),
        ("8765432x", RvError::PinIncorrect),
    ] {
        assert_eq!(refusal(login(&session, UserType::So, wrong)), code, "{wrong}");
    }
    assert_eq!(refusal(session.login(UserType::So, None)), RvError::ArgumentsBad);
    login(&session, UserType::So, PUK).unwrap();
    for (wrong, code) in
        [("1234", RvError::PinLenRange), ("123456789", RvError::PinLenRange), ("1234x", RvError::PinInvalid)]
    {
        assert_eq!(refusal(session.init_pin(&pin(wrong))), code, "{wrong}");
    }
    assert_eq!((desk.tries(), puk_tries(&desk)), (3, 3));
    session.init_pin(&pin("12345")).unwrap();
}

#[test]
fn a_wrong_puk_is_told_by_c_init_pin_and_ends_the_login() {
    let desk = Desk::set_up();
    let session = desk.session();
    let try_wrong = || {
        login(&session, UserType::So, "11111111").unwrap();
        let refused = refusal(session.init_pin(&pin("12345")));
        drop(session.logout());
        refused
    };
    assert_eq!(try_wrong(), RvError::PinIncorrect);
    assert_eq!(puk_tries(&desk), 2);
    let token = desk.application.get_token_info(desk.card()).unwrap();
    assert!(token.so_pin_count_low() && !token.so_pin_final_try() && !token.so_pin_locked());
    // It was not kept: the next call presents nothing.
    assert_eq!(refusal(session.init_pin(&pin("12345"))), RvError::UserNotLoggedIn);
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwPublic);
    assert_eq!(try_wrong(), RvError::PinIncorrect);
    assert_eq!(puk_tries(&desk), 1);

    // Nobody was told of the last try: it is not spent, and the login stays.
    login(&session, UserType::So, PUK).unwrap();
    assert_eq!(refusal(session.init_pin(&pin("12345"))), RvError::FunctionCanceled);
    assert_eq!(puk_tries(&desk), 1);
    session.init_pin(&pin("12345")).unwrap();
    assert_eq!(puk_tries(&desk), 3);
}

#[test]
fn a_puk_can_be_blocked() {
    let desk = Desk::set_up();
    let session = desk.session();
    for (left, expected) in [(2, RvError::PinIncorrect), (1, RvError::PinIncorrect), (0, RvError::PinLocked)]
    {
        login(&session, UserType::So, "11111111").unwrap();
        assert_eq!(refusal(session.init_pin(&pin("12345"))), expected);
        assert_eq!(puk_tries(&desk), left);
        // This application looks at the flags, so it may spend the last try.
        let token = desk.application.get_token_info(desk.card()).unwrap();
        assert_eq!((token.so_pin_final_try(), token.so_pin_locked()), (left == 1, left == 0));
    }
    assert_eq!(refusal(login(&session, UserType::So, PUK)), RvError::PinLocked);
    login(&session, UserType::User, "12345").unwrap();
}

/// A program that lives for one command learns of the last try by the flag, which the daemon knows from earlier refusals.
#[test]
fn a_new_process_is_told_of_the_puks_last_try() {
    let desk = Desk::set_up();
    for left in [2, 1] {
        let session = desk.session();
        login(&session, UserType::So, "11111111").unwrap();
        assert_eq!(refusal(session.init_pin(&pin("12345"))), RvError::PinIncorrect);
        assert_eq!(puk_tries(&desk), left);
    }
    // As another process: nothing is known here of what was before.
    let desk = desk.loaded_anew();
    let session = desk.session();
    login(&session, UserType::So, PUK).unwrap();
    assert_eq!(refusal(session.init_pin(&pin("12345"))), RvError::FunctionCanceled, "it did not look");
    drop(session);
    let desk = desk.loaded_anew();
    assert!(desk.application.get_token_info(desk.card()).unwrap().so_pin_final_try());
    let session = desk.session();
    login(&session, UserType::So, PUK).unwrap();
    session.init_pin(&pin("12345")).unwrap();
    assert_eq!(puk_tries(&desk), 3);
}
