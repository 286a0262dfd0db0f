//! Each finding, from a computer on which all is well and one thing that is not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::path::{Path, PathBuf};

use cns_protocol::Role;
use cns_protocol::card::{Card, Certificate, Holder, KeyUse};
use cns_protocol::daemon::DaemonStatus;
use cns_protocol::pin::{PinName, PinState};
use cns_protocol::reader::{CardFace, Reader, ReaderKind, ReaderState};
use cns_protocol::rpc::Traffic;
use time::macros::datetime;

use super::*;
use crate::module::Target;
use crate::module::probe::Probed;
use crate::module::sandbox::Sandboxed;
use crate::module::survey::{Loaded, Maker};

const OPENSC: &str = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so";

fn certificate(key_use: KeyUse) -> Certificate {
    Certificate {
        key_use,
        der: Vec::new(),
        subject: String::new(),
        issuer: String::new(),
        serial_number: String::new(),
        not_before: "2026-01-15T00:00:00Z".into(),
        not_after: "2032-01-14T23:59:59Z".into(),
        sha256: String::new(),
        key_bits: 2048,
        pin_for_each_use: false,
        status: None,
    }
}

fn card() -> Card {
    let text = String::new;
    Card {
        reader: "Reader 0".into(),
        insertion: 1,
        serial: "6200000000001235".into(),
        generation: "st2021".into(),
        atr: text(),
        is_virtual: false,
        holder: Holder {
            surname: "MELIS".into(),
            name: "GRAZIA".into(),
            codice_fiscale: "MLSGRZ80A41B354W".into(),
            birth_date: text(),
            sex: text(),
            birth_place: text(),
        },
        issued: text(),
        expires: text(),
        certificates: vec![certificate(KeyUse::Authentication)],
        authorities: Vec::new(),
        findings: Vec::new(),
        data_agree: true,
        personal_data: Vec::new(),
        pin_tries_left: Some(3),
        puk_tries_left: None,
    }
}

fn reader(state: ReaderState) -> Reader {
    Reader {
        name: "Reader 0".into(),
        kind: ReaderKind::Pcsc,
        insertion: 1,
        state,
        face: Some(CardFace::Contacts),
        traffic: Traffic::default(),
        contents_reads: 1,
        pin_pad: false,
    }
}

/// This test's own file stands for the module: it is there.
fn module() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn loaded(program: Target, library: &Path, maker: Maker) -> Loaded {
    let (file, name) = ("/home/anna/.pki/nssdb/pkcs11.txt".into(), "Name".to_owned());
    Loaded { program, file, for_all: false, name, library: library.to_owned(), maker }
}

fn well() -> Facts {
    let (version, _) = VERSION.rsplit_once('.').unwrap();
    Facts {
        now: datetime!(2026-06-01 12:00 UTC),
        pcscd: Pcscd { is_installed: true, answers: true, logs_apdus: false },
        socket: "/run/cnsd/cnsd.sock".into(),
        daemon: Daemon::Answers(Box::new(Answers {
            status: DaemonStatus {
                version: VERSION.into(),
                protocol: 1,
                uptime_seconds: 5,
                roles: vec![Role::User],
            },
            readers: vec![reader(ReaderState::Card(Box::new(card())))],
            pins: Vec::new(),
            user: Some(0),
            has_polkit_rule: false,
            is_open_to_all: false,
        })),
        module: Ok((
            module(),
            Probed {
                version: version.into(),
                description: String::new(),
                tokens: vec!["GRAZIA MELIS".into()],
            },
        )),
        loaded: vec![loaded(Target::Firefox, &module(), Maker::Ours)],
        browsers: vec![Target::Firefox],
        sandboxed: Vec::new(),
    }
}

/// What is found beside what is well, when this is changed.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = well();
    change(&mut facts);
    judge(&facts, false).into_iter().filter(|finding| finding.level != Level::Ok).collect()
}

