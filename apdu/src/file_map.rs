//! Where things are: file identifiers, paths, and the classic file tree (`cns-card` §2.1, §3.3).

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use crate::access::AccessConditions;

/// A file identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fid(pub u16);

impl Fid {
    /// The master file.
    pub const MASTER_FILE: Self = Self(0x3F00);

    /// Whether no file may be created with it.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 0x3F00 | 0x3FFF | 0xFFFF)
    }

    /// Its two bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// The way from the MF (which is left out) or from the current DF to a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilePath(Cow<'static, [Fid]>);

impl FilePath {
    /// A fixed path.
    #[must_use]
    pub const fn fixed(files: &'static [Fid]) -> Self {
        Self(Cow::Borrowed(files))
    }

    /// From file identifiers.
    #[must_use]
    pub fn new(files: Vec<Fid>) -> Self {
        Self(Cow::Owned(files))
    }

    /// From the data of SELECT by path from the MF: at least one identifier; a leading `3F00` is dropped.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let path = Self::relative(bytes)?;
        match path.files() {
            [Fid::MASTER_FILE, rest @ ..] => Some(Self::new(rest.to_vec())),
            _ => Some(path),
        }
    }

    /// From the data of SELECT by path from the current DF: at least one identifier.
    #[must_use]
    pub fn relative(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.as_chunks::<2>();
        if pairs.is_empty() || !rest.is_empty() {
            return None;
        }
        Some(Self::new(pairs.iter().map(|pair| Fid(u16::from_be_bytes(*pair))).collect()))
    }

    /// The data of SELECT; that of the MF itself is `3F00`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let files: &[Fid] = if self.0.is_empty() { &[Fid::MASTER_FILE] } else { &self.0 };
        files.iter().flat_map(|file| file.to_bytes()).collect()
    }

    /// The file identifiers on the way.
    #[must_use]
    pub fn files(&self) -> &[Fid] {
        &self.0
    }

    /// The path of a file inside this DF.
    #[must_use]
    pub fn child(&self, file: Fid) -> Self {
        let mut files = self.0.to_vec();
        files.push(file);
        Self::new(files)
    }

    /// The path of the DF that holds this file; `None` for the MF.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.0.split_last()?;
        Some(Self::new(parents.to_vec()))
    }
}

impl Display for FilePath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("3F00")?;
        self.0.iter().try_for_each(|file| write!(f, "/{:04X}", file.0))
    }
}

/// MF.
pub const MASTER_FILE: FilePath = FilePath::fixed(&[]);
/// EF_GDO: card number.
pub const GDO: FilePath = FilePath::fixed(&[Fid(0x2F02)]);
/// EF_Kpub: public key of the authentication key.
pub const PUBLIC_KEY: FilePath = FilePath::fixed(&[Fid(0x3F01)]);
/// EF_CardStatus.
pub const CARD_STATUS: FilePath = FilePath::fixed(&[Fid(0x3F02)]);
/// EF_RootInstFile: installation data of additional services.
pub const ROOT_INSTALLATION: FilePath = FilePath::fixed(&[Fid(0x0405)]);
/// DF0.
pub const DF0: FilePath = FilePath::fixed(&[Fid(0x1000)]);
/// EF_Dati_processore: chip data.
pub const PROCESSOR_DATA: FilePath = FilePath::fixed(&[Fid(0x1000), Fid(0x1002)]);
/// EF_ID_Carta: the sixteen digits that name the card.
pub const ID_CARD: FilePath = FilePath::fixed(&[Fid(0x1000), Fid(0x1003)]);
/// DF1.
pub const DF1: FilePath = FilePath::fixed(&[Fid(0x1100)]);
/// EF_C_Carta: authentication certificate.
pub const AUTHENTICATION_CERTIFICATE: FilePath = FilePath::fixed(&[Fid(0x1100), Fid(0x1101)]);
/// EF_Dati_personali: the holder's personal data.
pub const PERSONAL_DATA: FilePath = FilePath::fixed(&[Fid(0x1100), Fid(0x1102)]);
/// DF2.
pub const DF2: FilePath = FilePath::fixed(&[Fid(0x1200)]);
/// EF_Dati_personali_aggiuntivi: additional personal data.
pub const ADDITIONAL_PERSONAL_DATA: FilePath = FilePath::fixed(&[Fid(0x1200), Fid(0x1201)]);
/// EF_Memoria_residua: free memory.
pub const FREE_MEMORY: FilePath = FilePath::fixed(&[Fid(0x1200), Fid(0x1202)]);
/// EF_Servizi_installati: installed services.
pub const INSTALLED_SERVICES: FilePath = FilePath::fixed(&[Fid(0x1200), Fid(0x1203)]);
/// EF_INST_FILE: installation data of services.
pub const SERVICE_INSTALLATION: FilePath = FilePath::fixed(&[Fid(0x1200), Fid(0x4142)]);
/// DF_DS: the DF of the digital signature.
pub const SIGNATURE_DF: FilePath = FilePath::fixed(&[Fid(0x1400)]);
/// The signature certificate.
pub const SIGNATURE_CERTIFICATE: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x9010)]);
/// The DF of the signature key.
pub const SIGNATURE_KEY_DF: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x8110)]);
/// The public key of the signature key.
pub const SIGNATURE_PUBLIC_KEY: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x8110), Fid(0x8010)]);
/// Token information of the object store: label and flags (`real-cards` §2.3).
pub const TOKEN_INFORMATION: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x1000)]);
/// The directory of public objects: certificates and public keys.
pub const PUBLIC_OBJECT_DIRECTORY: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x4000)]);
/// The directory of private objects: private keys.
pub const PRIVATE_OBJECT_DIRECTORY: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x5000)]);
/// The DF of the public objects.
pub const PUBLIC_OBJECTS_DF: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x9001)]);
/// The DF of the private objects; it must be current for their keys to be used.
pub const PRIVATE_OBJECTS_DF: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x9002)]);
/// The authentication certificate in the object store of IDEMIA's TS-CNS.
pub const STORED_CERTIFICATE: FilePath = FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x2002)]);
/// The DF that holds the authentication certificate of an ESIGN application.
pub const ESIGN_CERTIFICATES_DF: FilePath = FilePath::fixed(&[Fid(0xDA01)]);
/// The authentication certificate of an ESIGN application.
pub const ESIGN_CERTIFICATE: FilePath = FilePath::fixed(&[Fid(0xDA01), Fid(0xC001)]);
/// The card number of an ESIGN application: two bytes of header, then the number in BCD.
pub const ESIGN_CARD_NUMBER: FilePath = FilePath::fixed(&[Fid(0xD003)]);

