//! The holder's PINs and PUKs.
//!
//! A wrong value is never tried again by the software, and what the chip told about the tries left is remembered
//! while the card stays. The digits are judged before the chip is touched.

use cns_apdu::command::{
    ChangeProof, ChangeReferenceData, PinReference, ReferenceData, ReferenceDataError, ResetAction,
    ResetRetryCounter, Verify,
};
use cns_apdu::generation::{KeyPlace, TriesQuery};
use cns_apdu::{CardCommand, Status, StatusWord};
use cns_protocol::card::KeyUse;
use cns_protocol::pin::{PinName, PinState};
use cns_secret::Secret;

use super::{CardError, CardSession, stored_keys};
use crate::reader::{Known, PinOrder};

/// The length of a PUK.
const PUK_LENGTH: usize = 8;

/// Where a PIN comes from.
pub enum PinSource {
    /// The client gave it, with this request or at its login.
    Given(Secret),
    /// A person types it on the reader, and the daemon never has it.
    Pad,
}

impl PinSource {
    /// Whether a person is to type on the reader.
    #[must_use]
    pub const fn is_pad(&self) -> bool {
        matches!(self, Self::Pad)
    }
}

/// What to do when one try is known to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastTry {
    /// Refuse with [`CardError::LastTry`], the code not presented. Where another program may have spent tries since the
    /// chip told how many are left, it is asked again before.
    Ask,
    /// As [`LastTry::Ask`], for a value that this card has accepted since it came: presented again it costs no try,
    /// so the chip is not asked again for what others spent.
    Accepted,
    /// Spend it: the person was asked.
    Confirmed,
}

/// A PIN or a PUK of a card.
#[derive(Clone, Copy)]
struct Code {
    which: PinName,
    is_puk: bool,
    reference: PinReference,
}

/// Where a PIN is.
struct Place<'a> {
    /// The name that its tries are known by: keys of an object store may share one PIN.
    which: PinName,
    key: &'a KeyPlace,
    pin: PinReference,
}

impl Place<'_> {
    fn puk(&self) -> Result<PinReference, CardError> {
        stored_keys::puk_of(self.key, self.pin)
    }
}

/// Presents a PIN. Until the end of the job what it protects is open.
///
/// # Errors
/// [`CardError::PinInvalid`], [`CardError::LastTry`], [`CardError::PinIncorrect`], [`CardError::PinBlocked`], or what
/// the reader says.
pub fn verify(
    session: &mut CardSession<'_>,
    which: PinName,
    pin: &Secret,
    last_try: LastTry,
) -> Result<(), CardError> {
    let value = digits(pin)?;
    let code = prepare(session, which, false, last_try)?;
    spend(session, code, &Verify { reference: code.reference, value: Some(value) })
}

/// As [`verify`], with a PIN that is typed on the reader. That the card got it is the reader's word; the use of the key
/// shows it.
///
/// # Errors
/// As [`verify`], [`CardError::NoPinPad`], [`CardError::PinEntryTimedOut`], [`CardError::PinEntryCancelled`],
/// [`CardError::PinPadFailed`].
pub(super) fn verify_at_pad(
    session: &mut CardSession<'_>,
    which: PinName,
    last_try: LastTry,
) -> Result<(), CardError> {
    let code = prepare(session, which, false, last_try)?;
    enter(session, code, PinOrder::Verify(code.reference))
}

