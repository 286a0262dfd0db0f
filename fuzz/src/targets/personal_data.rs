//! Personal data: short texts without control characters, which read alike when written again.

use cns_apdu::personal_data::{FILE_LENGTH, PersonalData};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(data) = PersonalData::decode(bytes) else { return };
    for text in [&data.surname, &data.name, &data.fiscal_code, &data.address, &data.notes, &data.issuer] {
        assert!(text.chars().count() <= 255);
        assert!(!text.chars().any(char::is_control), "a terminal would obey {text:?}");
    }
    // U+FFFD, in place of control characters, is not in Latin-1, and a decoded file may be longer than a card's.
    if let Ok(file) = data.encode() {
        assert_eq!(file.len(), FILE_LENGTH);
        assert!(PersonalData::decode(&file).is_ok_and(|again| again == data));
    }
}
