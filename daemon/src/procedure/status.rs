//! The status of a card's certificates: looked at before an activation (§9.3b), changed at a counter (§9.5–9.7).
//!
//! [`reasons`] has what the authority is told, `change` tells it.

mod change;
pub mod reasons;

use std::pin::Pin;
use std::time::SystemTime;

use cns_protocol::card::KeyUse;
use cns_protocol::certificate::Standing;
use cns_protocol::counter::Reason;

use crate::authority::Signer;
use crate::card::{CardContents, CardError};
use crate::config::Offline;
use crate::procedure::dossier::Dossier;
use crate::procedure::signature::renewal;
use crate::procedure::{Engine, ProcedureError};

/// How a certificate stands, and of when that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How.
    pub standing: Standing,
    /// When it was so.
    pub at: SystemTime,
}

/// What becomes of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusChange {
    /// It is suspended (§9.5; CMP `rr` with certificateHold). The web area states no reason (§9.5.1).
    Suspend(Option<Reason>),
    /// It is reactivated (§9.6; CMP `rr` with removeFromCRL).
    Reactivate,
    /// It is revoked for ever (§9.7).
    Revoke(Reason),
}

impl StatusChange {
    /// How a certificate stands afterwards.
    #[must_use]
    pub fn leads_to(self) -> Standing {
        match self {
            Self::Suspend(_) => Standing::Suspended,
            Self::Reactivate => Standing::Good,
            Self::Revoke(_) => Standing::Revoked,
        }
    }
}

/// Why the status is not known, or was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Neither the list nor the authority could be reached or believed: in words.
    #[error("the status of the certificate is not known: {0}")]
    Unknown(String),
    /// The authority could not be reached, or answered nonsense: in words.
    #[error("the certification authority: {0}")]
    Failed(String),
    /// The authority refused: in words.
    #[error("the certification authority refuses: {0}")]
    Refused(String),
    /// The authority says that the certificate is suspended or revoked already, and not which, or, of a reactivation, that
    /// there is nothing to reactivate: in words.
    #[error("the certification authority says that it is so already: {0}")]
    Already(String),
    /// The operator's own card did not sign the request (§7).
    #[error("the operator's card: {0}")]
    Officer(CardError),
}

/// What comes of asking.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, StatusError>> + Send + 'a>>;

/// What is done when something is forgotten.
pub type Forgetting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Whoever knows the status of certificates: a revocation list, OCSP.
pub trait StatusSource: Send + Sync {
    /// How a certificate, DER, stands now.
    fn status(&self, certificate: Vec<u8>) -> Asked<'_, Heard>;

    /// What follows when that is not known.
    fn offline(&self) -> Offline {
        Offline::Refuse
    }

    /// Forgets what it knows of a certificate whose status was just changed. To be called after each change: what was
    /// heard before counts no more.
    fn forget<'a>(&'a self, _certificate: &'a [u8]) -> Forgetting<'a> {
        Box::pin(async {})
    }
}

/// Whoever suspends, reactivates and revokes certificates.
pub trait StatusAuthority: Send + Sync {
    /// Whether requests want the signature of the operator's own card (§7).
    fn wants_officer(&self) -> bool {
        false
    }

    /// Whether this authority issued a certificate, DER, of this use to this holder; also one whose term is over. Nobody
    /// is told of others.
    fn has_issued(&self, certificate: &[u8], key_use: KeyUse, codice_fiscale: &str) -> bool;

    /// Changes the status of a certificate, DER, and tells how it stands afterwards. A repetition comes with the same
    /// transaction. [`StatusError::Already`] is no proof of a revocation: authorities answer `certRevoked` also of what is
    /// suspended, and to a reactivation of what is not.
    fn change<'a>(
        &'a self,
        transaction: [u8; 16],
        certificate: Vec<u8>,
        change: StatusChange,
        officer: Option<&'a dyn Signer>,
    ) -> Asked<'a, Standing>;
}

/// What to do about a suspension, in English and Italian.
const REACTIVATE_FIRST: (&str, &str) =
    ("Reactivate it first (§9.6.2), in the same visit", "Riattivarla prima (§9.6.2), nella stessa visita");

impl Engine {
    /// §9.3b: no codes for a card whose authentication certificate is revoked, or suspended (X12); no renewal of a
    /// signature certificate that is. The case says which ones count. Without a source the operator is warned. Where the
    /// source does not know, the configuration says whether the procedure is stopped before anything is done, or goes on
    /// with a warning. What was done here counts until the source has heard of it: a list may be made once a day.
    pub(super) async fn check_status(
        &self,
        dossier: &mut Dossier,
        contents: &CardContents,
    ) -> Result<(), ProcedureError> {
        let in_force = dossier.rule().in_force;
        if in_force.is_empty() {
            return Ok(());
        }
        let (card, source) = (&contents.card.serial, self.status_source.get());
        self.refuse_out_of_force(card, source.map(|_| SystemTime::now())).await?;
        let Some(source) = source else {
            dossier.warn("The certificate's status was not checked: no source is configured (§9.3b)");
            return Ok(());
        };
        for key_use in in_force {
            let certificate = contents.certificate(*key_use).ok_or(ProcedureError::Internal)?.to_vec();
            self.check_status_of(dossier, card, source.as_ref(), (*key_use, certificate)).await?;
        }
        Ok(())
    }

    async fn check_status_of(
        &self,
        dossier: &mut Dossier,
        card: &str,
        source: &dyn StatusSource,
        (key_use, certificate): (KeyUse, Vec<u8>),
    ) -> Result<(), ProcedureError> {
        let heard = match source.status(certificate).await {
            Err(StatusError::Unknown(why)) if source.offline() == Offline::Warn => {
                tracing::warn!(
                    procedure = dossier.id,
                    why,
                    "the procedure goes on though the status is not known (§9.3b)"
                );
                dossier.warn(format!("The certificate's status is not known (§9.3b): {why}"));
                return self.refuse_out_of_force(card, None).await;
            }
            heard => heard?,
        };
        match heard.standing {
            Standing::Good => self.refuse_out_of_force(card, Some(heard.at)).await,
            out_of_force @ (Standing::Suspended | Standing::Revoked) => Err(refusal(out_of_force, key_use)),
        }
    }
}

/// What the operator is told of a certificate that is not in force.
fn refusal(standing: Standing, key_use: KeyUse) -> ProcedureError {
    let of_signature = key_use == KeyUse::Signature;
    let (message, italian, hint) = match standing {
        Standing::Good | Standing::Suspended if of_signature => (
            "the card's signature certificate is suspended",
            "il certificato di firma della carta è sospeso",
            REACTIVATE_FIRST,
        ),
        Standing::Good | Standing::Suspended => {
            ("the card is suspended", "la carta è sospesa", REACTIVATE_FIRST)
        }
        Standing::Revoked if of_signature => (
            "the card's signature certificate is revoked",
            "il certificato di firma della carta è revocato",
            renewal::ANOTHER_FOR_REVOKED,
        ),
        Standing::Revoked => (
            "the card's certificate is revoked",
            "il certificato della carta è revocato",
            (
                "The citizen may ask for a new card (§9.7)",
                "Il cittadino può richiedere una nuova carta (§9.7)",
            ),
        ),
    };
    ProcedureError::rule("§9.3b", message, italian).hinting(hint.0, hint.1)
}
