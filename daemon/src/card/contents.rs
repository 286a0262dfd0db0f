//! The public contents of a card, read once per insertion.
//!
//! What the card holds decides what it is; the answer to reset only says what is likely, so that the first guess is
//! right. A classic card of the extended form takes eight commands (SELECT FILE and READ BINARY of EF_ID_Carta and of
//! EF_Dati_personali, SELECT FILE and twice READ BINARY of the authentication certificate, and a SELECT FILE that finds no
//! signature certificate), ten with a signature certificate. `docs/card-behaviour.md` has the figures of every
//! generation.
//!
//! What the card can be used without has an allowance of its own: a file that claims to be larger than any real one is
//! left out and told, and the rest is listed.
//!
//! Where nobody knows the place of a signature certificate, [`survey`] looks for it once, after the card was listed.

mod agreement;
mod authorities;
mod certificate;
mod finding;
mod recognise;
mod serial;
mod store;
mod survey;

use std::sync::OnceLock;

use cns_apdu::atr::Atr;
use cns_apdu::command::PinReference;
use cns_apdu::generation::{self, Generation, KeyPlace};
use cns_apdu::object::ObjectId;
use cns_apdu::object_directory::DirectoryEntry;
use cns_apdu::personal_data::PersonalData;
use cns_apdu::signature_area::Slot;
use cns_protocol::card::{Card, Finding, Holder, KeyUse};
use cns_protocol::reader::ReaderKind;
use rsa::RsaPublicKey;

use self::authorities::Authorities;
pub(crate) use self::certificate::{FIRST_PIECE, Parsed, der_length, parse};
pub(super) use self::store::read_keys;
pub(crate) use self::survey::{Survey, survey};
use super::{CardError, Chip, Standing};
use crate::reader::{Budget, Disposition, Metered};

/// The longest personal data that are read. Real files have 400 bytes; the longest fields together have about 700.
const LONGEST_PERSONAL_DATA: usize = 4096;
/// What is read of them at first: all of a real file in one command of the extended form.
const FIRST_OF_PERSONAL_DATA: usize = 1024;

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
    /// Which place of the signature area is in use.
    pub signature_slot: Slot,
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
    signature_slot: Option<Slot>,
    stored: Option<StoredKeys>,
    authorities: Authorities,
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
        self.signature_certificate.is_some() && self.generation.reaches_area_codes() && !stored
    }

    /// Whether nobody knows where this card's signature certificate would be, and it may be looked for.
    pub(crate) fn wants_survey(&self) -> bool {
        self.signature_certificate.is_none() && !self.generation.survey.is_empty()
    }

    /// Adds what was found later.
    pub(crate) fn add(&mut self, survey: &Survey) {
        self.card.findings.extend(survey.findings.iter().cloned());
        let mut authorities = Authorities::from(std::mem::take(&mut self.card.authorities));
        authorities.extend(survey.authorities.clone());
        self.card.authorities = authorities.into();
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
    /// Whether this card was recognised before, since it came.
    pub(crate) known: bool,
}

impl Place<'_> {
    /// Whether another program may have left a CNS inside an application of its own, so that nothing is found.
    fn may_be_elsewhere(&self) -> bool {
        let looks_like_one = || Atr::parse(self.atr).is_ok_and(|atr| atr.cns().is_some());
        self.kind == ReaderKind::Pcsc && (self.known || looks_like_one())
    }
}

/// What looking at a card brought, and how it is left.
pub(crate) struct Reading<T> {
    pub(crate) outcome: T,
    pub(crate) leave: Disposition,
    /// What is known of the chip afterwards.
    pub(crate) standing: Standing,
}

impl<T> Reading<T> {
    fn new(outcome: T, leave: Disposition, chip: &Chip<'_>) -> Self {
        let standing = if leave == Disposition::Reset { Standing::Reset } else { chip.standing() };
        Self { outcome, leave, standing }
    }

    /// One that did not come to its own end.
    pub(crate) const fn cut_off(outcome: T) -> Self {
        Self { outcome, leave: Disposition::Reset, standing: Standing::Unknown }
    }
}

