//! The files of a chip as the bureau makes them: the tree of its generation, with the holder's data in it.

use cns_apdu::access::AccessConditions;
use cns_apdu::file_map::{CLASSIC_TREE, FileKind, FilePath, MASTER_FILE, SIGNATURE_DF};
use cns_apdu::id_card::IdCard;
use cns_apdu::object::ObjectId;
use cns_apdu::object_directory::TokenInformation;
use cns_apdu::personal_data::{FILE_LENGTH, PersonalData};
use cns_apdu::public_key::PublicKey;
use rsa::RsaPrivateKey;
use rsa::traits::PublicKeyParts;

use super::{CreateError, SignatureArea};
use crate::filesystem::{
    Directory, File, FileBody, FileSystem, Place, Presentation, Record, RecordKind, Records, Transparent,
};
use crate::generation::{Application, Chip, Content, FileSpecification, classic};
use crate::holder::{Holder, HolderError, card_date};

/// `CK_TOKEN_INFO` of the card that was logged: random numbers, write protected, login required, initialised PIN
/// and token.
const TOKEN_FLAGS: u32 = 0x0000_040D;
/// The size of a DF that names none, and what the tree of a chip without a name for its room announces.
const WHOLE_CHIP: u16 = u16::MAX;

/// What goes into the tree.
pub(super) struct Order<'a> {
    pub(super) chip: &'a Chip,
    pub(super) holder: &'a Holder,
    pub(super) serial: IdCard,
    pub(super) signature_area: SignatureArea,
    /// Whether there is an issuer's key to open what it guards.
    pub(super) issuer_key: bool,
    /// The authentication key, of which the tree has the public half.
    pub(super) key: Option<&'a RsaPrivateKey>,
}

/// The whole tree, without security objects and certificates.
pub(super) fn build(order: &Order<'_>) -> Result<FileSystem, CreateError> {
    let mut files = FileSystem::new(AccessConditions::NEVER);
    for application in order.chip.applications {
        open(&mut files, application, order);
        for specification in specifications(application, order.signature_area) {
            add(&mut files, &application.root(), &specification, order)?;
        }
    }
    fill_free_memory(&mut files, order)?;
    Ok(files)
}

/// The MF of an application.
fn open(files: &mut FileSystem, application: &Application, order: &Order<'_>) {
    let access = application.access.or_else(|| {
        let [master, ..] = &CLASSIC_TREE;
        application.classic_tree.then_some(master.access)
    });
    let access = access.map_or(AccessConditions::NEVER, |access| guarded(access, order.issuer_key));
    let room = application.room.unwrap_or(WHOLE_CHIP);
    match application.inside {
        None => {
            if let Some(master) = files.file_mut(&MASTER_FILE) {
                master.access = access.0;
            }
            if let Some(directory) = files.directory_mut(&MASTER_FILE) {
                directory.name = application.aid.to_vec();
            }
        }
        Some(identifier) => {
            let directory = Directory {
                reserved: room,
                name: application.aid.to_vec(),
                application: true,
                ..Directory::default()
            };
            let file = File {
                identifier,
                access: access.0,
                secure_messaging: [0xFF; 24],
                activated: true,
                presentation: Presentation::default(),
                body: FileBody::Directory(directory),
            };
            if let Some(master) = files.directory_mut(&MASTER_FILE) {
                master.files.push(file);
            }
        }
    }
}

/// The files of an application, parents before children; its own in place of the classic tree's.
fn specifications(application: &Application, area: SignatureArea) -> Vec<FileSpecification> {
    let is_own = |path: &FilePath| application.files.iter().any(|file| file.path == *path);
    let is_wanted =
        |path: &FilePath| *path != MASTER_FILE && !is_own(path) && !application.without.contains(path);
    let is_absent = |file: &FileSpecification| area == SignatureArea::Absent && file.path == SIGNATURE_DF;
    let tree = &CLASSIC_TREE;
    let tree = tree.iter().filter(|entry| application.classic_tree && is_wanted(&entry.path));
    let files = tree.map(classic).chain(application.files.iter().cloned());
    files.filter(|file| !is_absent(file)).collect()
}

fn add(
    files: &mut FileSystem,
    root: &FilePath,
    specification: &FileSpecification,
    order: &Order<'_>,
) -> Result<(), CreateError> {
    let path = root.join(&specification.path);
    let (Some(parent), Some(identifier)) = (path.parent(), path.files().last()) else {
        return Err(CreateError::Content("MF"));
    };
    let file = File {
        identifier: *identifier,
        access: guarded(specification.access, order.issuer_key).0,
        secure_messaging: specification.secure_messaging,
        activated: true,
        presentation: Presentation {
            proprietary: specification.proprietary,
            short_identifier: specification.short_identifier,
        },
        body: body(specification, order)?,
    };
    let directory = files.directory_mut(&parent).ok_or(CreateError::Content("a directory"))?;
    directory.files.push(file);
    Ok(())
}

/// Without the issuer's key, what it would open stays shut.
fn guarded(access: AccessConditions, issuer_key: bool) -> AccessConditions {
    let issuer = ObjectId::ISSUER_KEY.value();
    let shut = |condition| if condition == issuer && !issuer_key { 0xFF } else { condition };
    AccessConditions(access.0.map(shut))
}

