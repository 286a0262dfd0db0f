//! The file trees of the chips beside the classic one, which [`cns_apdu::file_map::CLASSIC_TREE`] has.

use cns_apdu::access::AccessConditions;
use cns_apdu::file_map::{
    AUTHENTICATION_CERTIFICATE, CARD_STATUS, ESIGN_CARD_NUMBER, ESIGN_CERTIFICATES_DF, FREE_MEMORY, Fid,
    FileEntry, FileKind, FilePath, GDO, ID_CARD, PERSONAL_DATA, PRIVATE_OBJECT_DIRECTORY, PRIVATE_OBJECTS_DF,
    PUBLIC_KEY, PUBLIC_OBJECT_DIRECTORY, PUBLIC_OBJECTS_DF, SIGNATURE_DF, TOKEN_INFORMATION,
};

use super::chip::{Content, FileSpecification, Part, Shape};

const FF: u8 = 0xFF;
/// No operation comes in secure messaging.
const PLAIN: [u8; 24] = [FF; 24];

/// Tags in the order of ST and G&D chips (ACe 2025, captured).
pub(crate) const CLASSIC_SHAPE: Shape = Shape {
    elementary: &[
        Part::Size,
        Part::Descriptor,
        Part::Identifier,
        Part::Proprietary,
        Part::Access,
        Part::LifeCycle,
        Part::SecureMessaging,
    ],
    dedicated: &[
        Part::Room,
        Part::Descriptor,
        Part::Name,
        Part::Identifier,
        Part::Proprietary,
        Part::Access,
        Part::LifeCycle,
        Part::SecureMessaging,
    ],
};

/// Oberthur and IDEMIA leave out the life cycle (Cosmo V7, captured).
pub(crate) const OBERTHUR_SHAPE: Shape = Shape {
    elementary: &[
        Part::Size,
        Part::Descriptor,
        Part::Identifier,
        Part::Proprietary,
        Part::Access,
        Part::SecureMessaging,
    ],
    dedicated: &[
        Part::Room,
        Part::Descriptor,
        Part::Name,
        Part::Identifier,
        Part::Proprietary,
        Part::Access,
        Part::SecureMessaging,
    ],
};

/// The ESIGN application of ACe 2025, captured. The log of its own FCI lacks the last bytes: what stands for them
/// here has only their number.
pub(crate) const ESIGN_SHAPE: Shape = Shape {
    elementary: &[
        Part::Size,
        Part::Kind,
        Part::ShortIdentifier,
        Part::Identifier,
        Part::LifeCycle,
        Part::CompactAccess,
    ],
    dedicated: &[
        Part::Name,
        Part::Size,
        Part::Kind,
        Part::Identifier,
        Part::LifeCycle,
        Part::CompactAccess,
        Part::Unexplained(&[0x85, 0x03, 0x00, 0x00, 0x00]),
    ],
};

/// A file of the classic tree.
pub(crate) fn classic(entry: &FileEntry) -> FileSpecification {
    FileSpecification {
        path: entry.path.clone(),
        kind: entry.kind,
        size: entry.size,
        access: entry.access,
        secure_messaging: PLAIN,
        proprietary: 0x01,
        short_identifier: None,
        content: CONTENTS.iter().find(|(path, _)| *path == entry.path).map_or(Content::Empty, |(_, it)| *it),
    }
}

/// What the bureau writes into the classic tree.
const CONTENTS: [(FilePath, Content); 6] = [
    (GDO, Content::Gdo),
    (PUBLIC_KEY, Content::PublicKey),
    (CARD_STATUS, Content::Bytes(&[0x01])),
    (ID_CARD, Content::IdCard),
    (PERSONAL_DATA, Content::PersonalData),
    (FREE_MEMORY, Content::FreeMemory),
];

/// The object store of Oberthur's Cosmo V7: token information, two directories and the DFs of the objects, with
/// the sizes and conditions of the log, and two objects that had been deleted. EF_Kpub is there and has no record.
pub(crate) const COSMO_STORE: [FileSpecification; 7] = [
    NO_PUBLIC_KEY,
    token_information("TokenME"),
    directory(
        PUBLIC_OBJECT_DIRECTORY,
        PUBLIC_DIRECTORY_ACCESS,
        Content::Bytes(&[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFA, 0xFE, 0, 0, 0, 0xFA, 0xFE, 0, 0,
        ]),
    ),
    directory(
        PRIVATE_OBJECT_DIRECTORY,
        PRIVATE_DIRECTORY_ACCESS,
        Content::Bytes(&[0, 0, 0, 0, 0, 0, 0xFA, 0xFE, 0, 0, 0, 0xFA, 0xFE, 0, 0]),
    ),
    PUBLIC_DF,
    PRIVATE_DF,
    ef(
        FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x11CE)]),
        256,
        [0, 0, 0, FF, FF, FF, 0, 0, FF],
        0x01,
        Content::Bytes(&[0x00, 0x80]),
    ),
];

/// The same on IDEMIA's TS-CNS, as far as it was seen there.
pub(crate) const IDEMIA_STORE: [FileSpecification; 6] = [
    NO_PUBLIC_KEY,
    token_information("CNS"),
    directory(PUBLIC_OBJECT_DIRECTORY, PUBLIC_DIRECTORY_ACCESS, Content::Empty),
    directory(PRIVATE_OBJECT_DIRECTORY, PRIVATE_DIRECTORY_ACCESS, Content::Empty),
    PUBLIC_DF,
    PRIVATE_DF,
];

