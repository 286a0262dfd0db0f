//! A card without a reader: no thread, no socket, no clock. It runs the daemon's own code on whatever a closure
//! answers, for fuzzing and for tests that count commands and bytes.

use std::time::Duration;

use cns_protocol::reader::ReaderKind;
use cns_protocol::rpc::Traffic;

use super::device::{Budget, Disposition, Link, Metered, TimeLimits};
use super::slot::Slot;
use crate::card::{CardContents, CardError, CardSession, Standing, contents};

/// A card that a closure answers for: command in, answer out.
pub struct DirectCard<F> {
    slot: Slot,
    atr: Vec<u8>,
    answers: Answers<F>,
    resets: u32,
}

struct Answers<F>(F);

impl<F: FnMut(&[u8]) -> Result<Vec<u8>, CardError>> Link for Answers<F> {
    fn exchange(&mut self, command: &[u8], _limit: Duration) -> Result<Vec<u8>, CardError> {
        (self.0)(command)
    }

    fn reset(&mut self, _limit: Duration) -> Result<(), CardError> {
        Ok(())
    }
}

impl<F: FnMut(&[u8]) -> Result<Vec<u8>, CardError>> DirectCard<F> {
    /// With this answer to reset.
    pub fn new(atr: &[u8], answers: F) -> Self {
        let slot = Slot::alone("direct", ReaderKind::Vpcd, TimeLimits::default());
        Self { slot, atr: atr.to_vec(), answers: Answers(answers), resets: 0 }
    }

    /// Recognises the card and reads its public contents, within [`Budget::RECOGNITION`].
    ///
    /// # Errors
    /// When it is no card that the daemon knows, or asks for too much.
    pub fn read(&mut self) -> Result<CardContents, CardError> {
        let place = contents::Place {
            reader: self.slot.name(),
            kind: self.slot.kind(),
            insertion: self.slot.insertion(),
            atr: &self.atr,
            known: false,
        };
        let link =
            Metered::new(&mut self.answers, self.slot.meter(), Budget::RECOGNITION, self.slot.limits());
        let read = contents::read(link, &place);
        self.resets += u32::from(read.leave == Disposition::Reset);
        read.outcome
    }

    /// Runs a job as [`super::Readers::run`] does, within [`Budget::JOB`]; a panic is not caught.
    ///
    /// # Errors
    /// The job's own.
    pub fn run<T>(
        &mut self,
        contents: &CardContents,
        job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError>,
    ) -> Result<T, CardError> {
        let link = Metered::new(&mut self.answers, self.slot.meter(), Budget::JOB, self.slot.limits());
        let mut session =
            CardSession::new(link, contents, &self.slot, self.slot.insertion(), Standing::Unknown);
        let outcome = job(&mut session);
        self.resets += u32::from(session.disposition() == Disposition::Reset);
        outcome
    }

    /// What was exchanged so far.
    pub fn traffic(&self) -> Traffic {
        self.slot.meter().traffic()
    }

    /// How many jobs and readings ended with a reset of the card, as jobs must that presented a PIN or PUK.
    pub const fn resets(&self) -> u32 {
        self.resets
    }
}
