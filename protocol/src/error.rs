//! What can go wrong, as clients see it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stable cause. The numeric code and the name never change their meaning; new causes get new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The frame is not JSON.
    ParseError,
    /// The JSON is not a JSON-RPC 2.0 request.
    InvalidRequest,
    /// No such method.
    MethodNotFound,
    /// The parameters do not fit the method.
    InvalidParams,
    /// The daemon failed; its log knows why.
    Internal,
    /// The peer's role does not allow this method.
    Forbidden,
    /// The daemon is stopping or at its limit of connections or work.
    Busy,
    /// The request took longer than it may.
    TimedOut,
    /// No reader of this name.
    NoReader,
    /// No card in the reader.
    NoCard,
    /// The card was taken out, or replaced, during or before the request.
    CardRemoved,
    /// Another program reset the card.
    CardReset,
    /// The card in the reader is not a CNS that the daemon knows.
    UnknownCard,
    /// The reader or PC/SC failed.
    ReaderFailed,
    /// The chip refused a command: `status_word` says how.
    CardRefused,
    /// The chip's answer makes no sense.
    CardAnswerInvalid,
    /// No such object (key, certificate, file) on the card.
    NoSuchObject,
    /// Another program holds the card: alone, or in a transaction that does not end.
    CardInUse,
    /// Wrong PIN: `tries_left` says how many tries remain, when the chip tells.
    PinIncorrect,
    /// The PIN is blocked; a PUK or a counter (§9.4) can help.
    PinBlocked,
    /// The PIN is not 5 to 8 digits.
    PinInvalid,
    /// One try is left and the request did not say `confirm_last_try`.
    LastTry,
    /// The client has not logged in to this card.
    NotLoggedIn,
    /// Wrong PUK: `tries_left` says how many tries remain.
    PukIncorrect,
    /// The PUK is blocked: the card can only be replaced.
    PukBlocked,
    /// The mechanism or the data's length does not fit the key.
    MechanismInvalid,
    /// What is to be decrypted was not encrypted for this key in this way.
    CiphertextInvalid,
    /// No PIN was given, and the reader has no PIN pad that is believed.
    NoPinPad,
    /// Nobody typed on the PIN pad in time.
    PinEntryTimedOut,
    /// The entry on the PIN pad was cancelled.
    PinEntryCancelled,
    /// The new PIN was typed in two ways on the PIN pad.
    PinEntriesDiffer,
    /// The PIN pad failed, or told what is not true; it is not used until the reader is plugged in anew.
    PinPadFailed,
    /// No operator session (§9.3.2-2).
    NoOperator,
    /// The operator's card was refused: chain, status or allow list.
    OperatorRefused,
    /// No such procedure, or it is over.
    NoSuchProcedure,
    /// The procedure is at another step.
    WrongStep,
    /// A rule of the operating manual forbids it: `paragraph` names the rule.
    RuleRefuses,
    /// A field of an answer at the counter is missing, unknown, or not of its kind.
    FieldInvalid,
    /// The national system refused, could not be reached, or none is configured (§8).
    NationalSystemFailed,
    /// Custody knows no PUK for this card.
    NoPuk,
    /// No such envelope code, or its check digits are wrong.
    EnvelopeUnknown,
    /// The envelope is not available to this operator.
    EnvelopeUnavailable,
    /// The import file was refused.
    ImportRefused,
    /// Custody's records or keys are damaged or do not belong together.
    CustodyDamaged,
    /// What one person asked for must be confirmed by another person.
    SecondPersonNeeded,
    /// The certification authority refused or could not be reached.
    AuthorityFailed,
    /// The certificate that the authority issued was refused before loading.
    CertificateRefused,
    /// The card's signature area cannot be made: it exists already, or the card forbids it.
    SignatureAreaRefused,
    /// The request to the certifier is signed on the operator's own card (§7): its PIN is wanted.
    OperatorPinWanted,
    /// The signature certificate is valid, and the explicit word that deletes it all the same is missing.
    CertificateValid,
    /// The audit log's chain is broken.
    AuditBroken,
    /// No CMS system's orders are taken here.
    OrdersOff,
    /// The order is not one: too large, not RFC 5652 in DER, altered, not for this daemon, or with a content that makes no sense.
    OrderInvalid,
    /// The order's signer is not on the allow list, or its signature or certificate is not good.
    OrderSigner,
    /// The order has expired.
    OrderExpired,
    /// The order is for another card.
    OrderOtherCard,
    /// The order, or another one of its number, was carried out before.
    OrderReplayed,
    /// No order of this kind is over.
    NoSuchOrder,
    /// Too many wrong user codes came before: none is looked at for a while.
    UserCodeLocked,
    /// Codice fiscale, user code and names do not belong together, or there is no such holder.
    HolderUnproven,
    /// The certificates of such a card are not known here.
    CertificatesUnknown,
    /// The holder has several cards, and none was named.
    SeveralCards,
    /// PUKs are not delivered here.
    PukDeliveryOff,
    /// The card or its certificate is refused for the delivery of its PUK.
    PukDeliveryRefused,
    /// Interoperability, or the mail that it takes, is not configured.
    NationalOff,
    /// No such request to or from another region.
    NoSuchRequest,
    /// A code of a newer daemon.
    #[serde(other)]
    Unknown,
}

