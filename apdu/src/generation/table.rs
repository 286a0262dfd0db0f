//! The table of generations. Rows and traces are those of `real-cards` (§1.1 and §2).

use super::{
    Evidence, FilePlace, Foreign, Generation, Hint, KeyPlace, NoSignatureArea, Probe, SerialPlace, Sign,
    Signing, TriesQuery,
};
use crate::command::{PinReference, Template};
use crate::file_map::{
    AUTHENTICATION_CERTIFICATE, ESIGN_CARD_NUMBER, ESIGN_CERTIFICATE, ESIGN_CERTIFICATES_DF, Fid, ID_CARD,
    MASTER_FILE, PERSONAL_DATA, PRIVATE_OBJECTS_DF, SIGNATURE_CERTIFICATE, STORED_CERTIFICATE,
};
use crate::object::ObjectId;
use crate::signature_area::Slot;
use crate::transmit::Limits;

/// Every generation, the likeliest first where the answer to reset tells nothing.
pub const TABLE: [&Generation; 13] = [
    &ST_2021,
    &CLASSIC_2048,
    &CLASSIC,
    &INCARD_10,
    &JSIGN,
    &IDEMIA_2021,
    &COSMO_7,
    &IDEMIA_NFC,
    &OBERTHUR,
    &ATHENA,
    &CARDOS,
    &ST_2022_NFC,
    &ACE_2025,
];

/// Applications of cards that are no CNS, asked for when nothing of a CNS was found.
pub const FOREIGN: [Foreign; 3] = [
    Foreign {
        application: CHIPDOC_GENERIC,
        words: "this is a bit4id token on an NXP ChipDoc chip: its keys are behind PACE, which is not spoken here",
    },
    Foreign { application: CIE_3, words: "this is an electronic identity card (CIE 3.0), not a CNS" },
    Foreign { application: TRAVEL_DOCUMENT, words: "this is a travel document, not a CNS" },
];

/// The mask whose PIN commands search from the current DF upward (`cns-card` §1.2): P2 is 90 where others want 10.
const ST_INCARD: u8 = 0x09;
/// The mask of Oberthur, later IDEMIA.
const OBERTHUR_MASK: u8 = 0x05;
/// The mask of Giesecke & Devrient.
const GD_MASK: u8 = 0x04;

/// The CNS application of ACe 2025.
const CNS_BY_GD: &[u8] = &[0xA0, 0x00, 0x00, 0x05, 0x30, 0x00, 0x0B, 0x10, 0x40, 0x01, 0x02, 0x1A];
/// The signature application of ACe 2025: `ESIGN` in ASCII after the issuer's number.
const ESIGN: &[u8] = &[0xA0, 0x00, 0x00, 0x05, 0x30, 0x45, 0x53, 0x49, 0x47, 0x4E];
/// The CNS of ST's chips where it is not selected by the reset: over the air.
const ST_CNS: &[u8] = &[0xA0, 0x00, 0x00, 0x00, 0x95, 0x01, 0x00, 0x4D];
/// PKCS#15.
const PKCS15: &[u8] = &[0xA0, 0x00, 0x00, 0x00, 0x63, 0x50, 0x4B, 0x43, 0x53, 0x2D, 0x31, 0x35];
/// IAS tokens and travel documents.
const TRAVEL_DOCUMENT: &[u8] = &[0xA0, 0x00, 0x00, 0x02, 0x47, 0x10, 0x01];
/// The identity card of 2016.
const CIE_3: &[u8] = &[0xA0, 0x00, 0x00, 0x00, 0x30, 0x80, 0x00, 0x00, 0x00, 0x09, 0x81, 0x60, 0x01];
/// The certificates of ChipDoc tokens.
const CHIPDOC_GENERIC: &[u8] = &[0xE8, 0x28, 0xBD, 0x08, 0x0F, 0x01, 0x4E, 0x58, 0x50, 0x30];
/// Athena's own applet.
const ASEPCOS: &[u8] = &[0xA0, 0x00, 0x00, 0x01, 0x64, 0x41, 0x53, 0x45, 0x50, 0x43, 0x4F, 0x53, 0x00];
/// Athena's PKCS#11 DF, by its name.
const ASEPKCS: &[u8] = b"ASEPKCS";

