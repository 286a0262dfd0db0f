//! X2: the renewal of a signature certificate. The manual names it (§6) and has no procedure: it is identification, a key on
//! the chip, its request and the loading, as for the first certificate (§7, §9.1.3); rule set 1.2 keeps it closed, and
//! configuration opens it.
//!
//! What is true if the power fails after each act: until the new certificate is loaded whole and read back, the old key and
//! certificate serve; the request and the certificate are persisted as they come, so that a repetition asks with the same
//! transaction and the same key. The end of the old ones comes last: its certificate is emptied, then its key deleted, and
//! a repetition finishes that.
//!
//! The old certificate is not revoked. Nobody has a key for it any more, so that nothing new can be signed under it; the
//! holder has stated none of the reasons of §9.7.1; and a revocation would throw doubt on what was signed before. It ends by
//! itself, and until then a suspension or revocation of the card concerns it too (X10).

use std::sync::Arc;

use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use rsa::RsaPublicKey;
use sha2::{Digest, Sha256};

use crate::card::signature_area::renewal as next;
use crate::card::{CardContents, CardError, CardSession};
use crate::procedure::dossier::{Dossier, Intent};
use crate::procedure::remove_signature::end_of_certificate;
use crate::procedure::{Engine, ProcedureError, clock, identity};

/// What to do where a certificate is not renewed because its end is over.
pub(in crate::procedure) const ANOTHER: (&str, &str) = (
    "Delete it (`counter.remove_signature`), then make another one (case `signature`)",
    "Cancellarlo (`counter.remove_signature`) e crearne un altro (caso `signature`)",
);

/// What to do where it is not renewed because it is revoked: its term may last, so that the deletion wants the explicit word.
pub(in crate::procedure) const ANOTHER_FOR_REVOKED: (&str, &str) = (
    "Delete it (`counter.remove_signature` with `even_if_valid`), then make another one (case `signature`)",
    "Cancellarlo (`counter.remove_signature` con `even_if_valid`) e crearne un altro (caso `signature`)",
);

/// What the operator should know who gives up a renewal of which the card may have the certificate already.
const LEFT: &str = "The renewal was given up with its certificate issued: where the card shows the new certificate, the old key is \
                    left without one and is deleted by the next renewal; where it does not, have the authority revoke the new \
                    one (§9.7)";

/// The case is not open here.
pub(in crate::procedure) fn closed() -> ProcedureError {
    ProcedureError::rule(
        "X2",
        "rule set 1.2 has no procedure for renewals, and the configuration does not open one",
        "il manuale operativo 1.2 non prevede una procedura di rinnovo, e la configurazione non la abilita",
    )
    .hinting(
        "Ask the administrator whether `renewal` in [counter] of cnsd.toml may be true",
        "Chiedere all'amministratore se `renewal` in [counter] di cnsd.toml può essere true",
    )
}

/// Keeps which certificate is renewed, and what the operator should know of it.
pub(in crate::procedure) fn bind(dossier: &mut Dossier, contents: &CardContents) {
    dossier.renews = contents.signature_certificate.as_deref().map(fingerprint);
    let end = end_of_certificate(contents);
    if let Some(warning) = end.and_then(|end| identity::early_renewal_warning(&end, clock::today())) {
        dossier.warn(warning);
    }
}

/// What the operator should know of a renewal that is given up after its certificate was issued.
pub(in crate::procedure) fn left(dossier: &Dossier) -> Option<&'static str> {
    match &dossier.intent {
        Some(Intent::Signature(begun)) if dossier.renews.is_some() && begun.certificate.is_some() => {
            Some(LEFT)
        }
        Some(
            Intent::Signature(_)
            | Intent::SetPin(_)
            | Intent::Close { .. }
            | Intent::Status { .. }
            | Intent::National { .. },
        )
        | None => None,
    }
}

