//! What pcscd says of one reader against what the rest of the daemon was told of it.
//!
//! pcscd's words are not enough by themselves (all of this was seen with 1.9.9):
//!
//! - A card that is pulled out and put in again between two of its looks (0.4 s) is no event at all. Whoever sent a
//!   command meanwhile knows that the card went; pcscd still says that it is there.
//! - A reset that finds the card gone makes pcscd call the reader empty without counting an event. When the card is
//!   back before its next look, nothing changes any more: the reader stays empty to every program although the card is
//!   in it.
//! - A card that answered no power-up, because it was just being pulled out, stays mute in the same way.
//!
//! So what is doubtful is looked at again after a while, with growing pauses.

use std::time::{Duration, Instant};

/// The first pause before something is done about a doubt, longer than twice pcscd's time between two looks at the
/// reader, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often a card that is mute is powered up again: one that lies the wrong way round stays so.
const POWER_UPS: u32 = 4;

/// What pcscd says of a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether there is a card.
    pub(super) present: bool,
    /// Whether it answered to no power-up.
    pub(super) mute: bool,
    /// How often a card came or went, by pcscd's count.
    pub(super) events: u32,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// The card that was told of is gone.
    pub(super) removed: bool,
    /// There is a card.
    pub(super) inserted: bool,
    /// The reader is to be powered up past pcscd's word.
    pub(super) power_up: bool,
}

/// Why pcscd's word does not settle what is in the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It says that the card is there, and a command found it gone.
    Lost,
    /// It says that the card went, and counted no event.
    Unannounced,
    /// The card answered to no power-up.
    Mute,
}

/// A doubt, and when something is done about it next.
#[derive(Clone, Copy, Debug)]
struct Pending {
    doubt: Doubt,
    due: Instant,
    pause: Duration,
    done: u32,
}

/// A reader as it was seen last.
#[derive(Debug, Default)]
pub(super) struct Watched {
    last: Report,
    /// Whether a card was told of that was not told to be gone.
    told: bool,
    /// Whether the reader became empty without an event.
    unannounced: bool,
    pending: Option<Pending>,
}

impl Watched {
    /// Compares what pcscd says now with what was told. `held` is whether the card that was told of is still taken for
    /// there by who works with it.
    pub(super) fn look(&mut self, report: Report, held: bool, now: Instant) -> Steps {
        let mut steps = Steps::default();
        let counted = report.events != self.last.events;
        // A card that was swapped between two looks leaves a present card and a higher count.
        let swapped = counted || (self.last.mute && !report.mute);
        self.unannounced = !report.present && !counted && (self.unannounced || self.last.present);
        if self.told && (!report.present || swapped) {
            steps.removed = true;
            self.told = false;
        }
        if counted {
            self.pending = None;
        }
        if report.present && !self.told {
            steps.inserted = true;
            self.told = true;
        } else {
            let doubt = self.doubt(report, held);
            self.settle(doubt, now, &mut steps);
        }
        self.last = report;
        steps
    }

    fn doubt(&self, report: Report, held: bool) -> Option<Doubt> {
        match report {
            Report { present: false, .. } => self.unannounced.then_some(Doubt::Unannounced),
            Report { mute: true, .. } => Some(Doubt::Mute),
            Report { .. } => (!held).then_some(Doubt::Lost),
        }
    }

    fn settle(&mut self, doubt: Option<Doubt>, now: Instant, steps: &mut Steps) {
        let (first, longest) = PAUSES;
        let Some(doubt) = doubt else {
            // Kept until its time: a card that is lost again at once is not taken up again at once.
            self.pending.take_if(|pending| pending.due <= now);
            return;
        };
        let new = Pending { doubt, due: now + first, pause: first, done: 0 };
        let pending = self.pending.get_or_insert(new);
        if pending.doubt != doubt {
            *pending = new;
        }
        if pending.due > now || (doubt == Doubt::Mute && pending.done >= POWER_UPS) {
            return;
        }
        match doubt {
            Doubt::Lost => steps.inserted = true,
            Doubt::Unannounced | Doubt::Mute => steps.power_up = true,
        }
        pending.pause = pending.pause.saturating_mul(2).min(longest);
        pending.due = now + pending.pause;
        pending.done = pending.done.saturating_add(1);
    }

