//! The keys of a chip where its generation has them, with the PINs that they ask for.

use cns_apdu::access::{AccessConditions, Condition, ObjectConditions};
use cns_apdu::command::CreateFile;
use cns_apdu::file_map::{
    FileKind, FilePath, PRIVATE_OBJECT_DIRECTORY, PRIVATE_OBJECTS_DF, PUBLIC_OBJECT_DIRECTORY,
    PUBLIC_OBJECTS_DF, SIGNATURE_DF, SIGNATURE_KEY_DF,
};
use cns_apdu::object::{ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_apdu::object_directory::{DirectoryEntry, KeyAttributes, KeyHalf, ObjectDirectory};
use cns_apdu::signature_area::{self as area, KeySize};
use cns_secret::Secret;
use rsa::RsaPrivateKey;
use rsa::traits::PublicKeyParts;
use sha1::{Digest, Sha1};

use super::tree::{public_half, public_key_records, replace};
use super::{CreateError, object};
use crate::filesystem::{
    Directory, File, FileBody, FileSystem, Place, Presentation, RecordKind, Records, Transparent,
};
use crate::generation::{Chip, KeyPin, KeyPlace, STORED_PRIVATE, STORED_PUBLIC, StoredKey};
use crate::keys;
use crate::objects::SecurityObject;

/// A PIN and its PUK, as the chip stores them.
pub(super) struct Pair {
    pub(super) pin: Secret,
    pub(super) puk: Secret,
}

/// Puts a key into its DF, and into the object directories where there are some.
pub(super) fn place(
    files: &mut FileSystem,
    chip: &Chip,
    place: &KeyPlace,
    key: &RsaPrivateKey,
    label: &str,
) -> Result<(), CreateError> {
    let conditions = match place.pin {
        KeyPin::Holders => with_pin(Condition::Verified(ObjectId::CNS_PIN)),
        KeyPin::Own => area::KEY_CONDITIONS,
        KeyPin::Unreachable => with_pin(Condition::Never),
    };
    let (modulus, exponent) = keys::private_bodies(key)?;
    let components = [
        (ObjectClass::Key, ObjectAttributes::modulus(place.algorithm), modulus),
        (ObjectClass::KeyExponent, ObjectAttributes::exponent(place.algorithm), exponent),
    ];
    let directory =
        files.directory_mut(&chip.key_df(place)).ok_or(CreateError::Content("the key's directory"))?;
    for (class, attributes, body) in components {
        let address = ObjectAddress::new(class, place.key);
        directory.objects.push(object(address, attributes, conditions, body));
    }
    match &place.stored {
        Some(stored) => list_key(files, *stored, key, label),
        None => Ok(()),
    }
}

const fn with_pin(condition: Condition) -> ObjectConditions {
    ObjectConditions::new(condition, Condition::Never, Condition::Never, Condition::Never)
}

/// What both halves of a key, and its certificate, are known by: label and identifier are of 39 characters each, as
/// on the card that was logged.
pub(super) struct Identity {
    pub(super) label: Vec<u8>,
    pub(super) id: Vec<u8>,
}

impl Identity {
    /// Drawn from the modulus, in the form of a UUID behind three letters.
    pub(super) fn new(prefix: &str, modulus: &[u8]) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7, rest @ ..]: [u8; 20] = Sha1::digest(modulus).into();
        let [c0, c1, c2, c3, c4, c5, c6, c7, ..] = rest;
        let hex = |bytes: &[u8]| hex::encode(bytes);
        let groups = [
            hex(&[b0, b1, b2, b3]),
            hex(&[b4, b5]),
            hex(&[b6, b7]),
            hex(&[c0, c1]),
            hex(&[c2, c3, c4, c5, c6, c7]),
        ];
        let uuid = groups.join("-");
        Self { label: format!("{prefix:-<3}{uuid}").into_bytes(), id: format!("id-{uuid}").into_bytes() }
    }
}

fn list_key(
    files: &mut FileSystem,
    stored: StoredKey,
    key: &RsaPrivateKey,
    label: &str,
) -> Result<(), CreateError> {
    let public = public_half(key)?;
    let bits = u16::try_from(key.size() * 8).map_err(|_| CreateError::Content("the object directory"))?;
    let identity = Identity::new(label, public.modulus());
    let halves = [
        (KeyHalf::Public, stored.public, PUBLIC_OBJECT_DIRECTORY, PUBLIC_OBJECTS_DF, STORED_PUBLIC),
        (KeyHalf::Private, stored.private, PRIVATE_OBJECT_DIRECTORY, PRIVATE_OBJECTS_DF, STORED_PRIVATE),
    ];
    for (half, file, directory, df, access) in halves {
        let attributes = KeyAttributes {
            flags: half.flags(),
            label: identity.label.clone(),
            id: identity.id.clone(),
            modulus: public.modulus().to_vec(),
            exponent: public.exponent().to_vec(),
        };
        let entry = DirectoryEntry { file, size: bits };
        list(files, &directory, entry)?;
        let attributes = attributes.encode(half).map_err(|_| CreateError::Content("the key's attributes"))?;
        replace(files, &df.child(entry.attributes()), access, None, attributes)?;
    }
    Ok(())
}

