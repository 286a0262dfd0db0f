//! The issuer's bureau: makes the chip's contents for a holder, asks for the certificate and loads it.

mod certificates;
mod keyset;
mod tree;

pub(crate) use self::certificates::common_name;
pub(crate) use self::tree::personal_data;

use std::ops::RangeInclusive;

use cns_apdu::access::{Condition, ObjectConditions};
use cns_apdu::file_map::{FilePath, MASTER_FILE, SIGNATURE_DF};
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_apdu::secure_messaging::{
    DF_CREATE, DF_OBJECTS, FILE_ADMIN, OBJECT_CHANGE, OBJECT_UNBLOCK, OBJECT_USE, OBJECT_USE_RESPONSE,
};
use cns_apdu::triple_des::is_key_length;
use cns_secret::{Secret, SecretError};
use rsa::RsaPrivateKey;
use rsa::traits::PublicKeyParts;

use crate::envelopes::{EnvelopeError, random_digits};
use crate::filesystem::{File, FileBody, FileSystem, Place};
use crate::generation::{Chip, Generation, KeyPin, KeyPlace};
use crate::holder::{Holder, HolderError};
use crate::keys::{self, KeyError};
use crate::objects::{SecurityEnvironment, SecurityObject};
use crate::request::RequestError;
use crate::state::{Behaviour, CardState, StateError};

/// PINs and PUKs are stored at this length, filled with FF.
const REFERENCE_DATA: usize = 8;
const PUK_DIGITS: u8 = 8;
const MINIMUM_PIN: u8 = 5;
const PIN_DIGITS: usize = 5;
const PIN_LENGTHS: RangeInclusive<usize> = 5..=8;
const PUK_LENGTHS: RangeInclusive<usize> = 8..=8;
/// The security environment that every client restores.
const ENVIRONMENT: u8 = 0x03;
/// What the labels of the keys and certificates in an object store begin with: three characters at most.
const AUTHENTICATION_LABEL: &str = "CNS";
const SIGNATURE_LABEL: &str = "DS";
const AUTHORITY_LABEL: &str = "CA";

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
    /// The generation has no such key, or needs the directory that is to be left out.
    #[error("{0} cannot be made {1}")]
    Generation(&'static str, &'static str),
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
    /// With a signature key that the bureau has made, ready for its certificate.
    Filled,
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
    /// Whether there is a place for a signature keyset, or the keyset itself.
    pub signature_area: SignatureArea,
    /// The signature key, where there is to be one; a new one is generated if absent.
    pub signature_key: Option<RsaPrivateKey>,
    /// The PIN of the signature key, as ASCII digits, where it has one of its own; five random digits if absent.
    /// Its PUK is the card's.
    pub signature_pin: Option<Secret>,
    /// The issuer's key for EXTERNAL AUTHENTICATE (retail MAC, 16 or 24 bytes); without it nothing that it
    /// guards can be changed.
    pub issuer_key: Option<Secret>,
    /// The issuer's keys for secure messaging. With them the signature directory demands it of whoever creates
    /// or changes something there, and the signature PIN and key, where there are some, of whoever uses them.
    pub secure_messaging: Option<SecureMessagingKeys>,
}

/// The issuer's pair of keys for secure messaging: 8, 16 or 24 bytes each, alike or not.
pub struct SecureMessagingKeys {
    /// Object 10/06: enciphers.
    pub encryption: Secret,
    /// Object 10/07: authenticates.
    pub signature: Secret,
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
            signature_key: None,
            signature_pin: None,
            issuer_key: None,
            secure_messaging: None,
        }
    }
}

/// Whether a card can be made from this order, as far as can be told without making it.
pub(crate) fn check(order: &Personalisation) -> Result<(), CreateError> {
    order.holder.check()?;
    check_area(order.generation.chip(), order.signature_area)?;
    require_digits(&order.pin, PIN_LENGTHS, "the PIN")?;
    require_digits(&order.puk, PUK_LENGTHS, "the PUK")?;
    match &order.signature_pin {
        Some(pin) => require_digits(pin, PIN_LENGTHS, "the signature PIN"),
        None => Ok(()),
    }
}

/// The chip's contents for one holder.
pub(crate) fn personalise(order: Personalisation) -> Result<CardState, CreateError> {
    check(&order)?;
    let chip = order.generation.chip();
    let filled = order.signature_area == SignatureArea::Filled;
    let key = match &chip.authentication {
        Some(place) => Some((place, key_for(chip, order.key)?)),
        None => None,
    };
    let mut files = tree::build(&tree::Order {
        chip,
        holder: &order.holder,
        serial: order.holder.serial_number()?,
        signature_area: order.signature_area,
        issuer_key: order.issuer_key.is_some(),
        key: key.as_ref().map(|(_, key)| key),
    })?;
    let master = files.directory_mut(&MASTER_FILE).ok_or(CreateError::Content("MF"))?;
    if let Some((place, key)) = &key {
        master.objects = references(chip, &order.pin, &order.puk)?;
        master.environments.push(SecurityEnvironment {
            identifier: ENVIRONMENT,
            access: [0x00, 0xFF],
            components: [0x00, 0x01, 0x00, 0x01, 0x10, 0x00],
        });
        if let Some(issuer_key) = order.issuer_key {
            master.objects.push(issuer_object(issuer_key));
        }
        keyset::place(&mut files, chip, place, key, AUTHENTICATION_LABEL)?;
    }
    if let (Some(place), true) = (&chip.signature, filled) {
        let key = key_for(chip, order.signature_key)?;
        fill(&mut files, chip, place, &key, order.signature_pin, &order.puk)?;
    }
    if let Some(keys) = order.secure_messaging {
        demand_secure_messaging(&mut files, &chip.root(0).join(&SIGNATURE_DF), keys)?;
    }
    Ok(CardState::new(order.generation, order.behaviour, files))
}