/// The CNS PIN and PUK on chips that search upward.
const LOCAL_PIN: PinReference = PinReference::local(ObjectId::CNS_PIN);
const LOCAL_PUK: PinReference = PinReference::local(ObjectId::CNS_PUK);
/// The same two on all other chips.
const GLOBAL_PIN: PinReference = PinReference::global(ObjectId::CNS_PIN);
const GLOBAL_PUK: PinReference = PinReference::global(ObjectId::CNS_PUK);

/// TS-CNS "ST 2021" and its successors: RSA-2048, extended length, no chaining (`cns-card` §1.3, §5; rows 8, 9).
pub const ST_2021: Generation = Tree {
    name: "st2021",
    evidence: Evidence::Captured,
    hints: &[
        Hint { sign: Sign::MaskMaker(ST_INCARD), weight: 4 },
        Hint { sign: Sign::CnsVersion(0x11), weight: 4 },
        Hint { sign: Sign::MaskVersion(0x16, 0x17), weight: 2 },
    ],
    modulus_bits: 2048,
    limits: Limits::EXTENDED,
    tries_query: TriesQuery::Standard,
    ..Tree::OF_ST
}
.generation();

/// Incard chips with RSA-1024 and short length, of CNS version 1.0 and some of 1.1 (row 12).
pub const INCARD_10: Generation = Tree {
    name: "incard10",
    evidence: Evidence::Driver,
    hints: &[
        Hint { sign: Sign::MaskMaker(ST_INCARD), weight: 4 },
        Hint { sign: Sign::CnsVersion(0x10), weight: 4 },
        Hint { sign: Sign::MaskVersion(0x02, 0x03), weight: 5 },
        Hint { sign: Sign::MaskVersion(0x13, 0x13), weight: 5 },
    ],
    limits: Limits::SHORT,
    survey: INCARD_SURVEY,
    ..Tree::OF_ST
}
.generation();

/// J-Sign and JSign3 of ST (bit4id, Aruba, InfoCert): RSA-2048 although of CNS version 1.0. The vendor's tool shows
/// a second certificate on some that nobody has located (row 11).
pub const JSIGN: Generation = Tree {
    name: "jsign2048",
    hints: &[
        Hint { sign: Sign::MaskMaker(ST_INCARD), weight: 4 },
        Hint { sign: Sign::CnsVersion(0x10), weight: 4 },
        Hint { sign: Sign::MaskVersion(0x04, 0x07), weight: 2 },
        Hint { sign: Sign::MaskVersion(0x14, 0x17), weight: 2 },
    ],
    modulus_bits: 2048,
    limits: Limits::EXTENDED,
    survey: INCARD_SURVEY,
    ..Tree::OF_ST
}
.generation();

/// The classic file tree on a mask that is not known, RSA-1024.
pub const CLASSIC: Generation =
    Tree { name: "classic", hints: UNKNOWN_MASK, survey: CLASSIC_SURVEY, ..Tree::OF_OTHERS }.generation();

/// The same, RSA-2048; also what answers over the air without an application (row 22).
pub const CLASSIC_2048: Generation = Tree {
    name: "classic2048",
    evidence: Evidence::Driver,
    hints: UNKNOWN_MASK,
    modulus_bits: 2048,
    limits: Limits::EXTENDED_OR_CHAINED,
    survey: CLASSIC_SURVEY,
    ..Tree::OF_OTHERS
}
.generation();

