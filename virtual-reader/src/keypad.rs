//! The keys, and what the reader makes of what was typed (PC/SC part 10 §2.5).

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cns_apdu::StatusWord;
use cns_apdu::pin_pad::{BlockFormat, Coding, Justify, PinModify, PinVerify, answer, confirm};
use zeroize::Zeroizing;

use crate::{TYPED, WAITING};

/// What stands for the key "cancel".
pub const CANCEL: &str = "cancel";

/// How often the keys are looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// How long a person has where the order leaves it to the reader.
const USUAL_TIME: u8 = 30;
/// Class, instruction, two parameters, length.
const HEADER: usize = 5;

type Digits = Zeroizing<Vec<u8>>;

/// The command of an order to verify, with what was typed in it.
///
/// # Errors
/// What the reader answers in the place of the card.
pub(crate) fn verify(folder: &Path, order: &[u8]) -> Result<Digits, StatusWord> {
    let order = PinVerify::decode(order).map_err(|_| answer::INVALID_STRUCTURE)?;
    let mut command = Zeroizing::new(order.command);
    let digits = entry(folder, order.timeout, order.digits)?;
    put(&mut command, order.format, 0, &digits)?;
    Ok(command)
}

/// The command of an order to change a PIN.
///
/// # Errors
/// What the reader answers in the place of the card.
pub(crate) fn modify(folder: &Path, order: &[u8]) -> Result<Digits, StatusWord> {
    let order = PinModify::decode(order).map_err(|_| answer::INVALID_STRUCTURE)?;
    let mut command = Zeroizing::new(order.command);
    if order.confirm & confirm::PRESENT != 0 {
        let present = entry(folder, order.timeout, order.digits)?;
        put(&mut command, order.format, order.old_offset.into(), &present)?;
    }
    let new = entry(folder, order.timeout, order.digits)?;
    if order.confirm & confirm::NEW_TWICE != 0 && *entry(folder, order.timeout, order.digits)? != *new {
        return Err(answer::NEW_PINS_DIFFER);
    }
    put(&mut command, order.format, order.new_offset.into(), &new)?;
    Ok(command)
}

/// Waits for one entry.
fn entry(folder: &Path, timeout: u8, (fewest, most): (u8, u8)) -> Result<Digits, StatusWord> {
    let seconds = if timeout == 0 { USUAL_TIME } else { timeout };
    let ends = Instant::now() + Duration::from_secs(seconds.into());
    let sign = folder.join(WAITING);
    // Without the sign the reader waits all the same.
    fs::write(&sign, []).unwrap_or_default();
    let typed = loop {
        if let Some(line) = take_line(&folder.join(TYPED)) {
            break Ok(line);
        }
        if Instant::now() >= ends {
            break Err(answer::TIMED_OUT);
        }
        thread::sleep(GLANCE);
    };
    fs::remove_file(&sign).unwrap_or_default();
    let typed = typed?;
    if *typed == CANCEL.as_bytes() {
        return Err(answer::CANCELLED);
    }
    let fits = usize::from(fewest) <= typed.len() && typed.len() <= usize::from(most);
    if fits && typed.iter().all(u8::is_ascii_digit) { Ok(typed) } else { Err(answer::WRONG_LENGTH) }
}

/// Takes the first line away, if there is a whole one.
fn take_line(path: &Path) -> Option<Digits> {
    let content = Zeroizing::new(fs::read(path).ok()?);
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = content.split_at_checked(end)?;
    fs::write(path, rest.get(1..)?).ok()?;
    Some(Zeroizing::new(line.to_vec()))
}

