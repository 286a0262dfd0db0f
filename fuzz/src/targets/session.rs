//! Whole sessions of the daemon with a card that lies: recognised, listed, asked, signed with, given new codes, made
//! a signature area on. Commands stay within the budgets, and a code is presented once at most by each job.

use std::cell::RefCell;

use cns_apdu::certificate_container::LONGEST;
use cns_apdu::file_map::{Fid, FilePath, PUBLIC_OBJECT_DIRECTORY, SIGNATURE_CERTIFICATE};
use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_secret::Secret;
use cns_virtual_card::sample;
use cnsd::card::{CardError, CardSession, LastTry, pin, random, sign, signature_area};
use cnsd::reader::Budget;
use cnsd::reader::direct::DirectCard;

use crate::input::Input;
use crate::liar::{CERTIFICATE, FileCard, Liar, SIGNED, answer_to_reset};

type Job = fn(&mut CardSession<'_>) -> Result<(), CardError>;

/// What the daemon does with a card, and how many codes each may present.
const JOBS: [(Job, usize); 9] = [
    (|session| pin::status(session).map(drop), 0),
    (|session| random::random(session, 100).map(drop), 0),
    (|session| pin::verify(session, PinName::Cns, &secret(sample::PIN), LastTry::Ask).map(drop), 1),
    (|session| sign_with(session, KeyUse::Authentication), 1),
    (|session| sign_with(session, KeyUse::Signature), 1),
    (
        |session| {
            let (old, new) = (secret(sample::PIN), secret(b"54321"));
            pin::change(session, PinName::Cns, &old, &new, LastTry::Ask).map(drop)
        },
        1,
    ),
    (
        |session| {
            pin::reset(session, PinName::Cns, &secret(sample::PUK), &secret(sample::PIN), LastTry::Ask)
                .map(drop)
        },
        1,
    ),
    (|session| signature_area::inspect(session).map(drop), 0),
    (
        |session| {
            let (pin, area_pin, puk) = (secret(sample::PIN), secret(b"54321"), secret(b"11223344"));
            signature_area::create(session, &pin, &area_pin, &puk, &|_| ())
        },
        1,
    ),
];

fn secret(digits: &[u8]) -> Secret {
    Secret::copy_from(digits).expect("locked memory")
}

fn sign_with(session: &mut CardSession<'_>, key_use: KeyUse) -> Result<(), CardError> {
    let pin = secret(sample::PIN);
    let signature = sign::sign(session, key_use, &pin, LastTry::Ask, &Mechanism::RsaPkcs1, &SIGNED)?;
    // Checked with the certificate's key before it is given out: a wrong one never gets here.
    assert_eq!(
        Some(signature.len()),
        session.contents().public_key(key_use).map(rsa::traits::PublicKeyParts::size)
    );
    Ok(())
}

/// The liar's files: the classic tree, with a second certificate, in the store of IDEMIA's chips.
fn files(choice: u8) -> FileCard {
    let mut card = FileCard::sample();
    if choice & 0x01 != 0 {
        card.put(&SIGNATURE_CERTIFICATE, CERTIFICATE);
    }
    if choice & 0x02 != 0 {
        card.remove(&cns_apdu::file_map::AUTHENTICATION_CERTIFICATE);
        card.put(&FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x2002)]), CERTIFICATE);
        card.put(
            &PUBLIC_OBJECT_DIRECTORY,
            &[[0xFF, 0x20, 0x02, 0x03, 0xEB], [0xFF, 0x20, 0x0E, 0x03, 0xEB]].concat(),
        );
    }
    card
}

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (choice, atr) = (input.byte(), input.byte());
    let liar = RefCell::new(Liar::new(files(choice), input));
    let sent = RefCell::new((0_u32, 0_usize, Vec::new()));
    let mut direct = DirectCard::new(&answer_to_reset(atr), |command| {
        let mut sent = sent.borrow_mut();
        sent.0 += 1;
        sent.1 += usize::from(presents_a_code(command));
        if !matches!(command.get(1), Some(0x20 | 0x24 | 0x2C | 0xDA)) && holds_a_code(command) {
            sent.2 = command.to_vec();
        }
        Ok(liar.borrow_mut().answer(command))
    });
    let read = direct.read();
    assert!(sent.borrow().0 <= Budget::RECOGNITION.commands);
    assert_eq!(sent.borrow().1, 0, "recognition presented a code");
    let Ok(contents) = read else { return };
    assert!(
        [KeyUse::Authentication, KeyUse::Signature]
            .iter()
            .all(|key_use| contents.certificate(*key_use).is_none_or(|der| der.len() <= LONGEST))
    );
    serde_json::to_vec(&contents.card).expect("a card can be told about");
    for (number, (job, codes)) in JOBS.into_iter().enumerate() {
        *sent.borrow_mut() = Default::default();
        let resets = direct.resets();
        // What comes of it is the card's affair.
        _ = direct.run(&contents, job);
        let sent = sent.borrow();
        assert!(sent.0 <= Budget::JOB.commands);
        assert!(sent.1 <= codes, "job {number} presented {} codes", sent.1);
        assert!(sent.1 == 0 || direct.resets() > resets, "job {number} left what it opened");
        assert!(sent.2.is_empty(), "job {number} sent a code with {:02X?}", sent.2.get(..4));
    }
}

/// VERIFY, CHANGE REFERENCE DATA or RESET RETRY COUNTER with data.
fn presents_a_code(command: &[u8]) -> bool {
    matches!(command, [_, 0x20 | 0x24 | 0x2C, _, _, _, _, ..])
}

fn holds_a_code(command: &[u8]) -> bool {
    [sample::PIN, sample::PUK, b"54321", b"11223344"]
        .iter()
        .any(|code| command.windows(code.len()).any(|window| window == *code))
}
