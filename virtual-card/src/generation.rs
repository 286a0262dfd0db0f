//! The generations of chip that can be made: one table, in [`table`], of everything in which they differ.

mod chip;
mod table;
mod trees;

use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

pub use self::chip::Grade;
pub(crate) use self::chip::{
    Application, CertificatePlace, Chip, Content, FileSpecification, Habits, KeyLookup, KeyPin, KeyPlace,
    Part, Room, Shape, StoredKey,
};
pub(crate) use self::trees::{STORED_PRIVATE, STORED_PUBLIC, classic};

/// A generation of chip, by the name that `cns-card create --generation` takes.
#[derive(Clone, Copy, Debug)]
pub struct Generation(&'static Chip);

impl Default for Generation {
    fn default() -> Self {
        let [usual, ..] = &table::TABLE;
        Self(usual)
    }
}

impl PartialEq for Generation {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Generation {}

impl Generation {
    /// Every generation, the usual one first.
    pub fn all() -> impl Iterator<Item = Self> {
        table::TABLE.iter().map(Self)
    }

    /// The generation called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|generation| generation.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Which real cards are of it.
    #[must_use]
    pub fn cards(self) -> &'static str {
        self.0.cards
    }

    /// How well it is known.
    #[must_use]
    pub fn grade(self) -> Grade {
        self.0.grade
    }

    /// Where it is known from, in one line.
    #[must_use]
    pub fn evidence(self) -> &'static str {
        self.0.evidence
    }

    /// The answer to reset of a real card of this generation.
    #[must_use]
    pub fn answer_to_reset(self) -> &'static [u8] {
        self.0.answer_to_reset
    }

    /// The length of its keys, in bits.
    #[must_use]
    pub fn key_bits(self) -> usize {
        self.0.key_bits
    }

    /// Whether it takes commands of extended length.
    #[must_use]
    pub fn takes_extended_length(self) -> bool {
        self.0.habits.extended_length
    }

    /// Whether it is a CNS at all.
    #[must_use]
    pub fn is_cns(self) -> bool {
        self.0.authentication.is_some()
    }

    /// Whether the bureau can make it with a second key, for signatures.
    #[must_use]
    pub fn takes_signature_key(self) -> bool {
        self.0.signature.is_some()
    }

    /// Whether certificates of authorities have a place on it, beside the holder's.
    #[must_use]
    pub fn takes_authority_certificates(self) -> bool {
        self.0.takes_authority_certificates()
    }

    /// Whether a second key has a PIN of its own.
    #[must_use]
    pub fn has_signature_pin(self) -> bool {
        self.0.signature.as_ref().is_some_and(|place| place.pin == KeyPin::Own)
    }

    pub(crate) fn chip(self) -> &'static Chip {
        self.0
    }
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| D::Error::custom("no such generation"))
    }
}

#[cfg(test)]
mod tests {
    use cns_apdu::atr::Atr;

    use super::*;

    #[test]
    fn names_are_unique_and_answers_to_reset_are_whole() {
        for generation in Generation::all() {
            let name = generation.name();
            assert_eq!(Generation::all().filter(|other| other.name() == name).count(), 1, "{name}");
            let answer = Atr::parse(generation.answer_to_reset()).unwrap();
            assert!(answer.has_valid_check_byte(), "{name}");
            assert!(!generation.evidence().is_empty() && !generation.cards().is_empty(), "{name}");
        }
    }

    #[test]
    fn every_place_in_the_table_exists() {
        for generation in Generation::all() {
            let chip = generation.chip();
            for key in chip.keys() {
                assert!(chip.applications.len() > key.certificate.application, "{}", chip.name);
            }
            assert!(chip.start.is_none_or(|start| start < chip.applications.len()), "{}", chip.name);
            let roots: Vec<_> = chip.applications.iter().map(Application::root).collect();
            for (place, root) in roots.iter().enumerate() {
                assert_eq!(roots.iter().position(|other| other == root), Some(place), "{}", chip.name);
            }
        }
    }
}
