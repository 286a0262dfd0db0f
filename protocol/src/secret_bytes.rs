//! Secret bytes inside a message: what a key on the card has decrypted.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cns_secret::Secret;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The most bytes: what the largest RSA key (4,096 bits) can decrypt.
pub const MAX_LENGTH: usize = 512;

/// Their length in base64.
const MAX_TEXT: usize = MAX_LENGTH.div_ceil(3) * 4;

/// Bytes that must not be copied outside locked memory, as base64 in JSON. They are written and read without any copy
/// but the message's own.
pub struct SecretBytes(Secret);

impl SecretBytes {
    /// Wraps a secret of at most [`MAX_LENGTH`] bytes.
    ///
    /// # Errors
    /// When it is longer.
    pub fn new(secret: Secret) -> Result<Self, TooLong> {
        if secret.len() <= MAX_LENGTH { Ok(Self(secret)) } else { Err(TooLong) }
    }

    /// The bytes.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

/// More bytes than a key can decrypt.
#[derive(Debug, thiserror::Error)]
#[error("what is decrypted has at most {MAX_LENGTH} bytes")]
pub struct TooLong;

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let mut text = Secret::zeroed(MAX_TEXT).map_err(S::Error::custom)?;
        let written = STANDARD.encode_slice(self.0.expose(), text.expose_mut()).map_err(S::Error::custom)?;
        let text = text.truncated(written);
        serializer.serialize_str(std::str::from_utf8(text.expose()).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = SecretBytes;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("base64 without escape sequences")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<SecretBytes, E> {
                if text.len() > MAX_TEXT {
                    return Err(E::custom(TooLong));
                }
                // The decoder wants room for whole groups of three bytes.
                let room = text.len().div_ceil(4).saturating_mul(3);
                let mut bytes = Secret::zeroed(room).map_err(|_| E::custom("no locked memory left"))?;
                let length = STANDARD
                    .decode_slice(text.as_bytes(), bytes.expose_mut())
                    .map_err(|_| E::custom("the bytes are not standard base64"))?;
                SecretBytes::new(bytes.truncated(length)).map_err(E::custom)
            }
            // The default `visit_str` repeats the string itself in its error, which here is the secret.
            fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretBytes, E> {
                Err(E::custom("secret bytes must not contain escape sequences"))
            }
        }
        deserializer.deserialize_str(Borrowed)
    }
}

#[cfg(feature = "openrpc")]
impl schemars::JsonSchema for SecretBytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretBytes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": MAX_TEXT,
            "contentEncoding": "base64",
            "description": "Secret bytes: standard base64 without escape sequences, sent in locked memory."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_LENGTH, SecretBytes};
    use cns_secret::Secret;

    fn read(text: &str) -> Option<Vec<u8>> {
        let bytes: SecretBytes = serde_json::from_str(text).ok()?;
        Some(bytes.into_secret().expose().to_vec())
    }

    #[test]
    fn bytes_come_back_as_they_went() {
        for length in [0, 1, 2, 3, 32, 255, 256, MAX_LENGTH] {
            let bytes: Vec<u8> = (0..=255).cycle().take(length).collect();
            let secret = SecretBytes::new(Secret::copy_from(&bytes).unwrap()).unwrap();
            let text = serde_json::to_string(&secret).unwrap();
            assert_eq!(read(&text), Some(bytes), "{length}");
        }
        assert!(SecretBytes::new(Secret::zeroed(MAX_LENGTH + 1).unwrap()).is_err());
    }

    #[test]
    fn what_is_no_base64_is_refused_without_being_repeated() {
        let long = format!("\"{}\"", "QUJD".repeat(172));
        for text in ["\"QUJ\"", "\"QUJD!\"", "\"\\u0051UJD\"", "12", long.as_str()] {
            assert_eq!(read(text), None, "{text}");
        }
        let error = serde_json::from_str::<SecretBytes>("\"\\u0051UJDsecret\"").err().unwrap();
        assert!(!error.to_string().contains("secret\""), "{error}");
        assert!(!error.to_string().contains("QUJD"), "{error}");
    }
}
