//! Suspension, reactivation and revocation of a certificate (§9.5–§9.7), over CMP rr.

use x509_cert::ext::pkix::CrlReason;

use crate::authority::{Authority, AuthorityError, CmpError, Signer};

/// What came of asking for another standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The authority did it.
    Now,
    /// The authority says that it is so already: an earlier answer was lost, or somebody else asked.
    Already,
}

impl Authority {
    /// Asks that a certificate be suspended (`certificateHold`), reactivated (`removeFromCRL`) or revoked (any other
    /// reason). Sending it again with the same `transaction` is harmless.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn revoke(
        &self,
        certificate: &[u8],
        reason: CrlReason,
        transaction: [u8; 16],
        officer: Option<&dyn Signer>,
    ) -> Result<Changed, AuthorityError> {
        let client = self.client(officer)?;
        let (message, sent) = client.revocation(certificate, reason, transaction).await?;
        match client.read_revocation(&self.post(&message).await?, &sent) {
            Ok(()) => Ok(Changed::Now),
            // What is revoked is out of force, which is all that a suspension or revocation wants.
            Err(CmpError::Refused(refusal))
                if refusal.names("certRevoked") && reason != CrlReason::RemoveFromCRL =>
            {
                Ok(Changed::Already)
            }
            Err(error) => Err(error.into()),
        }
    }
}
