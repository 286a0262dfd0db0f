//! The table of generations.

use cns_apdu::access::AccessConditions;
use cns_apdu::file_map::{
    AUTHENTICATION_CERTIFICATE, ESIGN_CERTIFICATE, Fid, FilePath, MASTER_FILE, PRIVATE_OBJECTS_DF,
    SIGNATURE_CERTIFICATE, SIGNATURE_KEY_DF, STORED_CERTIFICATE,
};
use cns_apdu::object::{Algorithm, ObjectId};
use cns_apdu::signature_area;

use super::chip::{
    Application, CertificatePlace, Chip, Grade, Habits, KeyLookup, KeyPin, KeyPlace, Room, StoredKey,
};
use super::trees;

/// Every generation, the usual one first.
pub(crate) static TABLE: [Chip; 20] = [
    Chip {
        name: "st2021",
        cards: "TS-CNS of 2021 by ST, CNS 1.1",
        grade: Grade::Captured,
        evidence: "ATR of a real card and its refusal of chaining (pcsc-tools#95, OpenSC#2370); files and commands of the specification",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x16, 0x17, 0x01,
            0x11, 0x01, 0x43, 0x4E, 0x53, 0x11, 0x31, 0x80, 0x8D,
        ],
        key_bits: 2048,
        habits: ST,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: Some(CLASSIC_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "incard10",
        cards: "CNS 1.0 by Incard, RSA-1024, short commands",
        grade: Grade::Driven,
        evidence: "MOCCA signed with such cards (primesign/mocca, ITCard.java)",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x02, 0x00, 0x01,
            0x11, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x8F,
        ],
        key_bits: 1024,
        habits: ST_SHORT,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: Some(CLASSIC_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "incard11",
        cards: "CNS 1.1 by Incard, RSA-1024: InfoCamere",
        grade: Grade::Driven,
        evidence: "MOCCA signed with such cards (primesign/mocca, ITCard.java)",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x02, 0x00, 0x01,
            0x11, 0x01, 0x43, 0x4E, 0x53, 0x11, 0x31, 0x80, 0x8E,
        ],
        key_bits: 1024,
        habits: ST_SHORT,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: Some(CLASSIC_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "jsign2048",
        cards: "J-Sign, CNS 1.0 with RSA-2048: bit4id, Aruba, InfoCert",
        grade: Grade::Listed,
        evidence: "ATR list; that version 1.0 may have 2048 bits is a maintainer's warning (OpenSC#2371)",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x05, 0x03, 0x01,
            0x01, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x64,
        ],
        key_bits: 2048,
        habits: ST,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: Some(CLASSIC_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "st2022",
        cards: "TS-CNS of 2022 by ST, contact",
        grade: Grade::Driven,
        evidence: "works with OpenSC (OpenSC#3755), its ATR is cut there: that of the lot on the ATR list",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x17, 0x17, 0x01,
            0x11, 0x01, 0x43, 0x4E, 0x53, 0x11, 0x31, 0x80, 0x8C,
        ],
        key_bits: 2048,
        habits: ST,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: Some(CLASSIC_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "st2022-nfc",
        cards: "TS-CNS of 2022 by ST over NFC",
        grade: Grade::Driven,
        evidence: "enumerated, signed, PIN changed by a draft driver (OpenSC#3806)",
        answer_to_reset: &[0x3B, 0x80, 0x80, 0x01, 0x01],
        key_bits: 2048,
        habits: ST,
        applications: &[Application {
            aid: &[0xA0, 0x00, 0x00, 0x00, 0x95, 0x01, 0x00, 0x4D],
            inside: FIRST,
            ..CLASSIC
        }],
        start: None,
        authentication: Some(CLASSIC_KEY),
        signature: Some(CLASSIC_SIGNATURE),
        product_name: Some(b"JSign4"),
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "idemia2021",
        cards: "TS-CNS ACe 2021 and ACx 2021 by IDEMIA",
        grade: Grade::Captured,
        evidence: "logs of OpenSC 0.22 and a driver that works (OpenSC#1995, #2445, #2483)",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x00, 0x6B, 0x05, 0x05, 0x20, 0x00, 0x01,
            0x21, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x79,
        ],
        key_bits: 2048,
        habits: IDEMIA,
        applications: IDEMIA_CNS,
        start: Some(0),
        authentication: Some(IDEMIA_KEY),
        signature: Some(IDEMIA_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "idemia-nfc",
        cards: "TS-CNS ACe 2021 by IDEMIA over NFC",
        grade: Grade::Driven,
        evidence: "OpenSC treats it as the contact card (commit 1708c065f)",
        answer_to_reset: &[
            0x3B, 0x8B, 0x80, 0x01, 0x00, 0x31, 0xC1, 0x64, 0x08, 0x92, 0x33, 0x54, 0x00, 0x90, 0x00, 0xF3,
        ],
        key_bits: 2048,
        habits: IDEMIA_NFC,
        applications: IDEMIA_CNS,
        start: Some(0),
        authentication: Some(IDEMIA_KEY),
        signature: Some(IDEMIA_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "idemia-cosmo91",
        cards: "TS-CNS on ID-One CNS v2, Cosmo 9.1",
        grade: Grade::Inferred,
        evidence: "personal data read by an access control (wlkr42); where the certificate is nobody has told: as idemia2021",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x00, 0x6B, 0x05, 0x05, 0x91, 0x20, 0x01,
            0xF1, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x38,
        ],
        key_bits: 2048,
        habits: IDEMIA,
        applications: IDEMIA_CNS,
        start: Some(0),
        authentication: Some(IDEMIA_KEY),
        signature: Some(IDEMIA_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "oberthur-cosmo7",
        cards: "ID-One Cosmo V7 with a bit4id store",
        grade: Grade::Captured,
        evidence: "simulator of a demo card with its log, 2019",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x00, 0x6B, 0x11, 0x05, 0x07, 0x00, 0x01,
            0x21, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x4A,
        ],
        key_bits: 2048,
        habits: COSMO,
        applications: &[Application {
            aid: &[
                0xA0, 0x00, 0x00, 0x00, 0x77, 0x01, 0x03, 0x00, 0x06, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,
                0x02,
            ],
            files: &trees::COSMO_STORE,
            shape: trees::OBERTHUR_SHAPE,
            ..CLASSIC
        }],
        start: Some(0),
        authentication: Some(COSMO_KEY),
        signature: Some(COSMO_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[(0xDF64, &[0xDF, 0x64, 0x02, 0x4C, 0x5E])],
    },
    Chip {
        name: "ace2025",
        cards: "TS-CNS ACe 2025 by Actalis on G&D and NXP",
        grade: Grade::Captured,
        evidence: "log of the official middleware without PIN (OpenSC#3804); PIN, PUK and signature inferred",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x4D, 0x00, 0x6B, 0x04, 0x04, 0xB8, 0x5B, 0x01,
            0xF1, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x9D,
        ],
        key_bits: 2048,
        habits: ACE,
        applications: &[
            Application {
                aid: &[0xA0, 0x00, 0x00, 0x05, 0x30, 0x00, 0x0B, 0x10, 0x40, 0x01, 0x02, 0x1A],
                inside: FIRST,
                without: &trees::ACE_2025_LACKS,
                files: &trees::ACE_2025,
                room: Some(0x702C),
                access: Some(AccessConditions::NEVER),
                ..CLASSIC
            },
            Application {
                aid: &[0xA0, 0x00, 0x00, 0x05, 0x30, 0x45, 0x53, 0x49, 0x47, 0x4E],
                inside: SECOND,
                classic_tree: false,
                files: &trees::ESIGN,
                shape: trees::ESIGN_SHAPE,
                room: Some(0x702C),
                access: Some(trees::ESIGN_ACCESS),
                ..CLASSIC
            },
        ],
        start: Some(0),
        authentication: Some(ACE_KEY),
        signature: None,
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "athena",
        cards: "TS-CNS of 2013 to 2018 by Actalis on Athena and ST",
        grade: Grade::Driven,
        evidence: "authentication works with OpenSC (#393, #2782)",
        answer_to_reset: &[
            0x3B, 0xDF, 0x18, 0x00, 0x81, 0x31, 0xFE, 0x7D, 0x00, 0x6B, 0x02, 0x0C, 0x01, 0x82, 0x01, 0x11,
            0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0xFC,
        ],
        key_bits: 1024,
        habits: OTHER_MASK,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: None,
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "cardos",
        cards: "CRS Sicilia on Siemens CardOS",
        grade: Grade::Driven,
        evidence: "works with OpenSC (linuxtrent.it guide), ATR list",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0xFF, 0xC1, 0x0A, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x05, 0x08, 0xC8, 0x09,
            0x01, 0x11, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x00,
        ],
        key_bits: 1024,
        habits: OTHER_MASK,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: None,
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "oberthur",
        cards: "CRS of Friuli, Sardegna, Emilia-Romagna by Oberthur",
        grade: Grade::Driven,
        evidence: "supported by OpenSC since 2010, ATR list",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x00, 0x6B, 0x04, 0x05, 0x01, 0x00, 0x01,
            0x11, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x69,
        ],
        key_bits: 1024,
        habits: OTHER_MASK,
        applications: OBERTHUR_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: None,
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "hpc",
        cards: "health professional's card by Oberthur (profile HPC)",
        grade: Grade::Listed,
        evidence: "ATR list; the CNS's files are inferred from the name given there",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x00, 0x6B, 0x04, 0x05, 0x01, 0x00, 0x01,
            0x12, 0x02, 0x48, 0x50, 0x43, 0x10, 0x31, 0x80, 0x6C,
        ],
        key_bits: 1024,
        habits: OTHER_MASK,
        applications: OBERTHUR_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: None,
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "hpc-idemia",
        cards: "health professional's card by IDEMIA (profile HPC): CARTA SISS",
        grade: Grade::Listed,
        evidence: "ATR list; the store is inferred from the chip, which is that of idemia2021",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x00, 0x6B, 0x05, 0x05, 0x20, 0x00, 0x01,
            0x12, 0x02, 0x48, 0x50, 0x43, 0x10, 0x31, 0x80, 0x4C,
        ],
        key_bits: 2048,
        habits: IDEMIA,
        applications: IDEMIA_CNS,
        start: Some(0),
        authentication: Some(IDEMIA_KEY),
        signature: Some(IDEMIA_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "dsd",
        cards: "signature card by ST Incard (profile DSD)",
        grade: Grade::Listed,
        evidence: "ATR list; the CNS's files are inferred from the chip",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0xFF, 0x81, 0x31, 0xFE, 0x55, 0x00, 0x6B, 0x02, 0x09, 0x04, 0x03, 0x01,
            0x01, 0x01, 0x44, 0x53, 0x44, 0x10, 0x31, 0x80, 0x97,
        ],
        key_bits: 1024,
        habits: ST_SHORT,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: Some(CLASSIC_SIGNATURE),
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "ts-cns-2018-dual",
        cards: "contactless face of a TS-CNS of 2018",
        grade: Grade::Driven,
        evidence: "personal data read without an application (francescm/tessera_sanitaria); its ATR is one of the list",
        answer_to_reset: &[0x3B, 0x88, 0x80, 0x01, 0x30, 0xAB, 0xAB, 0x01, 0x77, 0x81, 0xB7, 0x00, 0x79],
        key_bits: 2048,
        habits: ACE,
        applications: PLAIN_CNS,
        start: Some(0),
        authentication: Some(CLASSIC_KEY),
        signature: None,
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
    Chip {
        name: "chipdoc",
        cards: "Bit4id Digital-DNA Key on NXP ChipDoc",
        grade: Grade::Driven,
        evidence: "draft driver tried on hardware (OpenSC#3751); without PACE its keys are out of reach",
        answer_to_reset: &[
            0x3B, 0xFF, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x00, 0x6B, 0x15, 0x0C, 0x03, 0x02, 0x01,
            0x01, 0x01, 0x43, 0x4E, 0x53, 0x10, 0x31, 0x80, 0x61,
        ],
        key_bits: 2048,
        habits: CHIPDOC,
        applications: &[
            Application {
                aid: &[0xA0, 0x00, 0x00, 0x05, 0x30, 0x00, 0x0B, 0x10, 0x40, 0x01, 0x01, 0x1B],
                inside: FIRST,
                without: &trees::CHIPDOC_LACKS,
                ..CLASSIC
            },
            Application {
                aid: &[0xA0, 0x00, 0x00, 0x02, 0x47, 0x10, 0x01],
                inside: SECOND,
                classic_tree: false,
                files: &trees::CHIPDOC_IAS,
                ..CLASSIC
            },
            Application {
                aid: &[0xE8, 0x28, 0xBD, 0x08, 0x0F, 0x01, 0x4E, 0x58, 0x50, 0x30],
                inside: THIRD,
                classic_tree: false,
                ..CLASSIC
            },
        ],
        start: None,
        authentication: Some(CHIPDOC_KEY),
        signature: Some(CHIPDOC_SIGNATURE),
        product_name: None,
        chip_data: &[(0x14, b"00000001")],
        maker_data: &[],
    },
    Chip {
        name: "cie3",
        cards: "CIE 3.0, which is no CNS",
        grade: Grade::Driven,
        evidence: "kiosk script and italia/cie-middleware; to be left alone politely",
        answer_to_reset: &[
            0x3B, 0x8F, 0x80, 0x01, 0x80, 0x31, 0x80, 0x65, 0x49, 0x54, 0x4A, 0x34, 0x4C, 0x12, 0x0F, 0xFF,
            0x82, 0x90, 0x00, 0x85,
        ],
        key_bits: 2048,
        habits: ACE,
        applications: &[
            Application {
                aid: &[0xA0, 0x00, 0x00, 0x00, 0x30, 0x80, 0x00, 0x00, 0x00, 0x09, 0x81, 0x60, 0x01],
                inside: FIRST,
                classic_tree: false,
                ..CLASSIC
            },
            Application {
                aid: &[0xA0, 0x00, 0x00, 0x00, 0x00, 0x39],
                inside: SECOND,
                classic_tree: false,
                files: &trees::CIE_3,
                ..CLASSIC
            },
        ],
        start: None,
        authentication: None,
        signature: None,
        product_name: None,
        chip_data: &[],
        maker_data: &[],
    },
];

