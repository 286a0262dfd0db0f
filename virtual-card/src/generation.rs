//! The generations of chip that can be made.

use serde::{Deserialize, Serialize};

/// A generation of chip, by the name that `cns-card create --generation` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// TS-CNS of 2021 by ST: RSA-2048, extended length.
    #[default]
    St2021,
    /// CNS 1.0 by Incard: RSA-1024, short commands only.
    Incard10,
}

impl Generation {
    /// The generation called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::St2021, Self::Incard10].into_iter().find(|generation| generation.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::St2021 => "st2021",
            Self::Incard10 => "incard10",
        }
    }

    /// The answer to reset of a real card of this generation.
    #[must_use]
    pub fn answer_to_reset(self) -> &'static [u8] {
        match self {
            Self::St2021 => &[
                0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x16, 0x17,
                0x01, 0x11, 0x01, 0x43, 0x4E, 0x53, 0x11, 0x31, 0x80, 0x8D,
            ],
            Self::Incard10 => &[
                0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x02, 0x00,
                0x01, 0x11, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x8F,
            ],
        }
    }

    /// The length of its keys, in bits.
    #[must_use]
    pub fn key_bits(self) -> usize {
        match self {
            Self::St2021 => 2048,
            Self::Incard10 => 1024,
        }
    }

    /// Whether it takes commands of extended length.
    #[must_use]
    pub fn takes_extended_length(self) -> bool {
        match self {
            Self::St2021 => true,
            Self::Incard10 => false,
        }
    }
}
