//! The key-encryption key in a PKCS#11 HSM: an AES-256 key that never leaves it.
//!
//! The data key is wrapped with CKM_AES_GCM through C_Encrypt, not with C_WrapKey: what C_UnwrapKey makes is a key object
//! whose value `cnsd` could read only if it were extractable and not sensitive, which HSMs in their FIPS mode refuse to
//! make; and GCM binds the record's name, as everywhere else here. The layout is that of every sealed value. Some HSMs
//! choose the nonce themselves, so it is read back. The library is loaded while it is needed and no longer: at the start,
//! and to rotate keys.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand;
use cns_secret::Secret;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::RawAuthPin;
use zeroize::Zeroize;

use crate::config::HsmConfig;
use crate::custody::error::{CustodyError, HsmError};
use crate::custody::key::{KEK_NUMBER, read_private};
use crate::custody::seal::{KEY_LEN, NONCE_LEN, Parts, RecordName, TAG_LEN, associated_data, compose};

/// Identifiers of keys in an HSM begin so; those of key files are hexadecimal.
pub(super) const PREFIX: &str = "hsm:";
const ID_LEN: usize = 16;
const MAXIMUM_PIN: u64 = 256;

/// A library has one state for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// An HSM with an open session of its user.
pub(super) struct Hsm {
    session: Session,
    config: HsmConfig,
}

/// Loads the HSM's library, logs in, does `work`, and unloads it.
pub(super) fn with<R>(
    config: &HsmConfig,
    work: impl FnOnce(&Hsm) -> Result<R, CustodyError>,
) -> Result<R, CustodyError> {
    let pin = read_private(&config.pin_file, MAXIMUM_PIN)?
        .ok_or_else(|| CustodyError::KeyFileMissing { path: config.pin_file.clone() })?;
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let library = Pkcs11::new(&config.module).map_err(HsmError::from)?;
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(HsmError::from)?;
    let outcome = log_in(&library, config, &pin).and_then(|session| {
        let hsm = Hsm { session, config: config.clone() };
        let outcome = work(&hsm);
        // The HSM may be shared: the login ends with its use.
        hsm.session.logout().ok();
        outcome
    });
    library.finalize().map_err(HsmError::from)?;
    outcome
}

fn log_in(library: &Pkcs11, config: &HsmConfig, pin: &Secret) -> Result<Session, CustodyError> {
    let mut found = None;
    for slot in library.get_slots_with_initialized_token().map_err(HsmError::from)? {
        if library.get_token_info(slot).map_err(HsmError::from)?.label() == config.token {
            found = Some(slot);
        }
    }
    let slot = found.ok_or_else(|| HsmError::NoToken { label: config.token.clone() })?;
    let session = library.open_rw_session(slot).map_err(HsmError::from)?;
    let line = pin.expose().split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let pin = RawAuthPin::new(Box::new(line.to_vec()));
    session.login_with_raw(UserType::User, &pin).map_err(HsmError::from)?;
    Ok(session)
}

impl Hsm {
    /// The key-encryption key of a new database: the one of the configured label, which an administrator may have made,
    /// else a new one.
    pub(super) fn first(&self) -> Result<String, CustodyError> {
        let keys = self.session.find_objects(&self.template()).map_err(HsmError::from)?;
        match keys.as_slice() {
            [] => self.generate(),
            [key] => {
                self.check(*key)?;
                self.identifier(*key)
            }
            _ => Err(HsmError::SeveralKeys { label: self.config.key.clone() }.into()),
        }
    }

    /// Makes a key that cannot leave the HSM.
    pub(super) fn generate(&self) -> Result<String, CustodyError> {
        let mut id = [0; ID_LEN];
        rand::fill(&mut id).map_err(|_| CustodyError::Cryptography("no random numbers"))?;
        let mut template = self.template();
        template.extend([
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Id(id.to_vec()),
            Attribute::ValueLen((KEY_LEN as u64).into()),
        ]);
        let key = self.session.generate_key(&Mechanism::AesKeyGen, &template).map_err(HsmError::from)?;
        self.check(key)?;
        self.identifier(key)
    }

