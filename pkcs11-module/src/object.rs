//! The objects of a token (PKCS#11 v3.2 §4), each a table of attributes: for each certificate of the holder the
//! certificate, its public key and its private key; the certificates of authorities; the card's public files; the profiles
//! that hold.

mod authority;
mod data;
mod imported;
mod key_pair;
mod made;
mod profile;

use std::collections::BTreeMap;
use std::sync::Arc;

use cns_protocol::card::{Card, Certificate, KeyUse};
use cns_secret::Secret;
use cryptoki_sys as ck;
use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_CERTIFICATE_CATEGORY, CK_MECHANISM_TYPE, CK_OBJECT_CLASS, CK_ULONG,
};
use der::DateTime;
use sha1::{Digest, Sha1};

pub(crate) use self::imported::read as read_certificate;
pub(crate) use self::key_pair::{judge as judge_key_pair, objects as key_pair_objects};
pub(crate) use self::made::{Draft, SecretKind};
use crate::certificate::{self, Fields, Parts};
use crate::error::Error;
use crate::ffi::template::UNAVAILABLE;
use crate::mechanism;
use crate::public_key::{PublicKey, Uses};

/// An object of a token.
pub(crate) struct Object {
    attributes: BTreeMap<CK_ATTRIBUTE_TYPE, Attribute>,
    key: Key,
}

/// What operations need of an object.
#[derive(Clone)]
enum Key {
    None,
    Public(Arc<PublicKey>),
    Private(Arc<PrivateKey>),
    Secret(Arc<SecretKey>),
}

/// A secret key, which an application made for itself.
pub(crate) struct SecretKey {
    pub(crate) value: Secret,
    /// Whether it may be wrapped.
    pub(crate) extractable: bool,
    /// Where it is from.
    pub(crate) origin: Origin,
}

/// Where a secret key is from (PKCS#11 v2.40 §4.7, §4.10).
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// The mechanism that it was generated with here, if it was (`CKA_LOCAL`, `CKA_KEY_GEN_MECHANISM`).
    pub(crate) made_with: Option<CK_MECHANISM_TYPE>,
    /// Whether it was never told.
    pub(crate) always_sensitive: bool,
    /// Whether it could never leave.
    pub(crate) never_extractable: bool,
}

impl Origin {
    /// Brought in by the application, or unwrapped.
    pub(crate) const OUTSIDE: Self =
        Self { made_with: None, always_sensitive: false, never_extractable: false };

    /// Generated here.
    pub(crate) const fn generated(made_with: CK_MECHANISM_TYPE) -> Self {
        Self { made_with: Some(made_with), always_sensitive: true, never_extractable: true }
    }
}

/// What signing needs to know of a private key.
pub(crate) struct PrivateKey {
    pub(crate) key_use: KeyUse,
    /// The modulus' length in bytes.
    pub(crate) length: usize,
    /// Whether each use wants the PIN anew.
    pub(crate) pin_for_each_use: bool,
    /// Whether it decrypts: the chip must give out what it deciphers, and the certificate let others encrypt.
    pub(crate) decrypts: bool,
}

enum Attribute {
    Value(Vec<u8>),
    /// There, but never told.
    Sensitive,
    /// The value of the secret key, which lies in locked memory.
    OfKey,
}

impl Object {
    /// The objects of one certificate; none when it cannot be read or its key is not RSA.
    fn of(card: &Card, certificate: &Certificate) -> Vec<Object> {
        let Ok(parts) = certificate::read(&certificate.der) else {
            return Vec::new();
        };
        let common =
            Common { label: label(card, certificate.key_use), id: Sha1::digest(parts.modulus).to_vec() };
        vec![
            Self::certificate(&common, certificate, &parts),
            Self::public_key(&common, certificate, &parts),
            Self::private_key(&common, certificate, &parts),
        ]
    }

    /// The objects of a card.
    pub(crate) fn all(card: &Card) -> Vec<Object> {
        let mut objects: Vec<_> =
            card.certificates.iter().flat_map(|certificate| Self::of(card, certificate)).collect();
        let profiles = profile::objects(&objects);
        objects.extend(authority::objects(card));
        objects.extend(data::objects(card));
        objects.extend(profiles);
        objects
    }

