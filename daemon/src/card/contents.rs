//! The public contents of a card, read once per insertion.
//!
//! What the card holds decides what it is; the answer to reset only says what is likely, so that the first guess is
//! right. A classic card of the extended form takes seven commands (SELECT FILE and READ BINARY of EF_ID_Carta, of the
//! authentication certificate and of EF_Dati_personali, and a SELECT FILE that finds no signature certificate), eight
//! with a signature certificate. `docs/architecture.md` has the figures of every generation.
//!
//! Where nobody knows the place of a signature certificate, [`survey`] looks for it once, after the card was listed.

mod agreement;
mod certificate;
mod finding;
mod recognise;
mod serial;
mod store;
mod survey;

use std::sync::OnceLock;

use cns_apdu::command::PinReference;
use cns_apdu::generation::{self, Generation, KeyPlace};
use cns_apdu::object::ObjectId;
use cns_apdu::object_directory::DirectoryEntry;
use cns_apdu::personal_data::PersonalData;
use cns_protocol::card::{Card, Finding, Holder, KeyUse};
use cns_protocol::reader::ReaderKind;
use rsa::RsaPublicKey;

pub(crate) use self::certificate::{Parsed, der_length, parse};
pub(super) use self::store::read_keys;
pub(crate) use self::survey::{Survey, survey};
use super::{CardError, Chip};
use crate::reader::{Disposition, Metered};

/// A card's public contents.
#[derive(Clone)]
pub struct CardContents {
    /// What clients are told, `pin_tries_left` apart.
    pub card: Card,
    /// How this card is spoken to.
    pub generation: &'static Generation,
    /// The authentication certificate, DER.
    pub authentication_certificate: Option<Vec<u8>>,
    /// The signature certificate, DER.
    pub signature_certificate: Option<Vec<u8>>,
    /// EF_Dati_personali; all fields empty when the card has none that can be read.
    pub personal_data: PersonalData,
    authentication_key: Option<RsaPublicKey>,
    signature_key: Option<RsaPublicKey>,
    /// The keys of an object store.
    pub(super) stored: Option<StoredKeys>,
}

/// The keys of an object store, and what was learned of them since the card came.
#[derive(Clone)]
pub(super) struct StoredKeys {
    pub(super) authentication: Option<KeyPlace>,
    pub(super) signature: Option<KeyPlace>,
    /// The private keys; unset while their directory could not be read.
    pub(super) keys: OnceLock<Vec<DirectoryEntry>>,
    pub(super) authentication_link: OnceLock<ObjectId>,
    pub(super) signature_link: OnceLock<ObjectId>,
    /// The PIN of the signature key.
    pub(super) signature_pin: OnceLock<PinReference>,
}

impl StoredKeys {
    pub(super) fn place(&self, key_use: KeyUse) -> Option<&KeyPlace> {
        match key_use {
            KeyUse::Authentication => self.authentication.as_ref(),
            KeyUse::Signature => self.signature.as_ref(),
        }
    }

    pub(super) fn link(&self, key_use: KeyUse) -> &OnceLock<ObjectId> {
        match key_use {
            KeyUse::Authentication => &self.authentication_link,
            KeyUse::Signature => &self.signature_link,
        }
    }
}

/// The certificates of a card, and where their keys are if not where the generation has them.
#[derive(Default)]
struct Held {
    authentication: Option<Parsed>,
    signature: Option<Parsed>,
    stored: Option<StoredKeys>,
    findings: Vec<Finding>,
}

impl CardContents {
    /// The public key of a certificate.
    #[must_use]
    pub fn public_key(&self, key_use: KeyUse) -> Option<&RsaPublicKey> {
        match key_use {
            KeyUse::Authentication => self.authentication_key.as_ref(),
            KeyUse::Signature => self.signature_key.as_ref(),
        }
    }

    /// A certificate, DER.
    #[must_use]
    pub fn certificate(&self, key_use: KeyUse) -> Option<&[u8]> {
        match key_use {
            KeyUse::Authentication => self.authentication_certificate.as_deref(),
            KeyUse::Signature => self.signature_certificate.as_deref(),
        }
    }

    /// Whether the signature certificate is in the area that this daemon makes, with PIN and PUK of its own.
    #[must_use]
    pub fn has_signature_area(&self) -> bool {
        let stored = self.stored.as_ref().is_some_and(|stored| stored.signature.is_some());
        self.signature_certificate.is_some() && self.generation.makes_signature_area && !stored
    }

    /// Whether nobody knows where this card's signature certificate would be, and it may be looked for.
    pub(crate) fn wants_survey(&self) -> bool {
        self.signature_certificate.is_none() && !self.generation.survey.is_empty()
    }

    /// Adds what was found later.
    pub(crate) fn add(&mut self, survey: &Survey) {
        self.card.findings.extend(survey.findings.iter().cloned());
        if let (Some(signature), Some(stored), None) =
            (&survey.signature, &survey.stored, &self.signature_certificate)
        {
            self.card.certificates.push(signature.describe(KeyUse::Signature));
            self.signature_certificate = Some(signature.der.clone());
            self.signature_key = Some(signature.key.clone());
            self.stored = Some(stored.clone());
        }
    }
}

