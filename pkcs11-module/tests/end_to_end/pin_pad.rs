//! A reader with a keypad, behind a pcscd of its own: the application gives no PIN, and `cnsd` never has it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Child;
use std::ptr;

use cns_virtual_reader::{Behaviour, CANCEL};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki_sys::{
    CKR_ARGUMENTS_BAD, CKR_FUNCTION_CANCELED, CKR_OK, CKR_PIN_INCORRECT, CKR_PIN_INVALID,
    CKR_USER_NOT_LOGGED_IN,
};
use tempfile::TempDir;

use crate::desk::{module, pin, refusal, start_daemon_with, until};
use crate::keypad::{Pad, start};
use crate::private_pcscd::alone;
use crate::raw::Raw;
use crate::signature_key;

/// The PIN of the sample card, and one that is long enough not to be found by chance.
const FIRST: &str = "12345";
const LONG: &str = "80917263";
/// The PUK of the sample card.
const PUK: &str = "87654321";

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn an_application_without_a_pin_lets_the_holder_type_on_the_reader() {
    alone("pin_pad::an_application_without_a_pin_lets_the_holder_type_on_the_reader", inside);
}

fn inside() {
    let folder = TempDir::new().unwrap();
    let (_pcscd, pads) = start(folder.path(), &["Keypad"]);
    let pad = &pads[0];
    let daemon = Daemon(start_daemon_with(folder.path(), "pcsc"));
    // SAFETY: in this process there is no other test.
    unsafe { std::env::set_var("CNSD_SOCKET", folder.path().join("cnsd.sock")) };
    let _plugged = pad.plug(signature_key::card(folder.path()));
    let application = Pkcs11::new(module()).unwrap();
    application.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = until("a card", || application.get_slots_with_token().unwrap().first().copied());
    assert!(application.get_token_info(slot).unwrap().protected_authentication_path());
    let session = application.open_rw_session(slot).unwrap();

    changes(pad, &session);
    logins(pad, &session);
    signatures(pad, &session);
    session.logout().unwrap();
    unblocks(pad, &session);
    // A PIN that is given is taken as elsewhere.
    session.login(UserType::User, Some(&pin(LONG))).unwrap();
    let key = keys(&session, false);
    assert_eq!(session.sign(&Mechanism::RsaPkcs, key, b"data").unwrap().len(), 256);
    session.logout().unwrap();

    // A reader that is caught: told, and the flag is off.
    pad.types(&[LONG]);
    session.login(UserType::User, None).unwrap();
    pad.behaves(Behaviour::ClaimsSuccess);
    let key = keys(&session, false);
    assert_eq!(refusal(session.sign(&Mechanism::RsaPkcs, key, b"data")), RvError::DeviceError);
    assert!(!application.get_token_info(slot).unwrap().protected_authentication_path());
    session.logout().unwrap();
    assert_eq!(refusal(session.login(UserType::User, None)), RvError::ArgumentsBad);
    drop((session, daemon));
    application.finalize().unwrap();
}

/// `C_SetPIN` without PINs.
fn changes(pad: &Pad, session: &Session) {
    let raw = Raw::new();
    let set_pin = raw.functions().C_SetPIN.unwrap();
    let at_pad = || unsafe { set_pin(session.handle(), ptr::null_mut(), 0, ptr::null_mut(), 0) };
    let mut digits = *b"12345";
    let half = unsafe { set_pin(session.handle(), digits.as_mut_ptr(), 5, ptr::null_mut(), 0) };
    assert_eq!(half, CKR_ARGUMENTS_BAD);
    // The first time, the present PIN once more: to see that the reader gives it to the card.
    pad.types(&[FIRST, FIRST, LONG, LONG]);
    assert_eq!(at_pad(), CKR_OK);
    pad.types(&[LONG, FIRST, "12346"]);
    assert_eq!(at_pad(), CKR_PIN_INVALID);
    pad.types(&[CANCEL]);
    assert_eq!(at_pad(), CKR_FUNCTION_CANCELED);
}

/// `C_Login` without a PIN.
fn logins(pad: &Pad, session: &Session) {
    pad.types(&["11111"]);
    assert_eq!(refusal(session.login(UserType::User, None)), RvError::PinIncorrect);
    pad.types(&[CANCEL]);
    assert_eq!(refusal(session.login(UserType::User, None)), RvError::FunctionCanceled);
    pad.types(&[LONG]);
    session.login(UserType::User, None).unwrap();
}