/// Uses a key with a PIN that is typed on the reader when the work presents it. The use shows whether the reader gave it
/// to the card.
pub(super) fn use_at_pad<T>(
    session: &mut CardSession<'_>,
    last_try: LastTry,
    work: impl FnOnce(
        &mut CardSession<'_>,
        &mut dyn FnMut(&mut CardSession<'_>, PinName) -> Result<(), CardError>,
    ) -> Result<T, CardError>,
) -> Result<T, CardError> {
    let mut entered = None;
    let outcome = work(session, &mut |session, which| {
        verify_at_pad(session, which, last_try)?;
        entered = Some(which);
        Ok(())
    });
    match (outcome, entered) {
        (Ok(done), Some(_)) => {
            session.prove_pin_pad();
            Ok(done)
        }
        (Err(error), Some(which)) => Err(unseen(session, which, error)),
        (outcome, None) => outcome,
    }
}

/// What a refusal of a key means whose PIN was typed on the reader, which said that it was right.
fn unseen(session: &mut CardSession<'_>, which: PinName, error: CardError) -> CardError {
    if error.status() != Some(StatusWord::SECURITY_NOT_SATISFIED) {
        return error;
    }
    let why = "it says that the PIN was right, but the card has not seen it";
    session.distrust_pin_pad(why);
    let tries_left = match place(session, which) {
        Ok(Place { which, pin, .. }) => {
            let code = Code { which, is_puk: false, reference: pin };
            session.set_tries(which, false, unheard(session, code));
            ask(session, code).ok().flatten().and_then(|state| state.tries_left)
        }
        Err(_) => None,
    };
    CardError::PinPadFailed { why: why.to_owned(), tries_left }
}

/// Changes a PIN on a reader that has been seen to tell the truth.
///
/// # Errors
/// As [`change`] and [`verify_at_pad`], and [`CardError::PinEntriesDiffer`].
pub(super) fn change_at_pad(
    session: &mut CardSession<'_>,
    which: PinName,
    last_try: LastTry,
) -> Result<PinName, CardError> {
    proved(session)?;
    let code = prepare(session, which, false, last_try)?;
    enter(session, code, PinOrder::Change(code.reference))?;
    Ok(code.which)
}

/// Sets a PIN with its PUK; both are typed on the reader, which must have been seen to tell the truth.
///
/// # Errors
/// As [`reset`]; those of a keypad, and [`CardError::PinPadUnproved`].
pub fn reset_at_pad(
    session: &mut CardSession<'_>,
    which: PinName,
    last_try: LastTry,
) -> Result<PinName, CardError> {
    proved(session)?;
    let puk = prepare(session, which, true, last_try)?;
    let reference = place(session, which)?.pin;
    enter(session, puk, PinOrder::Reset(reference))?;
    session.set_tries(puk.which, false, Known::All);
    Ok(puk.which)
}

fn proved(session: &CardSession<'_>) -> Result<(), CardError> {
    if session.is_pin_pad_proved() { Ok(()) } else { Err(CardError::PinPadUnproved) }
}

/// As [`verify`] of the CNS PIN, and leaves the login key open for the first use of the login.
///
/// # Errors
/// As [`verify`].
pub fn log_in(session: &mut CardSession<'_>, pin: &Secret, last_try: LastTry) -> Result<(), CardError> {
    drop(session.take_login());
    verify(session, PinName::Cns, pin, last_try)?;
    session.keep_login(pin, None);
    Ok(())
}

/// Changes a PIN, given the old one.
///
/// Gives the name of the PIN that is another now: keys may share one.
///
/// # Errors
/// As [`verify`]. The old PIN being wrong costs a try.
pub fn change(
    session: &mut CardSession<'_>,
    which: PinName,
    old: &Secret,
    new: &Secret,
    last_try: LastTry,
) -> Result<PinName, CardError> {
    let proof = ChangeProof::Value(digits(old)?);
    let new = digits(new)?;
    let code = prepare(session, which, false, last_try)?;
    spend(session, code, &ChangeReferenceData { reference: code.reference, proof, new })?;
    Ok(code.which)
}

/// Sets a PIN with its PUK, whether it is blocked or not (`cns-card` §7). Gives the name of the PIN as [`change`].
///
/// # Errors
/// [`CardError::PinInvalid`], [`CardError::LastTry`] (for the PUK), [`CardError::PukIncorrect`],
/// [`CardError::PukBlocked`], or what the reader says.
pub fn reset(
    session: &mut CardSession<'_>,
    which: PinName,
    puk: &Secret,
    new: &Secret,
    last_try: LastTry,
) -> Result<PinName, CardError> {
    if puk.len() != PUK_LENGTH {
        return Err(CardError::PinInvalid);
    }
    let action = ResetAction::SetNew { puk: digits(puk)?, new: digits(new)? };
    let puk = prepare(session, which, true, last_try)?;
    let reference = place(session, which)?.pin;
    spend(session, puk, &ResetRetryCounter { reference, action })?;
    session.set_tries(puk.which, false, Known::All);
    Ok(puk.which)
}

/// Gives a PIN all its tries again with its PUK; its value stays (`cns-card` §7). Gives the name of the PIN as [`change`].
///
/// # Errors
/// As [`reset`].
pub fn unblock(
    session: &mut CardSession<'_>,
    which: PinName,
    puk: &Secret,
    last_try: LastTry,
) -> Result<PinName, CardError> {
    if puk.len() != PUK_LENGTH {
        return Err(CardError::PinInvalid);
    }
    let action = ResetAction::KeepValue { puk: digits(puk)? };
    let puk = prepare(session, which, true, last_try)?;
    let reference = place(session, which)?.pin;
    spend(session, puk, &ResetRetryCounter { reference, action })?;
    session.set_tries(puk.which, false, Known::All);
    Ok(puk.which)
}

/// What is known of every PIN and PUK, asked of the chip where that is known to cost no try.
///
/// # Errors
/// What the reader says; a chip that does not tell is no error.
pub fn status(session: &mut CardSession<'_>) -> Result<Vec<PinState>, CardError> {
    let mut states = Vec::new();
    // Before anything that goes there for sure, which ends a neighbour's work.
    let application = session.place(KeyUse::Authentication)?.application;
    session.look_into(application)?;
    for asked in [PinName::Cns, PinName::Signature] {
        let Ok(Place { which, key, pin }) = place(session, asked) else {
            continue;
        };
        if which != asked {
            // It is the other one.
            continue;
        }
        session.look_into(key.application)?;
        match session.chip().select_df(&key.pin_df) {
            Ok(()) => {}
            // No such DF: no such PIN.
            Err(CardError::Refused { .. }) => continue,
            Err(error) => return Err(error),
        }
        let puk = stored_keys::puk_of(key, pin).ok();
        for (is_puk, reference) in [(false, Some(pin)), (true, puk)] {
            let Some(reference) = reference else { continue };
            let code = Code { which, is_puk, reference };
            if let Some(state) = ask(session, code)? {
                states.push(state);
            }
        }
    }
    Ok(states)
}

/// Five to eight digits, padded as the chip wants them.
pub(super) fn digits(secret: &Secret) -> Result<ReferenceData, CardError> {
    ReferenceData::from_digits(secret).map_err(|error| match error {
        ReferenceDataError::Length | ReferenceDataError::NotDigits => CardError::PinInvalid,
        ReferenceDataError::Secret(error) => CardError::Memory(error),
    })
}

/// Whether a signature PIN is in the current DF or above; nothing when the chip cannot be asked safely.
pub(super) fn is_there(
    session: &mut CardSession<'_>,
    reference: PinReference,
) -> Result<Option<bool>, CardError> {
    if !can_be_asked(session) {
        return Ok(None);
    }
    match session.run(&Verify { reference, value: None }) {
        Ok(()) => Ok(Some(true)),
        Err(error) => match error.status().map(StatusWord::meaning) {
            Some(Status::RetriesLeft(_) | Status::Blocked | Status::VerificationFailed) => Ok(Some(true)),
            Some(Status::ObjectNotFound | Status::FileNotFound) => Ok(Some(false)),
            Some(_) => Ok(None),
            None => Err(error),
        },
    }
}

fn place<'a>(session: &mut CardSession<'a>, which: PinName) -> Result<Place<'a>, CardError> {
    match which {
        PinName::Cns => {
            let key = session.place(KeyUse::Authentication)?;
            Ok(Place { which, key, pin: key.pin })
        }
        PinName::Signature => {
            let key = session.place(KeyUse::Signature)?;
            let other = session.place(KeyUse::Authentication)?;
            let pin = stored_keys::signature_pin(session, key)?;
            let shared = key.shares_pin_with(other) && pin == other.pin;
            Ok(Place { which: if shared { PinName::Cns } else { PinName::Signature }, key, pin })
        }
    }
}

