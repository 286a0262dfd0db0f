//! The signature area that is created on an issued card, as data (`cns-card` §8.2, §8.3).
//!
//! The order of the steps, and what is true when one of them is the last, is the daemon's; here is what each step
//! writes. OpenSC finds this layout as "CNS1".

use cns_secret::{Secret, SecretError};

use crate::access::{AccessConditions, Condition, ObjectConditions};
use crate::command::{
    CreateFile, DeleteFile, FileSettings, GenerateKeyPair, ObjectSettings, PerformSecurityOperation, PutData,
    ReferenceData, SelectBy, SelectFile,
};
use crate::fci::FileDescriptor;
use crate::file_map::{
    Fid, FilePath, SIGNATURE_CERTIFICATE, SIGNATURE_DF, SIGNATURE_KEY_DF, SIGNATURE_PUBLIC_KEY,
};
use crate::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId, rsa_component};

/// The room for the certificate.
pub const CERTIFICATE_SIZE: u16 = 0x0800;
/// The public key, in the DF of the key.
pub const PUBLIC_KEY_FILE: Fid = Fid(0x8010);

const FF: u8 = 0xFF;
/// The holder's PIN creates and deletes; objects can be changed until [`lock_key_df`].
pub const KEY_DF_ACCESS: AccessConditions = AccessConditions([FF, 0x10, 0x10, FF, FF, 0x10, 0x10, 0x10, FF]);
/// All may read, GENERATE KEY PAIR writes with the signature PIN.
pub const PUBLIC_KEY_ACCESS: AccessConditions =
    AccessConditions([0x00, FF, 0x1A, FF, FF, 0x10, 0x10, FF, FF]);
/// All may read, the holder's PIN renews.
pub const CERTIFICATE_ACCESS: AccessConditions =
    AccessConditions([0x00, 0x10, FF, FF, FF, 0x10, 0x10, FF, FF]);
/// Locked: nothing can be changed or created; the signature PIN may delete it.
pub const LOCKED_KEY_DF_ACCESS: AccessConditions = AccessConditions([FF, FF, FF, FF, FF, 0x1A, FF, FF, FF]);
/// As issued: the holder's PIN may add and change everything.
pub const OPEN_SIGNATURE_DF_ACCESS: AccessConditions =
    AccessConditions([FF, 0x10, 0x10, FF, FF, FF, 0x10, 0x10, FF]);
/// Locked: objects can no longer be changed; the signature PIN administers, the holder's PIN may create files.
pub const LOCKED_SIGNATURE_DF_ACCESS: AccessConditions =
    AccessConditions([FF, FF, FF, FF, FF, FF, 0x1A, 0x10, FF]);

const PIN_CONDITION: Condition = Condition::Verified(ObjectId::SIGNATURE_PIN);
const PUK_CONDITION: Condition = Condition::Verified(ObjectId::SIGNATURE_PUK);
/// Anyone may try it, it changes itself, its PUK unblocks it.
pub const PIN_CONDITIONS: ObjectConditions =
    ObjectConditions::new(Condition::Always, PIN_CONDITION, PUK_CONDITION, Condition::Never);
/// Anyone may try it, it changes itself, nothing unblocks it.
pub const PUK_CONDITIONS: ObjectConditions =
    ObjectConditions::new(Condition::Always, PUK_CONDITION, Condition::Never, Condition::Never);
/// The signature PIN uses it and generates it; nobody changes it.
pub const KEY_CONDITIONS: ObjectConditions =
    ObjectConditions::new(PIN_CONDITION, Condition::Never, Condition::Never, PIN_CONDITION);
/// Three tries, five characters at least.
pub const PIN_ATTRIBUTES: ObjectAttributes = ObjectAttributes::pin(3, 5);
/// Three tries, eight characters.
pub const PUK_ATTRIBUTES: ObjectAttributes = ObjectAttributes::pin(3, 8);
/// The chip pads.
pub const MODULUS_ATTRIBUTES: ObjectAttributes = ObjectAttributes::modulus(Algorithm::RsaSignature);
/// The chip pads.
pub const EXPONENT_ATTRIBUTES: ObjectAttributes = ObjectAttributes::exponent(Algorithm::RsaSignature);

/// Size of the key: chips of CNS version 1.0 have 1024 bits, later ones 2048.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySize {
    /// 1024 bits.
    Rsa1024,
    /// 2048 bits.
    Rsa2048,
}

