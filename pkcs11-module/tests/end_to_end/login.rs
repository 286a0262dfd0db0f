//! Logins and the PIN.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{SessionState, UserType};

use crate::desk::{Desk, pin, private_keys, refusal};

#[test]
fn the_token_is_the_holder() {
    let desk = Desk::set_up();
    let token = desk.application.get_token_info(desk.card()).unwrap();
    assert_eq!(token.label(), "MARIO ROSSI - CNS login");
    assert_eq!(token.serial_number(), "6999000000001230");
    assert!(
        token.login_required() && token.user_pin_initialized() && token.token_initialized() && token.rng()
    );
    assert_eq!((token.min_pin_length(), token.max_pin_length()), (5, 8));
    let slot = desk.application.get_slot_info(desk.card()).unwrap();
    assert!(slot.token_present() && slot.removable_device() && !slot.hardware_slot());
}

#[test]
fn private_keys_are_found_after_the_login_only() {
    let desk = Desk::set_up();
    let session = desk.session();
    // The certificate and its public key, EF_ID_Carta and four profiles.
    assert_eq!(session.find_objects(&[]).unwrap().len(), 7);
    assert!(private_keys(&session).is_empty());
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwPublic);

    session.login(UserType::User, Some(&pin("12345"))).unwrap();
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwUser);
    let key = private_keys(&session)[0];
    let asked = [AttributeType::Modulus, AttributeType::AlwaysAuthenticate, AttributeType::Sensitive];
    let told = session.get_attributes(key, &asked).unwrap();
    assert!(
        told.contains(&Attribute::AlwaysAuthenticate(false)) && told.contains(&Attribute::Sensitive(true))
    );
    // Another session of this process is logged in as well: the login is the token's.
    assert_eq!(private_keys(&desk.session()).len(), 1);
    let again = session.login(UserType::User, Some(&pin("12345")));
    assert_eq!(refusal(again), RvError::UserAlreadyLoggedIn);

    session.logout().unwrap();
    assert!(private_keys(&session).is_empty());
    assert_eq!(refusal(session.get_attributes(key, &asked)), RvError::ObjectHandleInvalid);
    assert_eq!(refusal(session.sign(&Mechanism::RsaPkcs, key, b"x")), RvError::KeyHandleInvalid);
    assert_eq!(refusal(session.logout()), RvError::UserNotLoggedIn);
}

#[test]
fn the_login_ends_with_the_last_session() {
    let desk = Desk::set_up();
    let (first, _) = desk.logged_in();
    let second = desk.session();
    drop(first);
    assert_eq!(private_keys(&second).len(), 1);
    drop(second);
    assert!(private_keys(&desk.session()).is_empty());
}

#[test]
fn a_pin_that_cannot_be_one_costs_no_try() {
    let desk = Desk::set_up();
    let session = desk.session();
    for (wrong, code) in [
        ("1234", RvError::PinLenRange),
        ("123456789", RvError::PinLenRange),
        ("", RvError::PinLenRange),
        ("1234a", RvError::PinIncorrect),
        ("12345\n", RvError::PinIncorrect),
    ] {
        let refused = refusal(session.login(UserType::User, Some(&pin(wrong))));
        // An empty PIN reaches the module as a null pointer or as none of its bytes.
        assert!(refused == code || wrong.is_empty(), "{wrong:?}: {refused:?}");
    }
    assert_eq!(refusal(session.login(UserType::User, None)), RvError::ArgumentsBad);
    assert_eq!(desk.tries(), 3);
}

#[test]
fn an_application_that_was_not_told_of_the_last_try_is_refused_once() {
    let desk = Desk::set_up();
    let session = desk.session();
    for left in [2, 1] {
        assert_eq!(refusal(session.login(UserType::User, Some(&pin("99999")))), RvError::PinIncorrect);
        assert_eq!(desk.tries(), left);
    }
    // This application never looks at the token's flags.
    assert_eq!(refusal(session.login(UserType::User, Some(&pin("12345")))), RvError::FunctionCanceled);
    assert_eq!(desk.tries(), 1);
    session.login(UserType::User, Some(&pin("12345"))).unwrap();
    assert_eq!(desk.tries(), 3);
}

