//! The object store of Oberthur and IDEMIA chips against the card that was logged, and against any bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use cns_apdu::file_map::Fid;
use cns_apdu::object::ObjectId;
use cns_apdu::object_directory::{
    CertificateAttributes, DirectoryEntry, FILE_LENGTH, KeyAttributes, KeyHalf, ObjectDirectory, ObjectKind,
    SLOTS, Slot, TokenInformation,
};
use cns_test_vectors::{Sample, samples};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

fn sample(start: &str) -> Sample {
    samples("object_directory").unwrap().into_iter().find(|sample| sample.name.starts_with(start)).unwrap()
}

/// What a directory lists, in the words of the vectors.
fn listing(directory: &ObjectDirectory) -> String {
    let word = |slot: &Slot| match slot {
        Slot::Free => None,
        Slot::Deleted => Some("deleted".to_owned()),
        Slot::Object(entry) => Some(format!("{:04X}/{:04X}", entry.file.0, entry.size)),
    };
    directory.slots().iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn directories_decode_and_encode_to_the_same_bytes() {
    for start in ["directory of public", "directory of private"] {
        let sample = sample(start);
        assert_eq!(sample.bytes.len(), FILE_LENGTH);
        let directory = ObjectDirectory::decode(&sample.bytes);
        assert_eq!(listing(&directory), sample.meaning);
        assert_eq!(directory.encode()[..], sample.bytes);
    }
}

#[test]
fn an_entry_says_what_and_where_it_is() {
    let public = ObjectDirectory::decode(&sample("directory of public").bytes);
    let certificate = public.of_kind(ObjectKind::Certificate).next().unwrap();
    assert_eq!(certificate, DirectoryEntry { file: Fid(0x2002), size: 0x0525 });
    assert_eq!(certificate.path().to_string(), "3F00/1400/9001/2002");
    assert_eq!(certificate.attributes_path().to_string(), "3F00/1400/9001/2102");
    assert_eq!(certificate.key(), None);
    let key = public.of_kind(ObjectKind::PublicKey).next().unwrap();
    assert_eq!(key.attributes_path().to_string(), "3F00/1400/9001/1104");
    let private = ObjectDirectory::decode(&sample("directory of private").bytes);
    let key = private.of_kind(ObjectKind::PrivateKey).next().unwrap();
    assert_eq!(key.key(), ObjectId::new(0x0E));
    assert_eq!(key.attributes_path().to_string(), "3F00/1400/9002/310E");
    let odd = DirectoryEntry { file: Fid(0x3000), size: 0 };
    assert_eq!((odd.kind(), odd.key()), (Some(ObjectKind::PrivateKey), None), "no key has reference 0");
    assert_eq!(DirectoryEntry { file: Fid(0x6001), size: 0 }.kind(), None);
    assert_eq!(DirectoryEntry { file: Fid(0xFFFF), size: 0 }.attributes(), Fid(0x00FF), "no overflow");
}

#[test]
fn only_the_status_used_lists_an_object() {
    let record = |bytes: [u8; 5]| ObjectDirectory::decode(&bytes).slots()[0];
    assert_eq!(record([0x00, 0x20, 0x02, 0x05, 0x25]), Slot::Free);
    assert_eq!(record([0x01, 0x20, 0x02, 0x05, 0x25]), Slot::Free);
    assert_eq!(record([0xFF, 0xFA, 0xFE, 0x00, 0x00]), Slot::Deleted);
    assert_eq!(record([0xFF, 0x00, 0x00, 0x00, 0x00]), Slot::Free);
    assert_eq!(ObjectDirectory::decode(&[0xFF, 0x20, 0x02, 0x05]).entries().count(), 0, "a cut record");
}

#[test]
fn a_directory_holds_48_objects() {
    let entry = DirectoryEntry { file: Fid(0x2002), size: 1 };
    assert_eq!(ObjectDirectory::new(&[entry; SLOTS]).unwrap().entries().count(), SLOTS);
    assert!(ObjectDirectory::new(&[entry; SLOTS + 1]).is_err());
    let endless = [0xFF, 0x20, 0x02, 0x05, 0x25].repeat(1000);
    assert_eq!(ObjectDirectory::decode(&endless).entries().count(), SLOTS);
}

#[test]
fn attributes_have_the_sizes_of_the_card_and_encode_to_the_same_bytes() {
    let file = sample("attributes of a certificate").bytes;
    let attributes = CertificateAttributes::decode(&file).unwrap();
    assert_eq!(file.len(), 0x5D);
    assert_eq!((attributes.label, attributes.id), (vec![0x41; 39], vec![0x42; 39]));
    assert_eq!((attributes.flags, attributes.serial), (CertificateAttributes::FLAGS, vec![1, 2, 3]));
    assert_eq!(CertificateAttributes::decode(&file).unwrap().encode().unwrap(), file);
    for (start, half, length) in [
        ("attributes of a public key", KeyHalf::Public, 0x16D),
        ("attributes of a private key", KeyHalf::Private, 0x16A),
    ] {
        let file = sample(start).bytes;
        assert_eq!(file.len(), length);
        let attributes = KeyAttributes::decode(half, &file).unwrap();
        assert_eq!(attributes.flags, half.flags());
        assert_eq!(
            (attributes.label.as_slice(), attributes.id.as_slice()),
            (&[0x41; 39][..], &[0x42; 39][..])
        );
        assert_eq!(
            (attributes.modulus.as_slice(), attributes.exponent.as_slice()),
            (&[0xC5; 256][..], &[1, 0, 1][..])
        );
        assert_eq!(attributes.encode(half).unwrap(), file);
        for cut in 0..length {
            assert!(KeyAttributes::decode(half, &file[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn token_information_decodes_and_encodes_to_the_same_bytes() {
    let file = sample("token information").bytes;
    let token = TokenInformation::decode(&file).unwrap();
    assert_eq!(token, TokenInformation { label: "TokenME".to_owned(), flags: 0x0000_040D });
    assert_eq!(token.encode().unwrap()[..], file);
    assert!(TokenInformation::decode(&file[..35]).is_err());
    assert!(TokenInformation { label: "x".repeat(33), flags: 0 }.encode().is_err());
    assert!(TokenInformation { label: "perch\u{e9}".to_owned(), flags: 0 }.encode().is_err());
    let escape = [&[0x1B][..], &[b'['; 35]].concat();
    assert!(TokenInformation::decode(&escape).unwrap().label.starts_with('\u{fffd}'));
}

#[test]
fn an_object_is_listed_once_and_behind_the_others_while_there_is_room() {
    let mut directory = ObjectDirectory::decode(&sample("directory of public").bytes);
    directory.put(DirectoryEntry { file: Fid(0x2005), size: 0x0600 }).unwrap();
    directory.put(DirectoryEntry { file: Fid(0x2002), size: 0x0526 }).unwrap();
    assert_eq!(listing(&directory), "deleted deleted 1004/0800 2002/0526 2005/0600");
    for number in 0..48 {
        let _full = directory.put(DirectoryEntry { file: Fid(0x4000 + number), size: 1 });
    }
    assert_eq!(directory.entries().count(), SLOTS);
    assert!(directory.put(DirectoryEntry { file: Fid(0x2006), size: 1 }).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_directory(file in vec(any::<u8>(), 0..300)) {
        let directory = ObjectDirectory::decode(&file);
        prop_assert!(directory.entries().count() <= SLOTS);
        prop_assert_eq!(ObjectDirectory::decode(&directory.encode()), directory);
    }

    #[test]
    fn attributes_take_any_bytes_and_write_back_what_they_took(file in vec(any::<u8>(), 0..700)) {
        if let Ok(attributes) = CertificateAttributes::decode(&file) {
            let again = CertificateAttributes::decode(&attributes.encode().unwrap()).unwrap();
            prop_assert_eq!(again, attributes);
        }
        for half in [KeyHalf::Public, KeyHalf::Private] {
            if let Ok(attributes) = KeyAttributes::decode(half, &file) {
                let again = KeyAttributes::decode(half, &attributes.encode(half).unwrap()).unwrap();
                prop_assert_eq!(again, attributes);
            }
        }
        let _ignored = TokenInformation::decode(&file);
    }
}
