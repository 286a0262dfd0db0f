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
use crate::procedure::dossier::Dossier;
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

fn closed() -> ProcedureError {
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

impl Engine {
    /// Refuses a renewal where the configuration does not open the case.
    pub(in crate::procedure) fn refuse_closed_renewal(&self) -> Result<(), ProcedureError> {
        if self.config.get().is_some_and(|config| config.renewal) { Ok(()) } else { Err(closed()) }
    }

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
        refuse_expired(&end)?;
        if self.certifier.is_none() { Err(ProcedureError::NoAuthority) } else { Ok(()) }
    }

    /// The card as it is now, if it still has the certificate that is renewed or, after a cut, the new one already.
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
        let begun = dossier.certificate_request().cloned();
        let issued = begun.as_ref().and_then(|begun| begun.certificate.clone());
        let is_old = dossier.renews.as_ref() == Some(&fingerprint(held));
        if !is_old && issued != Some(hex::encode(held)) {
            return Err(ProcedureError::rule(
                "§9.1.3",
                "the card has another signature certificate than the one that the procedure began with",
                "la carta ha un certificato di firma diverso da quello con cui è iniziata la procedura",
            )
            .hinting("Cancel the procedure", "Annullare la procedura"));
        }
        if begun.is_none() {
            // Both may be otherwise than at the start, days ago. What was begun is brought to its end.
            self.refuse_closed_renewal()?;
            refuse_expired(&end_of_certificate(&contents).unwrap_or_default())?;
        }
        Ok(contents)
    }
}

fn refuse_expired(end: &str) -> Result<(), ProcedureError> {
    if !clock::is_past(end) {
        return Ok(());
    }
    Err(ProcedureError::rule(
        "X2",
        format!("the signature certificate expired on {end}: it is renewed while it is valid"),
        format!("il certificato di firma è scaduto il {end}: si rinnova finché è valido"),
    )
    .hinting(ANOTHER.0, ANOTHER.1))
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
