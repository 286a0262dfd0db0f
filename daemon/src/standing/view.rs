//! A certificate as clients see it.

use cns_protocol::card::KeyUse;
use cns_protocol::certificate::{CertificateStanding, Change as Told};
use der::Decode;
use x509_cert::Certificate as X509;

use crate::standing::row::{Certificate, Change, Personal};

/// A certificate with what was asked for it last.
pub(super) fn certificate(
    certificate: &Certificate,
    personal: &Personal,
    change: Option<&Change>,
) -> CertificateStanding {
    let der = hex::decode(&personal.certificate).unwrap_or_default();
    let decoded = X509::from_der(&der).ok().map(|decoded| decoded.tbs_certificate);
    let serial = decoded.as_ref().map(|decoded| hex::encode(decoded.serial_number.as_bytes()));
    CertificateStanding {
        key_use: certificate.key_use,
        serial: serial.unwrap_or_default(),
        issuer: decoded.map(|decoded| decoded.issuer.to_string()).unwrap_or_default(),
        not_after: certificate.not_after.clone(),
        standing: certificate.standing,
        since: certificate.since.clone(),
        removed: certificate.removed,
        change: change.map(|change| Told {
            request: change.request.clone(),
            act: change.act(),
            reason: change.reason,
            paragraph: change.paragraph.clone(),
            channel: change.channel,
            asked: change.asked.clone(),
            state: change.state,
            attempts: change.attempts,
            said: change.said.clone(),
        }),
    }
}

/// What a certificate is for, in words.
pub(super) fn key_use(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Authentication => "authentication",
        KeyUse::Signature => "signature",
    }
}
