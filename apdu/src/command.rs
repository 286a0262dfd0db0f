//! The commands of a CNS chip, one file each: meaning, encoding and decoding.

mod activate_file;
mod append_record;
mod change_key_data;
mod change_reference_data;
mod create_file;
mod deactivate_file;
mod delete_file;
mod external_authenticate;
mod generate_key_pair;
mod get_challenge;
mod get_data;
mod get_response;
mod give_random;
mod internal_authenticate;
mod manage_security_environment;
mod parameters;
mod perform_security_operation;
mod put_data;
mod read_binary;
mod read_record;
mod reference;
mod reset_retry_counter;
mod select_file;
mod update_binary;
mod update_record;
mod verify;

pub use self::activate_file::ActivateFile;
pub use self::append_record::AppendRecord;
pub use self::change_key_data::ChangeKeyData;
pub use self::change_reference_data::{ChangeProof, ChangeReferenceData};
pub use self::create_file::CreateFile;
pub use self::deactivate_file::DeactivateFile;
pub use self::delete_file::DeleteFile;
pub use self::external_authenticate::{AuthenticationKey, ExternalAuthenticate};
pub use self::generate_key_pair::GenerateKeyPair;
pub use self::get_challenge::GetChallenge;
pub use self::get_data::{DataObject, GetData};
pub use self::get_response::GetResponse;
pub use self::give_random::GiveRandom;
pub use self::internal_authenticate::InternalAuthenticate;
pub use self::manage_security_environment::{ManageSecurityEnvironment, RestoreWithoutLength, Template};
pub use self::perform_security_operation::PerformSecurityOperation;
pub use self::put_data::{EnvironmentSettings, FileSettings, ObjectSettings, PutData};
pub use self::read_binary::ReadBinary;
pub use self::read_record::{Position, ReadRecord, RecordSelector};
pub use self::reference::{PinReference, REFERENCE_LENGTH, ReferenceData, ReferenceDataError, SearchFrom};
pub use self::reset_retry_counter::{ResetAction, ResetRetryCounter};
pub use self::select_file::{SelectBy, SelectFile, SelectResponse};
pub use self::update_binary::UpdateBinary;
pub use self::update_record::UpdateRecord;
pub use self::verify::Verify;

use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::response_apdu::ResponseApdu;
use crate::secure_messaging::is_secure;
use crate::status::StatusWord;

/// A command: how it is written, and what its answer means.
pub trait CardCommand {
    /// What the chip answers when it accepts.
    type Answer;
    /// Its name in ISO/IEC 7816 or the CNS specification.
    const NAME: &'static str;

    /// The command as it travels.
    ///
    /// # Errors
    /// When a value has no encoding, or there is no locked memory.
    fn encode(&self) -> Result<CommandApdu, ApduError>;

    /// The meaning of the chip's answer.
    ///
    /// # Errors
    /// When the chip refused, or its answer makes no sense.
    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError>;

    /// The data of an answer that reports success.
    ///
    /// # Errors
    /// When the chip refused.
    fn accepted(response: ResponseApdu) -> Result<Vec<u8>, CommandError> {
        response.into_data().map_err(|status| CommandError::Refused { command: Self::NAME, status })
    }

    /// An answer that is accepted but makes no sense.
    #[must_use]
    fn senseless(source: ApduError) -> CommandError {
        CommandError::Answer { command: Self::NAME, source }
    }
}

/// Every command that a CNS chip understands.
#[allow(missing_docs, reason = "each variant is the command of its name")]
pub enum Command {
    ActivateFile(ActivateFile),
    AppendRecord(AppendRecord),
    ChangeKeyData(ChangeKeyData),
    ChangeReferenceData(ChangeReferenceData),
    CreateFile(CreateFile),
    DeactivateFile(DeactivateFile),
    DeleteFile(DeleteFile),
    ExternalAuthenticate(ExternalAuthenticate),
    GenerateKeyPair(GenerateKeyPair),
    GetChallenge(GetChallenge),
    GetData(GetData),
    GetResponse(GetResponse),
    GiveRandom(GiveRandom),
    InternalAuthenticate(InternalAuthenticate),
    ManageSecurityEnvironment(ManageSecurityEnvironment),
    PerformSecurityOperation(PerformSecurityOperation),
    PutData(PutData),
    ReadBinary(ReadBinary),
    ReadRecord(ReadRecord),
    ResetRetryCounter(ResetRetryCounter),
    SelectFile(SelectFile),
    UpdateBinary(UpdateBinary),
    UpdateRecord(UpdateRecord),
    Verify(Verify),
}

