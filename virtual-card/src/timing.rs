//! A real card's time: what each exchange would take on a real chip in a real reader.
//!
//! The time is accounted in a [`Meter`], deterministically and without anybody waiting for it, so that two runs of a
//! benchmark give the same milliseconds; [`crate::fault::FaultyCard::set_timing`] starts that, and
//! `cns-card vpcd --timing real` waits for it as well. It has three parts: the **line** (bits at the speed that the
//! answer to reset offers, in blocks of T=1), the **reader** (USB), the **chip** (executing, RSA, writing memory).
//!
//! What the line takes follows from ISO/IEC 7816-3 and is exact; the recorded sessions of real CNS cards have no times,
//! so what the chip takes is measured on another card of a maker of CNS cards, and stands in one table,
//! [`Chip::REAL`], with its sources.

mod line;

use std::str::FromStr;
use std::time::Duration;

pub use self::line::Line;
use self::line::count;

/// What the chip and the reader take, besides the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Between driver and reader, for each command and answer.
    pub reader: Duration,
    /// For any command.
    pub command: Duration,
    /// An RSA private operation with a key of 1,024 bits, without the Chinese remainder theorem.
    pub private_1024: Duration,
    /// The same with 2,048 bits.
    pub private_2048: Duration,
    /// An RSA public operation with 1,024 bits; it grows with the square of the length.
    pub public_1024: Duration,
    /// Generating a key of 2,048 bits; it grows with the fourth power of the length.
    pub generate_2048: Duration,
    /// Each time that memory is written, whatever the length.
    pub write: Duration,
    /// For each byte that is written.
    pub write_byte: Duration,
}

impl Chip {
    /// The figures of a real card.
    ///
    /// | what | figure | source |
    /// |---|---|---|
    /// | reader | 2 ms | full-speed USB: one frame of 1 ms down, one up (USB 2.0 §5.2.4) |
    /// | command | 5 ms | estimate: no measured figure is at hand |
    /// | RSA-1024, private | 416 ms | Athena IDProtect, JCAlgTest, `TYPE_RSA_PRIVATE LENGTH_RSA_1024 ALG_RSA_NOPAD` |
    /// | RSA-2048, private | 2,639 ms | the same measurement, `LENGTH_RSA_2048` |
    /// | RSA-1024, public | 3.5 ms | the same measurement, `TYPE_RSA_PUBLIC LENGTH_RSA_1024` |
    /// | RSA-2048, generation | 45 s | `cns-card` §8.3 step 12: 30 to 60 s |
    /// | a write, and each byte of it | 15.6 ms, 0.154 ms | the same measurement: `setModulus()` takes 35.3 ms for 128 bytes and 55.0 ms for 256 |
    ///
    /// JCAlgTest is the Masaryk University's public collection of measurements on smart cards; Athena is one of the
    /// makers of CNS cards. A CNS key is stored as modulus and private exponent (`cns-card` §8.3), so the
    /// slow operation without the Chinese remainder theorem is the one to compare with; newer chips are faster.
    pub const REAL: Self = Self {
        reader: Duration::from_millis(2),
        command: Duration::from_millis(5),
        private_1024: Duration::from_millis(416),
        private_2048: Duration::from_millis(2_639),
        public_1024: Duration::from_micros(3_500),
        generate_2048: Duration::from_secs(45),
        write: Duration::from_micros(15_600),
        write_byte: Duration::from_micros(154),
    };

    fn private(&self, bits: u32) -> Duration {
        if bits > 1024 { self.private_2048 } else { self.private_1024 }
    }

    fn public(&self, bits: u32) -> Duration {
        let times = bits.div_ceil(1024).max(1);
        self.public_1024.saturating_mul(times.saturating_mul(times))
    }

    fn generation(&self, bits: u32) -> Duration {
        if bits > 1024 { self.generate_2048 } else { self.generate_2048 / 16 }
    }
}

