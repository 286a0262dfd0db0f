//! Reports are for every user, recordings for the administrator, and there is one recording of a reader at a time.

use std::time::{Duration, Instant};

use cns_apdu::trace::{self, CommandMask};
use cns_protocol::ErrorKind;
use cns_protocol::card::{Report, Trace};
use cns_protocol::pin::{PinName, Verify};
use cns_virtual_card::vpcd::{Endpoint, plug};

use crate::plugged::sample_card;
use crate::running::{EVERYTHING, Running, access, kind, text};

const READER: &str = "citizen";

fn order(running: &Running, recording: Option<u64>) -> Trace {
    Trace { reader: running.reader(READER), recording, wait_ms: 0, end: false }
}

#[test]
fn an_administrator_records_what_another_client_does() {
    let running = Running::start_with(&[READER], &access(EVERYTHING));
    let _plugged = plug(sample_card(|_| ()), Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    let mut administrator = running.client();
    let started = administrator.call(&order(&running, None)).unwrap();
    assert_eq!(kind(&mut running.client(), &order(&running, None)), ErrorKind::Busy);
    let verify = Verify {
        reader: running.reader(READER),
        insertion: None,
        which: PinName::Cns,
        pin: Some(text("12345")),
        confirm_last_try: false,
    };
    running.client().call(&verify).unwrap();
    let end = Trace { end: true, ..order(&running, Some(started.recording)) };
    let recorded = administrator.call(&end).unwrap();
    assert!(recorded.text.starts_with(started.text.trim_end()), "the beginning stays");
    let trace = trace::Trace::parse(&recorded.text).unwrap();
    assert_eq!(trace.exchanges().filter(|one| one.command_mask == CommandMask::Pin).count(), 1);
    assert!(!recorded.text.contains("3132333435"), "{}", recorded.text);
    assert_eq!(kind(&mut administrator, &end), ErrorKind::NoSuchObject, "it is over");
    let slow = Trace { wait_ms: 10_001, ..order(&running, None) };
    assert_eq!(kind(&mut administrator, &slow), ErrorKind::InvalidParams);
    assert!(!running.log().contains("3132333435"));
}

#[test]
fn a_recording_ends_with_the_client_that_waits_for_it() {
    let running = Running::start_with(&[READER], &access(EVERYTHING));
    let _plugged = plug(sample_card(|_| ()), Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    let mut starter = running.client();
    let started = starter.call(&order(&running, None)).unwrap();
    // Who reads along goes away while it waits.
    let mut waiting = running.raw();
    let waits = Trace { wait_ms: 10_000, ..order(&running, Some(started.recording)) };
    waiting.request(1, "card.trace", &serde_json::to_value(&waits).unwrap());
    drop(waiting);
    can_be_started_again(&running);
    drop(starter);
}

#[test]
fn a_recording_ends_with_the_connection_that_started_it() {
    let running = Running::start_with(&[READER], &access(EVERYTHING));
    let _plugged = plug(sample_card(|_| ()), Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    let mut starter = running.client();
    starter.call(&order(&running, None)).unwrap();
    assert_eq!(kind(&mut running.client(), &order(&running, None)), ErrorKind::Busy);
    // Between two requests, as Ctrl-C may come.
    drop(starter);
    can_be_started_again(&running);
}

/// A recording that has ended makes room for another one.
fn can_be_started_again(running: &Running) {
    let (since, mut other) = (Instant::now(), running.client());
    while other.call(&order(running, None)).is_err() {
        // Less than the time after which a recording ends that nobody asks for.
        assert!(since.elapsed() < Duration::from_secs(15), "the recording goes on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_user_gets_a_report_and_no_recording() {
    let running = Running::start_with(&[READER], &access(&["user"]));
    let mut client = running.client();
    let report = Report { reader: running.reader(READER), ask_tries: false };
    assert_eq!(kind(&mut client, &report), ErrorKind::NoCard);
    let _plugged = plug(sample_card(|_| ()), Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    let answer = client.call(&report).unwrap();
    let trace = trace::Trace::parse(&answer.text).unwrap();
    let asks_for_tries = |one: &trace::Exchange| one.command.starts_with(&[0x00, 0x20]);
    assert!(trace.exchanges().count() > 17 && !trace.exchanges().any(asks_for_tries), "{}", answer.text);
    let answer = client.call(&Report { ask_tries: true, ..report }).unwrap();
    assert_eq!(
        trace::Trace::parse(&answer.text).unwrap().exchanges().filter(|e| asks_for_tries(e)).count(),
        3
    );
    assert_eq!(kind(&mut client, &order(&running, None)), ErrorKind::Forbidden);
    assert_eq!(
        kind(&mut client, &Trace { reader: "none".into(), ..order(&running, None) }),
        ErrorKind::Forbidden
    );
}
