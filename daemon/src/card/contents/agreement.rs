//! Whether a card's files and its certificate speak of the same person and card (manual §4.2.1).

use cns_apdu::personal_data::PersonalData;

/// The common name of an authentication certificate is `CODICEFISCALE/ID_Carta.hash` (`cns-card` §10.1). What exactly
/// the hash covers is not settled, so it is not judged.
pub(super) fn agrees(common_name: &str, data: &PersonalData, serial: &str) -> bool {
    let Some((fiscal_code, rest)) = common_name.split_once('/') else {
        return false;
    };
    let id_card = rest.split_once('.').map_or(rest, |(id_card, _)| id_card);
    !data.fiscal_code.is_empty() && fiscal_code == data.fiscal_code.trim() && id_card == serial
}

#[cfg(test)]
mod tests {
    use super::agrees;
    use cns_apdu::personal_data::PersonalData;

    #[test]
    fn both_the_person_and_the_card_count() {
        let data = PersonalData { fiscal_code: "RSSMRA80A01H501U".to_owned(), ..PersonalData::default() };
        let name = "RSSMRA80A01H501U/6999000000001230.2spivQIFMotW+2Ieae0CdZBGvaM=";
        assert!(agrees(name, &data, "6999000000001230"));
        assert!(agrees("RSSMRA80A01H501U/6999000000001230", &data, "6999000000001230"));
        assert!(!agrees(name, &data, "6999000000001231"));
        assert!(!agrees("RSSMRA80A01H501U", &data, "6999000000001230"));
        assert!(!agrees("VRDMRA80A01H501Q/6999000000001230.x", &data, "6999000000001230"));
        assert!(!agrees("/6999000000001230.x", &PersonalData::default(), "6999000000001230"));
    }
}
