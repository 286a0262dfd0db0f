//! The person a card is made for, as the file that orders the card tells it.

use cns_apdu::id_card::{IdCard, IdCardError};
use serde::Deserialize;

use crate::envelopes::{EnvelopeError, random_digits};

/// Why a holder file was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// Not the TOML that is expected.
    #[error("holder file: {0}")]
    Toml(#[from] toml::de::Error),
    /// A date that is not `YYYY-MM-DD`.
    #[error("holder file: {0} must be a date as 1980-01-31")]
    Date(&'static str),
    /// A value of the wrong form.
    #[error("holder file: {0}")]
    Value(&'static str),
    /// The serial number is not one.
    #[error("holder file: id_card: {0}")]
    IdCard(#[from] IdCardError),
    /// No random serial number.
    #[error(transparent)]
    Random(#[from] EnvelopeError),
}

/// The holder's data; everything but the serial number is as printed on the card.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Family name.
    pub surname: String,
    /// Given name.
    pub name: String,
    /// `YYYY-MM-DD`.
    pub birth_date: String,
    /// `M` or `F`.
    pub sex: String,
    /// Tax code, 16 characters.
    pub codice_fiscale: String,
    /// Cadastral code of the municipality of birth.
    pub birth_place: String,
    /// Cadastral code of the municipality of residence.
    pub residence: String,
    /// Kind of issuer and issuer code, four digits: 6200 is the region 200.
    pub issuer: String,
    /// The issuing administration's name in the certificate; derived from the issuer code if absent.
    pub administration: Option<String>,
    /// `YYYY-MM-DD`.
    pub issued: String,
    /// `YYYY-MM-DD`.
    pub expires: String,
    /// The chip's serial number, 16 digits; random if absent.
    pub id_card: Option<String>,
}

impl Holder {
    /// Reads a holder file.
    ///
    /// # Errors
    /// Not TOML, an unknown or missing key, or a value of the wrong form.
    pub fn parse(text: &str) -> Result<Self, HolderError> {
        let holder: Self = toml::from_str(text)?;
        holder.check()?;
        Ok(holder)
    }

    /// Checks the form of every value.
    ///
    /// # Errors
    /// The first value that is wrong.
    pub fn check(&self) -> Result<(), HolderError> {
        require(is_code(&self.codice_fiscale, 16), "codice_fiscale must have 16 letters and digits")?;
        require(is_digits(&self.issuer, 4), "issuer must have 4 digits")?;
        require(matches!(self.sex.as_str(), "M" | "F"), "sex must be M or F")?;
        for (value, message) in [
            (&self.birth_place, "birth_place must be a cadastral code such as H501"),
            (&self.residence, "residence must be a cadastral code such as H501"),
        ] {
            require(is_code(value, 4), message)?;
        }
        for (value, message) in [
            (&self.surname, "surname must have 1 to 60 characters of Latin-1"),
            (&self.name, "name must have 1 to 60 characters of Latin-1"),
        ] {
            let latin = value.chars().all(|letter| u8::try_from(u32::from(letter)).is_ok());
            require(latin && (1..=60).contains(&value.chars().count()), message)?;
        }
        for (value, name) in
            [(&self.birth_date, "birth_date"), (&self.issued, "issued"), (&self.expires, "expires")]
        {
            card_date(value).ok_or(HolderError::Date(name))?;
        }
        if let Some(serial) = &self.id_card {
            IdCard::parse_checked(serial.as_bytes())?;
        }
        Ok(())
    }

    /// The chip's serial number: the one that was ordered, or a random one of the issuer.
    ///
    /// # Errors
    /// No randomness.
    pub fn serial_number(&self) -> Result<IdCard, HolderError> {
        if let Some(serial) = &self.id_card {
            return Ok(IdCard::parse_checked(serial.as_bytes())?);
        }
        let progressive = random_digits(11)?;
        Ok(IdCard::with_check_digit(&[self.issuer.as_bytes(), progressive.expose()].concat())?)
    }

    /// The administration that the certificate's subject names.
    #[must_use]
    pub fn administration(&self) -> String {
        if let Some(administration) = &self.administration {
            return administration.clone();
        }
        let region = self.issuer.get(1..).unwrap_or_default();
        REGIONS
            .iter()
            .find(|(code, _)| *code == region)
            .map_or_else(|| format!("Ente emettitore {region}"), |(_, name)| (*name).to_owned())
    }
}

/// Region codes of the issuer field.
const REGIONS: [(&str, &str); 8] = [
    ("010", "Regione Piemonte"),
    ("090", "Regione Toscana"),
    ("120", "Regione Lazio"),
    ("160", "Regione Puglia"),
    ("170", "Regione Basilicata"),
    ("180", "Regione Calabria"),
    ("190", "Regione Siciliana"),
    ("200", "Regione Autonoma della Sardegna"),
];

/// `YYYY-MM-DD` as the card stores it: DDMMYYYY.
#[must_use]
pub fn card_date(date: &str) -> Option<String> {
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let in_range = |text: &str, last: u8| text.parse::<u8>().is_ok_and(|value| (1..=last).contains(&value));
    let valid = is_digits(year, 4)
        && is_digits(month, 2)
        && is_digits(day, 2)
        && in_range(month, 12)
        && in_range(day, 31);
    valid.then(|| format!("{day}{month}{year}"))
}

fn require(condition: bool, message: &'static str) -> Result<(), HolderError> {
    if condition { Ok(()) } else { Err(HolderError::Value(message)) }
}

fn is_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_code(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROSSI: &str = r#"
        surname = "ROSSI"
        name = "MARIO"
        birth_date = "1980-01-01"
        sex = "M"
        codice_fiscale = "RSSMRA80A01H501U"
        birth_place = "H501"
        residence = "H501"
        issuer = "6200"
        issued = "2026-01-01"
        expires = "2032-01-01"
    "#;

    #[test]
    fn a_serial_number_is_made_where_none_is_ordered() {
        let holder = Holder::parse(ROSSI).unwrap();
        let serial = holder.serial_number().unwrap();
        assert!(serial.as_str().starts_with("6200"));
        assert!(serial.has_valid_check_digit());
        assert_eq!(holder.administration(), "Regione Autonoma della Sardegna");
    }

    #[test]
    fn wrong_values_are_named() {
        for (from, to) in [
            ("1980-01-01", "01/01/1980"),
            ("RSSMRA80A01H501U", "RSSMRA80A01H501"),
            ("6200", "62000"),
            ("MARIO", "M\u{101}RIO"),
            ("sex = \"M\"", "sex = \"X\""),
            ("issuer", "isuer"),
        ] {
            assert!(Holder::parse(&ROSSI.replace(from, to)).is_err(), "{to}");
        }
        assert!(Holder::parse(&format!("{ROSSI}\nid_card = \"6999000000001231\"")).is_err());
        assert!(Holder::parse(&format!("{ROSSI}\nid_card = \"6999000000001230\"")).is_ok());
        assert_eq!(card_date("2026-13-01"), None);
        assert_eq!(card_date("2026-12-31").as_deref(), Some("31122026"));
    }
}
