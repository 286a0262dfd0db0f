use std::path::Path;

use cns_protocol::card::{Card, KeyUse};
use cns_protocol::pin::PinName;
use cns_protocol::reader::{Reader, ReaderState};
use cns_protocol::{ErrorKind, RpcError};
use cryptoki_sys as ck;
use cryptoki_sys::CK_OBJECT_HANDLE;
use proptest::prelude::*;

use super::{Change, Handles, Slot, Tries, padded};
use crate::error::Error;
use crate::test_cards;

const LOGIN: &[KeyUse] = &[KeyUse::Authentication];
const BOTH: &[KeyUse] = &[KeyUse::Authentication, KeyUse::Signature];

fn reader(insertion: u64, state: ReaderState) -> Reader {
    test_cards::reader("Reader 0", insertion, state)
}

fn card(insertion: u64, uses: &[KeyUse]) -> Reader {
    with(insertion, test_cards::card("6200000000012302", insertion, uses))
}

fn with(insertion: u64, card: Card) -> Reader {
    reader(insertion, ReaderState::Card(Box::new(card)))
}

struct Bench {
    slot: Slot,
    handles: Handles,
}

impl Bench {
    fn new() -> Self {
        Self { slot: Slot::new("Reader 0", Path::new("/nowhere")), handles: Handles::default() }
    }

    fn update(&mut self, reader: Reader) -> Change {
        self.slot.update(reader, false, &mut self.handles)
    }

    fn restart(&mut self, reader: Reader) -> Change {
        self.slot.update(reader, true, &mut self.handles)
    }

    fn log_in(&mut self) {
        self.slot.token_mut().unwrap().logged_in = true;
    }

    fn visible(&self) -> Vec<CK_OBJECT_HANDLE> {
        self.slot.token().unwrap().visible().map(|(handle, _)| handle).collect()
    }
}

#[test]
fn a_card_comes_and_goes() {
    let mut bench = Bench::new();
    assert_eq!(bench.update(reader(0, ReaderState::Empty)), Change::None);
    assert_eq!(bench.slot.token().err(), Some(Error::TokenNotPresent));
    assert!(!bench.slot.event);

    assert_eq!(bench.update(reader(1, ReaderState::Reading)), Change::None);
    assert_eq!(bench.update(card(1, LOGIN)), Change::Replaced);
    assert!(bench.slot.event && bench.slot.is_occupied());

    assert_eq!(bench.update(reader(2, ReaderState::Empty)), Change::Replaced);
    assert_eq!(bench.slot.token().err(), Some(Error::TokenNotPresent));

    assert_eq!(bench.update(reader(3, ReaderState::Unusable("no CNS".to_owned()))), Change::Replaced);
    assert_eq!(bench.slot.token().err(), Some(Error::TokenNotRecognized));
}

#[test]
fn a_card_swapped_between_two_looks_is_another_token() {
    let mut bench = Bench::new();
    bench.update(card(1, LOGIN));
    bench.log_in();
    let before = bench.visible();
    assert_eq!(bench.update(card(3, LOGIN)), Change::Replaced);
    assert!(!bench.slot.token().unwrap().logged_in);
    assert!(bench.visible().iter().all(|handle| !before.contains(handle)));
}

#[test]
fn a_new_certificate_leaves_the_others_and_the_login_alone() {
    let mut bench = Bench::new();
    bench.update(card(1, LOGIN));
    bench.log_in();
    let before = bench.visible();
    assert_eq!(bench.update(reader(1, ReaderState::Reading)), Change::None);
    assert_eq!(bench.update(card(1, BOTH)), Change::None);
    assert!(bench.slot.token().unwrap().logged_in);
    let after = bench.visible();
    assert_eq!((before.len(), after.len()), (9, 12));
    assert!(before.iter().all(|handle| after.contains(handle)));
}

#[test]
fn a_restarted_daemon_knows_no_login() {
    let mut bench = Bench::new();
    bench.update(card(7, LOGIN));
    bench.log_in();
    // The same card: sessions stay, the login does not, whatever the new daemon counts.
    assert_eq!(bench.restart(card(1, LOGIN)), Change::None);
    assert!(!bench.slot.token().unwrap().logged_in);
    // Another card that has by chance the same insertion counter.
    let other = with(1, test_cards::card("6200000000099999", 1, LOGIN));
    assert_eq!(bench.restart(other), Change::Replaced);
}

#[test]
fn private_objects_are_seen_after_the_login_only() {
    let mut bench = Bench::new();
    bench.update(card(1, BOTH));
    // Certificates and public keys, EF_ID_Carta and four profiles.
    assert_eq!(bench.visible().len(), 9);
    bench.log_in();
    // The private keys and EF_Dati_personali.
    let all = bench.visible();
    assert_eq!(all.len(), 12);
    let Bench { slot, handles } = &mut bench;
    slot.token_mut().unwrap().log_out(handles);
    assert_eq!(bench.visible().len(), 9);
    // "any of the application's handles to private objects become invalid", even after another login.
    bench.log_in();
    let again = bench.visible();
    assert_eq!(all.iter().filter(|handle| again.contains(handle)).count(), 9);
}

