//! `counter.generate_key`, `counter.load_certificate`: the step of the counter that makes the signature certificate
//! (§9.1.3) in two halves, for a program that gets the certificate from the authority by itself.
//!
//! Both need an open procedure of the operator for the card, at that step. The card's PIN is the procedure's envelope's;
//! where it has none, the one that this connection has logged in with (`pin.verify`).

use serde::{Deserialize, Serialize};

use crate::encoding::base64_bytes;
use crate::pin::Done;
use crate::{Method, Role};

/// `counter.generate_key`: makes the signature area and has the chip generate its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GenerateKey {
    /// The reader that holds the citizen's card.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// The bits of the modulus: 2,048.
    pub key_bits: u32,
}

/// A key pair on a card that waits for its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct KeyPair {
    /// The public key: SubjectPublicKeyInfo, DER.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub public_key: Vec<u8>,
    /// The PKCS#10 request for the holder's certificate, DER: the one thing that the key has signed.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub request: Vec<u8>,
}

impl Method for GenerateKey {
    const NAME: &'static str = "counter.generate_key";
    const SUMMARY: &'static str = "Makes the signature key of a procedure and its request; repeated before the certificate \
                                   is loaded, it gives the same ones. Long work sends progress.";
    const ROLE: Role = Role::Counter;
    type Answer = KeyPair;
}

/// `counter.load_certificate`: judges the certificate of the generated key as one that the daemon had asked for itself,
/// loads it, and goes on to the procedure's next step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LoadCertificate {
    /// The reader that holds the citizen's card.
    pub reader: String,
    /// The insertion that the client means, when it wants to be sure.
    #[serde(default)]
    pub insertion: Option<u64>,
    /// The certificate, DER.
    #[serde(with = "base64_bytes")]
    #[cfg_attr(feature = "openrpc", schemars(with = "String"))]
    pub certificate: Vec<u8>,
}

impl Method for LoadCertificate {
    const NAME: &'static str = "counter.load_certificate";
    const SUMMARY: &'static str =
        "Checks the certificate of a procedure's signature key and loads it onto the card.";
    const ROLE: Role = Role::Counter;
    type Answer = Done;
}