/// Goes where the code is, and judges whether a try may be spent on it.
fn prepare(
    session: &mut CardSession<'_>,
    which: PinName,
    is_puk: bool,
    last_try: LastTry,
) -> Result<Code, CardError> {
    let place = place(session, which)?;
    let which = place.which;
    let code = Code { which, is_puk, reference: if is_puk { place.puk()? } else { place.pin } };
    let known = session.tries(which, is_puk);
    let refuse = |known| last_try != LastTry::Confirmed && known == Known::Left(1);
    let is_stale = last_try == LastTry::Ask && session.is_stale(which, is_puk) && can_be_asked(session);
    if !is_stale && refuse(known) {
        return Err(CardError::LastTry);
    }
    session.chip().enter(place.key.application)?;
    match session.chip().select_df(&place.key.pin_df) {
        Err(CardError::Refused { status: StatusWord::FILE_NOT_FOUND, .. }) => {
            return Err(CardError::NoSuchObject("signature area"));
        }
        outcome => outcome?,
    }
    // Once per insertion on a reader of our own, so that a try lost elsewhere is not followed by the last one unasked;
    // once per transaction on one that others reach.
    if is_stale || (last_try != LastTry::Confirmed && known == Known::Nothing) {
        ask(session, code)?;
        if refuse(session.tries(which, is_puk)) {
            return Err(CardError::LastTry);
        }
    }
    Ok(code)
}

