//! §8, §9.3.3, the whole way with real daemons: a card of another region at our counter, the request to the national system,
//! its answer from that region's daemon, the first part of the PUK on the form and the second in the mail.

use std::fs;
use std::path::Path;

use cns_protocol::Client;
use cns_protocol::counter::{
    Answer, AnswerStep, Case, Procedure, ProcedureState, Sheet, SheetKind, Start, Wants,
};
use cns_protocol::national::{Receive, Request, RequestKind};
use cns_secret::Secret;
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, plug};
use cnsd::national::shares;
use serde_json::{Value, json};

use crate::kill::{CITIZEN, Counter, Setup, import_cards, step_of};
use crate::national_peer::{self, Peer};
use crate::rig::usual_answer;
use crate::running::{EVERYTHING, Running, access};
use crate::thin::{Papers, Thin};

/// The daemon of the region that the card is from: it has the PUK, answers requests, and sends mail.
fn home_region() -> Running {
    let mut running = Running::prepare(&[], "");
    let spool = running.path("spool");
    fs::create_dir(&spool).unwrap();
    let roles = [EVERYTHING, &["national-system"]].concat();
    let configured = format!(
        "{}{}[national]\n[mail]\nfrom = \"ts@altra.example\"\nspool = {spool:?}\n",
        fs::read_to_string(running.path("cnsd.toml")).unwrap(),
        access(&roles),
    );
    fs::write(running.path("cnsd.toml"), configured).unwrap();
    running.launch();
    import_cards(&running, &[sample::ID_CARD]);
    running
}

/// The national system: it hands a request to the card's region, and that region's answer back.
fn hand_over(socket: &Path, posted: &Value) -> Value {
    let mut client = Client::connect(socket).unwrap();
    let id = posted["id"].as_str().unwrap().to_owned();
    let request: Request = serde_json::from_value(posted.clone()).unwrap();
    let standing = client.call(&Receive { id: id.clone(), request }).unwrap();
    json!({
        "id": id,
        "accepted": standing.state == cns_protocol::national::RequestState::Accepted,
        "message": standing.message,
        "first_part": standing.first_part,
    })
}

/// A counter whose daemon asks the national system at `url`; the card's PUK is not here.
fn counter_at(url: &str) -> Counter {
    let setup = Setup { envelopes: 1, cards: &["6999000000001248"], ..Setup::default() };
    Counter::built(&setup, |_| format!("[national]\nurl = {url:?}\n"))
}

fn ask_for_a_duplicate(client: &mut Client, reader: String) -> Procedure {
    let mut procedure = client.call(&Start { reader, case: Case::OtherRegion }).unwrap();
    while let Some(step) = procedure.next.clone().filter(|step| step.paragraph != "§9.3.3-6") {
        let answer = if step.wants == Wants::NationalRequest {
            Answer::NationalRequest(RequestKind::Duplicate)
        } else {
            usual_answer(&step, "", false)
        };
        let request: AnswerStep = step_of(&procedure, &step.paragraph, answer);
        procedure = client.call(&request).unwrap();
    }
    procedure
}

/// The digits after a mark, up to the first that is none.
fn digits_after<'t>(text: &'t str, mark: &str) -> &'t str {
    let rest = text.split_once(mark).unwrap_or_else(|| panic!("{mark}: {text}")).1;
    rest.split(|sign: char| !sign.is_ascii_digit()).next().unwrap()
}

#[test]
fn the_two_parts_that_a_counter_prints_and_the_home_region_mails_make_the_puk_and_neither_does_alone() {
    let home = home_region();
    let (peer, url) = national_peer::serve();
    let socket = home.socket();
    peer.lock().unwrap().answer = Some(Box::new(move |posted| hand_over(&socket, posted)));
    let mut counter = counter_at(&url);
    let card = plug(counter.chip.take().unwrap(), Endpoint::Unix(counter.running.path(CITIZEN))).unwrap();
    counter.running.card_in(CITIZEN);
    let mut client = counter.client();
    let reader = counter.running.reader(CITIZEN);
    let mut firsts = Vec::new();
    for _ in 0..2 {
        let procedure = ask_for_a_duplicate(&mut client, reader.clone());
        let sheet = Sheet { procedure: procedure.id.clone(), kind: SheetKind::Request };
        let form = client.call(&sheet).unwrap().html;
        let first = digits_after(&form, "<th>PUK</th><td>").to_owned();
        let done = client.call(&step_of(&procedure, "§9.3.3-6", Answer::Confirmed)).unwrap();
        let done = client.call(&step_of(&done, "§9.3.2-11", Answer::Confirmed)).unwrap();
        assert_eq!(done.state, ProcedureState::Done);
        let id = peer.lock().unwrap().done.last().unwrap().clone();
        let letter = home.path("spool").join(format!("{id}.eml"));
        let ends = std::time::Instant::now() + crate::running::PATIENCE;
        while !letter.exists() {
            assert!(std::time::Instant::now() < ends, "{}", home.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let letter = fs::read_to_string(letter).unwrap();
        assert!(letter.contains("To: mario@example.it\r\n"));
        let second = digits_after(&letter, "Seconda parte / second part: ").to_owned();
        let part = |digits: &str| Secret::copy_from(digits.as_bytes()).unwrap();
        assert_eq!(shares::join(&part(&first), &part(&second)).unwrap().expose(), sample::PUK);
        // The counter has never seen the second part, and the home region's mail has not the first.
        assert!(!letter.contains(&first) && !form.contains(&second));
        assert!(!counter.running.log().contains(&second) && !home.log().contains(&second));
        firsts.push(first);
    }
    assert_ne!(firsts[0], firsts[1], "the parts are new each time");
    // Together they open the card.
    let pin = b"12345\xFF\xFF\xFF";
    let open = [&[0x00, 0x2C, 0x00, 0x90, 0x10][..], sample::PUK, pin].concat();
    assert_eq!(card.with_card(|card| card.card().transmit(&open)), [0x90, 0x00]);
    let recorded = counter.running.audited("national-request");
    assert!(recorded.iter().any(|line| line.starts_with("Outcome: ")), "{recorded:?}");
    let recorded = home.audited("national-mail");
    assert_eq!(recorded.len(), 2);
    assert!(counter.running.terminate().success());
}

/// A client that knows nothing of the manual does it as well.
#[test]
fn a_thin_client_drives_the_case_of_another_region() {
    let (peer, url) = national_peer::serve();
    let mut counter = counter_at(&url);
    let _card = plug(counter.chip.take().unwrap(), Endpoint::Unix(counter.running.path(CITIZEN))).unwrap();
    counter.running.card_in(CITIZEN);
    drop(counter.client());
    let mut thin = Thin::new(counter.running.raw());
    let papers = Papers { applicant: "delegate", envelope: String::new(), pin: String::new() };
    let (procedure, asked) = thin.drive(&counter.running.reader(CITIZEN), "other-region", &papers);
    assert_eq!(procedure["state"], json!("done"), "{procedure}");
    assert_eq!(asked.last().unwrap(), "§9.3.2-11");
    let peer: &Peer = &peer.lock().unwrap();
    assert_eq!((peer.done.len(), &peer.posted[0]["email"]), (1, &json!("luca@example.it")));
}
