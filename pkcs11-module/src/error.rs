//! What a function of the standard can answer other than `CKR_OK`, and which `CKR_` code that is.

use cns_protocol::ErrorKind;
use cns_secret::SecretError;
use cryptoki_sys as ck;
use cryptoki_sys::CK_RV;

/// A refusal or a failure, named as the standard names its return values (PKCS#11 v2.40 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
#[expect(clippy::enum_variant_names, reason = "CKR_DEVICE_ERROR is the standard's name")]
pub(crate) enum Error {
    ActionProhibited,
    ArgumentsBad,
    AttributeReadOnly,
    AttributeSensitive,
    AttributeTypeInvalid,
    AttributeValueInvalid,
    BufferTooSmall,
    CantLock,
    CryptokiAlreadyInitialized,
    CryptokiNotInitialized,
    DataInvalid,
    DataLenRange,
    DeviceError,
    DeviceRemoved,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionCanceled,
    FunctionNotParallel,
    FunctionNotSupported,
    General,
    HostMemory,
    KeyFunctionNotPermitted,
    KeyHandleInvalid,
    KeyIndigestible,
    KeyNotWrappable,
    KeySizeRange,
    KeyUnextractable,
    MechanismInvalid,
    MechanismParamInvalid,
    NoEvent,
    ObjectHandleInvalid,
    OperationActive,
    OperationNotInitialized,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    RandomSeedNotSupported,
    SessionAsyncNotSupported,
    SessionHandleInvalid,
    SessionParallelNotSupported,
    SessionReadOnly,
    SessionReadOnlyExists,
    SessionReadWriteSoExists,
    SignatureInvalid,
    SignatureLenRange,
    SlotIdInvalid,
    TemplateIncomplete,
    TemplateInconsistent,
    TokenNotPresent,
    TokenNotRecognized,
    TokenWriteProtected,
    UnwrappingKeyHandleInvalid,
    UserAlreadyLoggedIn,
    UserAnotherAlreadyLoggedIn,
    UserNotLoggedIn,
    UserTypeInvalid,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
    WrappingKeyHandleInvalid,
}