/// Writes digits into a command.
fn put(command: &mut [u8], format: BlockFormat, further: usize, digits: &[u8]) -> Result<(), StatusWord> {
    let bytes = coded(format.coding(), digits).ok_or(answer::INVALID_STRUCTURE)?;
    let start = format.offset().map(|offset| HEADER.saturating_add(offset).saturating_add(further));
    let block = start
        .and_then(|start| command.get_mut(start..).and_then(|data| data.get_mut(..format.block_length())));
    let block = block.filter(|_| !format.writes_length()).ok_or(answer::INVALID_STRUCTURE)?;
    let room = block.len().checked_sub(bytes.len()).ok_or(answer::WRONG_LENGTH)?;
    let skip = match format.justify() {
        Justify::Left => 0,
        Justify::Right => room,
    };
    block.iter_mut().skip(skip).zip(bytes.iter()).for_each(|(to, from)| *to = *from);
    Ok(())
}

fn coded(coding: Coding, digits: &[u8]) -> Option<Digits> {
    let value = |digit: &u8| digit.wrapping_sub(b'0');
    let bytes = match coding {
        Coding::Ascii => digits.to_vec(),
        Coding::Binary => digits.iter().map(value).collect(),
        Coding::Bcd => {
            let pair = |pair: &[u8]| {
                let low = pair.get(1).map_or(0x0F, value);
                pair.first().map_or(0, value) << 4 | low
            };
            digits.chunks(2).map(pair).collect()
        }
        Coding::Reserved => return None,
    };
    Some(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests {
    use cns_apdu::command::PinReference;
    use cns_apdu::object::ObjectId;
    use tempfile::TempDir;

    use super::*;

    fn typed(lines: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(TYPED), lines).unwrap();
        folder
    }

    fn pin() -> PinReference {
        PinReference::local(ObjectId::CNS_PIN)
    }

    #[test]
    fn what_is_typed_goes_where_the_order_says() {
        let folder = typed("12345\n54321\n87654321\n87654321\n");
        let order = PinVerify::cns(pin(), 1, 2).encode().unwrap();
        let command = verify(folder.path(), &order).unwrap();
        assert_eq!(*command, *b"\x00\x20\x00\x90\x0812345\xFF\xFF\xFF");
        let order = PinModify::change(pin(), 1, 2).encode().unwrap();
        let command = modify(folder.path(), &order).unwrap();
        assert_eq!(*command, *b"\x00\x24\x00\x90\x1054321\xFF\xFF\xFF87654321");
        assert!(!folder.path().join(WAITING).exists());
    }

    #[test]
    fn other_formats_are_formed_too() {
        let folder = typed("12345\n12345\n12345\n");
        let block = |format| {
            let order = PinVerify { format, ..PinVerify::cns(pin(), 1, 2) };
            verify(folder.path(), &order.encode().unwrap()).map(|command| command[HEADER..].to_vec())
        };
        let bcd = BlockFormat { format: 0x89, block: 0x04, length: 0 };
        assert_eq!(block(bcd).unwrap(), [0xFF, 0x12, 0x34, 0x5F, 0xFF, 0xFF, 0xFF, 0xFF]);
        let right = BlockFormat { format: 0x86, ..BlockFormat::CNS };
        assert_eq!(block(right).unwrap(), *b"\xFF\xFF\xFF12345");
        assert_eq!(block(BlockFormat { format: 0x83, ..BlockFormat::CNS }), Err(answer::INVALID_STRUCTURE));
    }

    #[test]
    fn what_is_no_pin_never_becomes_a_command() {
        let order = PinVerify::cns(pin(), 1, 2).encode().unwrap();
        for (lines, said) in [
            ("", answer::TIMED_OUT),
            ("cancel\n", answer::CANCELLED),
            ("1234\n", answer::WRONG_LENGTH),
            ("123456789\n", answer::WRONG_LENGTH),
        ] {
            assert_eq!(verify(typed(lines).path(), &order), Err(said), "{lines:?}");
        }
        let folder = typed("12345\n11111\n22222\n");
        let order = PinModify::change(pin(), 1, 2).encode().unwrap();
        assert_eq!(modify(folder.path(), &order), Err(answer::NEW_PINS_DIFFER));
        assert_eq!(verify(folder.path(), &order[1..]), Err(answer::INVALID_STRUCTURE));
    }
}
