//! The line between reader and card: bits at the speed that the answer to reset offers, in blocks of T=1 (ISO/IEC 7816-3).

use std::time::Duration;

/// The clock that a reader gives the card, in Hz: the one at which Di/Fi = 12/372 is 115,200 bit/s.
const CLOCK: u32 = 3_571_200;
/// An elementary time unit lasts 372 clock cycles until the parameters are negotiated (ISO/IEC 7816-3:2006 §8.1).
const DEFAULT_FI: u32 = 372;
/// A character and its guard time take 12 etu (§7.2) while the answer to reset is sent …
const ANSWER_CHARACTER: u32 = 12;
/// … and 11 etu in T=1 when TC1 is FF (§8.3).
const SHORT_CHARACTER: u32 = 11;
/// At least 22 etu pass between two blocks in opposite directions (§11.4, block guard time).
const BLOCK_GUARD: u32 = 22;
/// Prologue (NAD, PCB, LEN) and epilogue (LRC) of a block of T=1 (§11.3).
const BLOCK_FRAME: usize = 4;
/// The information field that both sides take when nothing else was agreed (§11.4).
const DEFAULT_FIELD: usize = 32;
/// The longest information field of T=1, which every reader asks for with an S-block.
const LONGEST_FIELD: usize = 254;
/// A reset holds the line low for at least 400 clock cycles (§6.2); the card may take 400 to 40,000 more before it
/// answers, of which half is taken here.
const RESET_CYCLES: u32 = 400 + 20_000;

/// How fast bits travel, and how bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Clock cycles per etu, times the divisor: `Fi`.
    fi: u32,
    /// The divisor: `Di`.
    di: u32,
    /// A character with its guard time, in etu.
    character: u32,
    /// The longest information field that the card takes.
    card_field: usize,
}

impl Line {
    /// Over the air: one 128th of 13.56 MHz (ISO/IEC 14443-2 §8.1.1, §9.1.1), ten etu for a character (ISO/IEC 14443-3
    /// §7.1.1, type B), blocks of 256 bytes with their frame. The clock is that of a contact card, so the divisor is not
    /// whole.
    const CONTACTLESS: Self = Self { fi: 3_371, di: 100, character: 10, card_field: 252 };

    /// The line that an answer to reset offers, T=1. What it does not say, or says wrongly, is as ISO/IEC 7816-3 has it
    /// by default. One that a reader has made up for a contactless card (PC/SC part 3 §3.1.3.2.3) stands for 106 kbit/s.
    #[must_use]
    pub fn of(answer_to_reset: &[u8]) -> Self {
        if matches!(answer_to_reset, [0x3B, 0x80..=0x8F, 0x80, 0x01, ..]) {
            return Self::CONTACTLESS;
        }
        let interface = interface_bytes(answer_to_reset);
        let speed = interface.ta1.unwrap_or(0x11);
        let (fi, di) = match (frequency_factor(speed >> 4), baud_divisor(speed & 0x0F)) {
            (Some(fi), Some(di)) => (fi, di),
            _ => (DEFAULT_FI, 1),
        };
        let extra = interface.tc1.unwrap_or(0);
        let character =
            if extra == 0xFF { SHORT_CHARACTER } else { ANSWER_CHARACTER.saturating_add(extra.into()) };
        let card_field = match interface.ta3 {
            Some(field @ 1..=0xFE) => usize::from(field),
            _ => DEFAULT_FIELD,
        };
        Self { fi, di, character, card_field }
    }

    /// Bits per second at the usual clock.
    #[must_use]
    pub fn bits_per_second(&self) -> u32 {
        u32::try_from(u64::from(CLOCK) * u64::from(self.di) / u64::from(self.fi)).unwrap_or(u32::MAX)
    }