/// Where the card is.
pub(crate) struct Place<'a> {
    pub(crate) reader: &'a str,
    pub(crate) kind: ReaderKind,
    pub(crate) insertion: u64,
    pub(crate) atr: &'a [u8],
}

/// Recognises a card and reads it. The second part says how to leave it: a card that is no CNS, or that cannot be read,
/// is reset if an application was asked for, so that its own programs find it as it came.
pub(crate) fn read(link: Metered<'_>, place: &Place<'_>) -> (Result<CardContents, CardError>, Disposition) {
    let candidates = generation::rank(place.atr);
    let Some(likeliest) = candidates.first() else {
        return (Err(CardError::NoCard), Disposition::Leave);
    };
    let mut chip = Chip::new(link, likeliest);
    let outcome = read_card(&mut chip, &candidates, place);
    let leave = match outcome {
        Err(_) if chip.has_entered_application() => Disposition::Reset,
        _ => Disposition::Leave,
    };
    (outcome, leave)
}

fn read_card(
    chip: &mut Chip<'_>,
    candidates: &[&'static Generation],
    place: &Place<'_>,
) -> Result<CardContents, CardError> {
    let recognise::Recognised { generation, serial, mut held } = recognise::recognise(chip, candidates)?;
    chip.set_limits(generation.limits);
    let personal_data = read_personal_data(chip, generation)?;
    if let (Some(signature), None) = (&generation.signature, &held.stored) {
        let (found, finding) = certificate::read(chip, &signature.certificate)?;
        held.signature = found;
        held.findings.extend(finding.filter(finding::is_remarkable));
    }
    Ok(assemble(place, generation, serial, personal_data, held))
}

/// The file as it is, and what it says; nothing when it cannot be understood.
fn read_personal_data(
    chip: &mut Chip<'_>,
    generation: &'static Generation,
) -> Result<(Vec<u8>, PersonalData), CardError> {
    let needed = |content: &[u8]| {
        let digits = std::str::from_utf8(content.get(..6)?).ok()?;
        usize::from_str_radix(digits, 16).ok().map(|length| length.saturating_add(6))
    };
    match chip.read_place(&generation.personal_data, needed) {
        Ok(Some(content)) => Ok(match PersonalData::decode(&content) {
            Ok(data) => (content, data),
            Err(error) => {
                tracing::warn!(%error, "the card's personal data cannot be read");
                (Vec::new(), PersonalData::default())
            }
        }),
        Ok(None) | Err(CardError::Refused { .. } | CardError::Answer { .. }) => {
            Ok((Vec::new(), PersonalData::default()))
        }
        Err(error) => Err(error),
    }
}

fn assemble(
    place: &Place<'_>,
    generation: &'static Generation,
    serial: String,
    (file, personal_data): (Vec<u8>, PersonalData),
    held: Held,
) -> CardContents {
    let Held { authentication, signature, stored, findings } = held;
    let data_agree = authentication
        .as_ref()
        .is_some_and(|certificate| agreement::agrees(&certificate.common_name, &personal_data, &serial));
    let certificates = [(KeyUse::Authentication, &authentication), (KeyUse::Signature, &signature)]
        .into_iter()
        .filter_map(|(key_use, parsed)| parsed.as_ref().map(|parsed| parsed.describe(key_use)))
        .collect();
    let card = Card {
        reader: place.reader.to_owned(),
        insertion: place.insertion,
        serial,
        generation: generation.name.to_owned(),
        atr: hex::encode_upper(place.atr),
        is_virtual: place.kind == ReaderKind::Vpcd,
        holder: holder(&personal_data),
        personal_data: file,
        issued: date(&personal_data.issued),
        expires: date(&personal_data.expires),
        certificates,
        findings,
        data_agree,
        pin_tries_left: None,
    };
    let split = |parsed: Option<Parsed>| parsed.map(|parsed| (parsed.der, parsed.key)).unzip();
    let (authentication_certificate, authentication_key) = split(authentication);
    let (signature_certificate, signature_key) = split(signature);
    CardContents {
        card,
        generation,
        authentication_certificate,
        signature_certificate,
        personal_data,
        authentication_key,
        signature_key,
        stored,
    }
}

fn holder(data: &PersonalData) -> Holder {
    Holder {
        surname: data.surname.clone(),
        name: data.name.clone(),
        codice_fiscale: data.fiscal_code.clone(),
        birth_date: date(&data.birth_date),
        sex: data.sex.clone(),
        birth_place: data.birth_place.clone(),
    }
}

/// `DDMMYYYY` as `YYYY-MM-DD`; empty when it is no such date.
fn date(text: &str) -> String {
    match (text.get(..2), text.get(2..4), text.get(4..8)) {
        (Some(day), Some(month), Some(year))
            if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{year}-{month}-{day}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_turned_round() {
        assert_eq!(date("01021980"), "1980-02-01");
        for wrong in ["", "0102198", "1980-2-1", "010219800", "ààààà"] {
            assert_eq!(date(wrong), "", "{wrong}");
        }
    }
}