/// ST Incard: PINs are searched upward.
const ST: Habits = Habits {
    extended_length: true,
    chaining: true,
    select_silent: true,
    select_parameters: false,
    searches_upward: true,
    key_lookup: KeyLookup::WhenSet,
    longest_challenge: 256,
    shortens_challenge: true,
    pin_tries: 3,
    puk_tries: 3,
};
const ST_SHORT: Habits = Habits { extended_length: false, ..ST };
/// The masks of other makers, whose PIN references reach the MF alone; RSA-1024 needs no long command.
const OTHER_MASK: Habits = Habits { extended_length: false, searches_upward: false, ..ST };
/// Oberthur's Cosmo V7: eight tries of the PUK; keys are looked for when they are used.
const COSMO: Habits =
    Habits { extended_length: true, key_lookup: KeyLookup::WhenUsed, puk_tries: 8, ..OTHER_MASK };
/// IDEMIA 2021: SELECT without an answer is refused, a challenge has at most 32 bytes.
const IDEMIA: Habits =
    Habits { select_silent: false, longest_challenge: 32, shortens_challenge: false, ..COSMO };
/// Over the air a kiosk's commands without an answer were taken.
const IDEMIA_NFC: Habits = Habits { select_silent: true, ..IDEMIA };
/// ACe 2025: nobody has logged a PIN or a signature of it.
const ACE: Habits = Habits { extended_length: true, ..OTHER_MASK };
const CHIPDOC: Habits = Habits { extended_length: true, select_parameters: true, ..OTHER_MASK };