/// What a chip did for one command, as far as that takes its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// RSA private operations: bits of each one's key.
    pub private_operations: Vec<u32>,
    /// RSA public operations: bits of each one's key.
    pub public_operations: Vec<u32>,
    /// Generated keys: bits of each.
    pub generated_keys: Vec<u32>,
    /// How often memory was written.
    pub writes: u32,
}

impl Work {
    /// One private operation; `length` of the modulus in bytes.
    pub(crate) fn private_operation(&mut self, length: usize) {
        self.private_operations.push(bits(length));
    }

    /// One public operation; `length` of the modulus in bytes.
    pub(crate) fn public_operation(&mut self, length: usize) {
        self.public_operations.push(bits(length));
    }

    /// One generated key; `length` of the modulus in bytes.
    pub(crate) fn generated_key(&mut self, length: usize) {
        self.generated_keys.push(bits(length));
    }
}

fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX)
}

/// What exchanges take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    line: Line,
    chip: Chip,
}

impl Model {
    /// A real card with this answer to reset.
    #[must_use]
    pub fn of(answer_to_reset: &[u8]) -> Self {
        Self { line: Line::of(answer_to_reset), chip: Chip::REAL }
    }

    /// The same line with another chip's figures.
    #[must_use]
    pub fn with_chip(self, chip: Chip) -> Self {
        Self { chip, ..self }
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> Line {
        self.line
    }

    /// What one command takes from its first bit to the last one of the answer; both lengths in bytes, the response's
    /// with its status word.
    #[must_use]
    pub fn exchange(&self, command: usize, response: usize, work: &Work) -> Elapsed {
        let sum = |bits: &[u32], cost: &dyn Fn(u32) -> Duration| bits.iter().map(|bits| cost(*bits)).sum();
        let private: Duration = sum(&work.private_operations, &|bits| self.chip.private(bits));
        let public: Duration = sum(&work.public_operations, &|bits| self.chip.public(bits));
        let generation: Duration = sum(&work.generated_keys, &|bits| self.chip.generation(bits));
        let written = match work.writes {
            0 => Duration::ZERO,
            writes => {
                let bytes = u32::try_from(command).unwrap_or(u32::MAX);
                self.chip.write.saturating_mul(writes) + self.chip.write_byte.saturating_mul(bytes)
            }
        };
        Elapsed {
            exchanges: 1,
            sent: count(command),
            received: count(response),
            resets: 0,
            line: self.line.exchange(command, response),
            reader: self.chip.reader,
            chip: self.chip.command + private + public + generation + written,
        }
    }

    /// What a reset takes until the first command can be sent.
    #[must_use]
    pub fn reset(&self, answer_to_reset: usize) -> Elapsed {
        Elapsed {
            resets: 1,
            line: self.line.reset(answer_to_reset),
            reader: self.chip.reader,
            ..Elapsed::default()
        }
    }
}

/// Time of a card, and what it was spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elapsed {
    /// Commands that were answered.
    pub exchanges: u64,
    /// Bytes of commands.
    pub sent: u64,
    /// Bytes of responses, status words included.
    pub received: u64,
    /// Resets, warm and cold.
    pub resets: u64,
    /// Bits on the line.
    pub line: Duration,
    /// Between driver and reader.
    pub reader: Duration,
    /// The chip at work.
    pub chip: Duration,
}

impl Elapsed {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.line + self.reader + self.chip
    }

    /// What was added since `earlier`, a state of the same meter.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            exchanges: self.exchanges.saturating_sub(earlier.exchanges),
            sent: self.sent.saturating_sub(earlier.sent),
            received: self.received.saturating_sub(earlier.received),
            resets: self.resets.saturating_sub(earlier.resets),
            line: self.line.saturating_sub(earlier.line),
            reader: self.reader.saturating_sub(earlier.reader),
            chip: self.chip.saturating_sub(earlier.chip),
        }
    }

    fn add(&mut self, more: &Self) {
        self.exchanges = self.exchanges.saturating_add(more.exchanges);
        self.sent = self.sent.saturating_add(more.sent);
        self.received = self.received.saturating_add(more.received);
        self.resets = self.resets.saturating_add(more.resets);
        self.line = self.line.saturating_add(more.line);
        self.reader = self.reader.saturating_add(more.reader);
        self.chip = self.chip.saturating_add(more.chip);
    }
}