/// `C_InitPIN` without a PIN, after `C_Login` of the security officer without a PUK.
fn unblocks(pad: &Pad, session: &Session) {
    let raw = Raw::new();
    let init_pin = raw.functions().C_InitPIN.unwrap();
    let at_pad = || unsafe { init_pin(session.handle(), ptr::null_mut(), 0) };
    for _ in 0..2 {
        pad.types(&["11111"]);
        assert_eq!(refusal(session.login(UserType::User, None)), RvError::PinIncorrect);
    }
    // Both are typed on the reader, or none.
    session.login(UserType::So, Some(&pin(PUK))).unwrap();
    assert_eq!(at_pad(), CKR_ARGUMENTS_BAD);
    session.logout().unwrap();
    session.login(UserType::So, None).unwrap();
    assert_eq!(refusal(session.init_pin(&pin(LONG))), RvError::ArgumentsBad);

    pad.types(&[CANCEL]);
    assert_eq!(at_pad(), CKR_FUNCTION_CANCELED);
    pad.types(&[PUK, LONG, "12346"]);
    assert_eq!(at_pad(), CKR_PIN_INVALID);
    pad.types(&["11111111", LONG, LONG]);
    assert_eq!(at_pad(), CKR_PIN_INCORRECT);
    // A wrong PUK has ended the officer's login.
    assert_eq!(at_pad(), CKR_USER_NOT_LOGGED_IN);
    session.login(UserType::So, None).unwrap();
    pad.types(&[PUK, LONG, LONG]);
    assert_eq!(at_pad(), CKR_OK);
    session.logout().unwrap();
}

/// Each use of a key is one more entry, whose PIN the daemon never has.
fn signatures(pad: &Pad, session: &Session) {
    let login = keys(session, false);
    pad.types(&[CANCEL]);
    assert_eq!(refusal(session.sign(&Mechanism::RsaPkcs, login, b"data")), RvError::FunctionCanceled);
    pad.types(&[LONG]);
    assert_eq!(session.sign(&Mechanism::RsaPkcs, login, b"data").unwrap().len(), 256);

    let raw = Raw::new();
    let functions = raw.functions();
    let signature = keys(session, true);
    let mut mechanism = cryptoki_sys::CK_MECHANISM {
        mechanism: cryptoki_sys::CKM_SHA256_RSA_PKCS,
        pParameter: ptr::null_mut(),
        ulParameterLen: 0,
    };
    let begun =
        unsafe { functions.C_SignInit.unwrap()(session.handle(), &raw mut mechanism, signature.handle()) };
    assert_eq!(begun, CKR_OK);
    session.login(UserType::ContextSpecific, None).unwrap();
    pad.types(&[signature_key::AREA_PIN]);
    let (mut data, mut made, mut length) = (*b"data", [0; 256], 256);
    let signed = unsafe {
        functions.C_Sign.unwrap()(session.handle(), data.as_mut_ptr(), 4, made.as_mut_ptr(), &raw mut length)
    };
    assert_eq!((signed, length), (CKR_OK, 256));

    let daemon = fs::read_dir("/proc").unwrap().filter_map(Result::ok).find(|process| {
        fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.trim_end() == "cnsd")
    });
    let (searched, known, leaked) = search(&daemon.unwrap().path());
    println!("searched {searched} bytes of memory of cnsd");
    assert!(known, "the search does not work");
    assert!(!leaked, "cnsd had a PIN that was typed on the reader");
}

/// The private key for logins, or the one for signatures.
fn keys(session: &Session, always_authenticate: bool) -> ObjectHandle {
    let wanted =
        [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::AlwaysAuthenticate(always_authenticate)];
    session.find_objects(&wanted).unwrap()[0]
}

/// Searches what a process can write: how much there is, whether the reader's name is in it, and whether the PIN is.
fn search(process: &std::path::Path) -> (usize, bool, bool) {
    let maps = fs::read_to_string(process.join("maps")).unwrap();
    let memory = File::open(process.join("mem")).unwrap();
    let (mut searched, mut known, mut leaked) = (0, false, false);
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        if !rest.starts_with("rw") {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // Some pages cannot be read; what was not read is zero.
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        searched += read;
        let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        known |= contains(b"Keypad 00 00");
        leaked |= contains(LONG.as_bytes());
    }
    (searched, known, leaked)
}