/// The classic file tree on Oberthur's chips before 2021 (rows 5, 6).
pub const OBERTHUR: Generation = Tree {
    name: "oberthur",
    hints: &[
        Hint { sign: Sign::MaskMaker(OBERTHUR_MASK), weight: 6 },
        Hint { sign: Sign::MaskMaker(0x07), weight: 4 },
        Hint { sign: Sign::MaskVersion(0x01, 0x01), weight: 4 },
        Hint { sign: Sign::MaskVersion(0x10, 0x10), weight: 4 },
    ],
    survey: CLASSIC_SURVEY,
    ..Tree::OF_OTHERS
}
.generation();

/// The classic file tree on Athena's chips; there are some with a second certificate that nobody has located (row 13).
pub const ATHENA: Generation = Tree {
    name: "athena",
    evidence: Evidence::Captured,
    hints: &[Hint { sign: Sign::MaskMaker(0x0C), weight: 8 }],
    survey: ATHENA_SURVEY,
    ..Tree::OF_OTHERS
}
.generation();

/// The classic file tree on Siemens' CardOS (row 14).
pub const CARDOS: Generation = Tree {
    name: "cardos",
    hints: &[Hint { sign: Sign::MaskMaker(0x08), weight: 8 }],
    survey: CLASSIC_SURVEY,
    ..Tree::OF_OTHERS
}
.generation();

/// ST's chips of 2022 over the air: the classic tree in an application (row 10). There PIN and PUK are named as on
/// other chips.
pub const ST_2022_NFC: Generation = Tree {
    name: "st2022-nfc",
    evidence: Evidence::Driver,
    hints: &[Hint { sign: Sign::Begins(&[0x3B, 0x80, 0x80, 0x01, 0x01]), weight: 12 }],
    application: Some(ST_CNS),
    modulus_bits: 2048,
    // The chip is ST's: a key that was made over the contacts is there too.
    has_signature: true,
    limits: Limits::EXTENDED,
    ..Tree::OF_OTHERS
}
.generation();

/// IDEMIA's chips of 2021 and later: object store, with an empty file where others have the certificate
/// (`cns-card` §11; rows 2 to 4).
pub const IDEMIA_2021: Generation = with_store(
    "idemia2021",
    Evidence::Captured,
    &[
        Hint { sign: Sign::MaskMaker(OBERTHUR_MASK), weight: 4 },
        Hint { sign: Sign::ChipMaker(0x05), weight: 2 },
        Hint { sign: Sign::MaskVersion(0x20, 0xFF), weight: 4 },
    ],
    ObjectId::IDEMIA_KEY,
);

/// Oberthur's Cosmo V7 with the object store (row 7).
pub const COSMO_7: Generation = with_store(
    "oberthur-cosmo7",
    Evidence::Captured,
    &[
        Hint { sign: Sign::MaskMaker(OBERTHUR_MASK), weight: 4 },
        Hint { sign: Sign::ChipMaker(0x11), weight: 2 },
        Hint { sign: Sign::MaskVersion(0x07, 0x07), weight: 4 },
    ],
    ObjectId::COSMO_7_KEY,
);

/// IDEMIA's chips over the air: no application needs to be selected (row 21).
pub const IDEMIA_NFC: Generation = with_store(
    "idemia-nfc",
    Evidence::Driver,
    &[Hint { sign: Sign::Begins(&[0x3B, 0x8B, 0x80, 0x01, 0x00, 0x31, 0xC1, 0x64]), weight: 12 }],
    ObjectId::IDEMIA_KEY,
);

