//! File control information: what was decoded decodes alike when written again.

use cns_apdu::fci::FileControlInformation;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(information) = FileControlInformation::decode(bytes) else { return };
    assert!(information.name.as_ref().is_none_or(|name| (1..=16).contains(&name.len())));
    // Sizes of more than two bytes are read and never written.
    let Ok(written) = information.encode() else {
        assert!(information.size.is_some_and(|size| size > u32::from(u16::MAX)));
        return;
    };
    let again = FileControlInformation::decode(&written).expect("what was written is a template");
    assert_eq!(again, information);
}
