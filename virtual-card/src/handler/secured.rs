//! Commands in secure messaging: which keys they must have used, before they are opened and executed.
//!
//! Nothing is executed unless all that the conditions demand is there and right; what a wrong command costs is its
//! challenge. VERIFY, CHANGE and RESET have no protected response.

use cns_apdu::access::{DfOperation, EfOperation};
use cns_apdu::command::{AuthenticationKey, PinReference, SearchFrom};
use cns_apdu::object::{ObjectAddress, ObjectClass};
use cns_apdu::secure_messaging::{Exchange, Nonce, plain_class};
use cns_apdu::{Command, CommandApdu, StatusWord};

use super::{Answer, Reply, authenticate, execute, operation, pin};
use crate::card::VirtualCard;
use crate::objects::{ObjectOperation, ObjectReference};
use crate::secure_messaging::Demand;

/// What fits a response to a command with short Le, and with an extended one.
const SHORT_ROOM: usize = 256;
const EXTENDED_ROOM: usize = 65_536;
const EXTERNAL_AUTHENTICATE: u8 = 0x82;

pub(super) fn receive(card: &mut VirtualCard, wrapped: &CommandApdu) -> Reply {
    let demand = demand(card, wrapped)?;
    if demand.is_none() {
        return Err(refusal_of_unprotected(wrapped));
    }
    // Wrong or right, a challenge serves one command and a given number one response.
    let challenge = spend(demand.command.signature, &mut card.session.challenge)?;
    let random = spend(demand.response.signature, &mut card.session.host_random)?;
    let (command, response) = demand.keys(card.files())?;
    let exchange = Exchange { command, response, challenge, random };
    let mut plain = exchange.unwrap_command(wrapped).map_err(|error| error.status())?;
    // Over T=0 the answer may take several responses.
    let long = card.behaviour().t0 || wrapped.le.is_some_and(|le| le > 256);
    let room = if long { EXTENDED_ROOM } else { SHORT_ROOM };
    let most = u32::try_from(response.protection().most_data(room)).unwrap_or(u32::MAX);
    plain.le = plain.le.map(|le| le.min(most));
    if let Some(challenge) = challenge.filter(|_| plain.ins == EXTERNAL_AUTHENTICATE) {
        // The same challenge is what the host proves its key with: nothing could come between to get another.
        // Without a MAC none was taken, and the session still has it.
        card.session.challenge = Some(challenge.to_vec());
    }
    let answer = run_protected(card, &plain, demand.clone())?;
    protect(card, wrapped, answer, &demand, random, room)
}

fn run_protected(card: &mut VirtualCard, plain: &CommandApdu, demand: Demand) -> Reply {
    let command = Command::decode(plain)?;
    card.session.protection = Some(demand);
    let reply = execute(card, command);
    card.session.protection = None;
    reply
}

/// The response with its data objects, if the conditions demand them and the command was accepted.
fn protect(
    card: &VirtualCard,
    wrapped: &CommandApdu,
    answer: Answer,
    demand: &Demand,
    random: Option<Nonce>,
    room: usize,
) -> Reply {
    if demand.response.are_none() || (answer.data.is_empty() && answer.status != StatusWord::SUCCESS) {
        return Ok(answer);
    }
    let (_, response) = demand.keys(card.files())?;
    let exchange = Exchange { response, random, ..Exchange::default() };
    let header = [wrapped.cla, wrapped.ins, wrapped.p1, wrapped.p2];
    let data = exchange.wrap_response(header, &answer.data).map_err(|error| error.status())?;
    if data.len() > room { Err(StatusWord::WRONG_LENGTH) } else { Ok(Answer { data, ..answer }) }
}

/// Takes the random number that a MAC with `key` needs: 6985 if there is none, or not of eight bytes.
fn spend(key: Option<u8>, number: &mut Option<Vec<u8>>) -> Result<Option<Nonce>, StatusWord> {
    match key {
        None => Ok(None),
        Some(_) => {
            let number = number.take().and_then(|number| Nonce::try_from(number).ok());
            number.map(Some).ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)
        }
    }
}

/// 6985 for a command that is plain on this file or object; 6D00 and 6E00 for what is no command at all.
fn refusal_of_unprotected(wrapped: &CommandApdu) -> StatusWord {
    let header = CommandApdu::new(wrapped.ins, wrapped.p1, wrapped.p2).class(plain_class(wrapped.cla));
    match Command::decode(&header) {
        Err(
            status @ (StatusWord::INSTRUCTION_NOT_SUPPORTED
            | StatusWord::CLASS_NOT_SUPPORTED
            | StatusWord::WRONG_PARAMETERS),
        ) => status,
        Ok(_) | Err(_) => StatusWord::CONDITIONS_NOT_SATISFIED,
    }
}