impl KeySize {
    /// The modulus in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Rsa1024 => 128,
            Self::Rsa2048 => 256,
        }
    }
}

/// One of the two places for a key and its certificate. The first is that of `cns-card` §8.2, which other programs know; a
/// renewed key goes into the one that is not in use, so that the old key serves until the new certificate is loaded
/// (ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `1400/8110` and `1400/9010`.
    First,
    /// `1400/8111` and `1400/9011`.
    Second,
}

impl Slot {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one that is not this.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The DF of the key, in the signature DF.
    #[must_use]
    pub const fn key_df(self) -> Fid {
        match self {
            Self::First => Fid(0x8110),
            Self::Second => Fid(0x8111),
        }
    }

    /// The certificate, in the signature DF.
    #[must_use]
    pub const fn certificate_file(self) -> Fid {
        match self {
            Self::First => Fid(0x9010),
            Self::Second => Fid(0x9011),
        }
    }

    /// The DF of the key, from the MF.
    #[must_use]
    pub const fn key_df_path(self) -> FilePath {
        match self {
            Self::First => SIGNATURE_KEY_DF,
            Self::Second => FilePath::fixed(&[Fid(0x1400), Fid(0x8111)]),
        }
    }

    /// The certificate, from the MF.
    #[must_use]
    pub const fn certificate_path(self) -> FilePath {
        match self {
            Self::First => SIGNATURE_CERTIFICATE,
            Self::Second => FilePath::fixed(&[Fid(0x1400), Fid(0x9011)]),
        }
    }

    /// The public key, from the MF.
    #[must_use]
    pub const fn public_key_path(self) -> FilePath {
        match self {
            Self::First => SIGNATURE_PUBLIC_KEY,
            Self::Second => FilePath::fixed(&[Fid(0x1400), Fid(0x8111), PUBLIC_KEY_FILE]),
        }
    }
}

/// Steps 3, 15 and 18: selects the signature DF.
#[must_use]
pub fn select_signature_df() -> SelectFile {
    SelectFile::path(SIGNATURE_DF)
}

/// Steps 10, 14 and 17: selects the DF of the key.
#[must_use]
pub fn select_key_df(slot: Slot) -> SelectFile {
    SelectFile::path(slot.key_df_path())
}

/// Step 13: selects the public key, the DF of the key being current.
#[must_use]
pub fn select_public_key() -> SelectFile {
    SelectFile { mode: SelectBy::File(PUBLIC_KEY_FILE), ..SelectFile::master_file() }
}

/// Selects the certificate.
#[must_use]
pub fn select_certificate(slot: Slot) -> SelectFile {
    SelectFile::path(slot.certificate_path())
}

/// Step 4: creates the PUK, the signature DF being current.
///
/// # Errors
/// When there is no locked memory.
pub fn create_puk(value: &ReferenceData) -> Result<PutData, SecretError> {
    let object = reference(ObjectId::SIGNATURE_PUK, value)?;
    Ok(PutData::Oci(ObjectSettings {
        attributes: Some(PUK_ATTRIBUTES),
        conditions: Some(PUK_CONDITIONS),
        ..object
    }))
}

/// Step 5: creates the PIN, the signature DF being current.
///
/// # Errors
/// When there is no locked memory.
pub fn create_pin(value: &ReferenceData) -> Result<PutData, SecretError> {
    let object = reference(ObjectId::SIGNATURE_PIN, value)?;
    Ok(PutData::Oci(ObjectSettings {
        attributes: Some(PIN_ATTRIBUTES),
        conditions: Some(PIN_CONDITIONS),
        ..object
    }))
}

/// Gives a PUK that an interrupted run has left behind another value; refused once the DF is locked.
///
/// # Errors
/// When there is no locked memory.
pub fn replace_puk(value: &ReferenceData) -> Result<PutData, SecretError> {
    reference(ObjectId::SIGNATURE_PUK, value).map(PutData::Oci)
}

/// Gives a PIN that an interrupted run has left behind another value; refused once the DF is locked. Step 19
/// checks that refusal.
///
/// # Errors
/// When there is no locked memory.
pub fn replace_pin(value: &ReferenceData) -> Result<PutData, SecretError> {
    reference(ObjectId::SIGNATURE_PIN, value).map(PutData::Oci)
}

fn reference(id: ObjectId, value: &ReferenceData) -> Result<ObjectSettings, SecretError> {
    Ok(ObjectSettings {
        address: ObjectAddress::new(ObjectClass::Test, id),
        attributes: None,
        conditions: None,
        secure_messaging: None,
        body: Some(value.as_secret().duplicate()?),
    })
}