/// TS-CNS "ACe 2025" on a chip of Giesecke & Devrient: certificate and card number in the ESIGN application, personal
/// data in the CNS application (row 1). What PIN and key need is not proven: no such command was seen.
pub const ACE_2025: Generation = Generation {
    name: "ace2025",
    evidence: Evidence::Captured,
    hints: &[
        Hint { sign: Sign::MaskMaker(GD_MASK), weight: 8 },
        Hint { sign: Sign::MaskVersion(0xB8, 0xB8), weight: 4 },
    ],
    serial: SerialPlace { file: FilePlace::within(ESIGN, ESIGN_CARD_NUMBER), skip: 2, length: 8 },
    personal_data: FilePlace::within(CNS_BY_GD, PERSONAL_DATA),
    store: false,
    authentication: KeyPlace {
        certificate: FilePlace::within(ESIGN, ESIGN_CERTIFICATE),
        application: Some(ESIGN),
        key_df: MASTER_FILE,
        key: ObjectId::CNS_KEY,
        template: Template::Confidentiality,
        signing: Signing::RawDecipher,
        modulus_bits: 2048,
        pin_df: MASTER_FILE,
        pin: GLOBAL_PIN,
        puk: GLOBAL_PUK,
    },
    signature: None,
    renewed_signature: None,
    no_signature_area: Some(NoSignatureArea::NotKnown),
    security_environment: SECURITY_ENVIRONMENT,
    limits: Limits::EXTENDED_OR_CHAINED,
    silent_select: true,
    tries_query: TriesQuery::Avoid,
    challenge_length: 256,
    survey: &[Probe::Files {
        application: Some(ESIGN),
        df: ESIGN_CERTIFICATES_DF,
        first: Fid(0xC002),
        last: Fid(0xC00F),
    }],
};

/// On a mask that is not known the PIN references are those that all but ST's take. More than the version alone
/// counts for ST's, less than its mask and version.
const UNKNOWN_MASK: &[Hint] = &[
    Hint { sign: Sign::NoCns, weight: 1 },
    Hint { sign: Sign::CnsVersion(0x10), weight: 5 },
    Hint { sign: Sign::CnsVersion(0x11), weight: 5 },
];

/// What to look at on chips with the classic tree.
const CLASSIC_SURVEY: &[Probe] =
    &[Probe::Store, Probe::File(FilePlace::default_application(SIGNATURE_CERTIFICATE))];

/// On ST's chips the signature certificate's own place is read with the others.
const INCARD_SURVEY: &[Probe] = &[
    Probe::Store,
    Probe::Application(ST_CNS),
    Probe::File(FilePlace::within(ESIGN, ESIGN_CERTIFICATE)),
    Probe::Application(PKCS15),
    Probe::Application(TRAVEL_DOCUMENT),
];

/// What to look at on Athena's chips.
const ATHENA_SURVEY: &[Probe] = &[
    Probe::File(FilePlace::default_application(SIGNATURE_CERTIFICATE)),
    // Before the applications: only a reset leads back from them.
    Probe::Store,
    Probe::Application(ASEPCOS),
    Probe::Application(ASEPKCS),
];

/// The environment of the CNS; only the identity card of 2001 wants another (`real-cards` row 18).
const SECURITY_ENVIRONMENT: u8 = 0x03;

/// A generation with the classic file tree.
#[derive(Clone, Copy)]
struct Tree {
    name: &'static str,
    evidence: Evidence,
    hints: &'static [Hint],
    /// The application that the tree is in.
    application: Option<&'static [u8]>,
    modulus_bits: u16,
    /// Whether codes are looked for from the current DF upward. Elsewhere the references reach the MF alone, so a
    /// signature PIN inside a DF cannot be named.
    searches_upward: bool,
    /// Whether there may be a signature key in the layout of `cns-card` §8.
    has_signature: bool,
    limits: Limits,
    tries_query: TriesQuery,
    survey: &'static [Probe],
}

impl Tree {
    /// On masks other than ST's.
    const OF_OTHERS: Self = Self {
        name: "",
        evidence: Evidence::Listed,
        hints: &[],
        application: None,
        modulus_bits: 1024,
        searches_upward: false,
        has_signature: false,
        limits: Limits::SHORT_CHAINED,
        tries_query: TriesQuery::Avoid,
        survey: &[],
    };
    /// On ST's mask.
    const OF_ST: Self = Self { searches_upward: true, has_signature: true, ..Self::OF_OTHERS };

