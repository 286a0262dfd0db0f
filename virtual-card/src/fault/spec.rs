//! Faults as a person writes them: `cns-card vpcd --fault SPEC`.
//!
//! ```text
//! SPEC  = FAULT "@" WHEN | "wear=" WRITES | "full=" BYTES
//! FAULT = "pull-before" | "pull-after" | "mute" | "reset" | "status-only"
//!       | "status=" HHHH          the status word, four hexadecimal digits
//!       | "slow=" NUMBER UNIT     a delay; UNIT is "ms" or "s"
//!       | "tear-lost" ["=" W]     power lost in write W (0, the first one, if none is named), which is lost …
//!       | "tear-done" ["=" W]     … or done, but nobody hears of it
//!       | "cut=" BYTES            only so many bytes of the answer
//!       | "longer=" BYTES         so many bytes too much
//! WHEN  = NUMBER                  after so many commands; 0 is the first one
//!       | "ins:" HH ["+" NUMBER]  at the command with this instruction byte, after so many others with it
//! ```

use std::str::FromStr;
use std::time::Duration;

use super::{Fault, Garbage, Trigger};
use crate::memory::Tear;

/// What a text asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A fault at a command.
    At(Trigger, Fault),
    /// After so many writes every other one is refused with 6581.
    WearOut {
        /// Writes that still work.
        writes: u32,
    },
    /// What needs more memory than this is refused with 6A84.
    LeaveMemory {
        /// Bytes that are left for files and objects, their headers included.
        bytes: usize,
    },
}

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// What is before the `@` is unknown.
    #[error(
        "`{0}` is no fault: pull-before, pull-after, mute, reset, status=6F00, slow=1500ms, tear-lost[=WRITE], \
         tear-done[=WRITE], cut=BYTES, status-only, longer=BYTES, each with @WHEN; or wear=WRITES, full=BYTES"
    )]
    Fault(String),
    /// What is after the `@` is unknown, or there is none.
    #[error("`{0}` says no time: @NUMBER (0 is the first command) or @ins:HH or @ins:HH+NUMBER")]
    When(String),
}

impl FromStr for Order {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let unknown = || SpecError::Fault(text.to_owned());
        if let Some(writes) = text.strip_prefix("wear=") {
            return Ok(Self::WearOut { writes: writes.parse().map_err(|_| unknown())? });
        }
        if let Some(bytes) = text.strip_prefix("full=") {
            return Ok(Self::LeaveMemory { bytes: bytes.parse().map_err(|_| unknown())? });
        }
        let (fault, when) = text.split_once('@').unwrap_or((text, ""));
        let fault = parse_fault(fault).ok_or_else(unknown)?;
        let trigger = parse_when(when).ok_or_else(|| SpecError::When(text.to_owned()))?;
        Ok(Self::At(trigger, fault))
    }
}

fn parse_fault(text: &str) -> Option<Fault> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    Some(match (name, value) {
        ("pull-before", None) => Fault::PullOutBefore,
        ("pull-after", None) => Fault::PullOutAfter,
        ("mute", None) => Fault::Mute,
        ("reset", None) => Fault::Reset,
        ("status-only", None) => Fault::Garbage(Garbage::StatusOnly),
        ("status", Some(word)) => Fault::Status(hexadecimal(word, 4)?),
        ("slow", Some(delay)) => Fault::Slow(parse_delay(delay)?),
        ("tear-lost" | "tear-done", write) => {
            Fault::Tear(Tear { write: write.map_or(Ok(0), str::parse).ok()?, done: name == "tear-done" })
        }
        ("cut", Some(length)) => Fault::Garbage(Garbage::Cut(length.parse().ok()?)),
        ("longer", Some(more)) => Fault::Garbage(Garbage::Longer(more.parse().ok()?)),
        _ => return None,
    })
}

/// So many hexadecimal digits and nothing else.
fn hexadecimal(text: &str, digits: usize) -> Option<u16> {
    let whole = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if whole { u16::from_str_radix(text, 16).ok() } else { None }
}

fn parse_delay(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}

fn parse_when(text: &str) -> Option<Trigger> {
    let Some(instruction) = text.strip_prefix("ins:") else {
        return text.parse().ok().map(Trigger::After);
    };
    let (digits, after) = instruction.split_once('+').unwrap_or((instruction, "0"));
    let ins = hexadecimal(digits, 2)?.try_into().ok()?;
    Some(Trigger::Instruction { ins, after: after.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_may_write() {
        let verify = Trigger::Instruction { ins: 0x20, after: 0 };
        for (text, order) in [
            ("pull-before@0", Order::At(Trigger::After(0), Fault::PullOutBefore)),
            ("pull-after@ins:20", Order::At(verify, Fault::PullOutAfter)),
            ("mute@17", Order::At(Trigger::After(17), Fault::Mute)),
            ("reset@ins:2A+3", Order::At(Trigger::Instruction { ins: 0x2A, after: 3 }, Fault::Reset)),
            ("status=6F00@1", Order::At(Trigger::After(1), Fault::Status(0x6F00))),
            ("slow=1500ms@1", Order::At(Trigger::After(1), Fault::Slow(Duration::from_millis(1500)))),
            ("slow=15s@1", Order::At(Trigger::After(1), Fault::Slow(Duration::from_secs(15)))),
            ("tear-lost@ins:20", Order::At(verify, Fault::Tear(Tear { write: 0, done: false }))),
            ("tear-done=1@ins:20", Order::At(verify, Fault::Tear(Tear { write: 1, done: true }))),
            ("cut=0@ins:20", Order::At(verify, Fault::Garbage(Garbage::Cut(0)))),
            ("status-only@ins:20", Order::At(verify, Fault::Garbage(Garbage::StatusOnly))),
            ("longer=300@ins:20", Order::At(verify, Fault::Garbage(Garbage::Longer(300)))),
            ("wear=10", Order::WearOut { writes: 10 }),
            ("full=0", Order::LeaveMemory { bytes: 0 }),
        ] {
            assert_eq!(text.parse(), Ok(order), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for text in
            ["", "pull", "mute=1@0", "status=6F@0", "status=+F00@0", "slow=1@0", "wear=", "full=-1", "cut@0"]
        {
            assert!(matches!(text.parse::<Order>(), Err(SpecError::Fault(_))), "{text}");
        }
        for text in ["mute", "mute@", "mute@-1", "mute@ins:", "mute@ins:2", "mute@ins:2G", "mute@ins:20+"] {
            assert!(matches!(text.parse::<Order>(), Err(SpecError::When(_))), "{text}");
        }
    }
}