/// What kind of file it is: first byte of its descriptor (`cns-card` §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// 01: a string of bytes.
    Transparent,
    /// 02: records of one length.
    LinearFixed,
    /// 05: simple-TLV records.
    LinearTlv,
    /// 06: records of one length, the newest replacing the oldest.
    Cyclic,
    /// 38: dedicated file.
    Dedicated,
}

impl FileKind {
    /// From its byte.
    #[must_use]
    pub const fn new(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Transparent),
            0x02 => Some(Self::LinearFixed),
            0x05 => Some(Self::LinearTlv),
            0x06 => Some(Self::Cyclic),
            0x38 => Some(Self::Dedicated),
            _ => None,
        }
    }

    /// Whether it is a dedicated file.
    #[must_use]
    pub const fn is_dedicated(self) -> bool {
        matches!(self, Self::Dedicated)
    }

    /// Its byte.
    #[must_use]
    pub const fn value(self) -> u8 {
        match self {
            Self::Transparent => 0x01,
            Self::LinearFixed => 0x02,
            Self::LinearTlv => 0x05,
            Self::Cyclic => 0x06,
            Self::Dedicated => 0x38,
        }
    }
}

/// A file of the classic tree as it leaves the issuer.
#[derive(Debug)]
pub struct FileEntry {
    /// The name in the CNS file system specification.
    pub name: &'static str,
    /// Where it is.
    pub path: FilePath,
    /// What it is.
    pub kind: FileKind,
    /// Bytes; for a DF the room reserved.
    pub size: u16,
    /// Who may do what; 05 is the issuer's key.
    pub access: AccessConditions,
}

const FF: u8 = 0xFF;
const ISSUER_DF: AccessConditions = AccessConditions([FF, FF, FF, FF, FF, FF, 0x05, 0x05, FF]);
const SERVICE_DF: AccessConditions = AccessConditions([FF, 0x05, 0x05, FF, FF, FF, 0x05, 0x05, FF]);
const ISSUER_EF: AccessConditions = AccessConditions([0x00, 0x05, FF, FF, FF, FF, 0x05, FF, FF]);
/// The signature DF as issued: the holder's PIN administers it.
const EMPTY_SIGNATURE_DF: AccessConditions = AccessConditions([FF, 0x10, 0x10, FF, FF, FF, 0x10, 0x10, FF]);

/// The classic tree (`cns-card` §2.1), parents before children.
pub const CLASSIC_TREE: [FileEntry; 17] = [
    df("MF", MASTER_FILE, SERVICE_DF),
    ef("EF_GDO", GDO, 12, AccessConditions::READ_ONLY),
    FileEntry {
        name: "EF_Kpub",
        path: PUBLIC_KEY,
        kind: FileKind::LinearTlv,
        size: 512,
        access: AccessConditions::READ_ONLY,
    },
    ef("EF_CardStatus", CARD_STATUS, 1, ISSUER_EF),
    ef("EF_RootInstFile", ROOT_INSTALLATION, 64, ISSUER_EF),
    df("DF0", DF0, ISSUER_DF),
    ef("EF_Dati_processore", PROCESSOR_DATA, 54, AccessConditions::READ_ONLY),
    ef("EF_ID_Carta", ID_CARD, 16, AccessConditions::READ_ONLY),
    df("DF1", DF1, ISSUER_DF),
    ef("EF_C_Carta", AUTHENTICATION_CERTIFICATE, 2048, ISSUER_EF),
    ef("EF_Dati_personali", PERSONAL_DATA, 400, AccessConditions::READ_ONLY),
    df("DF2", DF2, SERVICE_DF),
    ef("EF_Dati_personali_aggiuntivi", ADDITIONAL_PERSONAL_DATA, 64, ISSUER_EF),
    ef("EF_Memoria_residua", FREE_MEMORY, 2, ISSUER_EF),
    ef("EF_Servizi_installati", INSTALLED_SERVICES, 160, ISSUER_EF),
    ef("EF_INST_FILE", SERVICE_INSTALLATION, 64, ISSUER_EF),
    df("DF_DS", SIGNATURE_DF, EMPTY_SIGNATURE_DF),
];

const fn df(name: &'static str, path: FilePath, access: AccessConditions) -> FileEntry {
    FileEntry { name, path, kind: FileKind::Dedicated, size: 0x0800, access }
}

const fn ef(name: &'static str, path: FilePath, size: u16, access: AccessConditions) -> FileEntry {
    FileEntry { name, path, kind: FileKind::Transparent, size, access }
}