/// The classic tree in the card's own MF.
const CLASSIC: Application = Application {
    aid: &[],
    inside: None,
    classic_tree: true,
    without: &[],
    files: &[],
    shape: trees::CLASSIC_SHAPE,
    room: None,
    access: None,
};
/// Where applications are kept: DFs that no file command reaches.
const FIRST: Option<Fid> = Some(Fid(0x7F01));
const SECOND: Option<Fid> = Some(Fid(0x7F02));
const THIRD: Option<Fid> = Some(Fid(0x7F03));
/// The application that holds ChipDoc's certificates and keys.
const CHIPDOC_KEYS: FilePath = FilePath::fixed(&[Fid(0x7F03)]);
const IDEMIA_STORE: Application =
    Application { files: &trees::IDEMIA_STORE, shape: trees::OBERTHUR_SHAPE, ..CLASSIC };

const PLAIN_CNS: &[Application] = &[CLASSIC];
/// Oberthur's classic cards have their maker's file control information.
const OBERTHUR_CNS: &[Application] = &[Application { shape: trees::OBERTHUR_SHAPE, ..CLASSIC }];
const IDEMIA_CNS: &[Application] = &[IDEMIA_STORE];

/// The authentication key in the MF, its certificate in EF_C_Carta.
const CLASSIC_KEY: KeyPlace = KeyPlace {
    df: MASTER_FILE,
    key: ObjectId::CNS_KEY,
    algorithm: Algorithm::RsaRaw,
    pin: KeyPin::Holders,
    certificate: CertificatePlace {
        application: 0,
        path: AUTHENTICATION_CERTIFICATE,
        access: AccessConditions::READ_ONLY,
        short_identifier: None,
        room: Room::Reserved,
    },
    stored: None,
};
/// The signature keyset in DF_DS, as the daemon makes it.
const CLASSIC_SIGNATURE: KeyPlace = KeyPlace {
    df: SIGNATURE_KEY_DF,
    key: ObjectId::SIGNATURE_KEY,
    algorithm: Algorithm::RsaSignature,
    pin: KeyPin::Own,
    certificate: CertificatePlace {
        application: 0,
        path: SIGNATURE_CERTIFICATE,
        access: signature_area::CERTIFICATE_ACCESS,
        short_identifier: None,
        room: Room::Reserved,
    },
    stored: None,
};
/// The authentication key of IDEMIA's TS-CNS.
const IDEMIA_KEY: KeyPlace = stored(ObjectId::IDEMIA_KEY, STORED_CERTIFICATE, Fid(0x1002), Fid(0x3002));
/// A second key in the same store; its numbers follow the card that was logged, on which they are not the
/// certificate's.
const IDEMIA_SIGNATURE: KeyPlace =
    stored(KEY_05, FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x2004)]), Fid(0x1005), Fid(0x3005));
