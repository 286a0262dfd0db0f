//! The number of a card: opaque, for real cards have others than the specification's sixteen digits (`real-cards` §4,
//! 25).

use cns_apdu::generation::SerialPlace;
use cns_apdu::id_card::IdCard;

use super::super::{CardError, Chip};

/// Digits of a number in BCD that is as long as the specification's.
const BCD_LENGTH: usize = 8;

/// A card's number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Serial {
    /// As people are told it.
    pub(super) text: String,
    /// Whether it is sixteen digits, so that no other kind of card has it by chance.
    pub(super) is_usual: bool,
}

/// Reads the number; nothing when there is no such file, or nothing in it. Cards of other kinds refuse in their own
/// ways, so every refusal means "no CNS here".
pub(super) fn read(chip: &mut Chip<'_>, place: &SerialPlace) -> Result<Option<Serial>, CardError> {
    let wanted = place.skip.saturating_add(place.length);
    match chip.read_place(&place.file, wanted, |_| Some(wanted)) {
        Ok(Some(content)) => Ok(content.get(place.skip..).and_then(decode)),
        Ok(None) | Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Letters and digits as they are, everything else in hexadecimal.
fn decode(bytes: &[u8]) -> Option<Serial> {
    let filling = |byte: &u8| matches!(byte, 0x00 | 0xFF);
    if bytes.iter().all(filling) {
        return None;
    }
    if let Ok(number) = IdCard::parse(bytes) {
        return Some(Serial { text: number.as_str().to_owned(), is_usual: true });
    }
    let end = bytes.iter().rposition(|byte| !filling(byte)).map_or(0, |last| last.saturating_add(1));
    let text = bytes.get(..end).unwrap_or_default();
    if text.iter().all(u8::is_ascii_alphanumeric) {
        return Some(Serial { text: text.iter().copied().map(char::from).collect(), is_usual: false });
    }
    let text = hex::encode_upper(bytes);
    let is_usual = bytes.len() == BCD_LENGTH && text.bytes().all(|digit| digit.is_ascii_digit());
    Some(Serial { text, is_usual })
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_number_is_taken_as_it_is() {
        let text = |bytes: &[u8]| decode(bytes).map(|serial| (serial.text, serial.is_usual));
        assert_eq!(text(b"6999000000001230"), Some(("6999000000001230".to_owned(), true)));
        // A first digit that is no type of card.
        assert_eq!(text(b"0000000000000001"), Some(("0000000000000001".to_owned(), true)));
        let bcd = [0x69, 0x99, 0x00, 0x00, 0x00, 0x00, 0x12, 0x30];
        assert_eq!(text(&bcd), Some(("6999000000001230".to_owned(), true)));
        assert_eq!(text(b"TOK12\0\0\0"), Some(("TOK12".to_owned(), false)));
        assert_eq!(text(&[0x1B, b'[', b'J']), Some(("1B5B4A".to_owned(), false)));
        assert_eq!(text(b"../../x"), Some(("2E2E2F2E2E2F78".to_owned(), false)));
        for nothing in [&[][..], &[0; 16], &[0xFF; 16]] {
            assert_eq!(text(nothing), None);
        }
    }
}
