//! Messages: any JSON is read or refused with a sentence, and a secret is refused without being repeated.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may fail loudly"
)]

use std::collections::HashSet;

use cns_protocol::rpc::{ErrorObject, Id, Incoming, Request};
use cns_protocol::{ErrorKind, Method, RpcError, SecretText, counter, custody, key, operator, pin};
use cns_secret::Secret;
use proptest::collection::vec;
use proptest::prelude::*;

fn params<M: Method>(params: &str) -> Result<M, RpcError> {
    let name = M::NAME;
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}","params":{params}}}"#);
    Request::read(text.as_bytes())?.params::<M>()
}

fn refused<M: Method>(text: &str) -> RpcError {
    let Err(error) = params::<M>(text) else { panic!("{text} was read as {}", M::NAME) };
    assert_eq!(error.kind, ErrorKind::InvalidParams);
    error
}

#[test]
fn a_plain_pin_is_read() {
    let verify: pin::Verify = params(r#"{"reader":"r","pin":"12345"}"#).unwrap();
    assert_eq!(verify.pin.unwrap().secret().expose(), b"12345");
    let typed_on_the_reader: pin::Verify = params(r#"{"reader":"r"}"#).unwrap();
    assert!(typed_on_the_reader.pin.is_none());
    let sign: key::Sign = params(
        r#"{"reader":"r","key_use":"signature","mechanism":"rsa-pkcs1","data":"AQI=","pin":"87654321"}"#,
    )
    .unwrap();
    assert_eq!(sign.pin.unwrap().into_secret().expose(), b"87654321");
    let none: counter::AnswerStep =
        params(r#"{"procedure":"p","paragraph":"x","answer":"confirmed","pin":null}"#).unwrap();
    assert!(none.pin.is_none());
}

#[test]
fn an_escaped_pin_is_refused_and_never_repeated() {
    for text in [
        r#"{"reader":"r","pin":"\u0031\u0032345"}"#,
        r#"{"reader":"r","pin":"7391\/5582"}"#,
        r#"{"reader":"r","pin":"7391\n5582"}"#,
        r#"{"reader":"r","pin":73915582}"#,
        r#"{"reader":"r","pin":["73915582"]}"#,
        r#"{"reader":"r","pin":{"73915582":1}}"#,
        r#"{"reader":"r","pin":"7391\u00e85582"}"#,
        r#"{"reader":"r","73915582":"x"}"#,
        r#"{"reader":"r","which":"73915582","pin":"x"}"#,
    ] {
        let error = refused::<pin::Verify>(text);
        let said = serde_json::to_string(&error).unwrap();
        for part in ["7391", "5582", "12345"] {
            assert!(!said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_pin_that_is_too_long_or_not_plain_text_is_refused() {
    let long = format!(r#"{{"reader":"r","pin":"{}"}}"#, "1".repeat(65));
    refused::<pin::Verify>(&long);
    refused::<pin::Verify>("{\"reader\":\"r\",\"pin\":\"12è45\"}");
    assert!(SecretText::new(Secret::copy_from(&[b'1'; 64]).unwrap()).is_ok());
    for bad in [b"12\"45".as_slice(), b"12\\45", b"12\x0045", "12è".as_bytes(), &[b'1'; 65]] {
        assert!(SecretText::new(Secret::copy_from(bad).unwrap()).is_err());
    }
}

#[test]
fn unknown_parameters_are_refused() {
    refused::<pin::Verify>(r#"{"reader":"r","pin":"12345","pim":"12345"}"#);
    refused::<custody::Stock>(r#"{"all":true}"#);
    refused::<operator::Login>("[]");
    assert!(params::<custody::Stock>("{}").is_ok());
}

#[test]
fn what_is_no_request_is_refused_in_kind() {
    let kind = |text: &str| Request::read(text.as_bytes()).err().map(|error| error.kind);
    assert_eq!(kind("{"), Some(ErrorKind::ParseError));
    assert_eq!(kind("\u{FEFF}{}"), Some(ErrorKind::ParseError));
    assert_eq!(kind("[]"), Some(ErrorKind::InvalidRequest));
    assert_eq!(kind("{}"), Some(ErrorKind::InvalidRequest));
    assert_eq!(kind(r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#), Some(ErrorKind::InvalidRequest));
    assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"m"}"#), Some(ErrorKind::InvalidRequest), "a notification");
    assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1.5,"method":"m"}"#), Some(ErrorKind::InvalidRequest));
    assert_eq!(kind(r#"{"jsonrpc":"2.0","id":"a","method":"m"}"#), None);
    assert_eq!(Request::read(&[0xFF, 0xFE]).err().map(|error| error.kind), Some(ErrorKind::ParseError));
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{}}}"#, "[".repeat(100_000));
    assert_eq!(kind(&deep), Some(ErrorKind::ParseError), "nesting ends before the stack does");
}

#[test]
fn every_cause_has_its_own_code_and_name() {
    let codes: HashSet<i32> = ErrorKind::ALL.into_iter().map(ErrorKind::code).collect();
    assert_eq!(codes.len(), ErrorKind::ALL.len());
    for kind in ErrorKind::ALL {
        let name = serde_json::to_string(&kind).unwrap();
        assert_eq!(serde_json::from_str::<ErrorKind>(&name).unwrap(), kind);
    }
    assert_eq!(serde_json::from_str::<ErrorKind>("\"from-a-newer-daemon\"").unwrap(), ErrorKind::Unknown);
}

#[test]
fn an_error_keeps_its_facts_on_the_wire() {
    let error = RpcError::new(ErrorKind::PinIncorrect, "the PIN is wrong")
        .hint("Type it again")
        .status_word(0x63C2)
        .tries_left(Some(2))
        .paragraph("§9.3.2-7");
    let text = serde_json::to_string(&ErrorObject::from(error.clone())).unwrap();
    let object: ErrorObject = serde_json::from_str(&text).unwrap();
    assert_eq!(object.code, 1200);
    assert_eq!(RpcError::from(object), error);
    assert_eq!(
        error.to_string(),
        "the PIN is wrong [§9.3.2-7] (status word 63C2) (2 tries left). Type it again"
    );
    let foreign: ErrorObject = serde_json::from_str(r#"{"code":-32000,"message":"other"}"#).unwrap();
    assert_eq!(RpcError::from(foreign).kind, ErrorKind::Unknown);
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        drop(Request::read(&bytes));
        drop(serde_json::from_slice::<Incoming<'_>>(&bytes));
    }

    #[test]
    fn any_text_as_parameters_is_read_or_refused(text in r#"[\[\]{}",:0-9a-z\\ .-]{0,120}"#) {
        drop(params::<pin::Verify>(&text));
        drop(params::<pin::Change>(&text));
        drop(params::<key::Sign>(&text));
        drop(params::<counter::AnswerStep>(&text));
        drop(params::<custody::Import>(&text));
    }

    #[test]
    fn any_pin_text_is_taken_as_it_is_or_refused_unsaid(pin in "[0-9]{6,80}", tail in "[\\\\a-z\"]{0,3}") {
        let whole = format!("{pin}{tail}");
        let text = format!(r#"{{"reader":"r","pin":"{whole}"}}"#);
        match params::<pin::Verify>(&text) {
            Ok(verify) => {
                let pin = verify.pin.unwrap();
                prop_assert_eq!(pin.secret().expose(), whole.as_bytes());
            }
            Err(error) => prop_assert!(!error.to_string().contains(&pin)),
        }
    }

    #[test]
    fn identifiers_come_back_as_they_were(number in any::<i64>(), text in "\\PC{0,40}") {
        for id in [Id::Number(number), Id::Text(text)] {
            let written = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<Id>(&written).unwrap(), id);
        }
    }
}

#[test]
fn a_pin_written_as_a_number_is_refused_without_being_quoted() {
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"pin.verify","params":{"reader":"r","pin":12345678}}"#;
    let error = Request::read(body).unwrap().params::<pin::Verify>().err().expect("a refusal");
    assert_eq!(error.kind, ErrorKind::InvalidParams);
    assert!(!error.to_string().contains("12345678"), "{error}");
    let error = serde_json::from_str::<SecretText>("12345678").err().expect("a refusal");
    assert!(!error.to_string().contains("12345678"), "{error}");
}

#[test]
fn a_pin_with_escaped_digits_is_refused_before_it_is_unescaped() {
    let body =
        br#"{"jsonrpc":"2.0","id":1,"method":"pin.verify","params":{"reader":"r","pin":"\u00312345"}}"#;
    let error = Request::read(body).unwrap().params::<pin::Verify>().err().expect("a refusal");
    assert_eq!(error.kind, ErrorKind::InvalidParams);
    assert!(error.message.contains("escape"), "{error}");
}
