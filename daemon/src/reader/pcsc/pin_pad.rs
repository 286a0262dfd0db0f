//! What a PC/SC reader says of its keypad (PC/SC part 10), and whether to believe it.

use std::ffi::CStr;

use cns_apdu::pin_pad::{
    Features, GET_FEATURE_REQUEST_PCSC_LITE, LONGEST_LIST, PinPadError, PinProperties, TlvProperties,
    feature, validation,
};
use pcsc::{Card, Error};
use thiserror::Error;

use super::failed;
use crate::card::CardError;
use crate::reader::pin_pad::PinPad;

/// The longest answer of a keypad that is taken: a status word, and room to see that it is none.
const LONGEST_ANSWER: usize = 256;

/// The fewest and the most digits of a CNS PIN.
const DIGITS: (u8, u8) = (5, 8);

/// Readers that announce a keypad and have none, by the maker's and the product's number (`real-cards` §4, 22).
const LIARS: &[(u16, u16)] = &[(0x25DD, 0x3111)];

/// The same by parts of the name, in small letters, for drivers that do not tell the numbers.
const LIARS_BY_NAME: &[&str] = &["minilector-evo", "minilector evo"];

/// Why a keypad that is announced is not believed.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Disbelief {
    #[error("this model announces a PIN pad that it does not have")]
    KnownLiar,
    #[error("what it says of its features is wrong: {0}")]
    Features(PinPadError),
    #[error("it announces features without, or with the same, control code")]
    Codes,
    #[error("what it says of its properties is wrong: {0}")]
    Properties(PinPadError),
    #[error("it announces properties that it does not tell")]
    Silent,
    #[error("its properties contradict a PIN pad for 5 to 8 digits")]
    Contradiction,
}

/// Asks a reader for its keypad; inside a transaction, so that no other program is in the way. The reader is not
/// connected to anew for it, and nothing goes to the card.
///
/// A reader without such features refuses the question, which is no error.
///
/// # Errors
/// When the card went meanwhile, so that the question says nothing about the reader.
pub(super) fn ask(reader: &CStr, card: &Card) -> Result<Option<PinPad>, CardError> {
    let told = match control(card, GET_FEATURE_REQUEST_PCSC_LITE, &[], LONGEST_LIST) {
        Ok(told) => told,
        Err(error) if is_no_fault(error) => return Err(failed(error)),
        Err(_) => return Ok(None),
    };
    let name = reader.to_string_lossy();
    let properties = |code| control(card, code, &[], LONGEST_LIST).ok();
    match judge(&name, &told, properties) {
        Ok(pad) => Ok(pad),
        Err(why) => {
            tracing::info!(reader = %name, %why, "the reader's PIN pad is not believed");
            Ok(None)
        }
    }
}

/// Orders a keypad to take a PIN.
pub(super) fn enter(card: &Card, code: u32, order: &[u8]) -> Result<Vec<u8>, CardError> {
    control(card, code, order, LONGEST_ANSWER).map_err(|error| match is_no_fault(error) {
        true => failed(error),
        false => CardError::PinPadFailed { why: failed(error).to_string(), tries_left: None },
    })
}

/// Whether an error is pcscd's, or the card's that went, and tells nothing about the reader.
const fn is_no_fault(error: Error) -> bool {
    matches!(
        error,
        Error::NoService
            | Error::ServiceStopped
            | Error::RemovedCard
            | Error::NoSmartcard
            | Error::ReaderUnavailable
            | Error::UnknownReader
            | Error::ResetCard
    )
}

fn control(card: &Card, code: u32, order: &[u8], longest: usize) -> Result<Vec<u8>, Error> {
    let mut answer = vec![0; longest];
    #[expect(clippy::disallowed_methods, reason = "the one door")]
    let length = card.control(code.into(), order, &mut answer)?.len();
    answer.truncate(length);
    Ok(answer)
}

/// Believes what a reader says, or not; nothing when it announces no keypad. `properties` asks one of its features.
fn judge(
    name: &str,
    told: &[u8],
    properties: impl Fn(u32) -> Option<Vec<u8>>,
) -> Result<Option<PinPad>, Disbelief> {
    let features = Features::decode(told).map_err(Disbelief::Features)?;
    let Some(verify) = features.code(feature::VERIFY_PIN_DIRECT) else {
        return Ok(None);
    };
    let modify = features.code(feature::MODIFY_PIN_DIRECT);
    if verify == 0 || modify == Some(0) || modify == Some(verify) {
        return Err(Disbelief::Codes);
    }
    let small = name.to_lowercase();
    if LIARS_BY_NAME.iter().any(|liar| small.contains(liar)) {
        return Err(Disbelief::KnownLiar);
    }
    let mut can_end = None;
    if let Some(code) = features.code(feature::GET_TLV_PROPERTIES) {
        let told = ask_for(code, &properties)?;
        let told = TlvProperties::decode(&told).map_err(Disbelief::Properties)?;
        if let (Some(vendor), Some(product)) = (told.vendor, told.product)
            && LIARS.contains(&(vendor, product))
        {
            return Err(Disbelief::KnownLiar);
        }
        let (fewest, most) = DIGITS;
        if told.min_pin.is_some_and(|least| least > fewest) || told.max_pin.is_some_and(|top| top < most) {
            return Err(Disbelief::Contradiction);
        }
        can_end = told.validation;
    }
    if let Some(code) = features.code(feature::IFD_PIN_PROPERTIES) {
        let told = PinProperties::decode(&ask_for(code, &properties)?).map_err(Disbelief::Properties)?;
        can_end = can_end.or(Some(told.validation));
    }
    // A person ends an entry with a key; a reader that cannot do that would have to know the PIN's length.
    if can_end.is_some_and(|can_end| can_end & validation::KEY == 0) {
        return Err(Disbelief::Contradiction);
    }
    Ok(Some(PinPad { verify, modify, validation: validation::KEY }))
}