/// The key of the card that was logged.
const COSMO_KEY: KeyPlace = stored(KEY_0E, STORED_CERTIFICATE, Fid(0x1004), Fid(0x300E));
const COSMO_SIGNATURE: KeyPlace =
    stored(KEY_0F, FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x2005)]), Fid(0x1006), Fid(0x300F));

const KEY_05: ObjectId = key_number(0x05);
const KEY_0E: ObjectId = key_number(0x0E);
const KEY_0F: ObjectId = key_number(0x0F);
const KEY_10: ObjectId = key_number(0x10);
const KEY_11: ObjectId = key_number(0x11);

/// The number of a key; only the table's own constants come here.
const fn key_number(number: u8) -> ObjectId {
    match ObjectId::new(number) {
        Some(id) => id,
        None => ObjectId::CNS_KEY,
    }
}

const fn stored(key: ObjectId, certificate: FilePath, public: Fid, private: Fid) -> KeyPlace {
    KeyPlace {
        df: PRIVATE_OBJECTS_DF,
        key,
        algorithm: Algorithm::RsaRaw,
        pin: KeyPin::Holders,
        certificate: CertificatePlace {
            application: 0,
            path: certificate,
            access: trees::STORED_PUBLIC,
            short_identifier: None,
            room: Room::Exact,
        },
        stored: Some(StoredKey { public, private }),
    }
}

