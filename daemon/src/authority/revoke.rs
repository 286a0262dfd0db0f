//! Suspension, reactivation and revocation of a certificate (§9.5–§9.7), over CMP rr.

use std::time::SystemTime;

use cns_protocol::card::KeyUse;
use cns_protocol::certificate::Standing;
use x509_cert::ext::pkix::CrlReason;

use crate::authority::checks::verify_issued;
use crate::authority::{Authority, AuthorityError, CmpError, Signer, SignerError};
use crate::procedure::status::{Asked, StatusAuthority, StatusChange, StatusError};

/// Refusals that say nothing of the certificate: the same request may fare better when the authority, or our
/// credentials with it, are in order again.
const PASSING: [&str; 6] =
    ["systemUnavail", "systemFailure", "badMessageCheck", "badTime", "notAuthorized", "signerNotTrusted"];

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
    ) -> Result<(), AuthorityError> {
        let client = self.client(officer)?;
        let (message, sent) = client.revocation(certificate, reason, transaction).await?;
        Ok(client.read_revocation(&self.post(&message).await?, &sent)?)
    }
}

impl StatusAuthority for Authority {
    fn wants_officer(&self) -> bool {
        Authority::wants_officer(self)
    }

    fn has_issued(&self, certificate: &[u8], key_use: KeyUse, codice_fiscale: &str) -> bool {
        let judged = verify_issued(certificate, (key_use, codice_fiscale), self.anchors(), SystemTime::now());
        if let Err(error) = &judged {
            tracing::warn!(%error, "a certificate on a card is not the authority's");
        }
        judged.is_ok()
    }

    fn change<'a>(
        &'a self,
        transaction: [u8; 16],
        certificate: Vec<u8>,
        change: StatusChange,
        officer: Option<&'a dyn Signer>,
    ) -> Asked<'a, Standing> {
        Box::pin(async move {
            match self.revoke(&certificate, change.code(), transaction, officer).await {
                Ok(()) => Ok(change.leads_to()),
                Err(AuthorityError::Cmp(CmpError::Refused(refusal))) if refusal.names("certRevoked") => {
                    Err(StatusError::Already(refusal.to_string()))
                }
                Err(AuthorityError::Cmp(CmpError::Refused(refusal)))
                    if !PASSING.iter().any(|failure| refusal.names(failure)) =>
                {
                    Err(StatusError::Refused(refusal.to_string()))
                }
                Err(AuthorityError::Cmp(CmpError::Signer(SignerError::Card(error)))) => {
                    Err(StatusError::Officer(error))
                }
                Err(error) => Err(StatusError::Failed(error.to_string())),
            }
        })
    }
}
