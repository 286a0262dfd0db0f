//! A login to a card whose PIN may have become another: the old PIN is not kept, because it would cost a try.

use std::sync::{Arc, Mutex};

use cns_protocol::ErrorKind;
use cns_protocol::card::KeyUse;
use cns_protocol::counter::{Answer, Case, ProcedureState, Start};
use cns_protocol::key::{Mechanism, Sign};
use cns_protocol::pin::{PinName, Verify};
use cns_virtual_card::fault::Fault;
use cns_virtual_card::vpcd::{Endpoint, plug};

use crate::faults::cut_after_the_pin_was_set;
use crate::kill::{CITIZEN, Counter, step_of, until};
use crate::rig::Rig;
use crate::running::{kind, text};

#[test]
fn a_login_ends_also_when_the_new_pin_is_uncertain() {
    let mut counter = Counter::new();
    let (first, second) = (counter.codes[0].clone(), counter.codes[1].clone());
    let citizen = counter.running.path(CITIZEN);
    let card = plug(counter.chip.take().unwrap(), Endpoint::Unix(citizen)).unwrap();
    counter.running.card_in(CITIZEN);
    let mut client = counter.client();
    let reader = counter.running.reader(CITIZEN);
    let started = client.call(&Start { reader: reader.clone(), case: Case::Standard }).unwrap();
    let done = until(&mut client, started, &first, "");
    let commands = done.done.iter().find(|step| step.paragraph == "§9.3.2-7").unwrap().traffic.commands;

    let verify = Verify {
        reader: reader.clone(),
        insertion: None,
        which: PinName::Cns,
        pin: Some(text(&counter.pin_in(&first))),
        confirm_last_try: false,
    };
    client.call(&verify).unwrap();
    let sign = Sign {
        reader: reader.clone(),
        insertion: None,
        key_use: KeyUse::Authentication,
        mechanism: Mechanism::RsaPkcs1,
        data: vec![0x42; 20],
        pin: None,
        confirm_last_try: false,
    };
    let again = client.call(&Start { reader, case: Case::NewCodes }).unwrap();
    let ready = until(&mut client, again, &second, "§9.3.2-7");
    client.call(&sign).unwrap();
    // RESET RETRY COUNTER fails in a way that leaves everything open. It is the step's last command, or the last but
    // one of the first time: where the card stands at the beginning saves one.
    card.with_card(|card| {
        card.plan(commands - 2, Fault::Status(0x6F00));
        card.plan(commands - 1, Fault::Status(0x6F00));
    });
    client.call(&step_of(&ready, "§9.3.2-7", Answer::Confirmed)).unwrap_err();
    card.with_card(|card| card.clear_plan());
    assert_eq!(kind(&mut client, &sign), ErrorKind::NotLoggedIn);
    let tries = card.with_card(|card| card.card().summary().pin_tries);
    assert_eq!(tries, 3, "no try was burnt");
    assert!(counter.running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_ends_logins_when_it_settles_by_itself() {
    let mut rig = Rig::new().await;
    rig.wants_signature = false;
    let cut = cut_after_the_pin_was_set(&rig).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    rig.rooms().procedures.on_pin(move |contents| {
        hears.lock().unwrap().push((contents.card.serial.clone(), contents.card.insertion));
    });
    rig.put_in().await;
    rig.rooms().procedures.settle().await.unwrap();
    assert_eq!(rig.show(&cut).await.state, ProcedureState::Open);
    let insertion = rig.rooms().readers.card(&rig.reader).unwrap().card.insertion;
    let here = (cut.card.clone(), insertion);
    assert_eq!(*told.lock().unwrap(), [here.clone(), here], "before the work and after it");
}
