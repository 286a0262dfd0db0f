//! The certification authority as the signature procedure needs it.

use std::pin::Pin;

use cns_protocol::card::Holder;

use crate::authority::Signer;
use crate::card::CardError;
use crate::config::RequestForm;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertifierError {
    /// The authority could not be reached, or answered nonsense: in words.
    #[error("the certification authority: {0}")]
    Failed(String),
    /// The authority refused: in words. Another transaction may fare better.
    #[error("the certification authority: {0}")]
    Refused(String),
    /// The operator's own card did not sign the request (§7).
    #[error("the operator's card: {0}")]
    Officer(CardError),
    /// What it issued must not be loaded: in words.
    #[error("the certificate that was issued is refused: {0}")]
    Unfit(String),
}

/// What comes of an enrolment: the certificate, DER.
pub type Enrolment<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, CertifierError>> + Send + 'a>>;

/// Whoever issues signature certificates.
pub trait Certifier: Send + Sync {
    /// What the chip's key signs to ask for its certificate.
    fn form(&self) -> RequestForm;

    /// Whether requests want the signature of the operator's own card (§7).
    fn wants_officer(&self) -> bool;

    /// Asks for the certificate of a request, DER. A repetition comes with the same transaction and the same request, and
    /// must lead to one certificate only.
    fn enrol<'a>(
        &'a self,
        transaction: [u8; 16],
        request: Vec<u8>,
        officer: Option<&'a dyn Signer>,
    ) -> Enrolment<'a>;

    /// Judges a certificate before it is loaded: chain, validity, profile, the request's key, the holder.
    ///
    /// # Errors
    /// [`CertifierError::Unfit`].
    fn check(&self, certificate: &[u8], request: &[u8], holder: &Holder) -> Result<(), CertifierError>;
}
