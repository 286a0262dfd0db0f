//! Judgements that several decoders share.

use crate::command_apdu::CommandApdu;
use crate::status::StatusWord;

/// P1 and P2 are as given, else 6A86.
pub(super) fn require(apdu: &CommandApdu, p1: u8, p2: u8) -> Result<(), StatusWord> {
    if (apdu.p1, apdu.p2) == (p1, p2) { Ok(()) } else { Err(StatusWord::WRONG_PARAMETERS) }
}

/// There is no data, else 6700.
pub(super) fn no_data(apdu: &CommandApdu) -> Result<(), StatusWord> {
    if apdu.data.is_empty() { Ok(()) } else { Err(StatusWord::WRONG_LENGTH) }
}

/// There is data, else this status.
pub(super) fn some_data(apdu: &CommandApdu, missing: StatusWord) -> Result<Vec<u8>, StatusWord> {
    if apdu.data.is_empty() { Err(missing) } else { Ok(apdu.data.as_bytes().to_vec()) }
}

/// There is no data but Le, else 6700.
pub(super) fn only_le(apdu: &CommandApdu) -> Result<u32, StatusWord> {
    no_data(apdu)?;
    apdu.le.ok_or(StatusWord::WRONG_LENGTH)
}
