//! Status words (ISO/IEC 7816-4:2005 §5.1.3; CNS values as in `docs/card-commands.md`).

use std::fmt::{self, Display, Formatter};

/// The two bytes that end every response.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusWord(pub u16);

/// What a status word means; closed, so that every caller decides about every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "each name is the meaning that `StatusWord`'s constant of that name documents"
)]
pub enum Status {
    Success,
    /// 61xx: so many bytes wait for GET RESPONSE; 0 stands for 256 or more.
    BytesAvailable(u8),
    EndOfFile,
    FileDeactivated,
    /// 6300: wrong PIN or PUK, and the chip does not tell how many tries are left.
    VerificationFailed,
    /// 63Cx: wrong PIN or PUK, x tries left.
    RetriesLeft(u8),
    ExecutionError,
    MemoryFailure,
    WrongLength,
    SecureMessagingNotSupported,
    LastCommandExpected,
    ChainingNotSupported,
    IncompatibleFile,
    SecurityNotSatisfied,
    Blocked,
    InvalidObject,
    ConditionsNotSatisfied,
    NoCurrentFile,
    SecureMessagingObjectMissing,
    SecureMessagingObjectWrong,
    WrongData,
    FunctionNotSupported,
    FileNotFound,
    RecordNotFound,
    NoMemory,
    LengthAgainstTlv,
    WrongParameters,
    LengthAgainstParameters,
    ObjectNotFound,
    AlreadyExists,
    OffsetOutsideFile,
    /// 6Cxx: repeat with this Le; 0 stands for 256.
    WrongLe(u8),
    InstructionNotSupported,
    ClassNotSupported,
    InternalError,
    /// Anything else, kept as it came.
    Unknown(u16),
}

impl StatusWord {
    /// 9000: done.
    pub const SUCCESS: Self = Self(0x9000);
    /// 6282: the file ended before Le bytes; the data is there.
    pub const END_OF_FILE: Self = Self(0x6282);
    /// 6283: the file is deactivated.
    pub const FILE_DEACTIVATED: Self = Self(0x6283);
    /// 6300: verification failed, tries left unknown.
    pub const VERIFICATION_FAILED: Self = Self(0x6300);
    /// 6400: execution error, nothing changed.
    pub const EXECUTION_ERROR: Self = Self(0x6400);
    /// 6581: memory failure.
    pub const MEMORY_FAILURE: Self = Self(0x6581);
    /// 6700: wrong length.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// 6882: secure messaging is not supported.
    pub const SECURE_MESSAGING_NOT_SUPPORTED: Self = Self(0x6882);
    /// 6883: the last command of the chain was expected.
    pub const LAST_COMMAND_EXPECTED: Self = Self(0x6883);
    /// 6884: command chaining is not supported.
    pub const CHAINING_NOT_SUPPORTED: Self = Self(0x6884);
    /// 6981: the command does not suit the type of file.
    pub const INCOMPATIBLE_FILE: Self = Self(0x6981);
    /// 6982: security status not satisfied; usually a PIN is missing.
    pub const SECURITY_NOT_SATISFIED: Self = Self(0x6982);
    /// 6983: the PIN, PUK or key is blocked.
    pub const BLOCKED: Self = Self(0x6983);
    /// 6984: the object cannot be used as it is.
    pub const INVALID_OBJECT: Self = Self(0x6984);
    /// 6985: conditions of use not satisfied.
    pub const CONDITIONS_NOT_SATISFIED: Self = Self(0x6985);
    /// 6986: there is no current elementary file.
    pub const NO_CURRENT_FILE: Self = Self(0x6986);
    /// 6987: a secure messaging object is missing.
    pub const SECURE_MESSAGING_OBJECT_MISSING: Self = Self(0x6987);
    /// 6988: a secure messaging object is wrong.
    pub const SECURE_MESSAGING_OBJECT_WRONG: Self = Self(0x6988);
    /// 6A80: wrong data.
    pub const WRONG_DATA: Self = Self(0x6A80);
    /// 6A81: function not supported.
    pub const FUNCTION_NOT_SUPPORTED: Self = Self(0x6A81);
    /// 6A82: file not found.
    pub const FILE_NOT_FOUND: Self = Self(0x6A82);
    /// 6A83: record or security environment not found.
    pub const RECORD_NOT_FOUND: Self = Self(0x6A83);
    /// 6A84: not enough memory.
    pub const NO_MEMORY: Self = Self(0x6A84);
    /// 6A85: Lc contradicts the TLV structure.
    pub const LENGTH_AGAINST_TLV: Self = Self(0x6A85);
    /// 6A86: wrong P1 or P2.
    pub const WRONG_PARAMETERS: Self = Self(0x6A86);
    /// 6A87: Lc contradicts P1 and P2.
    pub const LENGTH_AGAINST_PARAMETERS: Self = Self(0x6A87);
    /// 6A88: referenced object not found.
    pub const OBJECT_NOT_FOUND: Self = Self(0x6A88);
    /// 6A89: the file or object exists already.
    pub const ALREADY_EXISTS: Self = Self(0x6A89);
    /// 6B00: the offset lies outside of the file.
    pub const OFFSET_OUTSIDE_FILE: Self = Self(0x6B00);
    /// 6D00: instruction not supported.
    pub const INSTRUCTION_NOT_SUPPORTED: Self = Self(0x6D00);
    /// 6E00: class not supported.
    pub const CLASS_NOT_SUPPORTED: Self = Self(0x6E00);
    /// 6F00: internal error.
    pub const INTERNAL_ERROR: Self = Self(0x6F00);

    /// 63Cx: verification failed, `tries` left (15 at most).
    #[must_use]
    pub const fn retries_left(tries: u8) -> Self {
        let tries = if tries > 15 { 15 } else { tries };
        Self(u16::from_be_bytes([0x63, 0xC0 | tries]))
    }

