//! How the reader behaves: honest, or lying in one way.

use std::path::Path;

use cns_apdu::pin_pad::{Features, TlvProperties, feature, validation};

use crate::BEHAVIOUR;

/// The control code of VERIFY_PIN_DIRECT.
pub(crate) const VERIFY: u32 = 0x4233_0006;
/// The control code of MODIFY_PIN_DIRECT.
pub(crate) const MODIFY: u32 = 0x4233_0007;
/// The control code of GET_TLV_PROPERTIES.
pub(crate) const PROPERTIES: u32 = 0x4233_0012;

/// The numbers of the reader that announces a keypad and has none (bit4id miniLector-EVO).
const KNOWN_LIAR: (u16, u16) = (0x25DD, 0x3111);

/// How a reader with a keypad, or without one, behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It has a keypad and does what it is told.
    #[default]
    Honest,
    /// It has no keypad and says so.
    WithoutKeypad,
    /// It announces a keypad, and fails when it is used.
    Fails,
    /// It announces a keypad with the control code 0.
    CodeZero,
    /// It says that the PIN was right, or was changed, without having asked the card.
    ClaimsSuccess,
    /// It gives the PIN to the card and answers bytes that are no status word.
    Garbage,
    /// It does not answer while it behaves so.
    NeverAnswers,
    /// It announces a keypad that takes no digit.
    Contradicts,
    /// It has the numbers of a model that is known to lie, and fails when it is used.
    KnownLiar,
}

impl Behaviour {
    const NAMES: [(&'static str, Self); 9] = [
        ("honest", Self::Honest),
        ("without-keypad", Self::WithoutKeypad),
        ("fails", Self::Fails),
        ("code-zero", Self::CodeZero),
        ("claims-success", Self::ClaimsSuccess),
        ("garbage", Self::Garbage),
        ("never-answers", Self::NeverAnswers),
        ("contradicts", Self::Contradicts),
        ("known-liar", Self::KnownLiar),
    ];

    /// The word for it in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, behaviour)| *behaviour == self).map_or("honest", |(name, _)| name)
    }

    /// As the file in the reader's folder says; without a word that is known, honest.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let word = std::fs::read_to_string(folder.join(BEHAVIOUR)).unwrap_or_default();
        let named = Self::NAMES.iter().find(|(name, _)| *name == word.trim());
        named.map_or(Self::Honest, |(_, behaviour)| *behaviour)
    }

    /// The features that it announces; none where it has no keypad.
    pub(crate) fn features(self) -> Option<Vec<u8>> {
        if self == Self::WithoutKeypad {
            return None;
        }
        let verify = if self == Self::CodeZero { 0 } else { VERIFY };
        Some(Features::encode(&[
            (feature::VERIFY_PIN_DIRECT, verify),
            (feature::MODIFY_PIN_DIRECT, MODIFY),
            (feature::GET_TLV_PROPERTIES, PROPERTIES),
        ]))
    }

    /// The properties that it tells.
    pub(crate) fn properties(self) -> Vec<u8> {
        let usual = TlvProperties {
            validation: Some(validation::FULL | validation::KEY | validation::TIME),
            min_pin: Some(4),
            max_pin: Some(12),
            vendor: Some(0x1209),
            product: Some(0x0001),
        };
        let (vendor, product) = KNOWN_LIAR;
        let told = if self == Self::Contradicts {
            TlvProperties { min_pin: Some(0), max_pin: Some(0), ..usual }
        } else if self == Self::KnownLiar {
            TlvProperties { vendor: Some(vendor), product: Some(product), ..usual }
        } else {
            usual
        };
        told.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_is_what_its_word_says() {
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(Behaviour::of(folder.path()), Behaviour::Honest);
        for (name, behaviour) in Behaviour::NAMES {
            std::fs::write(folder.path().join(BEHAVIOUR), format!("{name}\n")).unwrap();
            assert_eq!(Behaviour::of(folder.path()), behaviour);
            assert_eq!(behaviour.name(), name);
        }
    }
}
