//! EF_Dati_personali: the holder's personal data (`cns-card` §2.6).

use std::fmt::{self, Debug, Formatter};

use thiserror::Error;

/// The size of the file.
pub const FILE_LENGTH: usize = 400;
/// How many fields there are.
pub const FIELDS: usize = 16;

/// Why bytes are no personal data, or a text does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PersonalDataError {
    /// A length is not in hexadecimal digits.
    #[error("a length in the personal data is not hexadecimal")]
    NotHexadecimal,
    /// The bytes end inside a field.
    #[error("the personal data is cut short")]
    Truncated,
    /// A character outside of Latin-1.
    #[error("a character does not exist on the card")]
    Character,
    /// More text than the file or a field can hold.
    #[error("the personal data does not fit the card")]
    TooLong,
}

/// The sixteen fields, in the file's order. Many are empty on a health card. Dates are `DDMMYYYY`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PersonalData {
    /// Issuer's code.
    pub issuer: String,
    /// Day of issue.
    pub issued: String,
    /// Last day of validity.
    pub expires: String,
    /// Surname.
    pub surname: String,
    /// Given names.
    pub name: String,
    /// Date of birth.
    pub birth_date: String,
    /// `M` or `F`.
    pub sex: String,
    /// Height in centimetres.
    pub height: String,
    /// Codice fiscale, the Italian tax code.
    pub fiscal_code: String,
    /// Citizenship.
    pub citizenship: String,
    /// Municipality of birth, cadastral code.
    pub birth_place: String,
    /// State of birth, if abroad.
    pub birth_country: String,
    /// Reference of the birth record.
    pub birth_record: String,
    /// Municipality of residence, cadastral code.
    pub residence: String,
    /// Address.
    pub address: String,
    /// Notes; validity for travel.
    pub notes: String,
}

impl PersonalData {
    /// Decodes the file. What a real card may get wrong is forgiven: fields missing at the end are empty, and
    /// what follows the announced length is ignored. Control characters, which no name has and a terminal would
    /// obey, become U+FFFD.
    ///
    /// # Errors
    /// When a length is malformed or reaches beyond the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, PersonalDataError> {
        let (length, rest) = bytes.split_first_chunk::<6>().ok_or(PersonalDataError::Truncated)?;
        let mut rest = rest.get(..hexadecimal(length)?).ok_or(PersonalDataError::Truncated)?;
        let mut data = Self::default();
        for field in data.fields_mut() {
            if rest.is_empty() {
                break;
            }
            let (length, after) = rest.split_first_chunk::<2>().ok_or(PersonalDataError::Truncated)?;
            let (text, after) =
                after.split_at_checked(hexadecimal(length)?).ok_or(PersonalDataError::Truncated)?;
            // Latin-1: each byte is the character of its number.
            *field = text.iter().copied().map(char::from).map(printable).collect();
            rest = after;
        }
        Ok(data)
    }

    /// The whole file, filled up with zeros.
    ///
    /// # Errors
    /// When a character is not in Latin-1, or the text does not fit.
    pub fn encode(&self) -> Result<[u8; FILE_LENGTH], PersonalDataError> {
        let mut fields = Vec::new();
        for field in self.fields() {
            let text = field.chars().map(|character| u8::try_from(u32::from(character)));
            let text: Vec<u8> = text.collect::<Result<_, _>>().map_err(|_| PersonalDataError::Character)?;
            let length = u8::try_from(text.len()).map_err(|_| PersonalDataError::TooLong)?;
            fields.extend_from_slice(format!("{length:02X}").as_bytes());
            fields.extend_from_slice(&text);
        }
        let mut file = [0; FILE_LENGTH];
        let whole = [format!("{:06X}", fields.len()).as_bytes(), &fields].concat();
        file.get_mut(..whole.len()).ok_or(PersonalDataError::TooLong)?.copy_from_slice(&whole);
        Ok(file)
    }

    fn fields(&self) -> [&str; FIELDS] {
        [
            &self.issuer,
            &self.issued,
            &self.expires,
            &self.surname,
            &self.name,
            &self.birth_date,
            &self.sex,
            &self.height,
            &self.fiscal_code,
            &self.citizenship,
            &self.birth_place,
            &self.birth_country,
            &self.birth_record,
            &self.residence,
            &self.address,
            &self.notes,
        ]
    }

    fn fields_mut(&mut self) -> [&mut String; FIELDS] {
        [
            &mut self.issuer,
            &mut self.issued,
            &mut self.expires,
            &mut self.surname,
            &mut self.name,
            &mut self.birth_date,
            &mut self.sex,
            &mut self.height,
            &mut self.fiscal_code,
            &mut self.citizenship,
            &mut self.birth_place,
            &mut self.birth_country,
            &mut self.birth_record,
            &mut self.residence,
            &mut self.address,
            &mut self.notes,
        ]
    }
}

/// Personal data has no place in a log.
impl Debug for PersonalData {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("PersonalData(..)")
    }
}

fn printable(character: char) -> char {
    if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }
}

fn hexadecimal(digits: &[u8]) -> Result<usize, PersonalDataError> {
    digits.iter().try_fold(0, |number, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(PersonalDataError::NotHexadecimal)?;
        usize::try_from(value).map(|value| number << 4 | value).map_err(|_| PersonalDataError::NotHexadecimal)
    })
}

#[cfg(test)]
mod tests {
    use super::{PersonalData, PersonalDataError};

    #[test]
    fn what_real_cards_get_wrong_is_forgiven() {
        let data = PersonalData::decode(b"00000f0468150905ROSSI").unwrap_err();
        assert_eq!(data, PersonalDataError::Truncated);
        let data = PersonalData::decode(b"00000f0468150005ROSSI\xFF\xFF").unwrap();
        assert_eq!(
            (data.issuer.as_str(), data.issued.as_str(), data.expires.as_str()),
            ("6815", "", "ROSSI")
        );
        assert_eq!(PersonalData::decode(b"000000").unwrap(), PersonalData::default());
        assert_eq!(PersonalData::decode(b"00000G"), Err(PersonalDataError::NotHexadecimal));
        assert_eq!(PersonalData::decode(&[0; 400]), Err(PersonalDataError::NotHexadecimal));
    }

    #[test]
    fn names_are_latin_1_and_print_nothing_else() {
        let named = |surname: &str| PersonalData { surname: surname.to_owned(), ..PersonalData::default() };
        let file = named("D'ALÒ").encode().unwrap();
        assert_eq!(PersonalData::decode(&file).unwrap().surname, "D'ALÒ");
        assert_eq!(named("ŁUKASZ").encode(), Err(PersonalDataError::Character));
        assert_eq!(named(&"A".repeat(256)).encode(), Err(PersonalDataError::TooLong));
        let file = named("\u{1B}[2J").encode().unwrap();
        assert_eq!(PersonalData::decode(&file).unwrap().surname, "\u{FFFD}[2J");
    }
}
