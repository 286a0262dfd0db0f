//! Steps 15 and 16: the certificate into its file.

use cns_apdu::command::UpdateBinary;
use cns_apdu::file_map::SIGNATURE_DF;
use cns_apdu::public_key::PublicKey;
use cns_apdu::signature_area::{self, CERTIFICATE_SIZE, Slot};
use cns_protocol::pin::PinName;
use cns_protocol::rpc::Progress;
use cns_secret::Secret;
use rsa::RsaPublicKey;
use rsa::traits::PublicKeyParts;

use super::super::contents::{FIRST_PIECE, der_length, parse};
use super::super::pin::{self, LastTry};
use super::super::{CardError, CardSession};
use super::state::read_public_key;
use super::{KEY_SIZE, Steps, change, current, place, weak_key};

/// Tag and length of a certificate of more than 255 bytes.
const HEAD: usize = 4;

/// What one UPDATE BINARY carries: Incard's chips want no more (`cns-card` §5.3).
pub(super) const PIECE: usize = 240;

/// Loads a certificate (steps 15 and 16) after comparing its public key with the chip's, fills the rest of the file
/// with zeros and reads it back.
///
/// If the power fails, the file holds something that nobody takes for a certificate, since the tag and length of one are
/// written last; a new call writes all of it.
///
/// # Errors
/// [`CardError::CertificateMismatch`] and [`CardError::WeakKey`] before anything is written, [`CardError::AreaNotReady`]
/// without a key, those of
/// [`pin::verify`] for the CNS PIN, or what the reader says.
pub fn load_certificate(
    session: &mut CardSession<'_>,
    cns_pin: &Secret,
    der: &[u8],
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let slot = current(session);
    load_in(session, slot, cns_pin, der, progress)
}

/// As [`load_certificate`], in either slot.
pub(super) fn load_in(
    session: &mut CardSession<'_>,
    slot: Slot,
    cns_pin: &Secret,
    der: &[u8],
    progress: &dyn Fn(Progress),
) -> Result<(), CardError> {
    let place = place(session, slot)?;
    let parsed = parse(der).filter(|parsed| parsed.der.len() == der.len());
    let parsed = parsed.ok_or(CardError::CertificateMismatch("it is no certificate of an RSA key"))?;
    let pieces = u32::try_from(der.len().div_ceil(PIECE)).unwrap_or(u32::MAX);
    let mut steps = Steps::new(progress, pieces.saturating_add(4));
    steps.next("compare-key", "comparing the certificate's key with the card's");
    session.chip().enter(place.application)?;
    let key = read_public_key(session, slot)?.ok_or(CardError::AreaNotReady("it has no key"))?;
    if !is_same(&parsed.key, &key) {
        return Err(CardError::CertificateMismatch("it is for another key than the card's"));
    }
    weak_key::judge(&key, KEY_SIZE)?;
    let room = prepare_file(session, slot, cns_pin, &mut steps)?;
    if der.len() > room {
        return Err(CardError::AreaForbidden("the certificate is longer than the card's file for it"));
    }
    write(session, der, room, &mut steps)?;
    steps.next("check-certificate", "reading the certificate back");
    let written = session.chip().read_file(&place.certificate.path, der.len(), der_length)?;
    if written.as_deref() == Some(der) {
        Ok(())
    } else {
        Err(CardError::Answer {
            command: "UPDATE BINARY",
            reason: "the certificate reads back otherwise than it was written".to_owned(),
        })
    }
}

/// Presents the CNS PIN and makes the certificate's file the current one, creating it where it is missing. Gives its
/// size.
fn prepare_file(
    session: &mut CardSession<'_>,
    slot: Slot,
    cns_pin: &Secret,
    steps: &mut Steps<'_>,
) -> Result<usize, CardError> {
    steps.next("verify-pin", "presenting the CNS PIN");
    pin::verify(session, PinName::Cns, cns_pin, LastTry::Ask)?;
    let path = &place(session, slot)?.certificate.path;
    let size = match session.chip().inspect(path)? {
        Some(file) => file.size,
        None => {
            session.chip().select(&SIGNATURE_DF)?;
            change(session, &signature_area::create_certificate_file(slot))?;
            None
        }
    };
    Ok(usize::try_from(size.unwrap_or(u32::from(CERTIFICATE_SIZE))).unwrap_or(usize::MAX).min(0x8000))
}

/// Writes the certificate into the current file, and zeros over what an older, longer one left behind it.
///
/// Its head comes last: an unfinished signature at its end is bytes like any others, so that a certificate that lacks only
/// the rest of that would be read as a whole one.
fn write(
    session: &mut CardSession<'_>,
    der: &[u8],
    room: usize,
    steps: &mut Steps<'_>,
) -> Result<(), CardError> {
    let too_long = || CardError::CertificateMismatch("it is too long");
    let (head, body) = der.split_at_checked(HEAD).ok_or(CardError::CertificateMismatch("it is too short"))?;
    let old = session.chip().read_current(FIRST_PIECE, der_length)?;
    let is_empty = old.iter().all(|byte| *byte == 0);
    let mut content = body.to_vec();
    if !is_empty {
        change(session, &UpdateBinary { offset: 0, data: vec![0; HEAD] })?;
        content.resize(body.len().max(room.saturating_sub(HEAD)), 0);
    }
    let mut offset = HEAD;
    for piece in content.chunks(PIECE) {
        steps.next("load-certificate", "writing the certificate");
        let at = u16::try_from(offset).map_err(|_| too_long())?;
        change(session, &UpdateBinary { offset: at, data: piece.to_vec() })?;
        offset = offset.saturating_add(piece.len());
    }
    steps.next("load-certificate", "writing the certificate's tag and length");
    change(session, &UpdateBinary { offset: 0, data: head.to_vec() })
}

fn is_same(certificate: &RsaPublicKey, card: &PublicKey) -> bool {
    certificate.n().to_bytes_be() == card.modulus() && certificate.e().to_bytes_be() == card.exponent()
}