    const fn generation(self) -> Generation {
        let application = self.application;
        Generation {
            name: self.name,
            evidence: self.evidence,
            hints: self.hints,
            serial: SerialPlace { file: FilePlace { application, path: ID_CARD }, skip: 0, length: 16 },
            personal_data: FilePlace { application, path: PERSONAL_DATA },
            store: false,
            authentication: KeyPlace {
                certificate: FilePlace { application, path: AUTHENTICATION_CERTIFICATE },
                application,
                key_df: MASTER_FILE,
                key: ObjectId::CNS_KEY,
                template: Template::Confidentiality,
                signing: Signing::RawDecipher,
                modulus_bits: self.modulus_bits,
                pin_df: MASTER_FILE,
                pin: if self.searches_upward { LOCAL_PIN } else { GLOBAL_PIN },
                puk: if self.searches_upward { LOCAL_PUK } else { GLOBAL_PUK },
            },
            signature: if self.has_signature {
                Some(signature(Slot::First, application, self.modulus_bits))
            } else {
                None
            },
            renewed_signature: if self.has_signature && self.modulus_bits >= 2048 {
                Some(signature(Slot::Second, application, self.modulus_bits))
            } else {
                None
            },
            no_signature_area: match self.modulus_bits {
                ..2048 => Some(NoSignatureArea::ShortKeys),
                _ if !self.has_signature => Some(NoSignatureArea::NotKnown),
                _ if self.application.is_some() => Some(NoSignatureArea::OverTheAir),
                _ => None,
            },
            security_environment: SECURITY_ENVIRONMENT,
            limits: self.limits,
            silent_select: true,
            tries_query: self.tries_query,
            challenge_length: 256,
            survey: self.survey,
        }
    }
}

/// A generation with the object store; the key is that of cards whose store lists nothing.
const fn with_store(
    name: &'static str,
    evidence: Evidence,
    hints: &'static [Hint],
    key: ObjectId,
) -> Generation {
    Generation {
        name,
        evidence,
        hints,
        serial: SerialPlace { file: FilePlace::default_application(ID_CARD), skip: 0, length: 16 },
        personal_data: FilePlace::default_application(PERSONAL_DATA),
        store: true,
        authentication: KeyPlace {
            certificate: FilePlace::default_application(STORED_CERTIFICATE),
            application: None,
            key_df: PRIVATE_OBJECTS_DF,
            key,
            template: Template::Confidentiality,
            signing: Signing::RawDecipher,
            modulus_bits: 2048,
            pin_df: MASTER_FILE,
            pin: GLOBAL_PIN,
            puk: GLOBAL_PUK,
        },
        signature: None,
        renewed_signature: None,
        // Seen in the log: the DF of the keys demands it of PUT DATA (`cns-card` §2.3, Cosmo V7).
        no_signature_area: Some(NoSignatureArea::IssuersKeys),
        security_environment: SECURITY_ENVIRONMENT,
        limits: Limits::EXTENDED_OR_CHAINED,
        // Some chips refuse it (`cns-card` §5.1), and none was seen that refuses the other form.
        silent_select: false,
        tries_query: TriesQuery::Observed,
        challenge_length: 32,
        survey: &[],
    }
}

/// The signature key of the layout that the daemon creates (`cns-card` §8.2).
const fn signature(slot: Slot, application: Option<&'static [u8]>, modulus_bits: u16) -> KeyPlace {
    KeyPlace {
        certificate: FilePlace { application, path: slot.certificate_path() },
        application,
        key_df: slot.key_df_path(),
        key: ObjectId::SIGNATURE_KEY,
        template: Template::Signature,
        signing: Signing::DigestInfo,
        modulus_bits,
        pin_df: slot.key_df_path(),
        pin: PinReference::local(ObjectId::SIGNATURE_PIN),
        puk: PinReference::local(ObjectId::SIGNATURE_PUK),
    }
}