#[test]
fn the_flags_tell_about_the_tries() {
    let low = ck::CKF_USER_PIN_COUNT_LOW;
    let cases = [
        (None, 0),
        (Some(3), 0),
        (Some(2), low),
        (Some(1), low | ck::CKF_USER_PIN_FINAL_TRY),
        (Some(0), ck::CKF_USER_PIN_LOCKED),
    ];
    for (tries, flags) in cases {
        let mut bench = Bench::new();
        let known = test_cards::card("6200000000012302", 1, LOGIN);
        bench.update(with(1, Card { pin_tries_left: tries, ..known }));
        assert_eq!(bench.slot.token().unwrap().pin_flags(), flags, "{tries:?}");
    }
}

#[test]
fn a_refusal_tells_about_the_tries() {
    let tries = |left, last_told| Tries { left, last_told };
    let mut known = Tries::default();
    known.note(&RpcError::new(ErrorKind::PinIncorrect, "").tries_left(Some(1)));
    assert_eq!(known, tries(Some(1), false));
    known.note(&RpcError::new(ErrorKind::LastTry, ""));
    assert_eq!(known, tries(Some(1), true));
    known.note(&RpcError::new(ErrorKind::PinBlocked, ""));
    assert_eq!(known, tries(Some(0), true));
    known.note(&RpcError::new(ErrorKind::ReaderFailed, ""));
    assert_eq!(known, tries(Some(0), true));
}

#[test]
fn the_two_pins_have_tries_of_their_own() {
    let mut bench = Bench::new();
    bench.update(card(1, BOTH));
    let token = bench.slot.token_mut().unwrap();
    token.tries(PinName::Signature).note(&RpcError::new(ErrorKind::LastTry, ""));
    assert_eq!(*token.tries(PinName::Cns), Tries::default());
    assert_eq!(token.pin_flags(), 0);
}

#[test]
fn a_token_without_a_holder_has_its_number_for_a_label() {
    let mut bench = Bench::new();
    let mut known = test_cards::card("6200000000012302", 1, LOGIN);
    known.holder.name.clear();
    known.holder.surname.clear();
    bench.update(with(1, known));
    assert_eq!(bench.slot.token().unwrap().label(), "6200000000012302 - CNS login");
}

#[test]
fn a_label_says_the_use_however_long_the_name_is() {
    let label = |name: &str, uses: &[KeyUse]| {
        let mut bench = Bench::new();
        let mut known = test_cards::card("6200000000012302", 1, uses);
        (known.holder.name, known.holder.surname) = (name.to_owned(), "ROSSI".to_owned());
        bench.update(with(1, known));
        bench.slot.token().unwrap().label()
    };
    assert_eq!(label("MARIO", LOGIN), "MARIO ROSSI - CNS login");
    assert_eq!(label("MARIO", BOTH), "MARIO ROSSI - CNS login", "the signature PIN is asked for by itself");
    assert_eq!(label("MARIO", &[KeyUse::Signature]), "MARIO ROSSI - signature");
    assert_eq!(label("MARIO", &[]), "MARIO ROSSI - CNS");
    // The twentieth byte is in the middle of the character.
    let long = label("MARIANNA CONCETTA NÒ", LOGIN);
    assert_eq!(long, "MARIANNA CONCETTA N - CNS login");
    assert!(long.len() <= 32);
}

#[test]
fn text_is_cut_between_characters() {
    assert_eq!(&padded::<8>("MARIO"), b"MARIO   ");
    assert_eq!(&padded::<5>("MARIO"), b"MARIO");
    assert_eq!(padded::<5>("NICCOLÒ"), *b"NICCO");
    // Ò takes two bytes, of which the field has room for one.
    assert_eq!(padded::<7>("NICCOLÒ"), *b"NICCOL ");
    assert_eq!(padded::<8>("NICCOLÒ"), *"NICCOLÒ".as_bytes());
}

proptest! {
    #[test]
    fn any_text_fits_its_field(text in any::<String>()) {
        let field = padded::<32>(&text);
        let field = std::str::from_utf8(&field).unwrap();
        let kept = field.trim_end_matches(' ');
        prop_assert!(text.starts_with(kept));
        // Nothing is left out that would fit.
        let next = text[kept.len()..].trim_start_matches(' ').chars().next();
        let blanks = text[kept.len()..].len() - text[kept.len()..].trim_start_matches(' ').len();
        prop_assert!(next.is_none_or(|next| kept.len() + blanks + next.len_utf8() > 32));
    }
}