    /// Whether only who is logged in may see it.
    pub(crate) fn is_private(&self) -> bool {
        self.value(ck::CKA_PRIVATE) == Ok(&[ck::CK_TRUE])
    }

    /// The value of an attribute.
    pub(crate) fn value(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<&[u8], Error> {
        match self.attributes.get(&kind) {
            Some(Attribute::Value(value)) => Ok(value),
            Some(Attribute::OfKey) => {
                self.as_secret_key().map(|key| key.value.expose()).ok_or(Error::AttributeSensitive)
            }
            Some(Attribute::Sensitive) => Err(Error::AttributeSensitive),
            None => Err(Error::AttributeTypeInvalid),
        }
    }

    /// Whether the object has all of these attributes with these values.
    pub(crate) fn matches<'t>(
        &self,
        mut template: impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &'t [u8])>,
    ) -> bool {
        template.all(|(kind, wanted)| self.value(kind) == Ok(wanted))
    }

    /// What signing needs, when this is a private key.
    pub(crate) fn as_private_key(&self) -> Option<&Arc<PrivateKey>> {
        if let Key::Private(key) = &self.key { Some(key) } else { None }
    }

    /// What verifying and encrypting need, when this is a public key.
    pub(crate) fn as_public_key(&self) -> Option<&Arc<PublicKey>> {
        if let Key::Public(key) = &self.key { Some(key) } else { None }
    }

    /// What wrapping needs, when this is a secret key.
    pub(crate) fn as_secret_key(&self) -> Option<&SecretKey> {
        if let Key::Secret(key) = &self.key { Some(key) } else { None }
    }

    /// Whether who may see it may destroy it.
    pub(crate) fn is_destroyable(&self) -> bool {
        self.value(ck::CKA_DESTROYABLE) == Ok(&[ck::CK_TRUE])
    }

    /// Whether the two are the same object of the same card.
    pub(crate) fn is_same(&self, other: &Object) -> bool {
        self.value(ck::CKA_UNIQUE_ID) == other.value(ck::CKA_UNIQUE_ID)
    }

    /// Whether the two have this attribute, with one value.
    pub(crate) fn shares(&self, other: &Object, kind: CK_ATTRIBUTE_TYPE) -> bool {
        self.value(kind).is_ok_and(|value| other.value(kind) == Ok(value))
    }

    /// The bytes of all values.
    pub(crate) fn size(&self) -> usize {
        let length = |attribute: &Attribute| match attribute {
            Attribute::Value(value) => value.len(),
            Attribute::Sensitive | Attribute::OfKey => 0,
        };
        self.attributes.values().map(length).sum()
    }

    fn certificate(common: &Common, certificate: &Certificate, parts: &Parts<'_>) -> Self {
        let mut table = Table::new(common, ck::CKO_CERTIFICATE, certificate);
        let category = ck::CK_CERTIFICATE_CATEGORY_TOKEN_USER;
        table.certificate(&certificate.der, &parts.fields, category);
        table.finish(Key::None)
    }

    fn public_key(common: &Common, certificate: &Certificate, parts: &Parts<'_>) -> Self {
        let mut table = Table::new(common, ck::CKO_PUBLIC_KEY, certificate);
        table.key_of(certificate, parts);
        table.number(ck::CKA_MODULUS_BITS, CK_ULONG::from(bit_length(parts.modulus)));
        table.flag(ck::CKA_TRUSTED, false);
        let encrypts = decrypts(certificate.key_use, parts);
        let uses = Uses { verify: true, verify_recover: true, encrypt: encrypts, wrap: encrypts };
        let key = PublicKey::new(parts.modulus, parts.public_exponent, uses);
        let none = Uses { verify: false, verify_recover: false, encrypt: false, wrap: false };
        table.uses(key.as_ref().map_or(none, |key| key.uses));
        table.flag(ck::CKA_ENCAPSULATE, false);
        table.finish(key.map_or(Key::None, |key| Key::Public(Arc::new(key))))
    }

