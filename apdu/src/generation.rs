//! How chips differ, as data (`cns-card` §1, §6.3, §11; `real-cards` §1.1, §3.2).
//!
//! Code that speaks to a card asks the table and never the ATR. An ATR proves little (some are shared with cards
//! of other countries, over the air there is often none), so it only orders the candidates: [`rank`]. What the
//! card holds decides.

mod table;

use crate::atr::{Atr, CnsHistorical};
use crate::command::{PinReference, Template};
use crate::file_map::{Fid, FilePath};
use crate::object::ObjectId;
use crate::signature_area::Slot;
use crate::transmit::Limits;

pub use self::table::{
    ACE_2025, ATHENA, CARDOS, CLASSIC, CLASSIC_2048, COSMO_7, FOREIGN, IDEMIA_2021, IDEMIA_NFC, INCARD_10,
    JSIGN, OBERTHUR, ST_2021, ST_2022_NFC, TABLE,
};

/// One generation of chips.
#[derive(Debug)]
pub struct Generation {
    /// Short name.
    pub name: &'static str,
    /// How well it is known.
    pub evidence: Evidence,
    /// What its answer to reset usually is.
    pub hints: &'static [Hint],
    /// The file that names the card.
    pub serial: SerialPlace,
    /// The holder's personal data.
    pub personal_data: FilePlace,
    /// Whether certificates and keys are listed in the object store ([`crate::object_directory`]). Each is then as
    /// `authentication`, but for its files and the number of its key.
    pub store: bool,
    /// The key that logs its holder in; with a store, where it is on cards whose store lists nothing.
    pub authentication: KeyPlace,
    /// Where a signature key is that was made in the layout of `cns-card` §8.
    pub signature: Option<KeyPlace>,
    /// Where the next one is, if the one in `signature` was renewed ([`Slot::Second`]).
    pub renewed_signature: Option<KeyPlace>,
    /// Why the holder cannot have such a key made; nothing where it can be made.
    pub no_signature_area: Option<NoSignatureArea>,
    /// The security environment to restore before a private operation.
    pub security_environment: u8,
    /// Lengths and chaining that the chip takes.
    pub limits: Limits,
    /// Whether SELECT FILE may say that it wants no answer (P2 = 0C).
    pub silent_select: bool,
    /// Whether it can be asked how many tries are left.
    pub tries_query: TriesQuery,
    /// The most random bytes that one GET CHALLENGE gives.
    pub challenge_length: u32,
    /// Where to look for a signature certificate that nobody has located, in this order.
    pub survey: &'static [Probe],
}

/// Why no signature area is made on a generation of cards. `docs/card-generations.md` has the evidence of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSignatureArea {
    /// The chip makes keys of 1,024 bits.
    ShortKeys,
    /// The card is reached without contacts, where whatever is written could be overheard.
    OverTheAir,
    /// Keys are written in secure messaging, with keys of the issuer.
    IssuersKeys,
    /// Nobody has published how a key is made on this chip, or that its holder may.
    NotKnown,
}

impl NoSignatureArea {
    /// The reason as a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::ShortKeys => {
                "no signature area can be made on this generation of cards: its chip makes keys of 1,024 bits, and a \
                 new key must have 2,048"
            }
            Self::OverTheAir => {
                "no signature area can be made on this generation of cards: its codes would go over the air in clear; \
                 put the card into a reader with contacts"
            }
            Self::IssuersKeys => {
                "no signature area can be made on this generation of cards: keys are written in secure messaging, with \
                 keys that its issuer alone has"
            }
            Self::NotKnown => {
                "no signature area can be made on this generation of cards: nobody has published how a key is made on \
                 its chip"
            }
        }
    }
}

/// How well a generation is known; the grades of `real-cards`, the best that any of its places has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// C: bytes of a real card were seen.
    Captured,
    /// D: published code that ran on a real card.
    Driver,
    /// I: concluded from a report.
    Inferred,
    /// L: only its answer to reset is known.
    Listed,
}

/// A file of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlace {
    /// The application to select before; `None` where the file is in the one that a reset selects.
    pub application: Option<&'static [u8]>,
    /// The file in it: each application has its own master file.
    pub path: FilePath,
}

impl FilePlace {
    /// A file of the application that a reset selects.
    #[must_use]
    pub const fn default_application(path: FilePath) -> Self {
        Self { application: None, path }
    }