/// Whether the generation can be made with that signature area.
fn check_area(chip: &Chip, area: SignatureArea) -> Result<(), CreateError> {
    let stored = chip.keys().any(|key| key.stored.is_some());
    match area {
        SignatureArea::Filled if chip.signature.is_none() => {
            Err(CreateError::Generation(chip.name, "with a signature key"))
        }
        SignatureArea::Absent if stored => {
            Err(CreateError::Generation(chip.name, "without the directory that holds its keys"))
        }
        SignatureArea::Empty | SignatureArea::Absent | SignatureArea::Filled => Ok(()),
    }
}

/// The key that was ordered, if it is of the chip's length, or a new one.
fn key_for(chip: &Chip, ordered: Option<RsaPrivateKey>) -> Result<RsaPrivateKey, CreateError> {
    match ordered {
        Some(key) if key.size() * 8 == chip.key_bits => Ok(key),
        Some(_) => Err(KeyError::Unusable.into()),
        None => Ok(keys::generate(chip.key_bits, 24)?),
    }
}

/// The signature key, and what it asks for.
fn fill(
    files: &mut FileSystem,
    chip: &Chip,
    place: &KeyPlace,
    key: &RsaPrivateKey,
    pin: Option<Secret>,
    puk: &Secret,
) -> Result<(), CreateError> {
    if place.pin == KeyPin::Own {
        let pin = pin.map_or_else(|| random_digits(PIN_DIGITS), Ok)?;
        let pair = keyset::Pair { pin: filled(&pin)?, puk: filled(puk)? };
        keyset::open_signature_area(files, chip, key, pair)?;
    }
    keyset::place(files, chip, place, key, SIGNATURE_LABEL)
}

/// The holder's PIN and its PUK.
fn references(chip: &Chip, pin: &Secret, puk: &Secret) -> Result<Vec<SecurityObject>, CreateError> {
    let pin_condition = Condition::Verified(ObjectId::CNS_PIN);
    let puk_condition = Condition::Verified(ObjectId::CNS_PUK);
    Ok(vec![
        object(
            ObjectAddress::new(ObjectClass::Test, ObjectId::CNS_PIN),
            ObjectAttributes::pin(chip.habits.pin_tries, MINIMUM_PIN),
            ObjectConditions::new(Condition::Always, pin_condition, puk_condition, Condition::Never),
            filled(pin)?,
        ),
        object(
            ObjectAddress::new(ObjectClass::Test, ObjectId::CNS_PUK),
            ObjectAttributes::pin(chip.habits.puk_tries, PUK_DIGITS),
            ObjectConditions::new(Condition::Always, puk_condition, Condition::Never, Condition::Never),
            filled(puk)?,
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

/// The keys in the MF, and the conditions on the signature directory's objects, files and administration.
fn demand_secure_messaging(
    files: &mut FileSystem,
    signature_df: &FilePath,
    keys: SecureMessagingKeys,
) -> Result<(), CreateError> {
    let pair = [ObjectId::ENCRYPTION_KEY, ObjectId::AUTHENTICATION_KEY];
    let master = files.directory_mut(&MASTER_FILE).ok_or(CreateError::Content("MF"))?;
    let algorithms = [Algorithm::TripleDes, Algorithm::RetailMac];
    for ((id, algorithm), key) in pair.into_iter().zip(algorithms).zip([keys.encryption, keys.signature]) {
        if !is_key_length(key.len()) {
            return Err(KeyError::Unusable.into());
        }
        master.objects.push(object(
            ObjectAddress::new(ObjectClass::SecureMessaging, id),
            ObjectAttributes::exponent(algorithm),
            ObjectConditions::new(Condition::Always, Condition::Never, Condition::Never, Condition::Never),
            key,
        ));
    }
    let file = files.file_mut(signature_df).ok_or(CreateError::Content("DF_DS"))?;
    for place in [DF_OBJECTS, FILE_ADMIN, DF_CREATE] {
        let demanded = file.secure_messaging.iter_mut().skip(place);
        demanded.zip(pair).for_each(|(byte, id)| *byte = id.value());
    }
    demand_for_objects(file, pair);
    Ok(())
}

/// The conditions of the codes and keys that are there, however deep: use, change, unblocking, the response to a use.
fn demand_for_objects(file: &mut File, pair: [ObjectId; 2]) {
    let FileBody::Directory(directory) = &mut file.body else { return };
    for object in &mut directory.objects {
        for place in [OBJECT_USE, OBJECT_CHANGE, OBJECT_UNBLOCK, OBJECT_USE_RESPONSE] {
            let demanded = object.secure_messaging.iter_mut().skip(place);
            demanded.zip(pair).for_each(|(byte, id)| *byte = id.value());
        }
    }
    directory.files.iter_mut().for_each(|file| demand_for_objects(file, pair));
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
        uses_left: attributes.uses,
        body,
    };
    object.tries_left = object.initial_tries();
    object
}

/// Refuses what is no PIN or PUK.
fn require_digits(
    digits: &Secret,
    lengths: RangeInclusive<usize>,
    what: &'static str,
) -> Result<(), CreateError> {
    let numeric = digits.expose().iter().all(u8::is_ascii_digit);
    if numeric && lengths.contains(&digits.len()) { Ok(()) } else { Err(CreateError::ReferenceData(what)) }
}

/// Digits, filled to the stored length.
fn filled(digits: &Secret) -> Result<Secret, CreateError> {
    let mut value = Secret::zeroed(REFERENCE_DATA)?;
    let bytes = digits.expose().iter().copied().chain(std::iter::repeat(0xFF));
    value.expose_mut().iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    Ok(value)
}