impl ErrorKind {
    /// Every cause.
    pub const ALL: [ErrorKind; 67] = [
        ErrorKind::ParseError,
        ErrorKind::InvalidRequest,
        ErrorKind::MethodNotFound,
        ErrorKind::InvalidParams,
        ErrorKind::Internal,
        ErrorKind::Forbidden,
        ErrorKind::Busy,
        ErrorKind::TimedOut,
        ErrorKind::NoReader,
        ErrorKind::NoCard,
        ErrorKind::CardRemoved,
        ErrorKind::CardReset,
        ErrorKind::UnknownCard,
        ErrorKind::ReaderFailed,
        ErrorKind::CardRefused,
        ErrorKind::CardAnswerInvalid,
        ErrorKind::NoSuchObject,
        ErrorKind::CardInUse,
        ErrorKind::PinIncorrect,
        ErrorKind::PinBlocked,
        ErrorKind::PinInvalid,
        ErrorKind::LastTry,
        ErrorKind::NotLoggedIn,
        ErrorKind::PukIncorrect,
        ErrorKind::PukBlocked,
        ErrorKind::MechanismInvalid,
        ErrorKind::CiphertextInvalid,
        ErrorKind::NoPinPad,
        ErrorKind::PinEntryTimedOut,
        ErrorKind::PinEntryCancelled,
        ErrorKind::PinEntriesDiffer,
        ErrorKind::PinPadFailed,
        ErrorKind::NoOperator,
        ErrorKind::OperatorRefused,
        ErrorKind::NoSuchProcedure,
        ErrorKind::WrongStep,
        ErrorKind::RuleRefuses,
        ErrorKind::FieldInvalid,
        ErrorKind::NationalSystemFailed,
        ErrorKind::NoPuk,
        ErrorKind::EnvelopeUnknown,
        ErrorKind::EnvelopeUnavailable,
        ErrorKind::ImportRefused,
        ErrorKind::CustodyDamaged,
        ErrorKind::SecondPersonNeeded,
        ErrorKind::AuthorityFailed,
        ErrorKind::CertificateRefused,
        ErrorKind::SignatureAreaRefused,
        ErrorKind::OperatorPinWanted,
        ErrorKind::CertificateValid,
        ErrorKind::AuditBroken,
        ErrorKind::OrdersOff,
        ErrorKind::OrderInvalid,
        ErrorKind::OrderSigner,
        ErrorKind::OrderExpired,
        ErrorKind::OrderOtherCard,
        ErrorKind::OrderReplayed,
        ErrorKind::NoSuchOrder,
        ErrorKind::UserCodeLocked,
        ErrorKind::HolderUnproven,
        ErrorKind::CertificatesUnknown,
        ErrorKind::SeveralCards,
        ErrorKind::PukDeliveryOff,
        ErrorKind::PukDeliveryRefused,
        ErrorKind::NationalOff,
        ErrorKind::NoSuchRequest,
        ErrorKind::Unknown,
    ];

