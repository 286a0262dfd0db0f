//! How a message is protected, and whether one is believed: by a shared secret, or by the signature of a registration
//! authority or officer (RFC 9810 §5.1.3).

pub(super) mod mac;
pub(super) mod signature;

use aws_lc_rs::rand;
use cns_secret::SecretError;
use thiserror::Error;

use crate::authority::checks::CheckError;
pub use crate::authority::protection::mac::MacKind;
pub use crate::authority::protection::signature::{RaKey, RaKeyError, Signer, SignerError, Signing};

/// Why a message is not believed, or cannot be protected.
#[derive(Debug, Error)]
pub enum ProtectionError {
    /// There is no protection at all.
    #[error("it is not protected")]
    Absent,
    /// The protection is of a kind that is not spoken here.
    #[error("it is protected in a way that is not known here, or not in the way that was agreed")]
    Algorithm,
    /// The parameters are out of bounds.
    #[error("the parameters of its protection are out of bounds")]
    Parameters,
    /// The protection was not made with our secret, or the message was changed.
    #[error("its protection was not made with the shared secret")]
    Wrong,
    /// Its signature is nobody's who may speak for the authority.
    #[error("it is not signed by a trusted certification authority or for one{}", because(.0.as_ref()))]
    Signature(Option<CheckError>),
    /// No locked memory.
    #[error("no locked memory: {0}")]
    Memory(#[from] SecretError),
    /// No random bytes.
    #[error("no random bytes")]
    Random,
    /// A structure could not be encoded.
    #[error("DER: {0}")]
    Der(#[from] der::Error),
}

fn because(fault: Option<&CheckError>) -> String {
    fault.map(|fault| format!(" ({fault})")).unwrap_or_default()
}

/// Bytes that nobody can foresee.
pub(super) fn random<const N: usize>() -> Result<[u8; N], ProtectionError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ProtectionError::Random)?;
    Ok(bytes)
}