/// The names of all commands, in alphabetical order.
pub const NAMES: [&str; 24] = [
    ActivateFile::NAME,
    AppendRecord::NAME,
    ChangeKeyData::NAME,
    ChangeReferenceData::NAME,
    CreateFile::NAME,
    DeactivateFile::NAME,
    DeleteFile::NAME,
    ExternalAuthenticate::NAME,
    GenerateKeyPair::NAME,
    GetChallenge::NAME,
    GetData::NAME,
    GetResponse::NAME,
    GiveRandom::NAME,
    InternalAuthenticate::NAME,
    ManageSecurityEnvironment::NAME,
    PerformSecurityOperation::NAME,
    PutData::NAME,
    ReadBinary::NAME,
    ReadRecord::NAME,
    ResetRetryCounter::NAME,
    SelectFile::NAME,
    UpdateBinary::NAME,
    UpdateRecord::NAME,
    Verify::NAME,
];

impl Command {
    /// What a chip makes of a command, or the status word with which it refuses it before looking at its state.
    ///
    /// Chaining (class 10) is put together first, by [`Assembler`](crate::chaining::Assembler), and secure messaging
    /// (bits 2 and 3 of the class) taken off, by [`Exchange`](crate::secure_messaging::Exchange); a part of a chain
    /// alone is of a class that no command has, and what is still protected is answered with 6882.
    ///
    /// # Errors
    /// 6E00 for the class, 6D00 for the instruction, 6A86 for P1 and P2, 6700 and 6A80 for the data.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        match (apdu.cla, apdu.ins) {
            (0x00, ins) => Self::decode_plain(ins, apdu),
            (0x80, 0x86) => GiveRandom::decode(apdu).map(Self::GiveRandom),
            (0x80, 0xCA) => GetData::decode(apdu).map(Self::GetData),
            (0x90, 0x24) => ChangeKeyData::decode(apdu).map(Self::ChangeKeyData),
            (cla, _) if is_secure(cla) => Err(StatusWord::SECURE_MESSAGING_NOT_SUPPORTED),
            (_, _) => Err(StatusWord::CLASS_NOT_SUPPORTED),
        }
    }

    fn decode_plain(ins: u8, apdu: &CommandApdu) -> Result<Self, StatusWord> {
        match ins {
            0x04 => DeactivateFile::decode(apdu).map(Self::DeactivateFile),
            0x20 => Verify::decode(apdu).map(Self::Verify),
            0x22 => ManageSecurityEnvironment::decode(apdu).map(Self::ManageSecurityEnvironment),
            0x24 => ChangeReferenceData::decode(apdu).map(Self::ChangeReferenceData),
            0x2A => PerformSecurityOperation::decode(apdu).map(Self::PerformSecurityOperation),
            0x2C => ResetRetryCounter::decode(apdu).map(Self::ResetRetryCounter),
            0x44 => ActivateFile::decode(apdu).map(Self::ActivateFile),
            0x46 => GenerateKeyPair::decode(apdu).map(Self::GenerateKeyPair),
            0x82 => ExternalAuthenticate::decode(apdu).map(Self::ExternalAuthenticate),
            0x84 => GetChallenge::decode(apdu).map(Self::GetChallenge),
            0x88 => InternalAuthenticate::decode(apdu).map(Self::InternalAuthenticate),
            0xA4 => SelectFile::decode(apdu).map(Self::SelectFile),
            0xB0 => ReadBinary::decode(apdu).map(Self::ReadBinary),
            0xB2 => ReadRecord::decode(apdu).map(Self::ReadRecord),
            0xC0 => GetResponse::decode(apdu).map(Self::GetResponse),
            0xCA => GetData::decode(apdu).map(Self::GetData),
            0xD6 => UpdateBinary::decode(apdu).map(Self::UpdateBinary),
            0xDA => PutData::decode(apdu).map(Self::PutData),
            0xDC => UpdateRecord::decode(apdu).map(Self::UpdateRecord),
            0xE0 => CreateFile::decode(apdu).map(Self::CreateFile),
            0xE2 => AppendRecord::decode(apdu).map(Self::AppendRecord),
            0xE4 => DeleteFile::decode(apdu).map(Self::DeleteFile),
            _ => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    /// The command as it travels.
    ///
    /// # Errors
    /// When a value has no encoding, or there is no locked memory.
    pub fn encode(&self) -> Result<CommandApdu, ApduError> {
        match self {
            Self::ActivateFile(command) => command.encode(),
            Self::AppendRecord(command) => command.encode(),
            Self::ChangeKeyData(command) => command.encode(),
            Self::ChangeReferenceData(command) => command.encode(),
            Self::CreateFile(command) => command.encode(),
            Self::DeactivateFile(command) => command.encode(),
            Self::DeleteFile(command) => command.encode(),
            Self::ExternalAuthenticate(command) => command.encode(),
            Self::GenerateKeyPair(command) => command.encode(),
            Self::GetChallenge(command) => command.encode(),
            Self::GetData(command) => command.encode(),
            Self::GetResponse(command) => command.encode(),
            Self::GiveRandom(command) => command.encode(),
            Self::InternalAuthenticate(command) => command.encode(),
            Self::ManageSecurityEnvironment(command) => command.encode(),
            Self::PerformSecurityOperation(command) => command.encode(),
            Self::PutData(command) => command.encode(),
            Self::ReadBinary(command) => command.encode(),
            Self::ReadRecord(command) => command.encode(),
            Self::ResetRetryCounter(command) => command.encode(),
            Self::SelectFile(command) => command.encode(),
            Self::UpdateBinary(command) => command.encode(),
            Self::UpdateRecord(command) => command.encode(),
            Self::Verify(command) => command.encode(),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ActivateFile(_) => ActivateFile::NAME,
            Self::AppendRecord(_) => AppendRecord::NAME,
            Self::ChangeKeyData(_) => ChangeKeyData::NAME,
            Self::ChangeReferenceData(_) => ChangeReferenceData::NAME,
            Self::CreateFile(_) => CreateFile::NAME,
            Self::DeactivateFile(_) => DeactivateFile::NAME,
            Self::DeleteFile(_) => DeleteFile::NAME,
            Self::ExternalAuthenticate(_) => ExternalAuthenticate::NAME,
            Self::GenerateKeyPair(_) => GenerateKeyPair::NAME,
            Self::GetChallenge(_) => GetChallenge::NAME,
            Self::GetData(_) => GetData::NAME,
            Self::GetResponse(_) => GetResponse::NAME,
            Self::GiveRandom(_) => GiveRandom::NAME,
            Self::InternalAuthenticate(_) => InternalAuthenticate::NAME,
            Self::ManageSecurityEnvironment(_) => ManageSecurityEnvironment::NAME,
            Self::PerformSecurityOperation(_) => PerformSecurityOperation::NAME,
            Self::PutData(_) => PutData::NAME,
            Self::ReadBinary(_) => ReadBinary::NAME,
            Self::ReadRecord(_) => ReadRecord::NAME,
            Self::ResetRetryCounter(_) => ResetRetryCounter::NAME,
            Self::SelectFile(_) => SelectFile::NAME,
            Self::UpdateBinary(_) => UpdateBinary::NAME,
            Self::UpdateRecord(_) => UpdateRecord::NAME,
            Self::Verify(_) => Verify::NAME,
        }
    }
}