fn body(specification: &FileSpecification, order: &Order<'_>) -> Result<FileBody, CreateError> {
    let descriptor = |low| [specification.kind.value(), low, low];
    let records = |kind| -> Result<FileBody, CreateError> {
        let records = match (specification.content, order.key) {
            (Content::PublicKey, Some(key)) => public_key_records(key)?,
            (_, _) => Vec::new(),
        };
        let file = Records { descriptor: descriptor(0xFF), kind, allocated: specification.size, records };
        Ok(FileBody::Records(file))
    };
    match specification.kind {
        FileKind::Dedicated => {
            Ok(FileBody::Directory(Directory { reserved: specification.size, ..Directory::default() }))
        }
        FileKind::Transparent => {
            let mut bytes = content(specification.content, order)?;
            let size = usize::from(specification.size);
            if bytes.len() > size {
                return Err(CreateError::Content("a file"));
            }
            bytes.resize(size, 0);
            Ok(FileBody::Transparent(Transparent { descriptor: descriptor(0x00), content: bytes }))
        }
        FileKind::LinearTlv => records(RecordKind::LinearTlv),
        FileKind::LinearFixed => records(RecordKind::LinearFixed),
        FileKind::Cyclic => records(RecordKind::Cyclic),
    }
}

/// What a transparent file begins with.
fn content(content: Content, order: &Order<'_>) -> Result<Vec<u8>, CreateError> {
    let serial = &order.serial;
    Ok(match content {
        Content::Empty | Content::FreeMemory | Content::PublicKey => Vec::new(),
        Content::Bytes(bytes) => bytes.to_vec(),
        Content::IdCard => serial.as_bytes().to_vec(),
        Content::Gdo => serial.gdo().to_vec(),
        Content::IdCardInBcd => {
            let (pairs, _none) = serial.as_bytes().as_chunks::<2>();
            let bcd = pairs.iter().map(|[high, low]| (high & 0x0F) << 4 | (low & 0x0F));
            [0x5A, 0x08].into_iter().chain(bcd).collect()
        }
        Content::PersonalData => personal_data(order.holder)?.to_vec(),
        Content::TokenInformation(label) => {
            let token = TokenInformation { label: label.to_owned(), flags: TOKEN_FLAGS };
            token.encode().map_err(|_| CreateError::Content("the token information"))?.to_vec()
        }
    })
}

/// EF_Memoria_residua tells what is left when all the rest is there.
fn fill_free_memory(files: &mut FileSystem, order: &Order<'_>) -> Result<(), CreateError> {
    let free = u16::try_from(files.memory_left()).unwrap_or(u16::MAX);
    for application in order.chip.applications {
        for specification in specifications(application, order.signature_area) {
            if specification.content == Content::FreeMemory {
                let path = application.root().join(&specification.path);
                write(files, &path, "EF_Memoria_residua", &free.to_be_bytes())?;
            }
        }
    }
    Ok(())
}

/// Writes `bytes` at the start of a transparent file, and zeros after them.
pub(super) fn write(
    files: &mut FileSystem,
    path: &FilePath,
    name: &'static str,
    bytes: &[u8],
) -> Result<(), CreateError> {
    match files.file_mut(path).map(|file| &mut file.body) {
        Some(FileBody::Transparent(file)) if bytes.len() <= file.content.len() => {
            file.content.fill(0);
            file.content.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            Ok(())
        }
        Some(FileBody::Transparent(_) | FileBody::Records(_) | FileBody::Directory(_)) | None => {
            Err(CreateError::Content(name))
        }
    }
}

/// Makes a transparent file of exactly these bytes, in place of one that is there.
pub(super) fn replace(
    files: &mut FileSystem,
    path: &FilePath,
    access: AccessConditions,
    short_identifier: Option<u8>,
    bytes: Vec<u8>,
) -> Result<(), CreateError> {
    let (Some(parent), Some(identifier)) = (path.parent(), path.files().last().copied()) else {
        return Err(CreateError::Content("MF"));
    };
    files.remove(path);
    if u16::try_from(bytes.len()).is_err() || !files.has_room_for(bytes.len()) {
        return Err(CreateError::Content("the chip"));
    }
    let file = File {
        identifier,
        access: access.0,
        secure_messaging: [0xFF; 24],
        activated: true,
        presentation: Presentation { short_identifier, ..Presentation::default() },
        body: FileBody::Transparent(Transparent {
            descriptor: [FileKind::Transparent.value(), 0x00, 0x00],
            content: bytes,
        }),
    };
    files.directory_mut(&parent).ok_or(CreateError::Content("a directory"))?.files.push(file);
    Ok(())
}

/// The whole 400-byte file.
pub(crate) fn personal_data(holder: &Holder) -> Result<[u8; FILE_LENGTH], CreateError> {
    let date = |date: &str, name| card_date(date).ok_or(HolderError::Date(name));
    let data = PersonalData {
        issuer: holder.issuer.clone(),
        issued: date(&holder.issued, "issued")?,
        expires: date(&holder.expires, "expires")?,
        surname: holder.surname.clone(),
        name: holder.name.clone(),
        birth_date: date(&holder.birth_date, "birth_date")?,
        sex: holder.sex.clone(),
        fiscal_code: holder.codice_fiscale.clone(),
        birth_place: holder.birth_place.clone(),
        residence: holder.residence.clone(),
        ..PersonalData::default()
    };
    data.encode().map_err(|_| CreateError::Content("EF_Dati_personali"))
}

/// The public half of a key.
pub(super) fn public_half(key: &RsaPrivateKey) -> Result<PublicKey, CreateError> {
    PublicKey::new(&key.n().to_bytes_be(), &key.e().to_bytes_be())
        .map_err(|_| CreateError::Content("a public key"))
}

/// EF_Kpub: modulus and exponent as records of simple TLV.
pub(super) fn public_key_records(key: &RsaPrivateKey) -> Result<Vec<Record>, CreateError> {
    let records = public_half(key)?.encode_records();
    Ok(records.map_err(|_| CreateError::Content("EF_Kpub"))?.map(Record).into())
}