/// ACe 2025: the certificate in the ESIGN application, the key where every application finds it.
const ACE_KEY: KeyPlace = KeyPlace {
    df: MASTER_FILE,
    key: ObjectId::CNS_KEY,
    algorithm: Algorithm::RsaRaw,
    pin: KeyPin::Holders,
    certificate: applied(1, ESIGN_CERTIFICATE, Some(0x08)),
    stored: None,
};
const CHIPDOC_KEY: KeyPlace = guarded(KEY_10, FilePath::fixed(&[Fid(0x0001)]));
const CHIPDOC_SIGNATURE: KeyPlace = guarded(KEY_11, FilePath::fixed(&[Fid(0x0002)]));

/// A key of ChipDoc, which takes PACE to use.
const fn guarded(key: ObjectId, certificate: FilePath) -> KeyPlace {
    KeyPlace {
        df: CHIPDOC_KEYS,
        key,
        algorithm: Algorithm::RsaRaw,
        pin: KeyPin::Unreachable,
        certificate: applied(2, certificate, None),
        stored: None,
    }
}

/// A certificate of another application.
const fn applied(application: usize, path: FilePath, short_identifier: Option<u8>) -> CertificatePlace {
    CertificatePlace {
        application,
        path,
        access: AccessConditions::READ_ONLY,
        short_identifier,
        room: Room::Exact,
    }
}