impl Engine {
    /// Whether the card's signature certificate may be renewed (§7-adult), and can be (§9.1.3).
    pub(in crate::procedure) fn check_renewal_allowed(
        &self,
        contents: &CardContents,
    ) -> Result<(), ProcedureError> {
        identity::check_adult(&contents.card.holder, clock::today())?;
        let Some(end) = end_of_certificate(contents) else {
            return Err(ProcedureError::rule(
                "§9.1.3",
                "the card has no signature certificate that could be renewed",
                "la carta non ha un certificato di firma da rinnovare",
            )
            .hinting("Make one (case `signature`)", "Crearne uno (caso `signature`)"));
        };
        if !contents.has_signature_area() || contents.generation.no_signature_area.is_some() {
            return Err(ProcedureError::rule(
                "§9.1.3",
                "the card's signature key is not in an area that can take another one",
                "la chiave di firma della carta non è in un'area che possa accoglierne un'altra",
            ));
        }
        if clock::is_past(&end) {
            return Err(ProcedureError::rule(
                "X2",
                format!("the signature certificate expired on {end}: it is renewed while it is valid"),
                format!("il certificato di firma è scaduto il {end}: si rinnova finché è valido"),
            )
            .hinting(ANOTHER.0, ANOTHER.1));
        }
        if self.certifier.is_none() { Err(ProcedureError::NoAuthority) } else { Ok(()) }
    }

    /// Notes the certificates of a card whose renewal is given up: the new one may be in use already, and is suspended with the
    /// others when the card is lost.
    pub(in crate::procedure) async fn note_what_is_left(&self, dossier: &mut Dossier) {
        let Some(contents) = self.readers.find_card(&dossier.card) else { return };
        match self.readers.reread(&contents.card.reader).await {
            Ok(contents) => self.note_certificates(dossier, &contents, false).await,
            Err(error) => {
                tracing::warn!(procedure = dossier.id, %error, "the card's certificates are not noted");
            }
        }
    }

    /// The card as it is now, if it still has the certificate that is renewed or, after a cut, the new one already. Until the
    /// authority has issued the new one, the old one must be in force.
    pub(super) async fn ready_to_renew(
        &self,
        dossier: &mut Dossier,
        mut contents: Arc<CardContents>,
    ) -> Result<Arc<CardContents>, ProcedureError> {
        if contents.signature_certificate.is_none() {
            // There is one, old or new: the card was misread, as after a fault.
            contents = self.readers.reread(&contents.card.reader).await?;
        }
        let Some(held) = contents.signature_certificate.as_deref() else {
            return Err(CardError::AreaNotReady("there is no certificate to renew").into());
        };
        let issued = match &dossier.intent {
            Some(Intent::Signature(begun)) => begun.certificate.clone(),
            Some(
                Intent::SetPin(_) | Intent::Close { .. } | Intent::Status { .. } | Intent::National { .. },
            )
            | None => None,
        };
        let is_old = dossier.renews.as_ref() == Some(&fingerprint(held));
        if !is_old && issued != Some(hex::encode(held)) {
            return Err(ProcedureError::rule(
                "§9.1.3",
                "the card has another signature certificate than the one that the procedure began with",
                "la carta ha un certificato di firma diverso da quello con cui è iniziata la procedura",
            )
            .hinting("Cancel the procedure", "Annullare la procedura"));
        }
        if issued.is_none() {
            self.check_status(dossier, &contents).await?;
        }
        Ok(contents)
    }
}

/// The next key, locked in its place beside the old one.
pub(super) fn next_key(
    session: &mut CardSession<'_>,
    [pin, area_pin]: [&Secret; 2],
    report: &(dyn Fn(Progress) + Sync),
) -> Result<RsaPublicKey, CardError> {
    next::prepare(session, pin, area_pin, report)?;
    let key = next::generate_key(session, pin, area_pin, report)?;
    next::lock(session, pin, report)?;
    Ok(key)
}

/// Loads the next certificate, unless an earlier attempt did, and ends the old one.
pub(super) fn put_in_use(
    session: &mut CardSession<'_>,
    [pin, area_pin]: [&Secret; 2],
    certificate: &[u8],
    report: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let is_in_use = session.contents().signature_certificate.as_deref() == Some(certificate);
    if !is_in_use && next::inspect_next(session)?.certificate.as_deref() != Some(certificate) {
        next::load_certificate(session, pin, certificate, report)?;
    }
    next::finish(session, pin, area_pin, certificate, report)
}

fn fingerprint(certificate: &[u8]) -> String {
    hex::encode(Sha256::digest(certificate))
}