#[test]
fn an_application_that_was_told_of_the_last_try_may_spend_it() {
    let desk = Desk::set_up();
    let session = desk.session();
    let flags = || {
        let token = desk.application.get_token_info(desk.card()).unwrap();
        (token.user_pin_count_low(), token.user_pin_final_try(), token.user_pin_locked())
    };
    let wrong = || refusal(session.login(UserType::User, Some(&pin("99999"))));
    assert_eq!(flags(), (false, false, false));
    assert_eq!(wrong(), RvError::PinIncorrect);
    assert_eq!(flags(), (true, false, false));
    assert_eq!(wrong(), RvError::PinIncorrect);
    assert_eq!(flags(), (true, true, false));
    assert_eq!(wrong(), RvError::PinLocked);
    assert_eq!(flags(), (false, false, true));
    assert_eq!(refusal(session.login(UserType::User, Some(&pin("12345")))), RvError::PinLocked);
    assert_eq!(desk.tries(), 0);
}

#[test]
fn the_holder_changes_the_pin() {
    let desk = Desk::set_up();
    let session = desk.session();
    let change = |old, new| session.set_pin(&pin(old), &pin(new));
    assert_eq!(refusal(change("12345", "1234")), RvError::PinLenRange);
    assert_eq!(refusal(change("12345", "1234x")), RvError::PinInvalid);
    assert_eq!(refusal(change("54321", "2468013")), RvError::PinIncorrect);
    change("12345", "2468013").unwrap();
    assert_eq!(refusal(session.login(UserType::User, Some(&pin("12345")))), RvError::PinIncorrect);
    session.login(UserType::User, Some(&pin("2468013"))).unwrap();
    // A change while logged in keeps the login.
    change("2468013", "12345").unwrap();
    let key = private_keys(&session)[0];
    assert_eq!(session.sign(&Mechanism::Sha256RsaPkcs, key, b"text").unwrap().len(), 256);

    let read_only = desk.application.open_ro_session(desk.card()).unwrap();
    let refused = read_only.set_pin(&pin("12345"), &pin("54321"));
    assert_eq!(refusal(refused), RvError::SessionReadOnly);
}

#[test]
fn another_process_is_not_logged_in() {
    let desk = Desk::set_up();
    let (_session, _) = desk.logged_in();
    // A connection of its own to the daemon is what another process has.
    let mut other = cns_protocol::Client::connect(&cns_protocol::Client::default_path()).unwrap();
    let readers = other.call(&cns_protocol::reader::List {}).unwrap().readers;
    let request = cns_protocol::key::Sign {
        reader: readers[0].name.clone(),
        insertion: None,
        key_use: cns_protocol::card::KeyUse::Authentication,
        mechanism: cns_protocol::key::Mechanism::RsaPkcs1,
        data: b"x".to_vec(),
        pin: None,
        confirm_last_try: false,
    };
    let refused = other.call(&request).unwrap_err();
    assert!(matches!(refused, cns_protocol::client::ClientError::Refused(error)
        if error.kind == cns_protocol::ErrorKind::NotLoggedIn));
}

#[test]
fn objects_are_found_by_any_of_their_attributes() {
    let desk = Desk::set_up();
    let session = desk.session();
    let certificate = session.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]).unwrap()[0];
    let told = session
        .get_attributes(certificate, &[AttributeType::Id, AttributeType::Issuer, AttributeType::SerialNumber])
        .unwrap();
    assert_eq!(told.len(), 3);
    // As NSS finds a certificate by its issuer and number.
    assert_eq!(session.find_objects(&told[1..]).unwrap(), [certificate]);
    assert_eq!(session.find_objects(&told[..1]).unwrap().len(), 2);
    assert!(session.find_objects(&[Attribute::Label(b"nobody".to_vec())]).unwrap().is_empty());
}

/// The card gives the holder's data to whoever asks; the module to who has logged in.
#[test]
fn the_holders_file_is_given_after_the_login_as_it_stands_on_the_card() {
    let desk = Desk::set_up();
    let session = desk.session();
    let files = || -> Vec<Vec<Attribute>> {
        let files = session.find_objects(&[Attribute::Class(ObjectClass::DATA)]).unwrap();
        let wanted = [AttributeType::Label, AttributeType::Value];
        files.into_iter().map(|file| session.get_attributes(file, &wanted).unwrap()).collect()
    };
    let before = files();
    assert_eq!(before.len(), 1);
    assert_eq!(before[0][0], Attribute::Label(b"EF_ID_Carta".to_vec()));
    session.login(UserType::User, Some(&pin("12345"))).unwrap();
    let after = files();
    assert_eq!((after.len(), &after[0]), (2, &before[0]));
    assert_eq!(after[1][0], Attribute::Label(b"EF_Dati_personali".to_vec()));
    let Attribute::Value(content) = &after[1][1] else { panic!("no value") };
    // Six hexadecimal digits with the length of what follows (`cns-card` §2.6).
    let length = usize::from_str_radix(std::str::from_utf8(&content[..6]).unwrap(), 16).unwrap();
    assert_eq!(content.len(), length + 6);
}
