//! From the bytes of a command to its execution: one function per command, one match over all of them.

mod authenticate;
mod binary;
mod data;
mod environment;
mod key_pair;
mod life_cycle;
mod operation;
mod pin;
mod put_data;
mod record;
mod secured;
mod select;
mod t0;

use cns_apdu::chaining::{Assembled, is_part};
use cns_apdu::command::ManageSecurityEnvironment;
use cns_apdu::secure_messaging::is_secure;
use cns_apdu::{Command, CommandApdu, Form, StatusWord};

use crate::card::VirtualCard;

pub(crate) use self::t0::{Waiting, receive_over_t0};

/// What a command answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) data: Vec<u8>,
    pub(crate) status: StatusWord,
}

impl From<StatusWord> for Answer {
    fn from(status: StatusWord) -> Self {
        Self { data: Vec::new(), status }
    }
}

impl From<Vec<u8>> for Answer {
    fn from(data: Vec<u8>) -> Self {
        Self { data, status: StatusWord::SUCCESS }
    }
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::from(StatusWord::SUCCESS)
    }
}

/// What a command does: the answer, or the refusal.
pub(crate) type Reply = Result<Answer, StatusWord>;

/// Takes a command as it arrives: its length, its class, its place in a chain.
pub(crate) fn receive(card: &mut VirtualCard, bytes: &[u8]) -> Reply {
    if Form::of(bytes) == Form::Extended && !card.generation().takes_extended_length() {
        return Err(StatusWord::WRONG_LENGTH);
    }
    let part = CommandApdu::parse(bytes).map_err(|_| StatusWord::WRONG_LENGTH)?;
    if is_part(part.cla) && (card.behaviour().strict_st || !card.habits().chaining) {
        return Err(StatusWord::CLASS_NOT_SUPPORTED);
    }
    match card.session.chain.push(part).map_err(|_| StatusWord::WRONG_LENGTH)? {
        Assembled::Whole(command) if is_secure(command.cla) => secured::receive(card, &command),
        Assembled::Whole(command) => {
            let decoded = Command::decode(&command)?;
            let is_restore = matches!(
                decoded,
                Command::ManageSecurityEnvironment(ManageSecurityEnvironment::Restore { .. })
            );
            if is_restore && command.le.is_some() && card.behaviour().strict_restore {
                return Err(StatusWord::WRONG_LENGTH);
            }
            execute(card, decoded)
        }
        Assembled::Partial => Ok(().into()),
    }
}

fn execute(card: &mut VirtualCard, command: Command) -> Reply {
    match command {
        Command::ActivateFile(_) => life_cycle::activate(card),
        Command::AppendRecord(command) => record::append(card, &command),
        Command::ChangeKeyData(command) => put_data::change_key_data(card, command),
        Command::ChangeReferenceData(command) => pin::change_reference_data(card, &command),
        Command::CreateFile(command) => life_cycle::create(card, command),
        Command::DeactivateFile(_) => life_cycle::deactivate(card),
        Command::DeleteFile(command) => life_cycle::delete(card, command),
        Command::ExternalAuthenticate(command) => authenticate::external(card, &command),
        Command::GenerateKeyPair(command) => key_pair::generate(card, command),
        Command::GetChallenge(command) => authenticate::get_challenge(card, command),
        Command::GetData(command) => data::get_data(card, command),
        // Of T=0 only, and executed there: in T=1 the answer comes at once.
        Command::GetResponse(_) => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
        Command::GiveRandom(command) => authenticate::give_random(card, command),
        Command::InternalAuthenticate(command) => authenticate::internal(card, &command),
        Command::ManageSecurityEnvironment(command) => environment::manage(card, command),
        Command::PerformSecurityOperation(command) => operation::perform(card, &command),
        Command::PutData(command) => put_data::put_data(card, command),
        Command::ReadBinary(command) => binary::read(card, command),
        Command::ReadRecord(command) => record::read(card, command),
        Command::ResetRetryCounter(command) => pin::reset_retry_counter(card, &command),
        Command::SelectFile(command) => select::select(card, &command),
        Command::UpdateBinary(command) => binary::update(card, &command),
        Command::UpdateRecord(command) => record::update(card, &command),
        Command::Verify(command) => pin::verify(card, &command),
    }
}