/// A clock that only exchanges move.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    model: Model,
    elapsed: Elapsed,
}

impl Meter {
    /// A clock at zero.
    #[must_use]
    pub fn new(model: Model) -> Self {
        Self { model, elapsed: Elapsed::default() }
    }

    /// Accounts one command; gives what it took.
    pub fn exchange(&mut self, command: usize, response: usize, work: &Work) -> Duration {
        self.take(self.model.exchange(command, response, work))
    }

    /// Accounts one reset; gives what it took.
    pub fn reset(&mut self, answer_to_reset: usize) -> Duration {
        self.take(self.model.reset(answer_to_reset))
    }

    /// Where the clock stands.
    #[must_use]
    pub fn elapsed(&self) -> Elapsed {
        self.elapsed
    }

    fn take(&mut self, step: Elapsed) -> Duration {
        self.elapsed.add(&step);
        step.total()
    }
}

/// Whether somebody waits for the card's time, as `cns-card vpcd --timing` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Timing {
    /// The card answers as fast as this machine can, and nothing is accounted.
    #[default]
    None,
    /// Accounted in the [`Meter`], not waited for.
    Account,
    /// Accounted, and waited for: this many times as long as a real card takes.
    Real(f64),
}

/// A text that names no timing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("known timings: none, real, real*FACTOR with a factor from 0 to 10")]
pub struct TimingError;

impl FromStr for Timing {
    type Err = TimingError;

    fn from_str(text: &str) -> Result<Self, TimingError> {
        match text {
            "none" => Ok(Self::None),
            "real" => Ok(Self::Real(1.0)),
            scaled => {
                let factor = scaled.strip_prefix("real*").ok_or(TimingError)?;
                let factor: f64 = factor.parse().map_err(|_| TimingError)?;
                if (0.0..=10.0).contains(&factor) { Ok(Self::Real(factor)) } else { Err(TimingError) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;

    #[test]
    fn the_chip_takes_its_time_for_what_it_does() {
        let model = Model::of(Generation::from_name("st2021").unwrap().answer_to_reset());
        let idle = model.exchange(5, 2, &Work::default());
        let work = Work { private_operations: vec![2048], writes: 2, ..Work::default() };
        let busy = model.exchange(5, 2, &work);
        let more = Duration::from_millis(2_639) + Duration::from_micros(2 * 15_600 + 5 * 154);
        assert_eq!(busy.chip - idle.chip, more);
        assert_eq!((busy.line, busy.reader), (idle.line, idle.reader));
        let generated = model.exchange(13, 2, &Work { generated_keys: vec![2048], ..Work::default() });
        assert!((30..=60).contains(&generated.total().as_secs()));
    }

    #[test]
    fn the_meter_adds_up() {
        let mut meter = Meter::new(Model::of(Generation::from_name("incard10").unwrap().answer_to_reset()));
        let reset = meter.reset(25);
        // 33 characters of 12 etu at 9,600 bit/s are 41 ms.
        assert!(reset > Duration::from_millis(41) && reset < Duration::from_millis(60), "{reset:?}");
        let before = meter.elapsed();
        let one = meter.exchange(5, 258, &Work::default());
        let step = meter.elapsed().since(&before);
        assert_eq!(
            (step.exchanges, step.sent, step.received, step.resets, step.total()),
            (1, 5, 258, 0, one)
        );
        assert_eq!(meter.elapsed().total(), reset + one);
    }

    #[test]
    fn timings_by_name() {
        assert_eq!("none".parse(), Ok(Timing::None));
        assert_eq!("real".parse(), Ok(Timing::Real(1.0)));
        assert_eq!("real*0.1".parse(), Ok(Timing::Real(0.1)));
        for wrong in ["", "reall", "real*", "real*-1", "real*11", "real*NaN", "real*inf", "0.1"] {
            assert_eq!(wrong.parse::<Timing>(), Err(TimingError), "{wrong}");
        }
    }
}
