//! Readers, cards, certificates, PINs.

use cns_protocol::card::{Card, Certificate, KeyUse};
use cns_protocol::pin::{PinName, PinState};
use cns_protocol::reader::{CardFace, Reader, ReaderKind, ReaderState};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::super::facts::{Answers, Facts};
use super::super::{Finding, Level};
use crate::card::use_name;

/// How long before its end a certificate is worth a word.
const SOON: Duration = Duration::days(30);

pub(super) fn judge(answers: &Answers, facts: &Facts, show_holder: bool, findings: &mut Vec<Finding>) {
    if answers.readers.is_empty() {
        let remedy = if facts.pcscd.answers {
            "Plug the reader in. If it is: its driver may be missing (Debian: apt install libccid), or another one is \
             needed; `lsusb` and journalctl -u pcscd tell more."
        } else {
            "See pcscd, above."
        };
        findings.push(Finding::new(
            Level::Fault,
            "no-reader",
            "no smart-card reader is connected",
            "The card is reached through it.",
            remedy,
        ));
        return;
    }
    for reader in &answers.readers {
        judge_reader(reader, answers, facts, show_holder, findings);
    }
    let is_empty = |reader: &Reader| matches!(reader.state, ReaderState::Empty);
    if answers.readers.iter().all(is_empty) {
        findings.push(Finding::new(
            Level::Fault,
            "no-card",
            "no reader has a card in it",
            "There is nothing to log in with.",
            "Push the card in, chip first and up. Is the reader's lamp on?",
        ));
    }
}

fn judge_reader(
    reader: &Reader,
    answers: &Answers,
    facts: &Facts,
    show_holder: bool,
    findings: &mut Vec<Finding>,
) {
    let name = &reader.name;
    match &reader.state {
        ReaderState::Empty => findings.push(Finding::ok("reader", format!("{name}: empty"))),
        ReaderState::Reading => findings.push(Finding::new(
            Level::Note,
            "card-reading",
            format!("{name}: the card is being read"),
            "What it holds is not known yet.",
            "Wait a moment, then run this again.",
        )),
        ReaderState::Unusable(why) => findings.push(Finding::new(
            Level::Fault,
            "card-unusable",
            format!("{name}: {why}"),
            "This card cannot be used.",
            "Take it out, wipe its contacts, put it in again. If it is a CNS all the same: `cnsctl card report`.",
        )),
        ReaderState::Card(card) => {
            findings.push(Finding::ok("card", format!("{name}: {}", describe(card, reader.kind, show_holder))));
            judge_card(card, facts, findings);
            if reader.face == Some(CardFace::Contactless) {
                findings.push(Finding::new(
                    Level::Note,
                    "card-contactless",
                    format!("{name}: the card is reached over the air"),
                    "Some cards do less there, and some readers fall back to it when the card is not pushed in.",
                    "If something is missing, push the card into the slot.",
                ));
            }
            let asked = answers.pins.iter().find(|(reader, _)| reader == name).map(|(_, pins)| pins.as_slice());
            judge_pins(card, asked.unwrap_or_default(), findings);
        }
    }
}

fn describe(card: &Card, kind: ReaderKind, show_holder: bool) -> String {
    let whose = if show_holder {
        format!("the card of {} {}", card.holder.name, card.holder.surname)
    } else {
        "a CNS".to_owned()
    };
    let kind = if kind == ReaderKind::Vpcd { ", a virtual card" } else { "" };
    format!("{whose}, {}{kind}", card.generation)
}

fn judge_card(card: &Card, facts: &Facts, findings: &mut Vec<Finding>) {
    if !card.data_agree {
        findings.push(Finding::new(
            Level::Warning,
            "card-data-differ",
            "the card's files and its certificate name different holders or numbers",
            "Either the card was made wrongly, or it is not what it says.",
            "Show it to the office that issued it.",
        ));
    }
    if !card.certificates.iter().any(|certificate| certificate.key_use == KeyUse::Authentication) {
        findings.push(Finding::new(
            Level::Fault,
            "no-login-certificate",
            "no certificate for logging in was found on the card",
            "Browsers log in with it.",
            "`cnsctl card show` tells what was looked at; `cnsctl card report` is the way to have it looked into.",
        ));
    }
    card.certificates.iter().for_each(|certificate| judge_certificate(certificate, facts.now, findings));
}

fn judge_certificate(certificate: &Certificate, now: OffsetDateTime, findings: &mut Vec<Finding>) {
    let name = use_name(certificate.key_use);
    let (from, until) = (&certificate.not_before, &certificate.not_after);
    let date = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let why = "Servers refuse it.";
    findings.push(match (date(from), date(until)) {
        (_, Some(end)) if end < now => Finding::new(
            Level::Fault,
            "certificate-expired",
            format!("the {name} certificate expired on {until}"),
            why,
            "A new card is needed: ask the office that issued it (for a health card, the tax agency sends one by itself).",
        ),
        (Some(start), _) if start > now => Finding::new(
            Level::Fault,
            "certificate-not-yet-valid",
            format!("the {name} certificate is valid from {from} on"),
            why,
            "See this computer's date and time; if they are right, wait.",
        ),
        (_, Some(end)) if end - now < SOON => Finding::new(
            Level::Note,
            "certificate-expires-soon",
            format!("the {name} certificate expires on {until}"),
            "Servers will refuse it then.",
            "See that the new card is on its way.",
        ),
        _ => Finding::ok("certificate", format!("the {name} certificate is valid until {until}")),
    });
}

fn judge_pins(card: &Card, asked: &[PinState], findings: &mut Vec<Finding>) {
    let told = card.pin_tries_left.filter(|_| asked.is_empty()).map(|tries| PinState {
        which: PinName::Cns,
        is_puk: false,
        blocked: Some(tries == 0),
        tries_left: Some(tries),
    });
    for state in asked.iter().chain(told.as_ref()) {
        let name = match (state.which, state.is_puk) {
            (PinName::Cns, false) => "PIN",
            (PinName::Cns, true) => "PUK",
            (PinName::Signature, false) => "signature PIN",
            (PinName::Signature, true) => "signature PUK",
        };
        findings.push(judge_pin(name, state));
    }
}

fn judge_pin(name: &str, state: &PinState) -> Finding {
    if state.blocked == Some(true) || state.tries_left == Some(0) {
        let remedy = if state.is_puk {
            "The card must be replaced: ask the office that issued it."
        } else {
            "`cnsctl pin unblock` with your PUK, or go to a counter of the office that issued the card."
        };
        return Finding::new(
            Level::Fault,
            "pin-blocked",
            format!("the {name} is blocked"),
            "The card takes it no more, not even the right one.",
            remedy,
        );
    }
    match state.tries_left {
        Some(1) => Finding::new(
            Level::Warning,
            "pin-last-try",
            format!("the {name} has one try left"),
            "One more wrong entry blocks it.",
            "Type it with care, or look it up first. The right one brings all tries back.",
        ),
        Some(tries) => Finding::ok("pin", format!("the {name} has {tries} tries left")),
        None => Finding::ok("pin", format!("the {name} is not blocked, as far as the chip tells")),
    }
}
