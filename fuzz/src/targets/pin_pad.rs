//! What a reader says of its keypad, and the orders that it gets (PC/SC part 10). The first byte says what the rest is.

use cns_apdu::pin_pad::{Features, PinModify, PinProperties, PinVerify, TlvProperties};

pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => {
            let Ok(features) = Features::decode(bytes) else { return };
            let told: Vec<(u8, u32)> =
                (0..=u8::MAX).filter_map(|tag| Some((tag, features.code(tag)?))).collect();
            assert_eq!(told.len() * 6, bytes.len(), "each feature is six bytes, and none is there twice");
            let again = Features::decode(&Features::encode(&told)).expect("what was written is a list");
            assert!(told.iter().all(|(tag, code)| again.code(*tag) == Some(*code)));
        }
        1 => {
            let Ok(properties) = TlvProperties::decode(bytes) else { return };
            assert_eq!(TlvProperties::decode(&properties.encode()), Ok(properties));
        }
        2 => {
            let Ok(properties) = PinProperties::decode(bytes) else { return };
            assert_eq!(properties.encode(), bytes);
        }
        3 => {
            let Ok(order) = PinVerify::decode(bytes) else { return };
            let written = order.encode().expect("as short as it was");
            assert_eq!(written.len(), bytes.len());
            assert_eq!(PinVerify::decode(&written), Ok(order));
        }
        _ => {
            let Ok(order) = PinModify::decode(bytes) else { return };
            let written = order.encode().expect("as short as it was");
            assert_eq!(written.len(), bytes.len());
            assert_eq!(PinModify::decode(&written), Ok(order));
        }
    }
}
