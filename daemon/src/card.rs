//! Work on a card: what it holds, its PINs, its keys, its signature area.
//!
//! Everything here runs on the reader's own thread, inside the transaction that [`crate::reader::Readers::run`] opens.

mod chip;
pub mod contents;
pub mod decrypt;
mod error;
pub mod padding;
pub mod pin;
pub mod random;
pub(crate) mod report;
mod sent;
pub mod sign;
pub mod signature_area;
mod stored_keys;
pub mod unpadding;

use cns_apdu::generation::KeyPlace;
use cns_apdu::object::ObjectId;
use cns_apdu::pin_pad::answer;
use cns_apdu::{CardCommand, StatusWord};
use cns_protocol::card::KeyUse;
use cns_protocol::pin::PinName;
use cns_protocol::reader::ReaderKind;
use cns_secret::Secret;

pub(crate) use self::chip::{Chip, Standing};
pub use self::contents::CardContents;
pub use self::decrypt::KeyUsageRule;
pub use self::error::CardError;
pub use self::pin::{LastTry, PinSource};
pub(crate) use self::sent::{Sent, what_was_sent};
use crate::reader::{Disposition, Known, Metered, PinOrder, Slot};

/// One job's hold on a card.
pub struct CardSession<'a> {
    chip: Chip<'a>,
    contents: &'a CardContents,
    slot: &'a Slot,
    insertion: u64,
    /// Whether a PIN or PUK was presented, so that the card must be reset in the end.
    opened: bool,
    /// Of which PINs and PUKs the chip told in this transaction, in which nobody else reaches it.
    heard: Vec<(PinName, bool)>,
    lost: bool,
    login: Option<Login>,
}

/// What a job has left open for the next use of a login in the same transaction.
pub(crate) struct Login {
    /// The PIN of the login key, which the chip has accepted.
    pub(crate) pin: Secret,
    /// The key that the security environment was set to.
    pub(crate) key: Option<ObjectId>,
}

impl<'a> CardSession<'a> {
    /// A job's hold on a card of which so much is known.
    pub(crate) fn new(
        link: Metered<'a>,
        contents: &'a CardContents,
        slot: &'a Slot,
        insertion: u64,
        standing: Standing,
    ) -> Self {
        let mut chip = Chip::new(link, contents.generation);
        chip.begin_at(standing);
        Self { chip, contents, slot, insertion, opened: false, heard: Vec::new(), lost: false, login: None }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// When the chip refuses, its answer makes no sense, or it is gone.
    pub fn run<C: CardCommand>(&mut self, command: &C) -> Result<C::Answer, CardError> {
        let answer = self.chip.run(command);
        self.lost |= matches!(answer, Err(CardError::Removed | CardError::TimedOut));
        answer
    }

    /// Lets a person type a PIN on the reader, which sends it to the card.
    ///
    /// # Errors
    /// As [`CardSession::run`], and what the keypad says in the place of the card.
    pub(crate) fn enter_pin(&mut self, order: PinOrder) -> Result<(), CardError> {
        let answer = self.chip.enter_pin(order);
        self.lost |= matches!(answer, Err(CardError::Removed | CardError::TimedOut));
        match answer? {
            StatusWord::SUCCESS => Ok(()),
            answer::TIMED_OUT => Err(CardError::PinEntryTimedOut),
            answer::CANCELLED => Err(CardError::PinEntryCancelled),
            answer::NEW_PINS_DIFFER => Err(CardError::PinEntriesDiffer),
            answer::WRONG_LENGTH => Err(CardError::PinInvalid),
            status => Err(CardError::Refused { command: order.name(), status }),
        }
    }

    /// Whether a card was seen to have got a PIN from the reader's keypad.
    pub(crate) fn is_pin_pad_proved(&self) -> bool {
        self.slot.pin_pad().is_proved()
    }

    /// A card has got a PIN from it.
    pub(crate) fn prove_pin_pad(&self) {
        self.slot.pin_pad().prove();
    }

    /// It was caught in a lie.
    pub(crate) fn distrust_pin_pad(&self, why: &str) {
        self.slot.pin_pad().distrust(why);
    }

    /// What was read from the card when it came.
    #[must_use]
    pub fn contents(&self) -> &'a CardContents {
        self.contents
    }

    /// Where a key of this card is.
    pub(crate) fn place(&self, key_use: KeyUse) -> Result<&'a KeyPlace, CardError> {
        let contents = self.contents;
        let stored = contents.stored.as_ref().and_then(|stored| stored.place(key_use));
        let usual = match key_use {
            KeyUse::Authentication => Some(&contents.generation.authentication),
            KeyUse::Signature => contents.generation.signature_in(contents.signature_slot),
        };
        stored.or(usual).ok_or(CardError::NoSuchObject("signature area"))
    }

    /// The chip, for commands that need no more than itself.
    pub(crate) fn chip(&mut self) -> &mut Chip<'a> {
        &mut self.chip
    }

    /// As [`Chip::enter`], for work that presents no code: where the card's number proves that nobody has left another
    /// application behind, no reset ends what a neighbour on the reader works on.
    pub(crate) fn look_into(&mut self, application: Option<&'static [u8]>) -> Result<(), CardError> {
        let generation = self.contents.generation;
        if application.is_none()
            && generation.serial.file.application.is_none()
            && self.chip.standing() == Standing::Unknown
            && contents::has_number(&mut self.chip, generation, &self.contents.card.serial)?
        {
            self.chip.is_proven_default();
        }
        self.chip.enter(application)
    }

    /// Whether another program may have spent tries since the chip told how many are left.
    pub(crate) fn is_stale(&self, which: PinName, is_puk: bool) -> bool {
        self.slot.kind() == ReaderKind::Pcsc && !self.heard.contains(&(which, is_puk))
    }

    /// Remembers that the chip tells about a PIN or PUK.
    pub(crate) fn has_heard(&mut self, which: PinName, is_puk: bool) {
        if !self.heard.contains(&(which, is_puk)) {
            self.heard.push((which, is_puk));
        }
    }

    /// Remembers that a PIN or PUK is about to be presented.
    pub(crate) fn open(&mut self) {
        self.opened = true;
    }

    pub(crate) fn tries(&self, which: PinName, is_puk: bool) -> Known {
        self.slot.tries(which, is_puk)
    }

    pub(crate) fn set_tries(&self, which: PinName, is_puk: bool, tries: Known) {
        self.slot.set_tries(self.insertion, which, is_puk, tries);
    }

    /// What the job before has left open. It is taken by whoever uses it, so that nothing stays open after a failure.
    pub(crate) const fn take_login(&mut self) -> Option<Login> {
        self.login.take()
    }

    /// Leaves the login key open for the next use of a login with this PIN.
    pub(crate) fn keep_login(&mut self, pin: &Secret, key: Option<ObjectId>) {
        // Without memory for it the PIN is presented again.
        self.login = pin.duplicate().ok().map(|pin| Login { pin, key });
    }

    /// Whether the login key was left open.
    pub(crate) const fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// What the next job may exchange.
    pub(crate) fn renew_budget(&mut self) {
        self.chip.renew_budget();
    }

    pub(crate) fn disposition(&self) -> Disposition {
        if self.opened { Disposition::Reset } else { Disposition::Leave }
    }

    /// What is known of the chip when the job has ended.
    pub(crate) fn leaves(&self) -> Standing {
        if self.opened { Standing::Reset } else { self.chip.standing() }
    }

    /// Whether the card went, or stopped answering, during the job.
    pub(crate) fn lost(&self) -> bool {
        self.lost || self.chip.lost()
    }
}
