//! Profiles as data: what a file of the folder `profiles` says of one kind of certificate.

use std::collections::BTreeMap;

use const_oid::ObjectIdentifier;
use serde::{Deserialize, Deserializer, de};
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::name::Name;

use super::subject::{Form, Subject};
use super::{Profile, ProfileError, extensions};

const DAY: u64 = 24 * 3600;

/// One kind of certificate.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) profile: Profile,
    data: Data,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    lifetime_days: u32,
    key_bits: KeyBits,
    pub(super) key_usage: Vec<Usage>,
    #[serde(default)]
    pub(super) extended_key_usage: Vec<Oid>,
    subject: BTreeMap<String, Attribute>,
    #[serde(default)]
    pub(super) policies: Vec<Policy>,
    pub(super) qc_statements: Option<QcStatements>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBits {
    least: usize,
    most: usize,
}

/// What an attribute of the subject must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    /// Exactly once, rather than as often as it likes.
    #[serde(default)]
    required: bool,
    value: Option<String>,
    form: Option<Form>,
}

/// Key usages that a holder's certificate can have.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Usage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
}

impl Usage {
    pub(super) fn bit(self) -> KeyUsages {
        match self {
            Self::DigitalSignature => KeyUsages::DigitalSignature,
            Self::NonRepudiation => KeyUsages::NonRepudiation,
            Self::KeyEncipherment => KeyUsages::KeyEncipherment,
            Self::DataEncipherment => KeyUsages::DataEncipherment,
            Self::KeyAgreement => KeyUsages::KeyAgreement,
        }
    }
}

/// An object identifier, in dotted numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oid(pub(super) ObjectIdentifier);

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fault = |_| de::Error::custom(format!("{text:?} is no object identifier"));
        ObjectIdentifier::new(&text).map(Self).map_err(fault)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) identifier: Oid,
    pub(super) cps: Option<String>,
    pub(super) notice: Option<String>,
}

/// The statements of ETSI EN 319 412-5.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QcStatements {
    #[serde(default)]
    pub(super) compliance: bool,
    #[serde(default)]
    pub(super) sscd: bool,
    pub(super) retention_years: Option<u8>,
    #[serde(default)]
    pub(super) types: Vec<Oid>,
    #[serde(default)]
    pub(super) disclosure: Vec<Disclosure>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Disclosure {
    pub(super) url: String,
    pub(super) language: String,
}

impl Rules {
    /// Reads a profile's file; says what is wrong with it.
    pub(crate) fn read(profile: Profile, text: &str) -> Result<Self, String> {
        let data: Data = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if !(1..=3653).contains(&data.lifetime_days) {
            return Err("lifetime_days must be 1 to 3653".to_owned());
        }
        let KeyBits { least, most } = data.key_bits;
        if least < 2048 || most > 16_384 || least > most {
            return Err("key_bits must lie between 2048 and 16384".to_owned());
        }
        if data.key_usage.is_empty() {
            return Err("key_usage names no usage (RFC 5280 §4.2.1.3)".to_owned());
        }
        if let Some(name) = data.subject.keys().find(|name| Subject::label(name).is_none()) {
            return Err(format!("{name} is no attribute that a subject can have"));
        }
        if data.policies.iter().filter_map(|policy| policy.notice.as_ref()).any(|it| it.chars().count() > 200)
        {
            return Err("a notice has at most 200 characters (RFC 5280 §4.2.1.4)".to_owned());
        }
        let rules = Self { profile, data };
        extensions::of(&rules.data).map_err(|error| format!("the extensions cannot be written: {error}"))?;
        Ok(rules)
    }

    /// Refuses a subject that a certificate of this kind may not bear.
    pub(crate) fn check_subject(&self, subject: &Name) -> Result<(), ProfileError> {
        let subject = Subject::read(subject)?;
        let rules = &self.data.subject;
        subject.only(|label| rules.contains_key(label))?;
        for (name, rule) in rules {
            let Some(label) = Subject::label(name) else { continue };
            if rule.required {
                subject.one(label)?;
            }
            for value in subject.all(label) {
                if let Some(wanted) = rule.value.as_ref().filter(|wanted| *wanted != value) {
                    return Err(ProfileError::Value(label, wanted.clone()));
                }
                if let Some(form) = rule.form.filter(|form| !form.fits(value)) {
                    return Err(ProfileError::Form(label, form.words()));
                }
            }
        }
        Ok(())
    }

    /// The extensions that are the profile's own, not the issuer's.
    pub(crate) fn extensions(&self) -> der::Result<Vec<x509_cert::ext::Extension>> {
        extensions::of(&self.data)
    }

    /// The longest that a certificate of this kind may be valid, in seconds.
    pub(crate) fn lifetime(&self) -> u64 {
        u64::from(self.data.lifetime_days).saturating_mul(DAY)
    }

    /// The lengths of RSA keys that get a certificate of this kind, in bits.
    pub(crate) fn key_bits(&self) -> std::ops::RangeInclusive<usize> {
        self.data.key_bits.least..=self.data.key_bits.most
    }
}
