//! A PIN or PUK inside a request.

use std::fmt;

use cns_secret::Secret;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serializer};

/// The longest secret that a request may carry, in bytes.
pub const MAX_LENGTH: usize = 64;

/// Said of a secret that is a number in JSON.
const NOT_TEXT: &str = "a secret is a JSON string";

/// Text that must not be copied outside locked memory: a PIN or a PUK on its way to the daemon.
///
/// It is read by borrowing from the frame's locked buffer. A string that would need unescaping is refused, because
/// the parser would build it in ordinary memory; digits never need it.
pub struct SecretText(Secret);

impl SecretText {
    /// Wraps a secret that is valid UTF-8 of at most [`MAX_LENGTH`] bytes.
    ///
    /// # Errors
    /// When the bytes are not text, are too long, or would need escaping in JSON.
    pub fn new(secret: Secret) -> Result<Self, NotText> {
        let plain = |b: &u8| (0x20..0x7F).contains(b) && *b != b'"' && *b != b'\\';
        if secret.len() <= MAX_LENGTH && secret.expose().iter().all(plain) {
            Ok(Self(secret))
        } else {
            Err(NotText)
        }
    }

    /// The secret's bytes.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// The secret itself.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

/// The bytes cannot be carried as a secret: longer than 64 bytes, or not printable ASCII without quotes.
#[derive(Debug, thiserror::Error)]
#[error("a PIN or PUK is printable ASCII of at most {MAX_LENGTH} characters")]
pub struct NotText;

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = SecretText;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a secret of printable ASCII without escape sequences")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<SecretText, E> {
                if text.len() > MAX_LENGTH {
                    return Err(E::custom("a secret is longer than 64 characters"));
                }
                let secret =
                    Secret::copy_from(text.as_bytes()).map_err(|_| E::custom("no locked memory left"))?;
                SecretText::new(secret).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretText, E> {
                Err(E::custom(NOT_TEXT))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretText, E> {
                Err(E::custom(NOT_TEXT))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretText, E> {
                Err(E::custom(NOT_TEXT))
            }
            // The default `visit_str` reports the unexpected string itself, which here is the secret.
            fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretText, E> {
                Err(E::custom("a secret must not contain escape sequences"))
            }
        }
        // `deserialize_str` would quote a number, which may be the PIN, in its error.
        deserializer.deserialize_any(Borrowed)
    }
}

/// Writes a secret into a request. Only request types may name this function.
pub(crate) fn write<S: Serializer>(text: &SecretText, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::Error;
    serializer.serialize_str(std::str::from_utf8(text.0.expose()).map_err(S::Error::custom)?)
}

/// Writes an optional secret into a request.
pub(crate) fn write_optional<S: Serializer>(
    text: &Option<SecretText>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => write(text, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(feature = "openrpc")]
impl schemars::JsonSchema for SecretText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": MAX_LENGTH,
            "pattern": "^[ !#-\\[\\]-~]*$",
            "writeOnly": true,
            "description": "A PIN or PUK: printable ASCII, no escape sequences. Only ever sent to the daemon."
        })
    }
}
