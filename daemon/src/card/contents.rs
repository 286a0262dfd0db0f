//! The public contents of a card, read once per insertion.
//!
//! What the card holds decides what it is; the answer to reset only says what is likely, so that the first guess is
//! right. A classic card of the extended form takes seven commands (SELECT FILE and READ BINARY of EF_ID_Carta, of the
//! authentication certificate and of EF_Dati_personali, and a SELECT FILE that finds no signature certificate), eight
//! with a signature certificate.

mod agreement;
mod certificate;

use cns_apdu::command::SelectFile;
use cns_apdu::file_map::{self, FilePath};
use cns_apdu::generation::{self, Generation};
use cns_apdu::id_card::IdCard;
use cns_apdu::personal_data::PersonalData;
use cns_protocol::card::{Card, Holder, KeyUse};
use cns_protocol::reader::ReaderKind;
use rsa::RsaPublicKey;

pub(crate) use self::certificate::{Parsed, der_length, parse};
use super::{CardError, Chip};
use crate::reader::Metered;

/// A card's public contents.
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
}

/// Where the card is.
pub(crate) struct Place<'a> {
    pub(crate) reader: &'a str,
    pub(crate) kind: ReaderKind,
    pub(crate) insertion: u64,
    pub(crate) atr: &'a [u8],
}

/// Recognises a card and reads it.
pub(crate) fn read(link: Metered<'_>, place: &Place<'_>) -> Result<CardContents, CardError> {
    let candidates = generation::rank(place.atr);
    let likeliest = candidates.first().ok_or_else(no_cns)?;
    let mut chip = Chip::new(link, likeliest.limits);
    let (id_card, application) = find_application(&mut chip, &candidates)?.ok_or_else(no_cns)?;
    let candidates: Vec<_> =
        candidates.into_iter().filter(|known| known.application == application).collect();
    let (generation, authentication) = find_certificate(&mut chip, &candidates)?.ok_or_else(no_cns)?;
    let personal_data = read_personal_data(&mut chip)?;
    let signature = match &generation.signature {
        Some(signature) => read_certificate(&mut chip, &signature.certificate)?.flatten(),
        None => None,
    };
    Ok(assemble(place, generation, id_card, personal_data, authentication, signature))
}

fn no_cns() -> CardError {
    CardError::Unknown("this card is no CNS that the daemon knows".to_owned())
}

/// The number of the card and the application that it is in; `None` when no candidate's application has one.
#[expect(clippy::type_complexity, reason = "said once")]
fn find_application(
    chip: &mut Chip<'_>,
    candidates: &[&'static Generation],
) -> Result<Option<(IdCard, Option<&'static [u8]>)>, CardError> {
    let mut tried = Vec::new();
    for candidate in candidates {
        if tried.contains(&candidate.application) {
            continue;
        }
        tried.push(candidate.application);
        if let Some(name) = candidate.application {
            match chip.run(&SelectFile::application(name)) {
                Ok(_) => {}
                Err(CardError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            }
        }
        // Cards of other kinds refuse in their own ways, so every refusal means "no CNS here".
        match chip.read_file(&file_map::ID_CARD, |_| Some(16)) {
            Ok(Some(bytes)) => {
                if let Ok(id_card) = IdCard::parse(&bytes) {
                    return Ok(Some((id_card, candidate.application)));
                }
            }
            Ok(None) | Err(CardError::Refused { .. } | CardError::Answer { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The generation whose place of the authentication certificate exists, and the certificate when there is one in it.
/// Of generations that share the place, the key's size decides before their rank.
fn find_certificate(
    chip: &mut Chip<'_>,
    candidates: &[&'static Generation],
) -> Result<Option<(&'static Generation, Option<Parsed>)>, CardError> {
    let mut tried: Vec<&FilePath> = Vec::new();
    for candidate in candidates {
        let path = &candidate.authentication.certificate;
        if tried.contains(&path) {
            continue;
        }
        tried.push(path);
        if let Some(found) = read_certificate(chip, path)? {
            let fits = |known: &&&'static Generation| {
                known.authentication.certificate == *path
                    && found.as_ref().is_some_and(|found| found.is_of_size(known.authentication.modulus_bits))
            };
            let generation = candidates.iter().find(fits).copied().unwrap_or(candidate);
            return Ok(Some((generation, found)));
        }
    }
    Ok(None)
}

/// The outer option: whether the file is there. The inner one: whether there is a certificate in it.
fn read_certificate(chip: &mut Chip<'_>, path: &FilePath) -> Result<Option<Option<Parsed>>, CardError> {
    match chip.read_file(path, der_length) {
        Ok(Some(der)) => Ok(Some(parse(&der))),
        Ok(None) => Ok(None),
        // A file that is there but cannot be read now has no certificate for us.
        Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

fn read_personal_data(chip: &mut Chip<'_>) -> Result<PersonalData, CardError> {
    let needed = |content: &[u8]| {
        let digits = std::str::from_utf8(content.get(..6)?).ok()?;
        usize::from_str_radix(digits, 16).ok().map(|length| length.saturating_add(6))
    };
    match chip.read_file(&file_map::PERSONAL_DATA, needed) {
        Ok(Some(content)) => Ok(PersonalData::decode(&content).unwrap_or_else(|error| {
            tracing::warn!(%error, "the card's personal data cannot be read");
            PersonalData::default()
        })),
        Ok(None) | Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(PersonalData::default()),
        Err(error) => Err(error),
    }
}

fn assemble(
    place: &Place<'_>,
    generation: &'static Generation,
    id_card: IdCard,
    personal_data: PersonalData,
    authentication: Option<Parsed>,
    signature: Option<Parsed>,
) -> CardContents {
    let serial = id_card.as_str().to_owned();
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
        issued: date(&personal_data.issued),
        expires: date(&personal_data.expires),
        certificates,
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