/// Recognises a card and reads it. A card that is no CNS, or that cannot be read, is reset if an application was asked for,
/// so that its own programs find it as it came.
pub(crate) fn read(link: Metered<'_>, place: &Place<'_>) -> Reading<Result<CardContents, CardError>> {
    let candidates = generation::rank(place.atr);
    let Some(likeliest) = candidates.first() else {
        let (leave, standing) = (Disposition::Leave, Standing::Unknown);
        return Reading { outcome: Err(CardError::NoCard), leave, standing };
    };
    let mut chip = Chip::new(link, likeliest);
    let outcome = read_card(&mut chip, &candidates, place);
    let leave = match outcome {
        Err(_) if chip.has_entered_application() => Disposition::Reset,
        _ => Disposition::Leave,
    };
    Reading::new(outcome, leave, &chip)
}

/// Whether a card in the reader has this number where its generation has it; the application that is current may be any.
pub(super) fn has_number(
    chip: &mut Chip<'_>,
    generation: &Generation,
    number: &str,
) -> Result<bool, CardError> {
    Ok(serial::read(chip, &generation.serial)?.is_some_and(|serial| serial.text == number))
}

fn read_card(
    chip: &mut Chip<'_>,
    candidates: &[&'static Generation],
    place: &Place<'_>,
) -> Result<CardContents, CardError> {
    let mut recognised = recognise::recognise(chip, candidates)?;
    if recognised.is_none() && place.may_be_elsewhere() {
        chip.restart()?;
        recognised = recognise::recognise(chip, candidates)?;
    }
    let Some(recognise::Recognised { generation, serial, mut held }) = recognised else {
        return Err(CardError::Unknown(recognise::what_it_is(chip)?.to_owned()));
    };
    chip.set_limits(generation.limits);
    let (file, personal_data, finding) = read_personal_data(chip, generation)?;
    held.findings.extend(finding);
    if held.stored.is_none() {
        read_signature(chip, generation, &mut held)?;
    }
    Ok(assemble(place, generation, serial, (file, personal_data), held))
}

/// The certificate of the signature area: in its second place where the first file has none, which a renewal emptied or
/// has half written.
fn read_signature(
    chip: &mut Chip<'_>,
    generation: &'static Generation,
    held: &mut Held,
) -> Result<(), CardError> {
    for slot in Slot::BOTH {
        let Some(place) = generation.signature_in(slot) else { break };
        let (found, finding) = certificate::read(chip, &place.certificate)?;
        let is_there = finding.is_some();
        held.findings.extend(finding.filter(finding::is_remarkable));
        if found.is_some() {
            held.signature = found;
            held.signature_slot = Some(slot);
            break;
        }
        if !is_there {
            break;
        }
    }
    Ok(())
}

/// The file as it is, and what it says, as far as its own length goes; without them, the third part says why if that is
/// remarkable.
fn read_personal_data(
    chip: &mut Chip<'_>,
    generation: &'static Generation,
) -> Result<(Vec<u8>, PersonalData, Option<Finding>), CardError> {
    let place = &generation.personal_data;
    let nothing = |finding| Ok((Vec::new(), PersonalData::default(), finding));
    let left_out = || nothing(Some(finding::too_long(finding::name(place))));
    let needed = |content: &[u8]| claimed_length(content).filter(|length| *length <= LONGEST_PERSONAL_DATA);
    let read =
        chip.within(Budget::PERSONAL_DATA, |chip| chip.read_place(place, FIRST_OF_PERSONAL_DATA, needed));
    match read {
        Ok(None) => left_out(),
        Ok(Some(Some(content))) if claimed_length(&content).is_some_and(|length| length > content.len()) => {
            left_out()
        }
        Ok(Some(Some(content))) => match PersonalData::decode(&content) {
            Ok(data) => Ok((content, data, None)),
            Err(error) => {
                tracing::warn!(%error, "the card's personal data cannot be read");
                nothing(None)
            }
        },
        Ok(Some(None)) | Err(CardError::Refused { .. } | CardError::Answer { .. }) => nothing(None),
        Err(error) => Err(error),
    }
}

/// The length that the personal data claim to have, six hexadecimal digits and those digits themselves.
fn claimed_length(content: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(content.get(..6)?).ok()?;
    usize::from_str_radix(digits, 16).ok().map(|length| length.saturating_add(6))
}

fn assemble(
    place: &Place<'_>,
    generation: &'static Generation,
    serial: String,
    (file, personal_data): (Vec<u8>, PersonalData),
    held: Held,
) -> CardContents {
    let Held { authentication, signature, signature_slot, stored, authorities, findings } = held;
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
        authorities: authorities.into(),
        findings,
        data_agree,
        pin_tries_left: None,
        puk_tries_left: None,
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
        signature_slot: signature_slot.unwrap_or(Slot::First),
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
