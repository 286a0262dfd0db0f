//! How chips differ, as data (`cns-card` §1, §6.3, §11).
//!
//! Code that speaks to a card asks the table and never the ATR. An ATR proves little (some are shared with cards
//! of other countries, over the air there is often none), so it only orders the candidates: [`rank`]. What the
//! card holds decides.

mod table;

use crate::atr::{Atr, CnsHistorical};
use crate::command::{PinReference, Template};
use crate::file_map::FilePath;
use crate::object::ObjectId;
use crate::transmit::Limits;

pub use self::table::{CLASSIC, IDEMIA_2021, INCARD_10, ST_2021, TABLE};

/// One generation of chips.
#[derive(Debug)]
pub struct Generation {
    /// Short name.
    pub name: &'static str,
    /// What its historical bytes usually are.
    pub hints: &'static [Hint],
    /// The application to select before anything else, where the CNS is not the chip's default.
    pub application: Option<&'static [u8]>,
    /// The key that logs its holder in.
    pub authentication: KeyPlace,
    /// Where a signature key is, or would be created.
    pub signature: Option<KeyPlace>,
    /// The security environment to restore before a private operation.
    pub security_environment: u8,
    /// Lengths and chaining that the chip takes.
    pub limits: Limits,
    /// Whether it can be asked how many tries are left.
    pub tries_query: TriesQuery,
    /// The most random bytes that one GET CHALLENGE gives.
    pub challenge_length: u32,
}

/// One key with its certificate, PIN and PUK.
#[derive(Debug)]
pub struct KeyPlace {
    /// The certificate.
    pub certificate: FilePath,
    /// The DF to select before the key is used; the MF for keys that any DF reaches.
    pub key_df: FilePath,
    /// The key.
    pub key: ObjectId,
    /// The template that takes the key.
    pub template: Template,
    /// How it makes a signature.
    pub signing: Signing,
    /// Bits of the modulus.
    pub modulus_bits: u16,
    /// The DF to select before the PIN or PUK is used; the MF for those that any DF reaches.
    pub pin_df: FilePath,
    /// The PIN.
    pub pin: PinReference,
    /// The PUK.
    pub puk: PinReference,
}

/// How a key makes a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// The host pads the whole block, the chip does the raw private operation (DECIPHER).
    RawDecipher,
    /// The host gives the DigestInfo, the chip pads (COMPUTE DIGITAL SIGNATURE).
    DigestInfo,
}

/// Whether VERIFY without a value tells the tries left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriesQuery {
    /// Seen on a real chip of this family to tell the tries and to cost none.
    Observed,
    /// Costs none by ISO/IEC 7816-4:2005 §7.5.6; nobody has reported from this chip.
    Standard,
    /// Older than that rule; not to be sent unasked.
    Avoid,
}

/// A property of the historical bytes and how much it speaks for a generation.
#[derive(Debug, Clone, Copy)]
pub struct Hint {
    /// What to look at.
    pub sign: Sign,
    /// How much it counts.
    pub weight: u32,
}

/// What to look at in the historical bytes.
#[derive(Debug, Clone, Copy)]
pub enum Sign {
    /// The maker of the chip.
    ChipMaker(u8),
    /// The maker of the operating system.
    MaskMaker(u8),
    /// The first byte of the operating system's version lies in this range.
    MaskVersion(u8, u8),
    /// The version of the CNS.
    CnsVersion(u8),
}

impl Sign {
    const fn is_in(self, historical: &CnsHistorical) -> bool {
        let [version, _] = historical.mask_version;
        match self {
            Self::ChipMaker(maker) => historical.chip_maker == maker,
            Self::MaskMaker(maker) => historical.mask_maker == maker,
            Self::MaskVersion(first, last) => version >= first && version <= last,
            Self::CnsVersion(version) => historical.version == version,
        }
    }
}

impl Generation {
    /// The generation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().copied().find(|generation| generation.name == name)
    }

    fn score(&self, historical: &CnsHistorical) -> u32 {
        self.hints.iter().filter(|hint| hint.sign.is_in(historical)).map(|hint| hint.weight).sum()
    }
}

/// All generations, the likeliest first. An ATR that says nothing leaves the table's own order.
#[must_use]
pub fn rank(atr: &[u8]) -> Vec<&'static Generation> {
    let mut generations = TABLE.to_vec();
    if let Some(historical) = Atr::parse(atr).ok().and_then(|atr| atr.cns()) {
        generations.sort_by_key(|generation| std::cmp::Reverse(generation.score(&historical)));
    }
    generations
}