    fn private_key(common: &Common, certificate: &Certificate, parts: &Parts<'_>) -> Self {
        let mut table = Table::new(common, ck::CKO_PRIVATE_KEY, certificate);
        table.key_of(certificate, parts);
        table.flag(ck::CKA_PRIVATE, true);
        table.flag(ck::CKA_SENSITIVE, true);
        table.flag(ck::CKA_EXTRACTABLE, false);
        // The issuer may have brought the authentication key into the chip; the signature key is made there.
        let made_in_chip = certificate.key_use == KeyUse::Signature;
        table.flag(ck::CKA_ALWAYS_SENSITIVE, made_in_chip);
        table.flag(ck::CKA_NEVER_EXTRACTABLE, made_in_chip);
        table.flag(ck::CKA_SIGN, true);
        table.flag(ck::CKA_SIGN_RECOVER, true);
        let decrypts = decrypts(certificate.key_use, parts);
        table.flag(ck::CKA_DECRYPT, decrypts);
        table.flag(ck::CKA_UNWRAP, decrypts);
        for use_ in [ck::CKA_WRAP_WITH_TRUSTED, ck::CKA_DECAPSULATE] {
            table.flag(use_, false);
        }
        table.flag(ck::CKA_ALWAYS_AUTHENTICATE, certificate.pin_for_each_use);
        let mut allowed = mechanism::signing(certificate.key_use);
        if decrypts {
            allowed.push(ck::CKM_RSA_PKCS_OAEP);
        }
        let allowed: Vec<u8> = allowed.iter().flat_map(|kind| kind.to_ne_bytes()).collect();
        table.bytes(ck::CKA_ALLOWED_MECHANISMS, &allowed);
        table.secrets();
        let key = PrivateKey {
            key_use: certificate.key_use,
            length: parts.modulus.len(),
            pin_for_each_use: certificate.pin_for_each_use,
            decrypts,
        };
        table.finish(Key::Private(Arc::new(key)))
    }
}

/// What the three objects of one certificate share, so that applications find one from another.
struct Common {
    label: String,
    /// SHA-1 of the modulus: what NSS itself would compute, and what stays when the certificate is renewed.
    id: Vec<u8>,
}

struct Table(BTreeMap<CK_ATTRIBUTE_TYPE, Attribute>);

impl Table {
    /// The attributes of an object that belongs to a certificate.
    fn new(common: &Common, class: CK_OBJECT_CLASS, certificate: &Certificate) -> Self {
        let mut table = Self::start(class, &common.label, &format!("{class}-{}", certificate.sha256));
        table.bytes(ck::CKA_ID, &common.id);
        table
    }

    /// The attributes that every object has (§4.4, §4.5).
    fn start(class: CK_OBJECT_CLASS, label: &str, unique: &str) -> Self {
        let mut table = Self(BTreeMap::new());
        table.number(ck::CKA_CLASS, class);
        table.flag(ck::CKA_TOKEN, true);
        table.flag(ck::CKA_PRIVATE, false);
        table.flag(ck::CKA_MODIFIABLE, false);
        table.flag(ck::CKA_COPYABLE, false);
        table.flag(ck::CKA_DESTROYABLE, false);
        table.bytes(ck::CKA_LABEL, label.as_bytes());
        table.bytes(ck::CKA_UNIQUE_ID, unique.as_bytes());
        table
    }

    /// The attributes of both halves of a certificate's key pair.
    fn key_of(&mut self, certificate: &Certificate, parts: &Parts<'_>) {
        self.validity(&parts.fields);
        self.bytes(ck::CKA_SUBJECT, parts.fields.subject);
        let info = parts.fields.public_key_info;
        self.key(certificate.key_use == KeyUse::Signature, [parts.modulus, parts.public_exponent], info);
    }

    /// The attributes of both halves of a key pair (§4.7, §4.8, §4.9), but for those that its certificate tells.
    fn key(&mut self, made_in_chip: bool, [modulus, public_exponent]: [&[u8]; 2], info: &[u8]) {
        let made_with = if made_in_chip { ck::CKM_RSA_PKCS_KEY_PAIR_GEN } else { UNAVAILABLE };
        self.number(ck::CKA_KEY_TYPE, ck::CKK_RSA);
        self.flag(ck::CKA_DERIVE, false);
        self.flag(ck::CKA_LOCAL, made_in_chip);
        self.number(ck::CKA_KEY_GEN_MECHANISM, made_with);
        self.bytes(ck::CKA_MODULUS, modulus);
        self.bytes(ck::CKA_PUBLIC_EXPONENT, public_exponent);
        self.bytes(ck::CKA_PUBLIC_KEY_INFO, info);
    }

