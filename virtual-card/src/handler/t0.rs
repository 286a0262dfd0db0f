//! Answers as over the transmission protocol T=0 (ISO/IEC 7816-3 §12.2): data of a command that brought data waits for
//! GET RESPONSE (61xx), and an Le beyond what there is is answered with the right one (6Cxx).
//!
//! A command is executed once: what it answered is kept for whoever asks again, and lost with the next other command.

use cns_apdu::command::GetResponse;
use cns_apdu::{CommandApdu, Form, StatusWord};

use super::{Answer, Reply, receive};
use crate::card::VirtualCard;

const GET_RESPONSE: (u8, u8) = (0x00, 0xC0);
const SELECT: (u8, u8) = (0x00, 0xA4);
/// What one response carries.
const MOST: usize = 256;

/// Data that the host has not fetched yet.
pub(crate) struct Waiting {
    data: Vec<u8>,
    /// The status word that comes with the last of it.
    status: StatusWord,
    /// The header of a command without data, which is to be sent again with the right Le.
    repeated: Option<[u8; 4]>,
}

pub(crate) fn receive_over_t0(card: &mut VirtualCard, bytes: &[u8]) -> Reply {
    if Form::of(bytes) == Form::Extended {
        return Err(StatusWord::WRONG_LENGTH);
    }
    let waiting = card.session.waiting.take();
    let command = CommandApdu::parse(bytes).map_err(|_| StatusWord::WRONG_LENGTH)?;
    let header = [command.cla, command.ins, command.p1, command.p2];
    let wanted = command.le.map_or(MOST, |le| usize::try_from(le).unwrap_or(MOST));
    if (command.cla, command.ins) == GET_RESPONSE {
        GetResponse::decode(&command)?;
        let waiting = waiting.filter(|waiting| waiting.repeated.is_none());
        return hand_out(card, waiting.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?, wanted);
    }
    if let Some(waiting) = waiting.filter(|waiting| waiting.repeated == Some(header))
        && waiting.data.len() == wanted
        && command.data.is_empty()
    {
        return Ok(Answer { data: waiting.data, status: waiting.status });
    }
    // T=0 has no room for Lc and Le in one command: SELECT with data is always one that may bring an answer.
    let answers = (command.cla, command.ins) == SELECT && !command.data.is_empty() && command.le.is_none();
    let Answer { data, status } =
        if answers { receive(card, &[bytes, &[0x00]].concat())? } else { receive(card, bytes)? };
    if data.is_empty() {
        return Ok(status.into());
    }
    let without_data = command.data.is_empty() && command.le.is_some();
    if without_data && data.len() == wanted {
        return Ok(Answer { data, status });
    }
    let length = data.len();
    card.session.waiting = Some(Waiting { data, status, repeated: without_data.then_some(header) });
    let count = count(length);
    Ok(if without_data { StatusWord::wrong_le(count) } else { StatusWord::bytes_available(count) }.into())
}

/// The next part of what waits.
fn hand_out(card: &mut VirtualCard, mut waiting: Waiting, wanted: usize) -> Reply {
    let there = waiting.data.len();
    if wanted > there.min(MOST) {
        card.session.waiting = Some(waiting);
        return Err(StatusWord::wrong_le(count(there)));
    }
    let rest = waiting.data.split_off(wanted);
    let data = std::mem::replace(&mut waiting.data, rest);
    if waiting.data.is_empty() {
        return Ok(Answer { data, status: waiting.status });
    }
    let status = StatusWord::bytes_available(count(waiting.data.len()));
    card.session.waiting = Some(waiting);
    Ok(Answer { data, status })
}

/// In 61xx and 6Cxx zero stands for 256 or more.
fn count(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(0)
}
