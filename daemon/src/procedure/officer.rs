//! §7: the operator acts as the certifier's registration officer. Requests to the certifier are signed on the operator's
//! own card, in the reader that the operator logged in with; the PIN is typed for that and kept for that request only.

use cns_protocol::SecretText;
use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_secret::Secret;

use crate::authority::{Signer, SignerError, Signing};
use crate::card::{CardError, LastTry, sign::sign};
use crate::operator::digest_info;
use crate::procedure::certifier::Certifier;
use crate::procedure::steps::{StepName, StepRule};
use crate::procedure::{Actor, Engine, ProcedureError};
use crate::reader::Readers;

/// An operator's card that signs.
pub(crate) struct Officer {
    readers: Readers,
    reader: String,
    insertion: u64,
    certificates: Vec<Vec<u8>>,
    pin: Secret,
}

impl Officer {
    /// The card in the operator's reader.
    pub(crate) fn new(readers: &Readers, reader: &str, pin: Secret) -> Result<Self, CardError> {
        let contents = readers.card(reader)?;
        let certificate = contents.certificate(KeyUse::Authentication);
        let certificate = certificate.ok_or(CardError::NoSuchObject("certificate"))?;
        Ok(Self {
            readers: readers.clone(),
            reader: reader.to_owned(),
            insertion: contents.card.insertion,
            certificates: vec![certificate.to_vec()],
            pin,
        })
    }
}

impl Signer for Officer {
    fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    fn sign(&self, message: Vec<u8>) -> Signing<'_> {
        Box::pin(async move {
            let pin = self.pin.duplicate().map_err(CardError::from)?;
            let digest_info = digest_info(&message);
            let job = move |session: &mut crate::card::CardSession<'_>| {
                let (key_use, mechanism) = (KeyUse::Authentication, Mechanism::RsaPkcs1);
                sign(session, key_use, &pin, LastTry::Ask, &mechanism, &digest_info)
            };
            self.readers.run(&self.reader, Some(self.insertion), job).await.map_err(SignerError::Card)
        })
    }
}

impl Engine {
    /// Whether a step wants the operator's PIN, because what is sent to the authority in it is signed with their card.
    pub(super) fn wants_officer(&self, step: &StepRule) -> bool {
        if matches!(
            step.name,
            StepName::SignatureWork | StepName::SignatureWithHolderPin | StepName::RenewalWork
        ) {
            self.certifier.as_deref().is_some_and(Certifier::wants_officer)
        } else if matches!(
            step.name,
            StepName::SuspensionWork | StepName::ReactivationWork | StepName::RevocationWork
        ) {
            self.standings.wants_officer()
        } else {
            false
        }
    }

    /// Whoever signs for this actor, where the authority wants that (`wanted`).
    pub(super) fn officer(
        &self,
        wanted: bool,
        actor: &Actor,
        pin: Option<SecretText>,
    ) -> Result<Option<Officer>, ProcedureError> {
        if !wanted {
            return Ok(None);
        }
        let pin = pin.ok_or(ProcedureError::OfficerPin)?;
        let reader = actor.reader.as_deref().ok_or(ProcedureError::OfficerPin)?;
        Ok(Some(Officer::new(&self.readers, reader, pin.into_secret())?))
    }
}