/// As [`found`], which must be this finding alone, with reason and remedy.
fn only(id: &str, level: Level, change: impl FnOnce(&mut Facts)) -> Finding {
    let findings = found(change);
    let [finding] = findings.as_slice() else { panic!("{id}: {findings:?}") };
    assert_eq!((finding.id, finding.level), (id, level), "{finding:?}");
    assert!(!finding.why.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
    finding.clone()
}

fn answers(facts: &mut Facts) -> &mut Answers {
    let Daemon::Answers(answers) = &mut facts.daemon else { panic!("the daemon answers") };
    answers
}

fn with_card(facts: &mut Facts, change: impl FnOnce(&mut Card)) {
    let mut card = card();
    change(&mut card);
    answers(facts).readers = vec![reader(ReaderState::Card(Box::new(card)))];
}

#[test]
fn where_all_is_well_nothing_is_complained_of() {
    assert_eq!(found(|_| {}), []);
    let ids: Vec<_> = judge(&well(), false).iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["pcscd-answers", "cnsd-answers", "card", "certificate", "pin", "module", "registered"]);
}

#[test]
fn the_holder_is_named_only_to_who_asks() {
    let told = |show_holder| format!("{:?}", judge(&well(), show_holder));
    assert!(told(true).contains("the card of GRAZIA MELIS"), "{}", told(true));
    let unasked = told(false);
    for secret in ["GRAZIA", "MELIS", "MLSGRZ", "6200000000001235"] {
        assert!(!unasked.contains(secret), "{secret}: {unasked}");
    }
}

#[test]
fn pcscd_is_missing_stopped_or_too_talkative() {
    only("pcscd-not-running", Level::Fault, |facts| facts.pcscd.answers = false);
    only("pcscd-not-installed", Level::Fault, |facts| {
        facts.pcscd = Pcscd { is_installed: false, answers: false, logs_apdus: false };
    });
    only("pcscd-logs-apdus", Level::Warning, |facts| facts.pcscd.logs_apdus = true);
}

#[test]
fn the_daemon_is_not_there_not_for_you_or_another_version() {
    for (is_installed, told) in [(true, "systemctl enable --now cnsd"), (false, "Install it")] {
        let finding = only("cnsd-not-running", Level::Fault, |facts| {
            facts.daemon = Daemon::NotRunning { is_installed };
        });
        assert!(finding.remedy.contains(told), "{finding:?}");
    }
    let access = |group: Option<&str>, is_member| {
        Daemon::NoAccess(SocketAccess { group: group.map(str::to_owned), is_member })
    };
    let finding = only("socket-no-access", Level::Fault, |facts| facts.daemon = access(Some("cns"), false));
    assert!(finding.remedy.contains("usermod -aG cns"), "{finding:?}");
    only("socket-no-access", Level::Fault, |facts| facts.daemon = access(None, false));
    let finding = only("group-not-active", Level::Fault, |facts| facts.daemon = access(Some("cns"), true));
    assert!(finding.remedy.contains("Log out"), "{finding:?}");
    only("cnsd-fails", Level::Fault, |facts| facts.daemon = Daemon::Fails("you have no role".into()));
    only("versions-differ", Level::Warning, |facts| answers(facts).status.version = "99.0.0".into());
    only("socket-open-to-all", Level::Note, |facts| answers(facts).is_open_to_all = true);
    only("polkit-rule-missing", Level::Fault, |facts| answers(facts).user = Some(990));
    assert_eq!(
        found(|facts| {
            answers(facts).user = Some(990);
            answers(facts).has_polkit_rule = true;
        }),
        []
    );
}

#[test]
fn readers_and_cards_are_told_in_each_state() {
    only("no-reader", Level::Fault, |facts| answers(facts).readers.clear());
    only("no-card", Level::Fault, |facts| answers(facts).readers = vec![reader(ReaderState::Empty)]);
    only("card-reading", Level::Note, |facts| answers(facts).readers = vec![reader(ReaderState::Reading)]);
    let finding = only("card-unusable", Level::Fault, |facts| {
        answers(facts).readers = vec![reader(ReaderState::Unusable("an identity card (CIE)".into()))];
    });
    assert!(finding.what.contains("an identity card (CIE)"), "{finding:?}");
    only("card-contactless", Level::Note, |facts| {
        answers(facts).readers[0].face = Some(CardFace::Contactless);
    });
    only("card-data-differ", Level::Warning, |facts| with_card(facts, |card| card.data_agree = false));
    // One reader with a card is enough.
    assert_eq!(
        found(|facts| answers(facts)
            .readers
            .push(Reader { name: "Reader 1".into(), ..reader(ReaderState::Empty) })),
        []
    );
}

