use std::path::PathBuf;
use std::sync::Arc;

use cns_protocol::card::KeyUse;
use cns_protocol::reader::{Reader, ReaderState, Readers};
use cns_secret::Secret;
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID, CKM_RSA_PKCS};

use super::Module;
use crate::cipher::Cipher;
use crate::daemon::CallError;
use crate::error::Error;
use crate::input::Input;
use crate::mechanism::Scheme;
use crate::object::{Object, PrivateKey};
use crate::session::{DecryptOperation, Session};
use crate::sign_operation::{PinSource, SignOperation};
use crate::test_cards::{card, reader};

fn module(readers: &[&str]) -> Module {
    let readers: Vec<String> = readers.iter().map(|name| (*name).to_owned()).collect();
    Module::new(PathBuf::from("/nowhere/cnsd.sock"), &readers, None)
}

fn with_card(name: &str, insertion: u64) -> Reader {
    let card = card("6200000000012302", insertion, &[KeyUse::Authentication]);
    reader(name, insertion, ReaderState::Card(Box::new(card)))
}

fn empty(name: &str, insertion: u64) -> Reader {
    reader(name, insertion, ReaderState::Empty)
}

/// The daemon tells, over the connection of this number.
fn tell(module: &Module, epoch: u64, change: u64, readers: Vec<Reader>) {
    tell_as(module, epoch, "a", change, readers);
}

/// The same of the daemon that was started next.
fn tell_anew(module: &Module, epoch: u64, change: u64, readers: Vec<Reader>) {
    tell_as(module, epoch, "b", change, readers);
}

fn tell_as(module: &Module, epoch: u64, instance: &str, change: u64, readers: Vec<Reader>) {
    module.learn(epoch, Ok(Readers { instance: instance.to_owned(), change, readers })).unwrap();
}

fn open(module: &Module, slot: CK_SLOT_ID) -> CK_SESSION_HANDLE {
    module.tables().open(Session::new(slot, false))
}

fn occupied(module: &Module) -> Vec<(String, bool)> {
    module.tables().slots().map(|(_, slot)| (slot.reader.clone(), slot.is_occupied())).collect()
}

#[test]
fn a_slot_keeps_its_number_when_its_reader_goes() {
    let module = module(&[]);
    tell(&module, 1, 1, vec![empty("A", 0), with_card("B", 1)]);
    tell(&module, 1, 2, vec![with_card("B", 1), empty("C", 0)]);
    let expected = [("A", false), ("B", true), ("C", false)].map(|(name, full)| (name.to_owned(), full));
    assert_eq!(occupied(&module), expected);
    // After C_Finalize and C_Initialize the numbers are the same, although A is gone.
    let again = Module::new(PathBuf::new(), &module.reader_names(), None);
    tell(&again, 1, 3, vec![with_card("C", 1), with_card("B", 1)]);
    let expected = [("A", false), ("B", true), ("C", true)].map(|(name, full)| (name.to_owned(), full));
    assert_eq!(occupied(&again), expected);
}

#[test]
fn sessions_end_with_their_card_and_no_other() {
    let module = module(&[]);
    tell(&module, 1, 1, vec![with_card("A", 1), with_card("B", 1)]);
    let (a, b) = (open(&module, 0), open(&module, 1));
    tell(&module, 1, 2, vec![with_card("A", 1), empty("B", 2)]);
    assert!(module.tables().session(a).is_ok());
    assert_eq!(module.tables().session(b).err(), Some(Error::SessionHandleInvalid));
}

#[test]
fn without_a_daemon_all_slots_are_empty() {
    let module = module(&[]);
    tell(&module, 1, 1, vec![with_card("A", 1)]);
    let session = open(&module, 0);
    module.learn(1, Err(CallError::Absent)).unwrap();
    assert_eq!(occupied(&module), [("A".to_owned(), false)]);
    assert_eq!(module.tables().session(session).err(), Some(Error::SessionHandleInvalid));
    // A connection that breaks says nothing about the cards, and a daemon that is late neither.
    tell(&module, 2, 1, vec![with_card("A", 1)]);
    for error in [CallError::Broken, CallError::Late] {
        assert_eq!(module.learn(2, Err(error)), Err(Error::DeviceError));
        assert_eq!(occupied(&module), [("A".to_owned(), true)]);
    }
}

#[test]
fn a_daemon_that_answered_late_has_not_forgotten_the_login() {
    let module = module(&[]);
    tell(&module, 1, 9, vec![with_card("A", 5)]);
    let (session, made) = with_a_login(&module);
    let link = module.tables().place_of(session).unwrap().link;
    assert_eq!(module.learn(1, Err(CallError::Late)), Err(Error::DeviceError));
    // Asked again, over another connection, because the late answer may still come over the first.
    tell(&module, 2, 10, vec![with_card("A", 5)]);
    let tables = module.tables();
    let place = tables.place_of(session).unwrap();
    assert!(Arc::ptr_eq(&place.link, &link), "the login is that connection's");
    let token = tables.token_of(session).unwrap();
    assert!(token.logged_in && token.visible_object(made).is_some());
    drop(tables);
    // What was asked before and is heard after it is old.
    tell_as(&module, 1, "before", 99, vec![empty("A", 6)]);
    assert_eq!(occupied(&module), [("A".to_owned(), true)]);
}