impl Error {
    /// The standard's code.
    #[expect(clippy::too_many_lines, reason = "a table: one entry an error")]
    pub(crate) fn code(self) -> CK_RV {
        match self {
            Error::ActionProhibited => ck::CKR_ACTION_PROHIBITED,
            Error::ArgumentsBad => ck::CKR_ARGUMENTS_BAD,
            Error::AttributeReadOnly => ck::CKR_ATTRIBUTE_READ_ONLY,
            Error::AttributeSensitive => ck::CKR_ATTRIBUTE_SENSITIVE,
            Error::AttributeTypeInvalid => ck::CKR_ATTRIBUTE_TYPE_INVALID,
            Error::AttributeValueInvalid => ck::CKR_ATTRIBUTE_VALUE_INVALID,
            Error::BufferTooSmall => ck::CKR_BUFFER_TOO_SMALL,
            Error::CantLock => ck::CKR_CANT_LOCK,
            Error::CryptokiAlreadyInitialized => ck::CKR_CRYPTOKI_ALREADY_INITIALIZED,
            Error::CryptokiNotInitialized => ck::CKR_CRYPTOKI_NOT_INITIALIZED,
            Error::DataInvalid => ck::CKR_DATA_INVALID,
            Error::DataLenRange => ck::CKR_DATA_LEN_RANGE,
            Error::DeviceError => ck::CKR_DEVICE_ERROR,
            Error::DeviceRemoved => ck::CKR_DEVICE_REMOVED,
            Error::EncryptedDataInvalid => ck::CKR_ENCRYPTED_DATA_INVALID,
            Error::EncryptedDataLenRange => ck::CKR_ENCRYPTED_DATA_LEN_RANGE,
            Error::FunctionCanceled => ck::CKR_FUNCTION_CANCELED,
            Error::FunctionNotParallel => ck::CKR_FUNCTION_NOT_PARALLEL,
            Error::FunctionNotSupported => ck::CKR_FUNCTION_NOT_SUPPORTED,
            Error::General => ck::CKR_GENERAL_ERROR,
            Error::HostMemory => ck::CKR_HOST_MEMORY,
            Error::KeyFunctionNotPermitted => ck::CKR_KEY_FUNCTION_NOT_PERMITTED,
            Error::KeyHandleInvalid => ck::CKR_KEY_HANDLE_INVALID,
            Error::KeyIndigestible => ck::CKR_KEY_INDIGESTIBLE,
            Error::KeyNotWrappable => ck::CKR_KEY_NOT_WRAPPABLE,
            Error::KeySizeRange => ck::CKR_KEY_SIZE_RANGE,
            Error::KeyUnextractable => ck::CKR_KEY_UNEXTRACTABLE,
            Error::MechanismInvalid => ck::CKR_MECHANISM_INVALID,
            Error::MechanismParamInvalid => ck::CKR_MECHANISM_PARAM_INVALID,
            Error::NoEvent => ck::CKR_NO_EVENT,
            Error::ObjectHandleInvalid => ck::CKR_OBJECT_HANDLE_INVALID,
            Error::OperationActive => ck::CKR_OPERATION_ACTIVE,
            Error::OperationNotInitialized => ck::CKR_OPERATION_NOT_INITIALIZED,
            Error::PinIncorrect => ck::CKR_PIN_INCORRECT,
            Error::PinInvalid => ck::CKR_PIN_INVALID,
            Error::PinLenRange => ck::CKR_PIN_LEN_RANGE,
            Error::PinLocked => ck::CKR_PIN_LOCKED,
            Error::RandomSeedNotSupported => ck::CKR_RANDOM_SEED_NOT_SUPPORTED,
            Error::SessionAsyncNotSupported => ck::CKR_SESSION_ASYNC_NOT_SUPPORTED,
            Error::SessionHandleInvalid => ck::CKR_SESSION_HANDLE_INVALID,
            Error::SessionParallelNotSupported => ck::CKR_SESSION_PARALLEL_NOT_SUPPORTED,
            Error::SessionReadOnly => ck::CKR_SESSION_READ_ONLY,
            Error::SessionReadOnlyExists => ck::CKR_SESSION_READ_ONLY_EXISTS,
            Error::SessionReadWriteSoExists => ck::CKR_SESSION_READ_WRITE_SO_EXISTS,
            Error::SignatureInvalid => ck::CKR_SIGNATURE_INVALID,
            Error::SignatureLenRange => ck::CKR_SIGNATURE_LEN_RANGE,
            Error::SlotIdInvalid => ck::CKR_SLOT_ID_INVALID,
            Error::TemplateIncomplete => ck::CKR_TEMPLATE_INCOMPLETE,
            Error::TemplateInconsistent => ck::CKR_TEMPLATE_INCONSISTENT,
            Error::TokenNotPresent => ck::CKR_TOKEN_NOT_PRESENT,
            Error::TokenNotRecognized => ck::CKR_TOKEN_NOT_RECOGNIZED,
            Error::TokenWriteProtected => ck::CKR_TOKEN_WRITE_PROTECTED,
            Error::UnwrappingKeyHandleInvalid => ck::CKR_UNWRAPPING_KEY_HANDLE_INVALID,
            Error::UserAlreadyLoggedIn => ck::CKR_USER_ALREADY_LOGGED_IN,
            Error::UserAnotherAlreadyLoggedIn => ck::CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
            Error::UserNotLoggedIn => ck::CKR_USER_NOT_LOGGED_IN,
            Error::UserTypeInvalid => ck::CKR_USER_TYPE_INVALID,
            Error::WrappedKeyInvalid => ck::CKR_WRAPPED_KEY_INVALID,
            Error::WrappedKeyLenRange => ck::CKR_WRAPPED_KEY_LEN_RANGE,
            Error::WrappingKeyHandleInvalid => ck::CKR_WRAPPING_KEY_HANDLE_INVALID,
        }
    }
}