    /// A file of an application.
    #[must_use]
    pub const fn within(application: &'static [u8], path: FilePath) -> Self {
        Self { application: Some(application), path }
    }
}

/// Where the number of a card is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPlace {
    /// The file.
    pub file: FilePlace,
    /// How many of its bytes come before the number.
    pub skip: usize,
    /// How many bytes the number has at most.
    pub length: usize,
}

/// One key with its certificate, PIN and PUK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlace {
    /// The certificate.
    pub certificate: FilePlace,
    /// The application that key, PIN and PUK are in.
    pub application: Option<&'static [u8]>,
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

impl KeyPlace {
    /// Whether the same PIN guards both.
    #[must_use]
    pub fn shares_pin_with(&self, other: &Self) -> bool {
        self.application == other.application && self.pin_df == other.pin_df && self.pin == other.pin
    }
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

/// Where a certificate may be that nobody has located. Looking there takes no PIN and changes nothing.
#[derive(Debug, Clone)]
pub enum Probe {
    /// One file.
    File(FilePlace),
    /// Elementary files of one DF, by their numbers.
    Files {
        /// The application.
        application: Option<&'static [u8]>,
        /// The DF.
        df: FilePath,
        /// The first number.
        first: Fid,
        /// The last number.
        last: Fid,
    },
    /// The directory of the object store: what it lists is used as on chips that are known to have one.
    Store,
    /// An application.
    Application(&'static [u8]),
}

/// An application of cards that are no CNS, to say what they are.
#[derive(Debug, Clone, Copy)]
pub struct Foreign {
    /// The application.
    pub application: &'static [u8],
    /// What a card with it is, and why it cannot be used: "this is …".
    pub words: &'static str,
}

/// A property of the answer to reset and how much it speaks for a generation.
#[derive(Debug, Clone, Copy)]
pub struct Hint {
    /// What to look at.
    pub sign: Sign,
    /// How much it counts.
    pub weight: u32,
}

/// What to look at in the answer to reset.
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
    /// The historical bytes have not the form of a CNS.
    NoCns,
    /// The answer to reset begins with these bytes.
    Begins(&'static [u8]),
}

impl Sign {
    fn is_in(self, atr: &[u8], historical: Option<&CnsHistorical>) -> bool {
        let of = |test: &dyn Fn(&CnsHistorical) -> bool| historical.is_some_and(test);
        match self {
            Self::ChipMaker(maker) => of(&|historical| historical.chip_maker == maker),
            Self::MaskMaker(maker) => of(&|historical| historical.mask_maker == maker),
            Self::MaskVersion(first, last) => {
                of(&|historical| (first..=last).contains(&historical.mask_version[0]))
            }
            Self::CnsVersion(version) => of(&|historical| historical.version == version),
            Self::NoCns => historical.is_none(),
            Self::Begins(bytes) => atr.starts_with(bytes),
        }
    }
}

impl Generation {
    /// The generation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().copied().find(|generation| generation.name == name)
    }

    /// Where a key of the layout of `cns-card` §8 is, by its slot.
    #[must_use]
    pub const fn signature_in(&self, slot: Slot) -> Option<&KeyPlace> {
        match slot {
            Slot::First => self.signature.as_ref(),
            Slot::Second => self.renewed_signature.as_ref(),
        }
    }

    /// Whether the codes of an area that was made are named like those of the MF: then they can be set again.
    #[must_use]
    pub fn reaches_area_codes(&self) -> bool {
        let search = self.authentication.pin.search;
        self.signature.as_ref().is_some_and(|place| place.pin.search == search)
    }

    fn score(&self, atr: &[u8], historical: Option<&CnsHistorical>) -> u32 {
        let held = self.hints.iter().filter(|hint| hint.sign.is_in(atr, historical));
        held.map(|hint| hint.weight).sum()
    }
}

/// All generations, the likeliest first. Of equal ones, those come first that the table has first.
#[must_use]
pub fn rank(atr: &[u8]) -> Vec<&'static Generation> {
    let historical = Atr::parse(atr).ok().and_then(|atr| atr.cns());
    let mut generations = TABLE.to_vec();
    generations.sort_by_key(|generation| std::cmp::Reverse(generation.score(atr, historical.as_ref())));
    generations
}