    fn etus(&self, etus: u64) -> Duration {
        let nanoseconds = u128::from(etus) * u128::from(self.fi) * 1_000_000_000
            / (u128::from(self.di) * u128::from(CLOCK));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// A command and its response in blocks of T=1: chained where longer than the other side's field, each part but the
    /// last one acknowledged by an R-block.
    pub(super) fn exchange(&self, command: usize, response: usize) -> Duration {
        let up = blocks(command, self.card_field);
        let down = blocks(response, LONGEST_FIELD);
        let all = up.saturating_add(down);
        let acknowledgements = all.saturating_sub(2);
        let turns = all.saturating_add(acknowledgements);
        let bytes = command.saturating_add(response).saturating_add(turns.saturating_mul(BLOCK_FRAME));
        let etus = count(bytes)
            .saturating_mul(self.character.into())
            .saturating_add(count(turns).saturating_mul(BLOCK_GUARD.into()));
        self.etus(etus)
    }

    /// Reset, answer to reset and PPS (request and answer of 4 bytes, §9) at the default speed, then the reader's
    /// S(IFS request) and the card's answer (5 bytes each, §11.4).
    pub(super) fn reset(&self, answer_to_reset: usize) -> Duration {
        let slow = Self { fi: DEFAULT_FI, di: 1, character: ANSWER_CHARACTER, card_field: DEFAULT_FIELD };
        let low = Duration::from_nanos(u64::from(RESET_CYCLES) * 1_000_000_000 / u64::from(CLOCK));
        let answer = slow.etus(count(answer_to_reset + 8).saturating_mul(ANSWER_CHARACTER.into()));
        let field = self.etus(10 * u64::from(self.character) + 2 * u64::from(BLOCK_GUARD));
        low + answer + field
    }
}

fn blocks(length: usize, field: usize) -> usize {
    length.div_ceil(field.max(1)).max(1)
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Fi by the high half of TA1 (ISO/IEC 7816-3:2006, table 7).
fn frequency_factor(index: u8) -> Option<u32> {
    Some(match index {
        0 | 1 => 372,
        2 => 558,
        3 => 744,
        4 => 1116,
        5 => 1488,
        6 => 1860,
        9 => 512,
        10 => 768,
        11 => 1024,
        12 => 1536,
        13 => 2048,
        _ => return None,
    })
}

/// Di by the low half of TA1 (ISO/IEC 7816-3:2006, table 8).
fn baud_divisor(index: u8) -> Option<u32> {
    Some(match index {
        1 => 1,
        2 => 2,
        3 => 4,
        4 => 8,
        5 => 16,
        6 => 32,
        7 => 64,
        8 => 12,
        9 => 20,
        _ => return None,
    })
}

#[derive(Default)]
struct InterfaceBytes {
    ta1: Option<u8>,
    tc1: Option<u8>,
    /// The first TA for T=1, which is its information field (§11.4).
    ta3: Option<u8>,
}

/// The interface bytes that matter here (§8.2); each group is announced by the high half of the byte before it.
fn interface_bytes(answer_to_reset: &[u8]) -> InterfaceBytes {
    let mut found = InterfaceBytes::default();
    let mut rest = answer_to_reset.iter().skip(1);
    let mut announced = rest.next().copied().unwrap_or_default() >> 4;
    let mut protocol = 0;
    for group in 1.. {
        let [ta, _tb, tc, td] =
            [1, 2, 4, 8].map(|bit| if announced & bit == 0 { None } else { rest.next().copied() });
        match group {
            1 => (found.ta1, found.tc1) = (ta, tc),
            2 => {}
            _ if protocol == 1 && found.ta3.is_none() => found.ta3 = ta,
            _ => {}
        }
        let Some(td) = td else {
            break;
        };
        (announced, protocol) = (td >> 4, td & 0x0F);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;

    #[test]
    fn the_answer_to_reset_tells_the_speed() {
        let line = Line::of(Generation::from_name("st2021").unwrap().answer_to_reset());
        // TA1 = 18, TC1 = FF, TA3 = FE.
        assert_eq!(line, Line { fi: 372, di: 12, character: 11, card_field: 254 });
        assert_eq!(line.bits_per_second(), 115_200);
        // 96: 512/32, 223,200 bit/s at this clock (250,000 at 4 MHz).
        let fast = Line::of(&hex::decode("3B9F96C00A31FE454E5443").unwrap());
        assert_eq!((fast.fi, fast.di, fast.bits_per_second()), (512, 32, 223_200));
        for name in ["st2022-nfc", "idemia-nfc", "ts-cns-2018-dual"] {
            let air = Line::of(Generation::from_name(name).unwrap().answer_to_reset());
            assert_eq!(air.bits_per_second() / 1000, 105, "{name}");
        }
        // Neither a bare answer nor noise stops anything.
        for bytes in [&[][..], &[0x3B], &[0x3B, 0x00], &[0x3B, 0xFF, 0x0F], &[0xFF; 33]] {
            let line = Line::of(bytes);
            assert!(line.bits_per_second() > 0 && line.exchange(5, 2) > Duration::ZERO, "{bytes:02X?}");
        }
    }

    #[test]
    fn one_exchange_in_etus() {
        let line = Line::of(Generation::from_name("st2021").unwrap().answer_to_reset());
        // 5 bytes up, 2 down, two blocks: (5 + 2 + 2 · 4) · 11 etu and two guard times, at 115,200 bit/s.
        let etus = 15 * 11 + 2 * 22;
        assert_eq!(line.exchange(5, 2).as_nanos(), u128::from(etus * 1_000_000_000_u64 / 115_200));
        // 255 bytes up take two blocks and an acknowledgement more.
        let etus = (255 + 2 + 4 * 4) * 11 + 4 * 22;
        assert_eq!(line.exchange(255, 2).as_nanos(), u128::from(etus * 1_000_000_000_u64 / 115_200));
        // 258 down as well.
        assert_eq!(line.exchange(2, 255), line.exchange(255, 2));
    }
}