/// Step 6: creates the DF of the key, which becomes the current one.
#[must_use]
pub const fn create_key_df(slot: Slot) -> CreateFile {
    CreateFile::new(slot.key_df(), FileDescriptor::DEDICATED, 0x0800, KEY_DF_ACCESS)
}

/// Step 7: creates the modulus with a placeholder, which tells the chip the size of the key.
///
/// # Errors
/// When there is no locked memory.
pub fn create_modulus(size: KeySize) -> Result<PutData, SecretError> {
    key_component(ObjectClass::Key, MODULUS_ATTRIBUTES, size)
}

/// Step 8: creates the private exponent with a placeholder.
///
/// # Errors
/// When there is no locked memory.
pub fn create_exponent(size: KeySize) -> Result<PutData, SecretError> {
    key_component(ObjectClass::KeyExponent, EXPONENT_ATTRIBUTES, size)
}

fn key_component(
    class: ObjectClass,
    attributes: ObjectAttributes,
    size: KeySize,
) -> Result<PutData, SecretError> {
    let placeholder: Secret = rsa_component(&vec![FF; size.bytes()])?;
    Ok(PutData::Oci(ObjectSettings {
        address: ObjectAddress::new(class, ObjectId::SIGNATURE_KEY),
        attributes: Some(attributes),
        conditions: Some(KEY_CONDITIONS),
        // Left out for 1024 bits, so that the command stays within 255 bytes of data.
        secure_messaging: (size == KeySize::Rsa2048).then_some([FF; 16]),
        body: Some(placeholder),
    }))
}

/// Step 9: creates the file that receives the public key.
#[must_use]
pub const fn create_public_key_file(size: KeySize) -> CreateFile {
    let (descriptor, room) = match size {
        KeySize::Rsa1024 => (FileDescriptor::LINEAR_TLV, 0x00A0),
        KeySize::Rsa2048 => (FileDescriptor::TRANSPARENT, 0x0120),
    };
    CreateFile::new(PUBLIC_KEY_FILE, descriptor, room, PUBLIC_KEY_ACCESS)
}

/// Step 12: generates the key, its DF being current and the signature PIN verified. Allow a minute.
#[must_use]
pub const fn generate_key_pair() -> GenerateKeyPair {
    GenerateKeyPair { key: ObjectId::SIGNATURE_KEY, public_key_file: PUBLIC_KEY_FILE, exponent_bits: 24 }
}

/// Step 14: signs a DigestInfo, the environment being set.
#[must_use]
pub const fn sign(digest_info: Vec<u8>) -> PerformSecurityOperation {
    PerformSecurityOperation::ComputeDigitalSignature { input: digest_info }
}

/// Step 15: creates the file of the certificate, the signature DF being current.
#[must_use]
pub const fn create_certificate_file(slot: Slot) -> CreateFile {
    let file = slot.certificate_file();
    CreateFile::new(file, FileDescriptor::TRANSPARENT, CERTIFICATE_SIZE, CERTIFICATE_ACCESS)
}

/// Step 17: locks the DF of the key, which is current. Until then whoever knows the holder's PIN could replace
/// the signature PIN and sign.
#[must_use]
pub const fn lock_key_df() -> PutData {
    lock(LOCKED_KEY_DF_ACCESS)
}

/// Step 18: locks the signature DF, which is current.
#[must_use]
pub const fn lock_signature_df() -> PutData {
    lock(LOCKED_SIGNATURE_DF_ACCESS)
}

/// Opens the signature DF, which is current, again: the access conditions of a card as issued (`cns-card` §3.3). Wants
/// the signature PIN, which administers a locked one.
#[must_use]
pub const fn reopen_signature_df() -> PutData {
    lock(OPEN_SIGNATURE_DF_ACCESS)
}

const fn lock(access: AccessConditions) -> PutData {
    PutData::Fci(FileSettings { name: None, access: Some(access), secure_messaging: None })
}

/// Rolls back before step 17: deletes the DF of the key, the signature DF being current.
#[must_use]
pub const fn delete_key_df(slot: Slot) -> DeleteFile {
    DeleteFile { file: Some(slot.key_df()) }
}

/// Rolls back before step 17: deletes the certificate, the signature DF being current.
#[must_use]
pub const fn delete_certificate_file(slot: Slot) -> DeleteFile {
    DeleteFile { file: Some(slot.certificate_file()) }
}