    fn template(&self) -> Vec<Attribute> {
        vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.config.key.clone().into_bytes()),
        ]
    }

    /// The key with this identifier.
    fn key(&self, identifier: &str) -> Result<ObjectHandle, CustodyError> {
        let missing = || HsmError::NoKey { identifier: identifier.to_owned() };
        let id = identifier.strip_prefix(PREFIX).and_then(|id| hex::decode(id).ok()).ok_or_else(missing)?;
        let mut template = self.template();
        template.push(Attribute::Id(id));
        let key = self.session.find_objects(&template).map_err(HsmError::from)?.first().copied();
        let key = key.ok_or_else(missing)?;
        self.check(key)?;
        Ok(key)
    }

    /// Refuses a key that can be taken out of the HSM, could once, or may have come from outside.
    fn check(&self, key: ObjectHandle) -> Result<(), CustodyError> {
        let wanted = [
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
            AttributeType::Local,
        ];
        let attributes = self.session.get_attributes(key, &wanted).map_err(HsmError::from)?;
        let holds = [
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::NeverExtractable(true),
            Attribute::Local(true),
        ];
        if holds.iter().all(|attribute| attributes.contains(attribute)) {
            return Ok(());
        }
        Err(HsmError::Extractable { label: self.config.key.clone() }.into())
    }

    fn identifier(&self, key: ObjectHandle) -> Result<String, CustodyError> {
        let attributes = self.session.get_attributes(key, &[AttributeType::Id]).map_err(HsmError::from)?;
        match attributes.first() {
            Some(Attribute::Id(id)) if !id.is_empty() => Ok(format!("{PREFIX}{}", hex::encode(id))),
            _ => Err(HsmError::NoIdentifier { label: self.config.key.clone() }.into()),
        }
    }

    pub(super) fn wrap(
        &self,
        identifier: &str,
        name: RecordName<'_>,
        secret: &Secret,
    ) -> Result<Vec<u8>, CustodyError> {
        let key = self.key(identifier)?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| CustodyError::Cryptography("no random nonce"))?;
        let associated = associated_data(KEK_NUMBER, name);
        let body = {
            let parameters = gcm(&mut nonce, &associated)?;
            self.session
                .encrypt(&Mechanism::AesGcm(parameters), key, secret.expose())
                .map_err(HsmError::from)?
        };
        Ok(compose(KEK_NUMBER, &nonce, &[&body]))
    }

    pub(super) fn unwrap(
        &self,
        identifier: &str,
        name: RecordName<'_>,
        sealed: &[u8],
    ) -> Result<Secret, CustodyError> {
        let tampered = || CustodyError::Tampered { record: name.to_string() };
        let parts = Parts::of(sealed).filter(|parts| parts.key_id == KEK_NUMBER).ok_or_else(tampered)?;
        let key = self.key(identifier)?;
        let mut nonce = *parts.nonce;
        let associated = associated_data(KEK_NUMBER, name);
        let parameters = gcm(&mut nonce, &associated)?;
        let mut plain = self
            .session
            .decrypt(&Mechanism::AesGcm(parameters), key, parts.body)
            .map_err(|error| if is_refusal(&error) { tampered() } else { HsmError::from(error).into() })?;
        let secret = Secret::copy_from(&plain);
        plain.zeroize();
        Ok(secret?)
    }
}

fn gcm<'a>(nonce: &'a mut [u8; NONCE_LEN], associated: &'a [u8]) -> Result<GcmParams<'a>, CustodyError> {
    let tag_bits = (TAG_LEN as u64).saturating_mul(8);
    Ok(GcmParams::new(nonce, associated, tag_bits.into()).map_err(HsmError::from)?)
}

/// Whether the HSM says that the tag is wrong. SoftHSM has no better word for it than a general error.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::GeneralError,
            _
        )
    )
}
