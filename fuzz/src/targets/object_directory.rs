//! The object store: directories list 48 objects at most, and what was decoded decodes alike when written again.

use cns_apdu::object_directory::{
    CertificateAttributes, KeyAttributes, KeyHalf, ObjectDirectory, ObjectKind, SLOTS, TokenInformation,
};

pub(crate) fn run(bytes: &[u8]) {
    let directory = ObjectDirectory::decode(bytes);
    assert_eq!(ObjectDirectory::decode(&directory.encode()), directory);
    assert!(directory.entries().count() <= SLOTS);
    for entry in directory.of_kind(ObjectKind::PrivateKey) {
        // The path of a key stays inside the store, whatever the directory says.
        assert_eq!(entry.path().files().len(), 3);
        assert!(entry.key().is_none_or(|key| (0x01..=0x1E).contains(&key.value())));
    }
    if let Ok(attributes) = CertificateAttributes::decode(bytes) {
        let written = attributes.encode().expect("what was read is not too long");
        assert!(CertificateAttributes::decode(&written).is_ok_and(|again| again == attributes));
    }
    for half in [KeyHalf::Public, KeyHalf::Private] {
        if let Ok(attributes) = KeyAttributes::decode(half, bytes) {
            assert!(attributes.modulus.len() <= 512);
            let written = attributes.encode(half).expect("what was read is not too long");
            assert!(KeyAttributes::decode(half, &written).is_ok_and(|again| again == attributes));
        }
    }
    if let Ok(token) = TokenInformation::decode(bytes) {
        assert!(!token.label.chars().any(char::is_control), "a terminal would obey {:?}", token.label);
    }
}