/// Lists an object in a directory.
pub(super) fn list(
    files: &mut FileSystem,
    directory: &FilePath,
    entry: DirectoryEntry,
) -> Result<(), CreateError> {
    let Some(FileBody::Transparent(file)) = files.file_mut(directory).map(|file| &mut file.body) else {
        return Err(CreateError::Content("the object directory"));
    };
    let mut objects = ObjectDirectory::decode(&file.content);
    objects.put(entry).map_err(|_| CreateError::Content("the object directory"))?;
    let room = file.content.iter_mut();
    room.zip(objects.encode()).for_each(|(place, byte)| *place = byte);
    Ok(())
}

/// The signature area as the daemon leaves it: its PIN and PUK, the DF of the key, the file of the certificate, all
/// locked. The key itself is for [`place`].
pub(super) fn open_signature_area(
    files: &mut FileSystem,
    chip: &Chip,
    key: &RsaPrivateKey,
    pair: Pair,
) -> Result<(), CreateError> {
    let size = match chip.key_bits {
        1024 => KeySize::Rsa1024,
        _ => KeySize::Rsa2048,
    };
    let test = |id| ObjectAddress::new(ObjectClass::Test, id);
    let objects = vec![
        object(test(ObjectId::SIGNATURE_PUK), area::PUK_ATTRIBUTES, area::PUK_CONDITIONS, pair.puk),
        object(test(ObjectId::SIGNATURE_PIN), area::PIN_ATTRIBUTES, area::PIN_CONDITIONS, pair.pin),
    ];
    let root = chip.root(0);
    let (signature_df, key_df) = (root.join(&SIGNATURE_DF), root.join(&SIGNATURE_KEY_DF));
    add(files, &signature_df, &area::create_key_df(area::Slot::First), objects)?;
    add(files, &signature_df, &area::create_certificate_file(area::Slot::First), Vec::new())?;
    add(files, &key_df, &area::create_public_key_file(size), Vec::new())?;
    write_public_key(files, &key_df, key)?;
    for (df, access) in
        [(signature_df, area::LOCKED_SIGNATURE_DF_ACCESS), (key_df, area::LOCKED_KEY_DF_ACCESS)]
    {
        files.file_mut(&df).ok_or(CreateError::Content("DF_DS"))?.access = access.0;
    }
    Ok(())
}

/// A file as CREATE FILE makes it, and objects for the directory that holds it.
fn add(
    files: &mut FileSystem,
    parent: &FilePath,
    file: &CreateFile,
    objects: Vec<SecurityObject>,
) -> Result<(), CreateError> {
    let descriptor = file.descriptor.0;
    let body = match file.descriptor.kind() {
        Some(FileKind::Dedicated) => {
            FileBody::Directory(Directory { reserved: file.size, ..Directory::default() })
        }
        Some(FileKind::LinearTlv) => FileBody::Records(Records {
            descriptor,
            kind: RecordKind::LinearTlv,
            allocated: file.size,
            records: Vec::new(),
        }),
        _ => FileBody::Transparent(Transparent { descriptor, content: vec![0; usize::from(file.size)] }),
    };
    let AccessConditions(access) = file.access;
    let file = File {
        identifier: file.file,
        access,
        secure_messaging: [0xFF; 24],
        activated: true,
        presentation: Presentation::default(),
        body,
    };
    let directory = files.directory_mut(parent).ok_or(CreateError::Content("DF_DS"))?;
    directory.objects.extend(objects);
    directory.files.push(file);
    Ok(())
}

fn write_public_key(
    files: &mut FileSystem,
    key_df: &FilePath,
    key: &RsaPrivateKey,
) -> Result<(), CreateError> {
    match files.file_mut(&key_df.child(area::PUBLIC_KEY_FILE)).map(|file| &mut file.body) {
        Some(FileBody::Transparent(file)) => {
            let template = public_half(key)?.encode();
            file.content.iter_mut().zip(template).for_each(|(place, byte)| *place = byte);
            Ok(())
        }
        Some(FileBody::Records(file)) => {
            file.records = public_key_records(key)?;
            Ok(())
        }
        Some(FileBody::Directory(_)) | None => Err(CreateError::Content("the public key")),
    }
}