    /// 61xx: so many bytes wait for GET RESPONSE.
    #[must_use]
    pub const fn bytes_available(count: u8) -> Self {
        Self(u16::from_be_bytes([0x61, count]))
    }

    /// 6Cxx: the command is to be repeated with this Le.
    #[must_use]
    pub const fn wrong_le(le: u8) -> Self {
        Self(u16::from_be_bytes([0x6C, le]))
    }

    /// The meaning.
    #[must_use]
    pub fn meaning(self) -> Status {
        let [first, second] = self.0.to_be_bytes();
        match (first, second) {
            (0x61, count) => Status::BytesAvailable(count),
            (0x6C, le) => Status::WrongLe(le),
            (0x63, 0xC0..=0xCF) => Status::RetriesLeft(second & 0x0F),
            (_, _) => NAMES
                .iter()
                .find(|(word, _, _)| *word == self)
                .map_or(Status::Unknown(self.0), |(_, status, _)| *status),
        }
    }

    /// The two bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// The fixed status words, their meaning and their text.
const NAMES: [(StatusWord, Status, &str); 32] = [
    (StatusWord::SUCCESS, Status::Success, "success"),
    (StatusWord::END_OF_FILE, Status::EndOfFile, "end of file reached before Le bytes"),
    (StatusWord::FILE_DEACTIVATED, Status::FileDeactivated, "the file is deactivated"),
    (StatusWord::VERIFICATION_FAILED, Status::VerificationFailed, "wrong PIN or PUK, tries left unknown"),
    (StatusWord::EXECUTION_ERROR, Status::ExecutionError, "execution error"),
    (StatusWord::MEMORY_FAILURE, Status::MemoryFailure, "memory failure"),
    (StatusWord::WRONG_LENGTH, Status::WrongLength, "wrong length"),
    (
        StatusWord::SECURE_MESSAGING_NOT_SUPPORTED,
        Status::SecureMessagingNotSupported,
        "secure messaging not supported",
    ),
    (StatusWord::LAST_COMMAND_EXPECTED, Status::LastCommandExpected, "last command of the chain expected"),
    (StatusWord::CHAINING_NOT_SUPPORTED, Status::ChainingNotSupported, "command chaining not supported"),
    (StatusWord::INCOMPATIBLE_FILE, Status::IncompatibleFile, "command incompatible with the file"),
    (StatusWord::SECURITY_NOT_SATISFIED, Status::SecurityNotSatisfied, "security status not satisfied"),
    (StatusWord::BLOCKED, Status::Blocked, "blocked"),
    (StatusWord::INVALID_OBJECT, Status::InvalidObject, "referenced data not usable"),
    (StatusWord::CONDITIONS_NOT_SATISFIED, Status::ConditionsNotSatisfied, "conditions of use not satisfied"),
    (StatusWord::NO_CURRENT_FILE, Status::NoCurrentFile, "no current file"),
    (
        StatusWord::SECURE_MESSAGING_OBJECT_MISSING,
        Status::SecureMessagingObjectMissing,
        "secure messaging object missing",
    ),
    (
        StatusWord::SECURE_MESSAGING_OBJECT_WRONG,
        Status::SecureMessagingObjectWrong,
        "secure messaging object wrong",
    ),
    (StatusWord::WRONG_DATA, Status::WrongData, "wrong data"),
    (StatusWord::FUNCTION_NOT_SUPPORTED, Status::FunctionNotSupported, "function not supported"),
    (StatusWord::FILE_NOT_FOUND, Status::FileNotFound, "file not found"),
    (StatusWord::RECORD_NOT_FOUND, Status::RecordNotFound, "record not found"),
    (StatusWord::NO_MEMORY, Status::NoMemory, "not enough memory"),
    (StatusWord::LENGTH_AGAINST_TLV, Status::LengthAgainstTlv, "length inconsistent with TLV structure"),
    (StatusWord::WRONG_PARAMETERS, Status::WrongParameters, "wrong P1 or P2"),
    (
        StatusWord::LENGTH_AGAINST_PARAMETERS,
        Status::LengthAgainstParameters,
        "length inconsistent with P1 and P2",
    ),
    (StatusWord::OBJECT_NOT_FOUND, Status::ObjectNotFound, "referenced object not found"),
    (StatusWord::ALREADY_EXISTS, Status::AlreadyExists, "file or object exists already"),
    (StatusWord::OFFSET_OUTSIDE_FILE, Status::OffsetOutsideFile, "offset outside of the file"),
    (StatusWord::INSTRUCTION_NOT_SUPPORTED, Status::InstructionNotSupported, "instruction not supported"),
    (StatusWord::CLASS_NOT_SUPPORTED, Status::ClassNotSupported, "class not supported"),
    (StatusWord::INTERNAL_ERROR, Status::InternalError, "internal error"),
];

impl Display for StatusWord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(word) = self;
        if let Some((_, _, text)) = NAMES.iter().find(|(named, _, _)| named == self) {
            return write!(f, "{text} ({word:04X})");
        }
        let [first, second] = word.to_be_bytes();
        match (first, second) {
            (0x61, 0) => write!(f, "256 or more bytes available ({word:04X})"),
            (0x61, count) => write!(f, "{count} bytes available ({word:04X})"),
            (0x6C, 0) => write!(f, "wrong Le, 256 expected ({word:04X})"),
            (0x6C, le) => write!(f, "wrong Le, {le} expected ({word:04X})"),
            (0x63, 0xC0..=0xCF) => write!(f, "wrong PIN or PUK, {} tries left ({word:04X})", second & 0x0F),
            (_, _) => write!(f, "status {word:04X}"),
        }
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}
