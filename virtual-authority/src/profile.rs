//! What a certificate of each kind must say: data, read from files when the certifier starts.

mod extensions;
mod rules;
mod subject;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use rules::Rules;

use crate::error::AuthorityError;
use crate::file::{self, Readers};

const FOLDER: &str = "profiles";
const FILE_LIMIT: u64 = 64 * 1024;
/// The profiles that `init` writes.
const DEFAULTS: [(Profile, &str); 2] = [
    (Profile::Authentication, include_str!("../profiles/authentication.toml")),
    (Profile::QualifiedSignature, include_str!("../profiles/signature.toml")),
];

/// The kinds of certificate that this certifier issues, by the names of their files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Profile {
    /// The CNS authentication certificate (`authentication.toml`).
    Authentication,
    /// The qualified certificate for electronic signatures (`signature.toml`).
    QualifiedSignature,
    /// Any other.
    Named(String),
}

impl Profile {
    /// The name of the profile's file, and of the profile in the CMP address (`/pkix/NAME`).
    pub fn path_name(&self) -> &str {
        match self {
            Self::Authentication => "authentication",
            Self::QualifiedSignature => "signature",
            Self::Named(name) => name,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path_name())
    }
}

impl FromStr for Profile {
    type Err = ();

    /// The profile of a file or an address: small letters, digits and hyphens.
    fn from_str(name: &str) -> Result<Self, ()> {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match name {
            "authentication" => Ok(Self::Authentication),
            "signature" => Ok(Self::QualifiedSignature),
            name if (1..=64).contains(&name.len()) && name.bytes().all(is_fit) => {
                Ok(Self::Named(name.to_owned()))
            }
            _ => Err(()),
        }
    }
}

// The names in the journal, which outlives programs.
impl From<Profile> for String {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Authentication => "authentication".to_owned(),
            Profile::QualifiedSignature => "qualifiedSignature".to_owned(),
            Profile::Named(name) => name,
        }
    }
}

impl From<String> for Profile {
    fn from(name: String) -> Self {
        match name.as_str() {
            "authentication" => Self::Authentication,
            "qualifiedSignature" => Self::QualifiedSignature,
            _ => Self::Named(name),
        }
    }
}

/// All profiles of a certifier.
#[derive(Debug)]
pub(crate) struct Profiles {
    rules: BTreeMap<Profile, Arc<Rules>>,
}

impl Profiles {
    /// Writes the default profiles into the certifier's folder.
    pub(crate) fn write_defaults(folder: &Path) -> Result<(), AuthorityError> {
        let profiles = folder.join(FOLDER);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&profiles)
            .map_err(|source| AuthorityError::File { path: profiles.clone(), source })?;
        DEFAULTS.iter().try_for_each(|(profile, text)| {
            file::write(&profiles.join(format!("{profile}.toml")), text.as_bytes(), Readers::All)
        })
    }

    /// Reads every profile of the certifier's folder; the default ones where there is none.
    pub(crate) fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let profiles = folder.join(FOLDER);
        let entries = match fs::read_dir(&profiles) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::defaults(),
            Err(source) => return Err(AuthorityError::File { path: profiles, source }),
        };
        let mut rules = BTreeMap::new();
        for entry in entries {
            let path =
                entry.map_err(|source| AuthorityError::File { path: profiles.clone(), source })?.path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let fault = |fault: &str| AuthorityError::Profile { path: path.clone(), fault: fault.to_owned() };
            let profile = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let name = "its name may have small letters, digits and hyphens";
            let profile: Profile = profile.ok_or_else(|| fault(name))?;
            let text =
                String::from_utf8(file::read(&path, FILE_LIMIT)?).map_err(|_| fault("it is no text"))?;
            let read = Rules::read(profile.clone(), &text).map_err(|reason| fault(&reason))?;
            rules.insert(profile, Arc::new(read));
        }
        Ok(Self { rules })
    }

    fn defaults() -> Result<Self, AuthorityError> {
        let rules = DEFAULTS.iter().map(|(profile, text)| {
            let fault = |fault| AuthorityError::Profile { path: profile.path_name().into(), fault };
            Ok((profile.clone(), Arc::new(Rules::read(profile.clone(), text).map_err(fault)?)))
        });
        Ok(Self { rules: rules.collect::<Result<_, AuthorityError>>()? })
    }

    /// The rules of this profile.
    pub(crate) fn get(&self, profile: &Profile) -> Option<Arc<Rules>> {
        self.rules.get(profile).map(Arc::clone)
    }
}

/// Why a subject does not fit the profile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// An attribute that the profile demands is not there.
    #[error("the subject lacks {0}")]
    Missing(&'static str),
    /// An attribute stands twice.
    #[error("the subject has {0} more than once")]
    Repeated(&'static str),
    /// An attribute has no place in the profile.
    #[error("the subject has an attribute that the profile does not know ({0})")]
    NotAllowed(String),
    /// An attribute is not a string, or is empty or too long.
    #[error("the subject's {0} is not a string of 1 to {1} characters")]
    NotText(&'static str, usize),
    /// An attribute has not the one value that the profile gives it.
    #[error("the subject's {0} must be {1}")]
    Value(&'static str, String),
    /// An attribute has not the form that the profile gives it.
    #[error("the subject's {0} must be {1}")]
    Form(&'static str, &'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_s_names_are_those_of_before() {
        for (profile, name) in [
            (Profile::Authentication, "\"authentication\""),
            (Profile::QualifiedSignature, "\"qualifiedSignature\""),
            (Profile::Named("web".to_owned()), "\"web\""),
        ] {
            assert_eq!(serde_json::to_string(&profile).unwrap(), name);
            assert_eq!(serde_json::from_str::<Profile>(name).unwrap(), profile);
            assert_eq!(profile.path_name().parse::<Profile>().unwrap(), profile);
        }
        for wrong in ["", "qualifiedSignature", "../ca", "a/b", "Web"] {
            assert!(wrong.parse::<Profile>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_told() {
        let (_, good) = DEFAULTS[1];
        let read = |text: &str| Rules::read(Profile::QualifiedSignature, text).map(drop);
        read(good).unwrap();
        for (from, to, words) in [
            ("lifetime_days = 1095", "lifetime_days = 0", "lifetime_days must be"),
            ("least = 2048", "least = 1024", "between 2048 and 16384"),
            ("[\"nonRepudiation\"]", "[]", "names no usage"),
            ("[\"nonRepudiation\"]", "[\"signing\"]", "unknown variant"),
            ("[subject.surname]", "[subject.familyName]", "familyName is no attribute"),
            ("form = \"tin\"", "form = \"any\"", "unknown variant"),
            ("\"1.3.76.16.6\"", "\"one\"", "is no object identifier"),
            ("cps = \"https", "cps = \"\u{e9}https", "extensions cannot be written"),
            ("sscd = true", "sscd = true\nother = 1", "unknown field"),
        ] {
            assert!(good.contains(from), "{from}");
            let said = read(&good.replace(from, to)).unwrap_err();
            assert!(said.contains(words), "{to}: {said}");
        }
    }
}
