//! What there is to say about a generation: the words of the table.

use std::fmt::{self, Display, Formatter};

use cns_apdu::access::AccessConditions;
use cns_apdu::file_map::{ESIGN_CERTIFICATES_DF, Fid, FileKind, FilePath, MASTER_FILE};
use cns_apdu::object::{Algorithm, ObjectId};

use crate::filesystem::Place;

/// How well a generation is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Bytes of a real card's log.
    Captured,
    /// Published code that its author ran on the real card sends this; the answers were not logged.
    Driven,
    /// From the text of an error, the comment of a program, or the card's relatives.
    Inferred,
    /// Nothing but an answer to reset on a list.
    Listed,
}

impl Display for Grade {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Captured => "captured",
            Self::Driven => "driven",
            Self::Inferred => "inferred",
            Self::Listed => "listed",
        })
    }
}

/// A generation of chip: everything in which it differs from the others.
#[derive(Debug)]
pub(crate) struct Chip {
    /// The name that `cns-card create --generation` takes.
    pub(crate) name: &'static str,
    /// Which real cards are of it.
    pub(crate) cards: &'static str,
    /// How well it is known.
    pub(crate) grade: Grade,
    /// Where from, in one line.
    pub(crate) evidence: &'static str,
    pub(crate) answer_to_reset: &'static [u8],
    pub(crate) key_bits: usize,
    pub(crate) habits: Habits,
    /// The first is the CNS.
    pub(crate) applications: &'static [Application],
    /// Which application is selected after a reset; without one, files are out of reach until one is.
    pub(crate) start: Option<usize>,
    /// Where the authentication key and its certificate are; none on a card that is no CNS.
    pub(crate) authentication: Option<KeyPlace>,
    /// Where a signature key is, if the bureau is asked for one.
    pub(crate) signature: Option<KeyPlace>,
    /// What GET DATA tells as the name of the product; our own otherwise.
    pub(crate) product_name: Option<&'static [u8]>,
    /// What GET DATA tells of the chip under tags 01xx, by their second byte.
    pub(crate) chip_data: &'static [(u8, &'static [u8])],
    /// What GET DATA tells under tags of the chip's maker; 6E00 to every tag where there are none.
    pub(crate) maker_data: &'static [(u16, &'static [u8])],
}

impl Chip {
    /// The path of an application's own MF.
    pub(crate) fn root(&self, application: usize) -> FilePath {
        self.applications.get(application).map_or(MASTER_FILE, Application::root)
    }

    /// The DF that holds a key, from the card's own MF.
    pub(crate) fn key_df(&self, place: &KeyPlace) -> FilePath {
        match place.pin {
            KeyPin::Own => self.root(0).join(&place.df),
            KeyPin::Holders | KeyPin::Unreachable => place.df.clone(),
        }
    }

    /// The application whose MF is `root`.
    pub(crate) fn application_at(&self, root: &FilePath) -> Option<&'static Application> {
        self.applications.iter().find(|application| application.root() == *root)
    }

    /// Whether there is a place for certificates that belong to no key: an object store, or the DF of the certificates of
    /// ESIGN.
    pub(crate) fn takes_authority_certificates(&self) -> bool {
        let is_esign = |key: &KeyPlace| key.certificate.path.parent() == Some(ESIGN_CERTIFICATES_DF);
        self.authentication.as_ref().is_some_and(|key| key.stored.is_some() || is_esign(key))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyPlace> {
        self.authentication.iter().chain(&self.signature)
    }
}

/// How a chip takes commands and answers them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Commands of extended length.
    pub(crate) extended_length: bool,
    /// Command chaining; 6E00 otherwise.
    pub(crate) chaining: bool,
    /// SELECT with P2 = 0C; 6A86 otherwise.
    pub(crate) select_silent: bool,
    /// SELECT with P2 = 04, which asks for file control parameters; 6A86 otherwise.
    pub(crate) select_parameters: bool,
    /// Bit 8 of a PIN reference: search from the current DF upward; 6A88 otherwise.
    pub(crate) searches_upward: bool,
    /// When MANAGE SECURITY ENVIRONMENT looks for the key that it is given.
    pub(crate) key_lookup: KeyLookup,
    /// The most bytes that one GET CHALLENGE gives.
    pub(crate) longest_challenge: u32,
    /// What becomes of a longer one: fewer bytes, or 6700.
    pub(crate) shortens_challenge: bool,
    /// Wrong PINs, and wrong PUKs, before the chip blocks.
    pub(crate) pin_tries: u8,
    pub(crate) puk_tries: u8,
}

/// When the key of a security environment is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyLookup {
    /// At once, from the current DF upward: 6A88 if there is none.
    WhenSet,
    /// When it is used, from the DF that is current then: 6984 if there is none.
    WhenUsed,
}