#[test]
fn a_restarted_daemon_ends_logins_but_not_sessions() {
    let module = module(&[]);
    tell(&module, 1, 9, vec![with_card("A", 5)]);
    let session = open(&module, 0);
    module.tables().slot_mut(0).unwrap().token_mut().unwrap().logged_in = true;
    // Its change counter starts again, and must not be taken for an older answer.
    tell_anew(&module, 2, 1, vec![with_card("A", 1)]);
    assert!(!module.tables().token_of(session).unwrap().logged_in);
    assert_eq!(module.tables().place_of(session).unwrap().insertion, 1);
}

/// A session with all that only a login gives; the number of the private object that was made under it.
fn with_a_login(module: &Module) -> (CK_SESSION_HANDLE, CK_OBJECT_HANDLE) {
    let session = open(module, 0);
    let mut tables = module.tables();
    let place = tables.place_of(session).unwrap();
    let token = tables.token_at(&place).unwrap();
    (token.logged_in, token.puk) = (true, Some(PinSource::Given(Secret::copy_from(b"87654321").unwrap())));
    let key_use = KeyUse::Authentication;
    let key = Arc::new(PrivateKey { key_use, length: 256, pin_for_each_use: false, decrypts: true });
    let private = Object::all(&token.card).into_iter().find(Object::is_private).unwrap();
    let made = tables.make(session, |_| Ok(private)).unwrap();
    let mut sign = SignOperation::new(Arc::clone(&key), Scheme::read(CKM_RSA_PKCS, &[]).unwrap()).unwrap();
    sign.pin = Some(PinSource::Given(Secret::copy_from(b"24680").unwrap()));
    tables.session_mut(session).unwrap().sign = Some(sign);
    let input = Input::plain(key.length);
    let done = Some((vec![0; 256], Secret::copy_from(b"plain").unwrap()));
    let operation = DecryptOperation { key, cipher: Cipher::Pkcs1, most: 245, input, in_parts: false, done };
    tables.session_mut(session).unwrap().decrypt = Some(operation);
    (session, made)
}

/// The application may log in again, and then finds nothing of what the lost login gave.
fn is_lost(module: &Module, session: CK_SESSION_HANDLE, made: CK_OBJECT_HANDLE) {
    let mut tables = module.tables();
    let place = tables.place_of(session).unwrap();
    let token = tables.token_at(&place).unwrap();
    assert!(!token.logged_in && token.puk.is_none());
    token.logged_in = true;
    assert!(token.visible_object(made).is_none());
    assert!(token.private_keys().next().is_some());
    let session = tables.session(session).unwrap();
    assert!(session.decrypt.as_ref().unwrap().done.is_none());
    assert!(session.sign.as_ref().unwrap().pin.is_none());
}

#[test]
fn what_a_login_gave_is_gone_with_the_daemon() {
    let module = module(&[]);
    tell(&module, 1, 9, vec![with_card("A", 5)]);
    let (session, made) = with_a_login(&module);
    tell(&module, 1, 10, vec![with_card("A", 5)]);
    assert!(module.tables().token_of(session).unwrap().puk.is_some());
    tell_anew(&module, 2, 1, vec![with_card("A", 1)]);
    is_lost(&module, session, made);
}

#[test]
fn what_a_login_gave_is_gone_when_the_card_was_reset() {
    let module = module(&[]);
    tell(&module, 1, 9, vec![with_card("A", 5)]);
    let (session, made) = with_a_login(&module);
    let place = module.tables().place_of(session).unwrap();
    module.failed(&place, CallError::Broken);
    is_lost(&module, session, made);
}

#[test]
fn an_answer_that_was_overtaken_is_ignored() {
    let module = module(&[]);
    tell(&module, 1, 5, vec![with_card("A", 1)]);
    tell(&module, 1, 4, vec![empty("A", 0)]);
    assert_eq!(occupied(&module), [("A".to_owned(), true)]);
}

#[test]
fn the_first_answer_is_no_event() {
    let module = module(&[]);
    let events = |module: &Module| module.tables().slots().filter(|(_, slot)| slot.event).count();
    tell(&module, 1, 1, vec![with_card("A", 1), empty("B", 0)]);
    assert_eq!(events(&module), 0);
    tell(&module, 1, 2, vec![with_card("A", 1), with_card("B", 1)]);
    assert_eq!(events(&module), 1);
}

#[test]
fn ending_a_login_ends_what_needs_it() {
    let module = module(&[]);
    tell(&module, 1, 1, vec![with_card("A", 1)]);
    let session = open(&module, 0);
    assert!(module.tables().end_login(0).is_none());
    module.tables().slot_mut(0).unwrap().token_mut().unwrap().logged_in = true;
    module.tables().session_mut(session).unwrap().found = Some(vec![1]);
    assert!(module.tables().end_login(0).is_some());
    assert!(module.tables().session(session).unwrap().found.is_none());
    assert!(module.tables().end_login(7).is_none());
}
