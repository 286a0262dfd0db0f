//! What is left of a signature certificate that was asked for when its procedure is given up.

use std::sync::Arc;

use super::UNUSED;
use crate::card::CardContents;
use crate::procedure::Engine;
use crate::procedure::dossier::{Dossier, Signature};

const MAY_BE_ISSUED: &str = "A signature certificate was asked for and may have been issued: have the authority look, and revoke it \
                             if it was (§9.7)";
const UNSEEN: &str = "A signature certificate was issued, and the card is in no reader: where `card.show` does not show it in use on the \
                      card, have the authority revoke it (§9.7)";
const IN_USE: &str = "The signature certificate is on the card and in use";
const RENEWED: &str = "The new signature certificate is in use; what is left of the one before it is deleted by the next renewal (X2)";

impl Engine {
    /// What the operator should know of a certificate that was asked for, and the card where it was looked at for that.
    pub(in crate::procedure) async fn what_is_left(
        &self,
        dossier: &Dossier,
        begun: &Signature,
    ) -> (&'static str, Option<Arc<CardContents>>) {
        let Some(issued) = &begun.certificate else { return (MAY_BE_ISSUED, None) };
        let Some(contents) = self.readers.find_card(&dossier.card) else { return (UNSEEN, None) };
        match self.readers.reread(&contents.card.reader).await {
            Ok(contents) => {
                let held = contents.signature_certificate.as_deref().map(hex::encode);
                let text = match (held.as_ref() == Some(issued), dossier.renews.is_some()) {
                    (true, true) => RENEWED,
                    (true, false) => IN_USE,
                    (false, _) => UNUSED,
                };
                (text, Some(contents))
            }
            Err(error) => {
                tracing::warn!(procedure = dossier.id, %error, "the card is not looked at");
                (UNSEEN, None)
            }
        }
    }
}
