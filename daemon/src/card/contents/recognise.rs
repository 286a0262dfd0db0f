//! What a card is, told from what it holds.

use cns_apdu::generation::{FOREIGN, FilePlace, Generation, SerialPlace};
use cns_protocol::card::KeyUse;

use super::super::{CardError, Chip};
use super::{Authorities, Held, certificate, serial, store};

/// A card that was recognised.
pub(super) struct Recognised {
    pub(super) generation: &'static Generation,
    pub(super) serial: String,
    pub(super) held: Held,
}

/// Recognises a card: by its number first, then by where its authentication certificate is. A number of another form
/// than the specification's counts only together with a certificate. Nothing when it is no CNS.
///
/// A candidate may be in an application; before the next one that is not, the card is led back by a reset.
pub(super) fn recognise(
    chip: &mut Chip<'_>,
    candidates: &[&'static Generation],
) -> Result<Option<Recognised>, CardError> {
    let mut tried: Vec<&SerialPlace> = Vec::new();
    for candidate in candidates {
        let place = &candidate.serial;
        if tried.contains(&place) {
            continue;
        }
        tried.push(place);
        let Some(serial) = serial::read(chip, place)? else {
            continue;
        };
        let alike: Vec<_> = candidates.iter().copied().filter(|other| other.serial == *place).collect();
        if let Some((generation, held)) = find_certificates(chip, &alike)?
            && (serial.is_usual || held.authentication.is_some() || held.signature.is_some())
        {
            if place.file.application.is_none() {
                chip.is_proven_default();
            }
            return Ok(Some(Recognised { generation, serial: serial.text, held }));
        }
    }
    Ok(None)
}

/// What a card is that is no CNS.
pub(super) fn what_it_is(chip: &mut Chip<'_>) -> Result<&'static str, CardError> {
    for foreign in FOREIGN {
        if chip.find_application(Some(foreign.application))? {
            return Ok(foreign.words);
        }
    }
    Ok("this card is no CNS that the daemon knows")
}

/// The generation whose place of the authentication certificate has one, and what was found there. A place that
/// exists and has none is normal on cards that have it elsewhere; when there is none anywhere, the first counts.
fn find_certificates(
    chip: &mut Chip<'_>,
    candidates: &[&'static Generation],
) -> Result<Option<(&'static Generation, Held)>, CardError> {
    let mut tried: Vec<&FilePlace> = Vec::new();
    let mut store_tried = false;
    let mut first = None;
    let (mut findings, mut authorities) = (Vec::new(), Authorities::default());
    // A store that has the signature certificate alone: the other one may be where classic cards have it.
    let mut in_store: Option<(&'static Generation, Held)> = None;
    for candidate in candidates {
        if candidate.store && !store_tried {
            store_tried = true;
            if let Some(mut held) = store::read(chip, &candidate.authentication)? {
                findings.append(&mut held.findings);
                authorities.extend(std::mem::take(&mut held.authorities));
                if held.authentication.is_some() {
                    return Ok(Some((candidate, Held { findings, authorities, ..held })));
                }
                first.get_or_insert(*candidate);
                in_store = held.signature.is_some().then_some((*candidate, held));
            }
        }
        let place = &candidate.authentication.certificate;
        // What the store has was read.
        if tried.contains(&place) || (candidate.store && in_store.is_some()) {
            continue;
        }
        tried.push(place);
        let (found, finding) = certificate::read(chip, place)?;
        if let Some(found) = found {
            let generation = fitting(candidates, place, &found).unwrap_or(candidate);
            let held = in_store.map(|(_, held)| held).unwrap_or_default();
            let held = Held { authentication: Some(found), findings, authorities, ..held };
            return Ok(Some((generation, held)));
        }
        if let Some(finding) = finding {
            first.get_or_insert(*candidate);
            findings.push(finding);
        }
    }
    let (generation, held) = match in_store {
        Some((generation, held)) => (Some(generation), held),
        None => (first, Held::default()),
    };
    Ok(generation.map(|generation| (generation, Held { findings, authorities, ..held })))
}

/// Of generations that share the place, the key's size decides before their rank.
fn fitting(
    candidates: &[&'static Generation],
    place: &FilePlace,
    found: &super::Parsed,
) -> Option<&'static Generation> {
    let is_of_size = |bits| found.is_of_size(bits);
    candidates
        .iter()
        .find(|known| {
            known.authentication.certificate == *place && is_of_size(known.authentication.modulus_bits)
        })
        .copied()
}

/// The use of a certificate that is one of several, by its key usage: nonRepudiation means signatures.
pub(super) fn use_of(parsed: &super::Parsed) -> KeyUse {
    if parsed.is_for_signatures() { KeyUse::Signature } else { KeyUse::Authentication }
}
