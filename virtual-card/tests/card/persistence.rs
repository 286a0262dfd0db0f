//! The card's directory: what it holds, who may open it, what a torn write does to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cns_virtual_card::{Behaviour, Personalisation, StateError, VirtualCard, sample};

use crate::{SELECT_SIGNATURE_DF, VERIFY_PIN, expect, run, send};

/// Format version 1 as the first release writes it. Never to be changed: a new format gets a new sample, and
/// this one must still open.
const FORMAT_1: &[u8] = include_bytes!("card-format-1.json");
/// The same version with what cards of several applications have beside: an ACe 2025.
const FORMAT_1_APPLICATIONS: &[u8] = include_bytes!("card-format-1-applications.json");

fn order() -> Personalisation {
    sample::personalisation().unwrap()
}

#[test]
fn everything_that_is_not_volatile_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let behaviour = Behaviour { strict_incard: true, key_generation_seconds: 7, ..Behaviour::default() };
    let mut card = VirtualCard::create_in(&path, Personalisation { behaviour, ..order() }).unwrap();
    card.load_certificate(&[0x30, 0x03, 1, 2, 3]).unwrap();
    expect(&mut card, VERIFY_PIN, "9000");
    send(&mut card, SELECT_SIGNATURE_DF);
    run(
        &mut card,
        &[
            ("00DA016E21 8302001A 850802038703FF000005 8607001A1BFFFFFFFF 8F08 3534333231FFFFFF", "9000"),
            ("00E000001D 621B 81020800 8203380000 83028110 850101 8609FF1010FFFF101010FF", "9000"),
            ("00DA016F07 8405A000000099", "9000"),
            ("00E000001D 621B 80020010 820305FFFF 83028010 850101 8609000000FFFF1010FFFF", "9000"),
            ("00E2000004 1002AABB", "9000"),
        ],
    );
    let before = serde_json::to_value(card.summary()).unwrap();
    drop(card);
    let mut card = VirtualCard::open(&path).unwrap();
    assert_eq!(serde_json::to_value(card.summary()).unwrap(), before);
    assert_eq!(card.behaviour(), behaviour);
    run(
        &mut card,
        &[
            ("00A4040C05A000000099", "9000"),
            ("0020009A", "63C3"),
            ("00A4020C028010", "9000"),
            ("00B2010400", "1002AABB 9000"),
            ("00A4080C0411001101", "9000"),
            ("00B0000006", "300301020300 9000"),
        ],
    );
}

#[test]
fn only_the_owner_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    drop(VirtualCard::create_in(&path, order()).unwrap());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("card.json")), 0o600);
}

#[test]
fn one_process_and_one_card_per_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let first = VirtualCard::create_in(&path, order()).unwrap();
    assert!(matches!(VirtualCard::open(&path), Err(StateError::InUse(_))));
    drop(first);
    assert!(VirtualCard::create_in(&path, order()).is_err());
    VirtualCard::open(&path).unwrap();
}

#[test]
fn a_torn_write_leaves_the_state_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    drop(VirtualCard::create_in(&path, order()).unwrap());
    let whole = fs::read(path.join("card.json")).unwrap();
    fs::write(path.join("card.json.new"), &whole[..whole.len() / 2]).unwrap();
    let mut card = VirtualCard::open(&path).unwrap();
    expect(&mut card, "0024009010 3132333435FFFFFF 3233343536FFFFFF", "9000");
    drop(card);
    expect(&mut VirtualCard::open(&path).unwrap(), "0020009008 3233343536FFFFFF", "9000");
}

#[test]
fn damage_and_other_versions_are_told_without_quoting_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let text = String::from_utf8(FORMAT_1.to_vec()).unwrap();
    fs::write(path.join("card.json"), text.replacen("\"format\":1", "\"format\":2", 1)).unwrap();
    assert!(matches!(VirtualCard::open(path), Err(StateError::Format { version: 2, .. })));
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        fs::write(path.join("card.json"), &text[..cut]).unwrap();
        let error = VirtualCard::open(path).err().unwrap();
        assert!(matches!(error, StateError::Damaged { .. }), "{cut}");
        let pin = "3132333435ffffff";
        assert!(text.contains(pin) && !error.to_string().contains(pin));
    }
    assert!(matches!(VirtualCard::open(&path.join("none")), Err(StateError::Absent(_))));
    assert!(!path.join("none").exists());
}

#[test]
fn the_frozen_sample_opens() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("card.json"), FORMAT_1).unwrap();
    let mut card = VirtualCard::open(folder.path()).unwrap();
    assert_eq!(card.summary().id_card, sample::ID_CARD);
    run(&mut card, &[("00200090", "63C2"), (VERIFY_PIN, "9000"), ("00A4080C0414008110", "9000")]);
    expect(&mut card, "0020009A08 3534333231FFFFFF", "9000");
}

/// A card that was made before a switch was thought of behaves as if the switch were off.
#[test]
fn a_card_made_before_a_switch_has_it_off() {
    let text = String::from_utf8(FORMAT_1.to_vec()).unwrap();
    let older = |remove: &str| text.replacen(&format!("\"{remove}\":false,"), "", 1);
    let unheard_of = text.replacen("\"behaviour\":{", "\"behaviour\":{\"unheard_of\":true,", 1);
    assert!(!text.contains("strict_restore") && !text.contains("t0"), "the sample is older than both");
    for (text, opens) in [(text.clone(), true), (older("lenient_decipher"), true), (unheard_of, false)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("card.json"), text).unwrap();
        let opened = VirtualCard::open(folder.path());
        assert_eq!(opened.is_ok(), opens, "what nobody knows is not passed over");
        let Ok(mut card) = opened else { continue };
        assert_eq!(card.behaviour(), Behaviour::default());
        // MSE RESTORE with a fifth byte is taken; answers come whole, and there is no GET RESPONSE.
        run(&mut card, &[("0022F30300", "9000"), ("00C0000010", "6D00"), ("00A4080C0410001003", "9000")]);
        expect(&mut card, "00B0000020", &format!("{} 9000", hex::encode_upper(sample::ID_CARD)));
        // What is off is not written down either, so that an older program still opens the card.
        expect(&mut card, VERIFY_PIN, "9000");
        let written = fs::read_to_string(folder.path().join("card.json")).unwrap();
        assert!(!written.contains("strict_restore") && !written.contains("\"t0\""));
    }
    // The opposite of each default is told apart by the same commands.
    let behaviour = Behaviour { strict_restore: true, t0: true, ..Behaviour::default() };
    let mut card = crate::behaving(behaviour);
    run(&mut card, &[("0022F30300", "6700"), ("00C0000010", "6985"), ("00A4080C0410001003", "9000")]);
    expect(&mut card, "00B0000020", "6C10");
}

#[test]
fn the_frozen_sample_with_applications_opens() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("card.json"), FORMAT_1_APPLICATIONS).unwrap();
    let mut card = VirtualCard::open(folder.path()).unwrap();
    assert_eq!(card.summary().generation.name(), "ace2025");
    run(&mut card, &[("00A4080C04DA01C001", "6A82"), ("00A4040C0AA000000530455349474E", "9000")]);
    assert!(send(&mut card, "00A4080004DA01C00100").contains("820101880108"));
    run(&mut card, &[("0020001008 3132333435FFFFFF", "9000"), ("00A4080C04DA01C001", "9000")]);
    assert!(send(&mut card, "00B0000004").starts_with("3082"));
}