#[test]
fn certificates_are_missing_or_out_of_time() {
    only("no-login-certificate", Level::Fault, |facts| {
        with_card(facts, |card| card.certificates = vec![certificate(KeyUse::Signature)]);
    });
    let at = |now| move |facts: &mut Facts| facts.now = now;
    only("certificate-expired", Level::Fault, at(datetime!(2032-01-15 0:00 UTC)));
    only("certificate-expires-soon", Level::Note, at(datetime!(2032-01-14 0:00 UTC)));
    only("certificate-not-yet-valid", Level::Fault, at(datetime!(2026-01-14 0:00 UTC)));
    assert_eq!(found(at(datetime!(2031-12-01 0:00 UTC))), []);
}

#[test]
fn pins_are_blocked_or_nearly() {
    only("pin-blocked", Level::Fault, |facts| with_card(facts, |card| card.pin_tries_left = Some(0)));
    only("pin-last-try", Level::Warning, |facts| with_card(facts, |card| card.pin_tries_left = Some(1)));
    assert_eq!(found(|facts| with_card(facts, |card| card.pin_tries_left = None)), []);
    let state = |is_puk, tries| PinState {
        which: PinName::Signature,
        is_puk,
        blocked: None,
        tries_left: Some(tries),
    };
    // What the card was asked for counts, not what was remembered.
    let finding = only("pin-blocked", Level::Fault, |facts| {
        with_card(facts, |card| card.pin_tries_left = Some(0));
        answers(facts).pins = vec![("Reader 0".into(), vec![state(false, 3), state(true, 0)])];
    });
    assert!(finding.what.contains("signature PUK") && finding.remedy.contains("replaced"), "{finding:?}");
}

#[test]
fn the_module_is_missing_old_or_blind() {
    let finding = only("module-unusable", Level::Fault, |facts| facts.module = Err("no such file".into()));
    assert!(finding.what.contains("no such file"), "{finding:?}");
    let probed =
        |change: fn(&mut Probed)| move |facts: &mut Facts| change(&mut facts.module.as_mut().unwrap().1);
    only("module-version-differs", Level::Warning, probed(|probed| probed.version = "99.0".into()));
    only("module-sees-no-card", Level::Fault, probed(|probed| probed.tokens.clear()));
}

#[test]
fn programs_do_not_know_the_module_or_know_a_wrong_one() {
    let finding = only("browser-not-registered", Level::Warning, |facts| facts.loaded.clear());
    assert_eq!(finding.remedy, "cnsctl module register firefox");
    only("registered-module-missing", Level::Fault, |facts| {
        facts.loaded[0].library = "/gone/libcns_pkcs11.so".into();
    });
    only("registered-other-module", Level::Note, |facts| facts.loaded[0].library = "/etc/hostname".into());
}

#[test]
fn other_middleware_beside_ours_is_a_double() {
    for program in [Target::Firefox, Target::Chromium, Target::P11Kit] {
        let finding = only("double", Level::Warning, |facts| {
            facts.loaded.push(loaded(program, &module(), Maker::Ours));
            facts.loaded.push(loaded(program, Path::new(OPENSC), Maker::Rival));
        });
        assert!(finding.what.contains(program.name()) && finding.what.contains(OPENSC), "{finding:?}");
    }
    // Alone in another program it claims nothing that is ours.
    assert_eq!(found(|facts| facts.loaded.push(loaded(Target::P11Kit, Path::new(OPENSC), Maker::Rival))), []);
    let proxy = || loaded(Target::Firefox, Path::new("/usr/lib/p11-kit-proxy.so"), Maker::Proxy);
    assert_eq!(found(|facts| facts.loaded.push(proxy())), []);
    only("double", Level::Warning, |facts| {
        facts.loaded.extend([proxy(), loaded(Target::P11Kit, &module(), Maker::Ours)]);
    });
}

#[test]
fn a_browser_in_a_sandbox_is_told_what_to_do() {
    let finding = only("browser-in-sandbox", Level::Warning, |facts| {
        facts.sandboxed = vec![Sandboxed { browser: "Firefox", sandbox: "snap" }];
    });
    assert!(finding.remedy.contains("snap remove"), "{finding:?}");
}
