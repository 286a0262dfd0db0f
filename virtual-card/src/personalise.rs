//! The issuer's bureau: makes the chip's contents for a holder, asks for the certificate and loads it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cns_apdu::access::{AccessConditions, Condition, ObjectConditions};
use cns_apdu::file_map::{
    AUTHENTICATION_CERTIFICATE, CARD_STATUS, CLASSIC_TREE, FREE_MEMORY, FileEntry, FileKind, FilePath, GDO,
    ID_CARD, MASTER_FILE, PERSONAL_DATA, PUBLIC_KEY, SIGNATURE_DF,
};
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_apdu::personal_data::{FILE_LENGTH, PersonalData};
use cns_apdu::public_key::PublicKey;
use cns_secret::{Secret, SecretError};
use rsa::RsaPrivateKey;
use rsa::traits::PublicKeyParts;
use sha1::{Digest, Sha1};

use crate::card::VirtualCard;
use crate::envelopes::EnvelopeError;
use crate::filesystem::{Directory, File, FileBody, FileSystem, Record, RecordKind, Records, Transparent};
use crate::generation::Generation;
use crate::holder::{Holder, HolderError, card_date};
use crate::keys::{self, KeyError};
use crate::objects::{ObjectReference, SecurityEnvironment, SecurityObject};
use crate::request::{self, RequestError};
use crate::state::{Behaviour, CardState, StateError};

/// PINs and PUKs are stored at this length, filled with FF.
const REFERENCE_DATA: usize = 8;
const PIN_TRIES: u8 = 3;
const PUK_DIGITS: u8 = 8;
const MINIMUM_PIN: u8 = 5;
/// The security environment that every client restores.
const ENVIRONMENT: u8 = 0x03;