    /// The JSON-RPC error code: the standard's own for protocol faults, -32000 downwards and 1000 upwards for ours.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line for each cause")]
    pub fn code(self) -> i32 {
        match self {
            ErrorKind::ParseError => -32700,
            ErrorKind::InvalidRequest => -32600,
            ErrorKind::MethodNotFound => -32601,
            ErrorKind::InvalidParams => -32602,
            ErrorKind::Internal => -32603,
            ErrorKind::Forbidden => 1001,
            ErrorKind::Busy => 1002,
            ErrorKind::TimedOut => 1003,
            ErrorKind::NoReader => 1100,
            ErrorKind::NoCard => 1101,
            ErrorKind::CardRemoved => 1102,
            ErrorKind::CardReset => 1103,
            ErrorKind::UnknownCard => 1104,
            ErrorKind::ReaderFailed => 1105,
            ErrorKind::CardRefused => 1106,
            ErrorKind::CardAnswerInvalid => 1107,
            ErrorKind::NoSuchObject => 1108,
            ErrorKind::CardInUse => 1109,
            ErrorKind::PinIncorrect => 1200,
            ErrorKind::PinBlocked => 1201,
            ErrorKind::PinInvalid => 1202,
            ErrorKind::LastTry => 1203,
            ErrorKind::NotLoggedIn => 1204,
            ErrorKind::PukIncorrect => 1205,
            ErrorKind::PukBlocked => 1206,
            ErrorKind::MechanismInvalid => 1207,
            ErrorKind::CiphertextInvalid => 1208,
            ErrorKind::NoPinPad => 1209,
            ErrorKind::PinEntryTimedOut => 1210,
            ErrorKind::PinEntryCancelled => 1211,
            ErrorKind::PinEntriesDiffer => 1212,
            ErrorKind::PinPadFailed => 1213,
            ErrorKind::NoOperator => 1300,
            ErrorKind::OperatorRefused => 1301,
            ErrorKind::NoSuchProcedure => 1302,
            ErrorKind::WrongStep => 1303,
            ErrorKind::RuleRefuses => 1304,
            ErrorKind::FieldInvalid => 1310,
            ErrorKind::NationalSystemFailed => 1311,
            ErrorKind::NoPuk => 1400,
            ErrorKind::EnvelopeUnknown => 1401,
            ErrorKind::EnvelopeUnavailable => 1402,
            ErrorKind::ImportRefused => 1403,
            ErrorKind::CustodyDamaged => 1404,
            ErrorKind::SecondPersonNeeded => 1410,
            ErrorKind::AuthorityFailed => 1500,
            ErrorKind::CertificateRefused => 1501,
            ErrorKind::SignatureAreaRefused => 1502,
            ErrorKind::OperatorPinWanted => 1510,
            ErrorKind::CertificateValid => 1530,
            ErrorKind::AuditBroken => 1600,
            ErrorKind::OrdersOff => 1700,
            ErrorKind::OrderInvalid => 1701,
            ErrorKind::OrderSigner => 1702,
            ErrorKind::OrderExpired => 1703,
            ErrorKind::OrderOtherCard => 1704,
            ErrorKind::OrderReplayed => 1705,
            ErrorKind::NoSuchOrder => 1706,
            ErrorKind::UserCodeLocked => 1710,
            ErrorKind::HolderUnproven => 1711,
            ErrorKind::CertificatesUnknown => 1712,
            ErrorKind::SeveralCards => 1713,
            ErrorKind::PukDeliveryOff => 1715,
            ErrorKind::PukDeliveryRefused => 1716,
            ErrorKind::NationalOff => 1725,
            ErrorKind::NoSuchRequest => 1726,
            ErrorKind::Unknown => 1999,
        }
    }
}

/// An error as it travels: the cause, an English sentence that says what to do, and the facts that belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct RpcError {
    /// The stable cause.
    pub kind: ErrorKind,
    /// What happened, in English.
    pub message: String,
    /// What to do next, in English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The chip's status word as four hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_word: Option<String>,
    /// Tries left on the PIN or PUK that was refused, when the chip tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries_left: Option<u8>,
    /// The operating manual's rule that refuses, for instance `§9.3.2-6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paragraph: Option<String>,
    /// What happened and what to do next, in Italian; errors of `counter.*` have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub italian: Option<Box<str>>,
}

impl RpcError {
    /// An error with its cause and sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            status_word: None,
            tries_left: None,
            paragraph: None,
            italian: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the chip's status word.
    #[must_use]
    pub fn status_word(mut self, status_word: u16) -> Self {
        self.status_word = Some(format!("{status_word:04X}"));
        self
    }

    /// Adds the tries left.
    #[must_use]
    pub fn tries_left(mut self, tries_left: Option<u8>) -> Self {
        self.tries_left = tries_left;
        self
    }

    /// Adds the rule of the operating manual.
    #[must_use]
    pub fn paragraph(mut self, paragraph: impl Into<String>) -> Self {
        self.paragraph = Some(paragraph.into());
        self
    }

    /// Adds the Italian text.
    #[must_use]
    pub fn italian(mut self, italian: impl Into<Box<str>>) -> Self {
        self.italian = Some(italian.into());
        self
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if let Some(paragraph) = &self.paragraph {
            write!(formatter, " [{paragraph}]")?;
        }
        if let Some(status_word) = &self.status_word {
            write!(formatter, " (status word {status_word})")?;
        }
        if let Some(tries_left) = self.tries_left {
            write!(formatter, " ({tries_left} tries left)")?;
        }
        if let Some(hint) = &self.hint {
            write!(formatter, ". {hint}")?;
        }
        Ok(())
    }
}
