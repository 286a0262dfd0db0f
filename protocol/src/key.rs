//! `key.*`: the use of private keys on the card.

use serde::{Deserialize, Serialize};

use crate::card::KeyUse;
use crate::encoding::base64_bytes;
use crate::secret_bytes::SecretBytes;
use crate::secret_text::{self, SecretText};
use crate::{Method, Role};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Hash {
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// The digest's length in bytes.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha224 => 28,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }
}

/// How the data is turned into what the key works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2) over a DigestInfo, or any other data of at most k − 11 bytes, as
    /// `CKM_RSA_PKCS` takes it.
    RsaPkcs1,
    /// RSASSA-PSS (RFC 8017 §8.1) over a digest, with MGF1.
    RsaPss {
        /// The hash of the message: its length must be the data's.
        hash: Hash,
        /// The hash of MGF1.
        mgf_hash: Hash,
        /// The salt's length in bytes.
        salt_length: u16,
    },
    /// The bare RSA operation on k bytes (`CKM_RSA_X_509`). Refused for signature keys.
    RsaRaw,
}

/// `key.sign`: signs with a key on the card.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// The reader.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// The key.
    pub key_use: KeyUse,
    /// What to do.
    pub mechanism: Mechanism,
    /// What to sign.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub data: Vec<u8>,
    /// The PIN for this one signature. Needed for the signature key, whose PIN is never kept (§1.3.7), unless it is typed
    /// on the reader's PIN pad; the authentication key uses this connection's login.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub pin: Option<SecretText>,
    /// Go on although one try is known to be left.
    #[serde(default)]
    pub confirm_last_try: bool,
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Signature {
    /// The signature, as many bytes as the modulus has.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub signature: Vec<u8>,
}

impl Method for Sign {
    const NAME: &'static str = "key.sign";
    const SUMMARY: &'static str = "Signs with a private key on the card.";
    const ROLE: Role = Role::User;
    const CARRIES_SECRET: bool = true;
    type Answer = Signature;
}

/// How what was deciphered is turned into the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Decryption {
    /// RSAES-PKCS1-v1_5 (RFC 8017 §7.2). What was badly padded is no error: it gives other bytes of another length, the
    /// same ones for the same data while the daemon runs (implicit rejection).
    RsaPkcs1,
    /// RSAES-OAEP (RFC 8017 §7.1) with MGF1.
    RsaOaep {
        /// The hash of the label.
        hash: Hash,
        /// The hash of MGF1.
        mgf_hash: Hash,
        /// The label: at most 1,024 bytes, nearly always none.
        #[serde(default, with = "base64_bytes")]
        #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
        label: Vec<u8>,
    },
    /// The bare RSA operation on k bytes (`CKM_RSA_X_509`), padding and all.
    RsaRaw,
}

/// `key.decrypt`: decrypts with the card's authentication key, whose certificate must let others encrypt for it
/// (keyEncipherment, dataEncipherment, or no key usage at all).
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Decrypt {
    /// The reader.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// What to do.
    pub mechanism: Decryption,
    /// What to decrypt: as many bytes as the modulus has.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub data: Vec<u8>,
    /// The PIN, where this connection's login is not to be used.
    #[serde(default, serialize_with = "secret_text::write_optional")]
    pub pin: Option<SecretText>,
    /// Go on although one try is known to be left.
    #[serde(default)]
    pub confirm_last_try: bool,
}

/// What was decrypted.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct Plaintext {
    /// The data.
    pub plaintext: SecretBytes,
}

impl Method for Decrypt {
    const NAME: &'static str = "key.decrypt";
    const SUMMARY: &'static str = "Decrypts with the authentication key on the card.";
    const ROLE: Role = Role::User;
    const CARRIES_SECRET: bool = true;
    const ANSWERS_SECRET: bool = true;
    type Answer = Plaintext;
}

/// `key.random`: random bytes from the chip.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// The reader.
    pub reader: String,
    /// How many bytes: 1 to 1,024.
    pub length: u16,
}

/// Random bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct RandomBytes {
    /// The bytes.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub bytes: Vec<u8>,
}

impl Method for Random {
    const NAME: &'static str = "key.random";
    const SUMMARY: &'static str = "Reads random bytes from the chip (GET CHALLENGE).";
    const ROLE: Role = Role::User;
    type Answer = RandomBytes;
}
