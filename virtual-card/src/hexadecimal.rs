//! Byte strings as hexadecimal text in the state file: public bytes only; secrets go through
//! [`secret`](self::secret).

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode_upper(bytes))
}

pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<Vec<u8>>,
{
    struct Hexadecimal;
    impl Visitor<'_> for Hexadecimal {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("hexadecimal digits")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
            hex::decode(text).map_err(E::custom)
        }
    }
    let bytes = deserializer.deserialize_str(Hexadecimal)?;
    let length = bytes.len();
    T::try_from(bytes)
        .map_err(|_| D::Error::custom(format_args!("{length} bytes are not the expected length")))
}

/// The one way in which secret bytes leave locked memory: into the chip's own state file, whose buffer is
/// wiped after writing (see [`crate::state`]).
pub(crate) mod secret {
    use cns_secret::Secret;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(crate) fn serialize<S: Serializer>(value: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = Zeroizing::new(vec![0; value.len() * 2]);
        hex::encode_to_slice(value.expose(), &mut digits).map_err(serde::ser::Error::custom)?;
        let text = std::str::from_utf8(&digits).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        struct SecretDigits;
        impl Visitor<'_> for SecretDigits {
            type Value = Secret;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("hexadecimal digits")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                let mut value = Secret::zeroed(text.len() / 2).map_err(E::custom)?;
                // The decoder's own error would quote the offending character.
                hex::decode_to_slice(text, value.expose_mut())
                    .map_err(|_| E::custom("not hexadecimal digits"))?;
                Ok(value)
            }
        }
        deserializer.deserialize_str(SecretDigits)
    }
}