    /// The numbers of a private key, which stay in the chip.
    fn secrets(&mut self) {
        for secret in [
            ck::CKA_PRIVATE_EXPONENT,
            ck::CKA_PRIME_1,
            ck::CKA_PRIME_2,
            ck::CKA_EXPONENT_1,
            ck::CKA_EXPONENT_2,
            ck::CKA_COEFFICIENT,
        ] {
            self.0.insert(secret, Attribute::Sensitive);
        }
    }

    /// The attributes of an X.509 certificate (§4.6.3). Which of them to trust is nothing that a card says.
    fn certificate(&mut self, der: &[u8], fields: &Fields<'_>, category: CK_CERTIFICATE_CATEGORY) {
        self.validity(fields);
        self.number(ck::CKA_CERTIFICATE_TYPE, ck::CKC_X_509);
        self.flag(ck::CKA_TRUSTED, false);
        self.number(ck::CKA_CERTIFICATE_CATEGORY, category);
        self.number(ck::CKA_JAVA_MIDP_SECURITY_DOMAIN, 0);
        let check_value = Sha1::digest(der);
        self.bytes(ck::CKA_CHECK_VALUE, check_value.get(..3).unwrap_or_default());
        self.bytes(ck::CKA_SUBJECT, fields.subject);
        self.bytes(ck::CKA_ISSUER, fields.issuer);
        self.bytes(ck::CKA_SERIAL_NUMBER, fields.serial_number);
        self.bytes(ck::CKA_VALUE, der);
        self.bytes(ck::CKA_URL, b"");
        self.bytes(ck::CKA_HASH_OF_SUBJECT_PUBLIC_KEY, &Sha1::digest(fields.public_key));
        self.bytes(ck::CKA_HASH_OF_ISSUER_PUBLIC_KEY, b"");
        self.number(ck::CKA_NAME_HASH_ALGORITHM, ck::CKM_SHA_1);
        self.bytes(ck::CKA_PUBLIC_KEY_INFO, fields.public_key_info);
    }

    fn validity(&mut self, fields: &Fields<'_>) {
        self.bytes(ck::CKA_START_DATE, date(fields.not_before).as_bytes());
        self.bytes(ck::CKA_END_DATE, date(fields.not_after).as_bytes());
    }

    fn uses(&mut self, uses: Uses) {
        self.flag(ck::CKA_VERIFY, uses.verify);
        self.flag(ck::CKA_VERIFY_RECOVER, uses.verify_recover);
        self.flag(ck::CKA_ENCRYPT, uses.encrypt);
        self.flag(ck::CKA_WRAP, uses.wrap);
    }

    fn flag(&mut self, kind: CK_ATTRIBUTE_TYPE, value: bool) {
        self.bytes(kind, &[u8::from(value)]);
    }

    fn number(&mut self, kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    fn bytes(&mut self, kind: CK_ATTRIBUTE_TYPE, value: &[u8]) {
        self.0.insert(kind, Attribute::Value(value.to_vec()));
    }

    fn finish(self, key: Key) -> Object {
        Object { attributes: self.0, key }
    }
}

/// Whether what is encrypted for a certificate's key can be decrypted: the chip of a signature key does not give out what
/// it deciphers.
fn decrypts(key_use: KeyUse, parts: &Parts<'_>) -> bool {
    key_use == KeyUse::Authentication && parts.encrypts
}

/// Says first what the certificate is for: on these cards a signature made with the login key has no legal value,
/// and the names inside the two certificates do not tell them apart.
fn label(card: &Card, key_use: KeyUse) -> String {
    let use_ = match key_use {
        KeyUse::Authentication => "CNS authentication",
        KeyUse::Signature => "Qualified signature",
    };
    format!("{use_} {} {}", card.holder.name, card.holder.surname).trim_end().to_owned()
}

/// A `CK_DATE` as it lies in memory: `YYYYMMDD`.
fn date(time: DateTime) -> String {
    format!("{:04}{:02}{:02}", time.year(), time.month(), time.day())
}

fn bit_length(number: &[u8]) -> u32 {
    let bytes = u32::try_from(number.len()).unwrap_or(u32::MAX);
    bytes.saturating_mul(8).saturating_sub(number.first().map_or(0, |first| first.leading_zeros()))
}

#[cfg(test)]
mod tests;