/// An application with its files. It has an MF of its own, `3F00` to whoever has selected it.
#[derive(Debug)]
pub(crate) struct Application {
    /// Empty for a tree that has no name.
    pub(crate) aid: &'static [u8],
    /// Where the chip keeps it: the card's MF itself, or a DF that no file command reaches.
    pub(crate) inside: Option<Fid>,
    /// Whether it has the classic tree; what is in `files` replaces what is there.
    pub(crate) classic_tree: bool,
    /// Files of the classic tree that this one does not have.
    pub(crate) without: &'static [FilePath],
    pub(crate) files: &'static [FileSpecification],
    /// What SELECT tells of a file.
    pub(crate) shape: Shape,
    /// The size that its MF announces; the free memory otherwise.
    pub(crate) room: Option<u16>,
    /// The conditions of its MF; those of the classic tree otherwise.
    pub(crate) access: Option<AccessConditions>,
}

impl Application {
    pub(crate) fn root(&self) -> FilePath {
        self.inside.map_or(MASTER_FILE, |file| MASTER_FILE.child(file))
    }
}

/// A file as it leaves the bureau.
#[derive(Clone, Debug)]
pub(crate) struct FileSpecification {
    /// From the MF of its application.
    pub(crate) path: FilePath,
    pub(crate) kind: FileKind,
    pub(crate) size: u16,
    pub(crate) access: AccessConditions,
    pub(crate) secure_messaging: [u8; 24],
    /// The byte of tag 85.
    pub(crate) proprietary: u8,
    /// The byte of tag 88.
    pub(crate) short_identifier: Option<u8>,
    pub(crate) content: Content,
}

/// What the bureau writes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing: zeros, or no record.
    Empty,
    /// These bytes, and zeros after them.
    Bytes(&'static [u8]),
    /// The sixteen digits.
    IdCard,
    /// The card number printed on the back, in BCD behind `5A 0A`.
    Gdo,
    /// The sixteen digits in BCD, behind `5A 08`.
    IdCardInBcd,
    PersonalData,
    FreeMemory,
    /// The public half of the authentication key, as records.
    PublicKey,
    /// This label, and flags of the token.
    TokenInformation(&'static str),
}

/// One key with its certificate.
#[derive(Debug)]
pub(crate) struct KeyPlace {
    /// The DF that holds the key: from the MF of the CNS for one with a PIN of its own, else from the card's own.
    pub(crate) df: FilePath,
    pub(crate) key: ObjectId,
    pub(crate) algorithm: Algorithm,
    pub(crate) pin: KeyPin,
    pub(crate) certificate: CertificatePlace,
    /// Its entries in the object directories, on chips that have them.
    pub(crate) stored: Option<StoredKey>,
}

/// The PIN that a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPin {
    /// The holder's, in the card's MF.
    Holders,
    /// One of its own, with a PUK of its own, in the signature DF.
    Own,
    /// One that takes a protocol which this chip does not speak (PACE): the key cannot be used.
    Unreachable,
}

/// Where a certificate goes.
#[derive(Clone, Debug)]
pub(crate) struct CertificatePlace {
    /// The application, by its place in the chip's list.
    pub(crate) application: usize,
    pub(crate) path: FilePath,
    pub(crate) access: AccessConditions,
    pub(crate) short_identifier: Option<u8>,
    pub(crate) room: Room,
}

/// How large the file of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There from the start, larger than the certificate, zeros behind it.
    Reserved,
    /// Made with the certificate, and exactly as long.
    Exact,
}

/// File identifiers of the two halves of a key in the object directories; that of the certificate is in its path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredKey {
    pub(crate) public: Fid,
    pub(crate) private: Fid,
}

/// The file control information of an application's files, part by part in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) elementary: &'static [Part],
    pub(crate) dedicated: &'static [Part],
}

/// A part of file control information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// 80, for a DF too.
    Size,
    /// 81.
    Room,
    /// 82, three bytes.
    Descriptor,
    /// 82, one byte.
    Kind,
    /// 84, if the DF has a name.
    Name,
    /// 83.
    Identifier,
    /// 85, one byte.
    Proprietary,
    /// 86, nine bytes.
    Access,
    /// 88, one byte.
    ShortIdentifier,
    /// 8A.
    LifeCycle,
    /// A1: the conditions in compact form (ISO/IEC 7816-4 §7.4.3.2), for contact (8C) and contactless (9C).
    CompactAccess,
    /// CB, 24 bytes.
    SecureMessaging,
    /// Bytes that nobody has explained.
    Unexplained(&'static [u8]),
}