/// What the conditions demand of a command with this header; its data is still sealed.
fn demand(card: &VirtualCard, wrapped: &CommandApdu) -> Result<Demand, StatusWord> {
    let directory = &card.session.directory;
    match (plain_class(wrapped.cla), wrapped.ins) {
        (0x00, 0xB0 | 0xB2) => of_current_ef(card, EfOperation::Read),
        (0x00, 0xD6 | 0xDC) => of_current_ef(card, EfOperation::Update),
        (0x00, 0xE2) => of_current_ef(card, EfOperation::Append),
        (0x00, 0x20) => of_test_object(card, wrapped.p2, ObjectOperation::Present),
        // P1 tells whether the command brings a value to be compared (`ChangeProof`, `ResetAction`).
        (0x00, 0x24) => of_pin(card, wrapped.p2, ObjectOperation::Change, wrapped.p1 == 0x00),
        (0x00, 0x2C) => of_pin(card, wrapped.p2, ObjectOperation::Unblock, wrapped.p1 & 0x03 != 0x03),
        (0x00, EXTERNAL_AUTHENTICATE) => of_authentication_key(card, wrapped.p2, ObjectOperation::Present),
        (0x00, 0x88) => of_authentication_key(card, wrapped.p2, ObjectOperation::Use),
        (0x00, 0x2A) => {
            let key = match (wrapped.p1, wrapped.p2) {
                (0x9E, 0x9A) => operation::signature_key(card)?,
                (0x80, 0x86) | (0x86, 0x80) => operation::confidentiality_key(card)?,
                (_, _) => return Err(StatusWord::WRONG_PARAMETERS),
            };
            of_object(card, &key, ObjectOperation::Use)
        }
        (0x90, 0x24) => {
            let class = ObjectClass::new(wrapped.p1).ok_or(StatusWord::WRONG_PARAMETERS)?;
            let reference = PinReference::from_p2(wrapped.p2)?;
            let address = ObjectAddress::new(class, reference.id);
            let found = card.find_object(address, reference.search == SearchFrom::CurrentDf)?;
            of_object(card, &found, ObjectOperation::Change)
        }
        (0x00, 0xDA) if wrapped.p2 == 0x6F => of_current_file(card),
        // GENERATE KEY PAIR puts new values into objects of the directory, as PUT DATA does.
        (0x00, 0xDA | 0x46) => of_directory(card, DfOperation::UpdateObjects),
        (0x00, 0xE0) => of_directory(card, DfOperation::Create),
        (_, _) => Ok(Demand::none(directory)),
    }
}

fn of_current_ef(card: &VirtualCard, operation: EfOperation) -> Result<Demand, StatusWord> {
    Ok(Demand::of_ef(card.current_ef()?, &card.session.directory, operation))
}

fn of_directory(card: &VirtualCard, operation: DfOperation) -> Result<Demand, StatusWord> {
    let path = &card.session.directory;
    let file = card.files().file(path).ok_or(StatusWord::FILE_NOT_FOUND)?;
    Ok(Demand::of_df(file, path, operation))
}

fn of_current_file(card: &VirtualCard) -> Result<Demand, StatusWord> {
    match card.session.file {
        Some(_) => of_current_ef(card, EfOperation::Admin),
        None => of_directory(card, DfOperation::Admin),
    }
}

fn of_test_object(card: &VirtualCard, p2: u8, operation: ObjectOperation) -> Result<Demand, StatusWord> {
    of_object(card, &card.find_test_object(PinReference::from_p2(p2)?)?, operation)
}

fn of_pin(
    card: &VirtualCard,
    p2: u8,
    operation: ObjectOperation,
    presents: bool,
) -> Result<Demand, StatusWord> {
    pin::demand_of(card, &card.find_test_object(PinReference::from_p2(p2)?)?, operation, presents)
}

fn of_authentication_key(
    card: &VirtualCard,
    p2: u8,
    operation: ObjectOperation,
) -> Result<Demand, StatusWord> {
    let key = authenticate::named_key(card, AuthenticationKey::from_p2(p2)?)?;
    of_object(card, &key, operation)
}

fn of_object(
    card: &VirtualCard,
    reference: &ObjectReference,
    operation: ObjectOperation,
) -> Result<Demand, StatusWord> {
    Ok(Demand::of_object(card.object(reference)?, reference, operation))
}
