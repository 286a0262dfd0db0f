//! Whether the card in a reader is the one that a procedure began with, as far as a card can show without a secret.
//!
//! The serial number alone is a file that any simulated card can hold. The certificate is public too, so this keeps
//! out mistakes and simple fakes, not a card that was copied on purpose (T3.2).

use sha2::{Digest, Sha256};

use crate::card::CardContents;
use crate::procedure::dossier::Dossier;
use crate::procedure::{Actor, ProcedureError};

/// What to do when another card is in the reader.
const PUT_BACK: (&str, &str) = (
    "Put the card back that the procedure began with, or cancel the procedure",
    "Reinserire la carta con cui è iniziata la procedura, o annullare la procedura",
);

/// The card's data and its certificate are not of the same holder and card.
pub(super) fn data_disagree() -> ProcedureError {
    ProcedureError::rule(
        "§4.2.1",
        "the identity data on the card and in its certificate do not agree",
        "i dati identificativi sulla carta e nel certificato non coincidono",
    )
}

/// Keeps by what the card is known again.
pub(super) fn bind(dossier: &mut Dossier, contents: &CardContents) {
    dossier.certificate_sha256 = fingerprint(contents);
    dossier.virtual_reader = Some(contents.card.is_virtual);
}

/// Refuses another card than the one that the procedure began with. A procedure that does not say which is not the
/// daemon's to settle; an operator, who sees the card, may.
pub(super) fn check(dossier: &Dossier, contents: &CardContents, actor: &Actor) -> Result<(), ProcedureError> {
    let refused = |(message, message_it): (&str, &str), (hint, hint_it)| {
        Err(ProcedureError::rule("§9.3.2-4", message, message_it).hinting(hint, hint_it))
    };
    if !contents.card.data_agree {
        return Err(data_disagree().hinting(PUT_BACK.0, PUT_BACK.1));
    }
    match (&dossier.certificate_sha256, dossier.virtual_reader) {
        (Some(certificate), Some(virtual_reader)) => {
            if fingerprint(contents).as_ref() != Some(certificate) {
                return refused(
                    (
                        "the card has another authentication certificate than the one that the procedure began with",
                        "la carta ha un certificato di autenticazione diverso da quello con cui è iniziata la procedura",
                    ),
                    PUT_BACK,
                );
            }
            if contents.card.is_virtual != virtual_reader {
                return refused(
                    (
                        "the card is in another kind of reader than the procedure began with",
                        "la carta è in un lettore di tipo diverso da quello con cui è iniziata la procedura",
                    ),
                    (
                        "Put the card into a reader of the same kind, or cancel the procedure",
                        "Inserire la carta in un lettore dello stesso tipo, o annullare la procedura",
                    ),
                );
            }
            Ok(())
        }
        (None, _) | (_, None) if actor.is_daemon() => refused(
            (
                "an earlier program began the procedure and did not keep by what its card is known again",
                "la procedura è stata iniziata da un programma precedente che non registrava come riconoscere la carta",
            ),
            ("Look at the card and answer the step again", "Verificare la carta e rispondere di nuovo"),
        ),
        (None, _) | (_, None) => Ok(()),
    }
}

fn fingerprint(contents: &CardContents) -> Option<String> {
    contents.authentication_certificate.as_ref().map(|der| hex::encode(Sha256::digest(der)))
}