    /// When to look again though pcscd reports nothing; nothing while its word is not doubted.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.map(|pending| pending.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Steps = Steps { removed: false, inserted: false, power_up: false };
    const INSERTED: Steps = Steps { inserted: true, ..NOTHING };
    const REMOVED: Steps = Steps { removed: true, ..NOTHING };
    const SWAPPED: Steps = Steps { removed: true, inserted: true, ..NOTHING };
    const POWER_UP: Steps = Steps { power_up: true, ..NOTHING };

    const fn empty(events: u32) -> Report {
        Report { present: false, mute: false, events }
    }

    const fn card(events: u32) -> Report {
        Report { present: true, mute: false, events }
    }

    const fn mute(events: u32) -> Report {
        Report { present: true, mute: true, events }
    }

    /// What comes of the same word, each second for `seconds`.
    fn seconds(watched: &mut Watched, report: Report, held: bool, from: Instant, seconds: u64) -> Vec<u64> {
        (1..=seconds)
            .filter(|second| watched.look(report, held, from + Duration::from_secs(*second)) != NOTHING)
            .collect()
    }

    #[test]
    fn what_pcscd_counts_is_believed_at_once() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        assert_eq!(watched.look(empty(0), true, now), NOTHING);
        assert_eq!(watched.look(card(1), true, now), INSERTED);
        assert_eq!(watched.look(card(1), true, now), NOTHING);
        assert_eq!(watched.look(card(3), true, now), SWAPPED, "went and came between two looks");
        assert_eq!(watched.look(empty(4), true, now), REMOVED);
        assert_eq!(watched.look(empty(6), true, now), NOTHING, "came and went");
        assert_eq!(watched.look(card(7), true, now), INSERTED);
        assert_eq!(watched.look(empty(8), false, now), REMOVED);
        assert_eq!(seconds(&mut watched, empty(8), false, now, 100), [0; 0]);
        assert_eq!(watched.due(), None);
    }

    #[test]
    fn a_card_that_a_command_found_gone_is_taken_up_again_when_pcscd_saw_nothing() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.look(card(1), true, now);
        assert_eq!(watched.look(card(1), false, now), NOTHING, "pcscd may be about to see it");
        let due = watched.due().unwrap();
        assert_eq!(watched.look(card(1), false, due), INSERTED);
        assert_eq!(watched.look(card(1), true, due), NOTHING);
        // Lost again and again: with growing pauses.
        assert_eq!(seconds(&mut watched, card(1), false, due, 60), [2, 6, 14, 30, 60]);
        // Held for long enough, it counts as any other.
        assert_eq!(seconds(&mut watched, card(1), true, due, 200), [0; 0]);
        assert_eq!(watched.due(), None);
    }

    #[test]
    fn a_removal_that_pcscd_sees_late_ends_the_doubt() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.look(card(1), true, now);
        watched.look(card(1), false, now);
        assert_eq!(watched.look(empty(2), false, now), REMOVED);
        assert_eq!(seconds(&mut watched, empty(2), false, now, 100), [0; 0]);
    }

    #[test]
    fn a_reader_that_became_empty_without_an_event_is_powered_up() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.look(card(1), true, now);
        assert_eq!(watched.look(empty(1), false, now), REMOVED);
        assert_eq!(watched.look(empty(1), false, watched.due().unwrap()), POWER_UP);
        // It helped: pcscd says that there is a card, still at the same count.
        assert_eq!(watched.look(card(1), false, now), INSERTED);
        // Or the event came after all.
        assert_eq!(watched.look(empty(1), true, now), REMOVED);
        assert_eq!(watched.look(empty(2), true, now), NOTHING);
        assert_eq!(seconds(&mut watched, empty(2), true, now, 100), [0; 0]);
        assert_eq!(watched.due(), None);
    }

    #[test]
    fn a_mute_card_is_powered_up_a_few_times_and_new_when_it_answers() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        assert_eq!(watched.look(mute(1), true, now), INSERTED);
        assert_eq!(watched.look(mute(1), true, now), NOTHING);
        assert_eq!(seconds(&mut watched, mute(1), true, now, 100), [1, 3, 7, 15]);
        assert_eq!(watched.look(card(1), true, now), SWAPPED);
    }
}