/// Why a card was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The holder's data cannot be on a card.
    #[error(transparent)]
    Holder(#[from] HolderError),
    /// PINs have 5 to 8 digits, PUKs 8.
    #[error("{0} is not of the form that the chip takes")]
    ReferenceData(&'static str),
    /// The key was not made, or is not of the generation's length.
    #[error("the authentication key: {0}")]
    Key(#[from] KeyError),
    /// A file does not hold what must go into it.
    #[error("{0} has no place for its content")]
    Content(&'static str),
    /// The certificate request was not made.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The card's directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] EnvelopeError),
    /// No locked memory.
    #[error(transparent)]
    Memory(#[from] SecretError),
}

/// The signature directory 1400 as the card leaves the issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureArea {
    /// Present, empty, administered by the holder's PIN.
    #[default]
    Empty,
    /// Not there.
    Absent,
}

/// All that the bureau needs to make a card.
pub struct Personalisation {
    /// Whose card it is.
    pub holder: Holder,
    /// Which chip.
    pub generation: Generation,
    /// How the chip behaves where real ones differ.
    pub behaviour: Behaviour,
    /// The first PIN, as ASCII digits.
    pub pin: Secret,
    /// The PUK, as ASCII digits.
    pub puk: Secret,
    /// The authentication key; a new one is generated if absent.
    pub key: Option<RsaPrivateKey>,
    /// Whether there is a place for a signature keyset.
    pub signature_area: SignatureArea,
    /// The issuer's key for EXTERNAL AUTHENTICATE (retail MAC, 16 or 24 bytes); without it nothing that it
    /// guards can be changed.
    pub issuer_key: Option<Secret>,
}

impl Personalisation {
    /// A card with the defaults for everything that is not given.
    #[must_use]
    pub fn new(holder: Holder, pin: Secret, puk: Secret) -> Self {
        Self {
            holder,
            generation: Generation::default(),
            behaviour: Behaviour::default(),
            pin,
            puk,
            key: None,
            signature_area: SignatureArea::default(),
            issuer_key: None,
        }
    }
}

/// The chip's contents for one holder.
pub(crate) fn personalise(order: Personalisation) -> Result<CardState, CreateError> {
    order.holder.check()?;
    let key = match order.key {
        Some(key) if key.size() * 8 == order.generation.key_bits() => key,
        Some(_) => return Err(KeyError::Unusable.into()),
        None => keys::generate(order.generation.key_bits(), 24)?,
    };
    let mut files = tree(order.signature_area, order.issuer_key.is_some());
    write_contents(&mut files, &order.holder, &key)?;
    let master = files.directory_mut(&MASTER_FILE).ok_or(CreateError::Content("MF"))?;
    master.objects = objects(&order.pin, &order.puk, &key)?;
    if let Some(issuer_key) = order.issuer_key {
        master.objects.push(issuer_object(issuer_key));
    }
    master.environments.push(SecurityEnvironment {
        identifier: ENVIRONMENT,
        access: [0x00, 0xFF],
        components: [0x00, 0x01, 0x00, 0x01, 0x10, 0x00],
    });
    Ok(CardState::new(order.generation, order.behaviour, files))
}

/// The classic tree, every file zero-filled.
fn tree(signature_area: SignatureArea, issuer_key: bool) -> FileSystem {
    let mut files = FileSystem::new(AccessConditions::NEVER);
    for entry in &CLASSIC_TREE {
        let access = if issuer_key { entry.access } else { without_issuer(entry.access) };
        if signature_area == SignatureArea::Absent && entry.path == SIGNATURE_DF {
            continue;
        }
        match (entry.path.parent(), entry.path.files().last()) {
            (Some(parent), Some(identifier)) => {
                let file = File {
                    identifier: *identifier,
                    access: access.0,
                    secure_messaging: [0xFF; 24],
                    activated: true,
                    body: empty_body(entry),
                };
                if let Some(directory) = files.directory_mut(&parent) {
                    directory.files.push(file);
                }
            }
            (_, _) => {
                if let Some(master) = files.file_mut(&MASTER_FILE) {
                    master.access = access.0;
                }
            }
        }
    }
    files
}

/// Without the issuer's key, what it would open stays shut.
fn without_issuer(access: AccessConditions) -> AccessConditions {
    let issuer = ObjectId::ISSUER_KEY.value();
    AccessConditions(access.0.map(|condition| if condition == issuer { 0xFF } else { condition }))
}

fn empty_body(entry: &FileEntry) -> FileBody {
    let descriptor = |low| [entry.kind.value(), low, low];
    let records = |kind| {
        FileBody::Records(Records {
            descriptor: descriptor(0xFF),
            kind,
            allocated: entry.size,
            records: Vec::new(),
        })
    };
    match entry.kind {
        FileKind::Dedicated => {
            FileBody::Directory(Directory { reserved: entry.size, ..Directory::default() })
        }
        FileKind::Transparent => FileBody::Transparent(Transparent {
            descriptor: descriptor(0x00),
            content: vec![0; usize::from(entry.size)],
        }),
        FileKind::LinearTlv => records(RecordKind::LinearTlv),
        FileKind::LinearFixed => records(RecordKind::LinearFixed),
        FileKind::Cyclic => records(RecordKind::Cyclic),
    }
}

fn write_contents(files: &mut FileSystem, holder: &Holder, key: &RsaPrivateKey) -> Result<(), CreateError> {
    let serial = holder.serial_number()?;
    write(files, &ID_CARD, "EF_ID_Carta", serial.as_bytes())?;
    write(files, &GDO, "EF_GDO", &serial.gdo())?;
    write(files, &PERSONAL_DATA, "EF_Dati_personali", &personal_data(holder)?)?;
    write(files, &CARD_STATUS, "EF_CardStatus", &[0x01])?;
    let free = u16::try_from(files.memory_left()).unwrap_or(u16::MAX);
    write(files, &FREE_MEMORY, "EF_Memoria_residua", &free.to_be_bytes())?;
    let records = public_key_records(key)?;
    match files.file_mut(&PUBLIC_KEY).map(|file| &mut file.body) {
        Some(FileBody::Records(file)) => file.records = records,
        Some(FileBody::Transparent(_) | FileBody::Directory(_)) | None => {
            return Err(CreateError::Content("EF_Kpub"));
        }
    }
    Ok(())
}

/// Writes `bytes` at the start of a transparent file, and zeros after them.
fn write(
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

/// EF_Kpub: modulus and exponent as records of simple TLV.
fn public_key_records(key: &RsaPrivateKey) -> Result<Vec<Record>, CreateError> {
    let public = PublicKey::new(&key.n().to_bytes_be(), &key.e().to_bytes_be());
    let records = public.and_then(|public| public.encode_records());
    Ok(records.map_err(|_| CreateError::Content("EF_Kpub"))?.map(Record).into())
}

fn objects(pin: &Secret, puk: &Secret, key: &RsaPrivateKey) -> Result<Vec<SecurityObject>, CreateError> {
    let pin_condition = Condition::Verified(ObjectId::CNS_PIN);
    let puk_condition = Condition::Verified(ObjectId::CNS_PUK);
    let (modulus, exponent) = keys::private_bodies(key)?;
    let of_key = ObjectConditions::new(pin_condition, Condition::Never, Condition::Never, Condition::Never);
    Ok(vec![
        object(
            ObjectAddress::new(ObjectClass::Test, ObjectId::CNS_PIN),
            ObjectAttributes::pin(PIN_TRIES, MINIMUM_PIN),
            ObjectConditions::new(Condition::Always, pin_condition, puk_condition, Condition::Never),
            filled(pin, 5..=8).ok_or(CreateError::ReferenceData("the PIN"))?,
        ),
        object(
            ObjectAddress::new(ObjectClass::Test, ObjectId::CNS_PUK),
            ObjectAttributes::pin(PIN_TRIES, PUK_DIGITS),
            ObjectConditions::new(Condition::Always, puk_condition, Condition::Never, Condition::Never),
            filled(puk, 8..=8).ok_or(CreateError::ReferenceData("the PUK"))?,
        ),
        object(
            ObjectAddress::new(ObjectClass::Key, ObjectId::CNS_KEY),
            ObjectAttributes::modulus(Algorithm::RsaRaw),
            of_key,
            modulus,
        ),
        object(
            ObjectAddress::new(ObjectClass::KeyExponent, ObjectId::CNS_KEY),
            ObjectAttributes::exponent(Algorithm::RsaRaw),
            of_key,
            exponent,
        ),
    ])
}

fn issuer_object(key: Secret) -> SecurityObject {
    let attributes = ObjectAttributes {
        algorithm: Algorithm::RetailMac,
        minimum_length: 8,
        ..ObjectAttributes::exponent(Algorithm::RetailMac)
    };
    let access =
        ObjectConditions::new(Condition::Always, Condition::Never, Condition::Never, Condition::Never);
    object(ObjectAddress::new(ObjectClass::Test, ObjectId::ISSUER_KEY), attributes, access, key)
}

fn object(
    address: ObjectAddress,
    attributes: ObjectAttributes,
    access: ObjectConditions,
    body: Secret,
) -> SecurityObject {
    let mut object = SecurityObject {
        address,
        attributes: attributes.to_bytes(),
        access: access.0,
        secure_messaging: [0xFF; 16],
        tries_left: 0,
        body,
    };
    object.tries_left = object.initial_tries();
    object
}

/// Digits of an allowed count, filled to the stored length.
fn filled(digits: &Secret, allowed: std::ops::RangeInclusive<usize>) -> Option<Secret> {
    let numeric = digits.expose().iter().all(u8::is_ascii_digit);
    if !numeric || !allowed.contains(&digits.len()) {
        return None;
    }
    let mut value = Secret::zeroed(REFERENCE_DATA).ok()?;
    value.expose_mut().fill(0xFF);
    value.expose_mut().get_mut(..digits.len())?.copy_from_slice(digits.expose());
    Some(value)
}

/// The common name of the authentication certificate of a card with these files.
pub(crate) fn common_name(personal_data: &[u8], id_card: &[u8]) -> String {
    let codice_fiscale = PersonalData::decode(personal_data).map(|data| data.fiscal_code).unwrap_or_default();
    let serial = String::from_utf8_lossy(id_card);
    format!("{codice_fiscale}/{serial}.{}", STANDARD.encode(Sha1::digest(personal_data)))
}

impl VirtualCard {
    /// The common name of the authentication certificate: tax code, serial number, and a hash that ties both
    /// to EF_Dati_personali.
    #[must_use]
    pub fn common_name(&self) -> String {
        common_name(self.transparent(&PERSONAL_DATA), self.transparent(&ID_CARD))
    }

    /// The PKCS#10 request for the authentication certificate, in DER.
    ///
    /// # Errors
    /// A value does not fit the request, or the key is damaged.
    pub fn certificate_request(&self, administration: &str) -> Result<Vec<u8>, CreateError> {
        let body = |class| {
            let address = ObjectAddress::new(class, ObjectId::CNS_KEY);
            let reference = ObjectReference { directory: MASTER_FILE, address };
            self.files().object(&reference).map(|object| &object.body).ok_or(KeyError::Unusable)
        };
        let key = keys::private_key(body(ObjectClass::Key)?, body(ObjectClass::KeyExponent)?)?;
        let subject = request::subject(administration, &self.common_name())?;
        Ok(request::certificate_request(subject, &key)?)
    }

    /// Writes the authentication certificate (DER) to EF_C_Carta, as the bureau does before the card is
    /// handed out.
    ///
    /// # Errors
    /// It does not fit, or the card's directory cannot be written.
    pub fn load_certificate(&mut self, der: &[u8]) -> Result<(), CreateError> {
        write(&mut self.state.files, &AUTHENTICATION_CERTIFICATE, "EF_C_Carta", der)?;
        Ok(self.store()?)
    }

    /// The content of a transparent file, without asking for any right; empty if there is none.
    pub(crate) fn transparent(&self, path: &FilePath) -> &[u8] {
        match self.files().file(path).map(|file| &file.body) {
            Some(FileBody::Transparent(file)) => &file.content,
            Some(FileBody::Records(_) | FileBody::Directory(_)) | None => &[],
        }
    }
}