const NO_PUBLIC_KEY: FileSpecification = FileSpecification {
    path: PUBLIC_KEY,
    kind: FileKind::LinearTlv,
    size: 512,
    access: AccessConditions::READ_ONLY,
    secure_messaging: PLAIN,
    proprietary: 0x01,
    short_identifier: None,
    content: Content::Empty,
};
const PUBLIC_DIRECTORY_ACCESS: [u8; 9] = [0, 0, 0, 0, 0, 0, 0, 0, FF];
const PRIVATE_DIRECTORY_ACCESS: [u8; 9] = [0, 0x10, 0x10, 0, 0, 0, 0, 0, FF];
const PUBLIC_DF: FileSpecification = df(PUBLIC_OBJECTS_DF, 0x007F, [FF, 0, 0, FF, FF, 0, FF, 0, FF], PLAIN);
/// Keys are written and changed in secure messaging, with keys that are not the holder's.
const PRIVATE_DF: FileSpecification = df(
    PRIVATE_OBJECTS_DF,
    0x007F,
    [FF, 0x10, 0x10, FF, FF, FF, FF, 0x10, FF],
    [FF, FF, 0x03, 0x04, 0x03, 0x04, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF],
);

/// Of an object of the store that all may read.
pub(crate) const STORED_PUBLIC: AccessConditions =
    AccessConditions([0, 0x10, 0x10, FF, FF, 0x10, FF, FF, FF]);
/// Of an object of the store that takes the PIN to read.
pub(crate) const STORED_PRIVATE: AccessConditions =
    AccessConditions([0x10, 0x10, 0x10, FF, FF, 0x10, FF, FF, FF]);

/// What ACe 2025 lacks of the classic tree.
pub(crate) const ACE_2025_LACKS: [FilePath; 1] = [AUTHENTICATION_CERTIFICATE];
/// Since 2016 the specification has an empty DF_DS on every card; nobody has told who may create something in this one.
pub(crate) const ACE_2025: [FileSpecification; 1] = [df(SIGNATURE_DF, 0x0800, [FF; 9], PLAIN)];
/// What the CNS application of ChipDoc lacks.
pub(crate) const CHIPDOC_LACKS: [FilePath; 2] = [AUTHENTICATION_CERTIFICATE, SIGNATURE_DF];

/// The ESIGN application of ACe 2025: the card number, and the DF of the certificates.
pub(crate) const ESIGN: [FileSpecification; 2] = [
    FileSpecification {
        path: ESIGN_CARD_NUMBER,
        kind: FileKind::Transparent,
        size: 10,
        access: AccessConditions::READ_ONLY,
        secure_messaging: PLAIN,
        proprietary: 0x01,
        short_identifier: Some(0xE0),
        content: Content::IdCardInBcd,
    },
    df(ESIGN_CERTIFICATES_DF, 0x702C, ESIGN_ACCESS.0, PLAIN),
];

/// The compact form says that the holder may create and delete in it.
pub(crate) const ESIGN_ACCESS: AccessConditions = AccessConditions([FF, FF, FF, FF, FF, FF, FF, 0x10, FF]);

/// The MF of ChipDoc's IAS application: the encrypted card access number and the chip's serial.
pub(crate) const CHIPDOC_IAS: [FileSpecification; 1] = [ef(
    FilePath::fixed(&[Fid(0xE000)]),
    24,
    AccessConditions::READ_ONLY.0,
    0x01,
    Content::Bytes(&CHIPDOC_CAN),
)];
/// Invented: sixteen bytes that hide no number, eight of serial.
const CHIPDOC_CAN: [u8; 24] = *b"\xC0\xC1\xC2\xC3\xC4\xC5\xC6\xC7\xC8\xC9\xCA\xCB\xCC\xCD\xCE\xCF00000001";

/// CIE 3.0: the number for services (NIS), twelve digits, invented.
pub(crate) const CIE_3: [FileSpecification; 1] = [ef(
    FilePath::fixed(&[Fid(0x1001)]),
    12,
    AccessConditions::READ_ONLY.0,
    0x01,
    Content::Bytes(b"000000000017"),
)];

/// 48 records; free ones are zeros.
const fn directory(path: FilePath, access: [u8; 9], content: Content) -> FileSpecification {
    ef(path, 240, access, 0x00, content)
}

const fn token_information(label: &'static str) -> FileSpecification {
    let access = [0, 0, FF, FF, FF, FF, 0x11, FF, FF];
    ef(TOKEN_INFORMATION, 36, access, 0x00, Content::TokenInformation(label))
}

const fn ef(
    path: FilePath,
    size: u16,
    access: [u8; 9],
    proprietary: u8,
    content: Content,
) -> FileSpecification {
    FileSpecification {
        path,
        kind: FileKind::Transparent,
        size,
        access: AccessConditions(access),
        secure_messaging: PLAIN,
        proprietary,
        short_identifier: None,
        content,
    }
}

const fn df(path: FilePath, size: u16, access: [u8; 9], secure_messaging: [u8; 24]) -> FileSpecification {
    FileSpecification {
        path,
        kind: FileKind::Dedicated,
        size,
        access: AccessConditions(access),
        secure_messaging,
        proprietary: 0x01,
        short_identifier: None,
        content: Content::Empty,
    }
}