/// Whether the chip tells the tries left at no cost.
fn can_be_asked(session: &CardSession<'_>) -> bool {
    session.contents().generation.tries_query != TriesQuery::Avoid
}

/// Asks the chip for the tries left, where that is known to cost none. Nothing when there is no such code.
fn ask(session: &mut CardSession<'_>, code: Code) -> Result<Option<PinState>, CardError> {
    let (which, is_puk) = (code.which, code.is_puk);
    let state = |blocked, tries_left| Some(PinState { which, is_puk, blocked, tries_left });
    if can_be_asked(session) {
        session.has_heard(which, is_puk);
        match session.run(&Verify { reference: code.reference, value: None }) {
            Ok(()) => return Ok(state(Some(false), None)),
            Err(error) => match error.status().map(StatusWord::meaning) {
                Some(Status::RetriesLeft(tries)) => session.set_tries(which, is_puk, Known::Left(tries)),
                Some(Status::Blocked) => session.set_tries(which, is_puk, Known::Left(0)),
                Some(Status::ObjectNotFound | Status::FileNotFound) => return Ok(None),
                Some(_) => {}
                None => return Err(error),
            },
        }
    }
    Ok(match session.tries(which, is_puk) {
        Known::Nothing => state(None, None),
        Known::All => state(Some(false), None),
        Known::Left(tries) => state(Some(tries == 0), Some(tries)),
    })
}

/// Runs a command that presents a code, and remembers what the chip says about the tries left.
fn spend<C: CardCommand<Answer = ()>>(
    session: &mut CardSession<'_>,
    code: Code,
    command: &C,
) -> Result<(), CardError> {
    session.open();
    let outcome = session.run(command);
    judge(session, code, outcome)
}

/// Lets a code be typed on the reader, once.
fn enter(session: &mut CardSession<'_>, code: Code, order: PinOrder) -> Result<(), CardError> {
    session.open();
    let outcome = session.enter_pin(order);
    let outcome = judge(session, code, outcome);
    match outcome {
        // What the reader did with the PIN is not known: the card is asked before anybody tries again.
        Err(CardError::PinPadFailed { why, .. }) => match ask(session, code) {
            // It was the card that went, or has no contact.
            Err(error @ (CardError::Removed | CardError::Reset | CardError::Reader(_))) => Err(error),
            asked => {
                session.distrust_pin_pad(&why);
                let tries_left = asked.ok().flatten().and_then(|state| state.tries_left);
                Err(CardError::PinPadFailed { why, tries_left })
            }
        },
        outcome => outcome,
    }
}

/// Remembers what the chip said about the tries left of a code that was presented.
fn judge(session: &mut CardSession<'_>, code: Code, outcome: Result<(), CardError>) -> Result<(), CardError> {
    let (which, is_puk) = (code.which, code.is_puk);
    session.has_heard(which, is_puk);
    let incorrect = |tries_left| match is_puk {
        false => CardError::PinIncorrect { tries_left },
        true => CardError::PukIncorrect { tries_left },
    };
    let Err(error) = outcome else {
        session.set_tries(which, is_puk, Known::All);
        return Ok(());
    };
    Err(match error.status().map(StatusWord::meaning) {
        Some(Status::RetriesLeft(tries)) => {
            session.set_tries(which, is_puk, Known::Left(tries));
            incorrect(Some(tries))
        }
        Some(Status::VerificationFailed) => {
            // One try less than was known, where anything was: the chip itself does not say.
            let known = match session.tries(which, is_puk) {
                Known::Left(tries) => Known::Left(tries.saturating_sub(1)),
                Known::Nothing | Known::All => Known::Nothing,
            };
            session.set_tries(which, is_puk, known);
            incorrect(None)
        }
        Some(Status::Blocked) => {
            session.set_tries(which, is_puk, Known::Left(0));
            if is_puk { CardError::PukBlocked } else { CardError::PinBlocked }
        }
        Some(Status::ObjectNotFound) => CardError::NoSuchObject(if is_puk { "PUK" } else { "PIN" }),
        _ => {
            session.set_tries(which, is_puk, unheard(session, code));
            error
        }
    })
}

/// What is known of the tries when nobody heard whether one was taken: nothing, so that the chip is asked before the
/// next one; where it cannot be asked, one less than before, and the last one is not spent unasked.
fn unheard(session: &CardSession<'_>, code: Code) -> Known {
    match session.tries(code.which, code.is_puk) {
        Known::Left(tries) if !can_be_asked(session) => Known::Left(tries.saturating_sub(1).max(1)),
        Known::Nothing | Known::All | Known::Left(_) => Known::Nothing,
    }
}