impl From<SecretError> for Error {
    fn from(_: SecretError) -> Self {
        Error::HostMemory
    }
}

/// What a refusal of the daemon means to an application. Causes that only other methods have are general errors.
impl From<ErrorKind> for Error {
    #[expect(clippy::too_many_lines, reason = "one line for each cause")]
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NoReader | ErrorKind::NoCard | ErrorKind::CardRemoved => Error::DeviceRemoved,
            ErrorKind::UnknownCard => Error::TokenNotRecognized,
            ErrorKind::PinIncorrect | ErrorKind::PukIncorrect => Error::PinIncorrect,
            ErrorKind::PinBlocked | ErrorKind::PukBlocked => Error::PinLocked,
            ErrorKind::PinInvalid => Error::PinInvalid,
            ErrorKind::LastTry | ErrorKind::PinEntryCancelled | ErrorKind::PinEntryTimedOut => {
                Error::FunctionCanceled
            }
            ErrorKind::PinEntriesDiffer => Error::PinInvalid,
            ErrorKind::NoPinPad => Error::ArgumentsBad,
            ErrorKind::NotLoggedIn | ErrorKind::CardReset => Error::UserNotLoggedIn,
            // The mechanism was judged when the operation began: what is left to refuse is the data.
            ErrorKind::MechanismInvalid => Error::DataInvalid,
            ErrorKind::CiphertextInvalid => Error::EncryptedDataInvalid,
            ErrorKind::NoSuchObject => Error::KeyHandleInvalid,
            ErrorKind::Forbidden
            | ErrorKind::Busy
            | ErrorKind::TimedOut
            | ErrorKind::ReaderFailed
            | ErrorKind::CardInUse
            | ErrorKind::PinPadFailed
            | ErrorKind::CardRefused
            | ErrorKind::CardAnswerInvalid
            | ErrorKind::Internal => Error::DeviceError,
            ErrorKind::ParseError
            | ErrorKind::InvalidRequest
            | ErrorKind::MethodNotFound
            | ErrorKind::InvalidParams
            | ErrorKind::NoOperator
            | ErrorKind::OperatorRefused
            | ErrorKind::NoSuchProcedure
            | ErrorKind::WrongStep
            | ErrorKind::RuleRefuses
            | ErrorKind::FieldInvalid
            | ErrorKind::NationalSystemFailed
            | ErrorKind::NoPuk
            | ErrorKind::EnvelopeUnknown
            | ErrorKind::EnvelopeUnavailable
            | ErrorKind::ImportRefused
            | ErrorKind::CustodyDamaged
            | ErrorKind::SecondPersonNeeded
            | ErrorKind::AuthorityFailed
            | ErrorKind::CertificateRefused
            | ErrorKind::SignatureAreaRefused
            | ErrorKind::OperatorPinWanted
            | ErrorKind::CertificateValid
            | ErrorKind::AuditBroken
            | ErrorKind::OrdersOff
            | ErrorKind::OrderInvalid
            | ErrorKind::OrderSigner
            | ErrorKind::OrderExpired
            | ErrorKind::OrderOtherCard
            | ErrorKind::OrderReplayed
            | ErrorKind::NoSuchOrder
            | ErrorKind::UserCodeLocked
            | ErrorKind::HolderUnproven
            | ErrorKind::CertificatesUnknown
            | ErrorKind::SeveralCards
            | ErrorKind::PukDeliveryOff
            | ErrorKind::PukDeliveryRefused
            | ErrorKind::NationalOff
            | ErrorKind::NoSuchRequest
            | ErrorKind::Unknown => Error::General,
        }
    }
}