fn ask_for(code: u32, properties: impl Fn(u32) -> Option<Vec<u8>>) -> Result<Vec<u8>, Disbelief> {
    if code == 0 { Err(Disbelief::Codes) } else { properties(code).ok_or(Disbelief::Silent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFY: (u8, u32) = (feature::VERIFY_PIN_DIRECT, 0x4233_0006);
    const MODIFY: (u8, u32) = (feature::MODIFY_PIN_DIRECT, 0x4233_0007);
    const TLV: (u8, u32) = (feature::GET_TLV_PROPERTIES, 0x4233_0012);
    const FIXED: (u8, u32) = (feature::IFD_PIN_PROPERTIES, 0x4233_000A);
    const PAD: PinPad = PinPad { verify: VERIFY.1, modify: Some(MODIFY.1), validation: validation::KEY };

    fn of(
        name: &str,
        features: &[(u8, u32)],
        tlv: TlvProperties,
        fixed: &[u8],
    ) -> Result<Option<PinPad>, Disbelief> {
        judge(name, &Features::encode(features), |code| match code {
            code if code == TLV.1 => Some(tlv.encode()),
            code if code == FIXED.1 => Some(fixed.to_vec()),
            _ => None,
        })
    }

    #[test]
    fn a_keypad_that_says_nothing_wrong_is_believed() {
        let none = TlvProperties::default();
        assert_eq!(of("Pad", &[VERIFY, MODIFY], none, &[]), Ok(Some(PAD)));
        assert_eq!(of("Pad", &[VERIFY], none, &[]), Ok(Some(PinPad { modify: None, ..PAD })));
        let sizes = TlvProperties { min_pin: Some(4), max_pin: Some(12), validation: Some(7), ..none };
        assert_eq!(of("Pad", &[VERIFY, MODIFY, TLV, FIXED], sizes, &[0, 0, 7, 0]), Ok(Some(PAD)));
        // Nothing is announced: that is no lie.
        assert_eq!(of("Reader", &[MODIFY, TLV], none, &[]), Ok(None));
        assert_eq!(judge("Reader", &[], |_| None), Ok(None));
    }

    #[test]
    fn quirk_22_a_known_liar_is_not_believed_by_its_number_or_its_name() {
        let none = TlvProperties::default();
        let bit4id = TlvProperties { vendor: Some(0x25DD), product: Some(0x3111), ..none };
        assert_eq!(of("USB reader", &[VERIFY, MODIFY, TLV], bit4id, &[]), Err(Disbelief::KnownLiar));
        let other = TlvProperties { product: Some(0x3503), ..bit4id };
        assert_eq!(of("USB reader", &[VERIFY, MODIFY, TLV], other, &[]), Ok(Some(PAD)));
        for name in ["bit4id miniLector-EVO 00 00", "BIT4ID miniLector EVO [..] 01 00"] {
            assert_eq!(of(name, &[VERIFY, MODIFY], none, &[]), Err(Disbelief::KnownLiar), "{name}");
        }
    }

    #[test]
    fn contradictions_are_not_believed() {
        let none = TlvProperties::default();
        for features in [
            &[(feature::VERIFY_PIN_DIRECT, 0)][..],
            &[VERIFY, (feature::MODIFY_PIN_DIRECT, 0)],
            &[VERIFY, (feature::MODIFY_PIN_DIRECT, VERIFY.1)],
            &[VERIFY, (feature::GET_TLV_PROPERTIES, 0)],
        ] {
            assert_eq!(of("Pad", features, none, &[]), Err(Disbelief::Codes), "{features:?}");
        }
        for tlv in [
            TlvProperties { max_pin: Some(0), ..none },
            TlvProperties { max_pin: Some(7), ..none },
            TlvProperties { min_pin: Some(6), ..none },
            TlvProperties { validation: Some(0), ..none },
            TlvProperties { validation: Some(validation::FULL), ..none },
        ] {
            assert_eq!(of("Pad", &[VERIFY, TLV], tlv, &[]), Err(Disbelief::Contradiction), "{tlv:?}");
        }
        let fixed = |bytes| of("Pad", &[VERIFY, FIXED], none, bytes);
        assert_eq!(fixed(&[0, 0, 0, 0]), Err(Disbelief::Contradiction));
        assert_eq!(fixed(&[0, 0]), Err(Disbelief::Properties(PinPadError::Length)));
        assert_eq!(judge("Pad", &Features::encode(&[VERIFY, TLV]), |_| None), Err(Disbelief::Silent));
        assert_eq!(judge("Pad", &[6, 4, 1], |_| None), Err(Disbelief::Features(PinPadError::Length)));
    }
}
