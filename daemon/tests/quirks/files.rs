//! How cards are recognised and their files read.

use cns_apdu::access::{AccessConditions, Condition, EfOperation};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::file_map::Fid;
use cns_apdu::object::ObjectId;
use cns_apdu::personal_data::PersonalData;
use cns_protocol::card::{KeyUse, PlaceContent};
use cns_virtual_card::sample;

use super::{Answer, OBERTHUR_ATR, SILENT_ATR, ST_ATR, is, listed, listed_changed, sign};
use crate::plugged::Reader;
use crate::wire::{card_of, connect, connect_changed, plain_card_of, settled, take, unusable};

#[tokio::test]
async fn quirk_01_an_answer_to_reset_neither_makes_nor_unmakes_a_cns() {
    let reader = Reader::start();
    let _plugged = connect_changed(&reader, card_of("cie3"), Some(ST_ATR), Box::new(|_, _| None));
    assert!(unusable(&reader).await.contains("not a CNS"));
    let (reader, _plugged) =
        listed_changed(plain_card_of("st2021"), Some(SILENT_ATR), Box::new(|_, _| None)).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
    // Another profile than CNS, the same files.
    let (reader, _plugged) = listed(card_of("hpc")).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
}

#[tokio::test]
async fn quirk_02_an_empty_or_absent_certificate_file_is_not_the_end() {
    // By this ATR the classic place comes first: it is there and full of zeros.
    let reader = Reader::start();
    let plugged =
        connect_changed(&reader, plain_card_of("idemia2021"), Some(OBERTHUR_ATR), Box::new(|_, _| None));
    let contents = settled(&reader).await;
    assert_eq!((contents.card.certificates.len(), contents.generation.store), (1, true));
    assert!(
        take(&plugged).iter().any(|(sent, _)| sent.ends_with("11001101")),
        "the classic place was looked at"
    );
    // On ACe 2025 it is absent.
    let (reader, _plugged) = listed(card_of("ace2025")).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
}

#[tokio::test]
async fn quirk_03_a_certificate_ends_where_its_der_ends() {
    let reader = Reader::start();
    let plugged = connect(&reader, plain_card_of("incard10"));
    let contents = settled(&reader).await;
    let der = contents.authentication_certificate.clone().unwrap();
    assert_eq!(der.len(), 4 + usize::from(u16::from_be_bytes([der[2], der[3]])));
    // The file has 2,048 bytes: the pieces behind the certificate are not read.
    let log = take(&plugged);
    let from = log.iter().position(|(sent, _)| sent.ends_with("11001101")).unwrap() + 1;
    let pieces = log[from..].iter().take_while(|(sent, _)| sent.starts_with("00B0")).count();
    assert_eq!(pieces, der.len().div_ceil(256));
}

#[tokio::test]
async fn quirk_04_no_file_control_information_is_needed() {
    for card in ["st2021", "idemia2021", "ace2025"] {
        let mute: Answer = Box::new(|command, card| {
            is(command, &[0x00, 0xA4])
                .then(|| card.transmit(command))
                .map(|answer| answer[answer.len() - 2..].to_vec())
        });
        let (reader, _plugged) = listed_changed(card_of(card), None, mute).await;
        let keys: Vec<_> =
            reader.card().await.card.certificates.iter().map(|certificate| certificate.key_use).collect();
        assert!(!keys.is_empty());
        for key_use in keys {
            let own = key_use == KeyUse::Signature && card == "st2021";
            let digits = if own { sample::SIGNATURE_PIN } else { sample::PIN };
            sign(&reader, key_use, digits)
                .await
                .unwrap_or_else(|error| panic!("{card} {key_use:?}: {error}"));
        }
    }
}

#[tokio::test]
async fn quirk_05_files_are_named_step_by_step_where_paths_are_refused() {
    for status in [[0x6A, 0x86], [0x6A, 0x81]] {
        let refuse: Answer =
            Box::new(move |command, _| is(command, &[0x00, 0xA4, 0x08]).then(|| status.to_vec()));
        let (reader, plugged) = listed_changed(card_of("idemia2021"), None, refuse).await;
        assert_eq!(reader.card().await.card.certificates.len(), 2);
        // The second key's attributes are looked at, too.
        for key_use in [KeyUse::Signature, KeyUse::Authentication] {
            sign(&reader, key_use, sample::PIN).await.unwrap();
        }
        assert!(take(&plugged).iter().any(|(sent, _)| sent.starts_with("00A40000021400")));
    }
}

#[tokio::test]
async fn quirk_06_an_application_is_selected_again_after_resets_and_other_programs() {
    for (card, foreign) in
        [("ace2025", "00A4040C0CA000000530000B104001021A"), ("st2022-nfc", "00A4000C023F00")]
    {
        let (reader, plugged) = listed(card_of(card)).await;
        for _ in 0..2 {
            sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
            plugged.with_card(|wire| wire.card.reset());
            sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
            plugged.with_card(|wire| wire.card.transmit(&hex::decode(foreign).unwrap()));
        }
    }
}

#[test]
fn quirk_07_file_control_information_is_read_in_every_form() {
    let decode = |text: &str| FileControlInformation::decode(&hex::decode(text).unwrap()).unwrap();
    // `real-cards` §2.1: three bytes of tag 82, nine of tag 86, 24 of tag CB.
    let ef = decode(
        "6F3880020190820301000083021102850101860900FFFFFFFFFFFFFFFF8A0105CB18FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    );
    assert_eq!((ef.size, ef.file, ef.is_dedicated()), (Some(400), Some(Fid(0x1102)), false));
    // ESIGN: one byte of tag 82, a short identifier, and conditions in compact form.
    let esign = decode("6F1B8002075D8201018801088302C0018A0105A1088C0201009C020100");
    assert_eq!((esign.size, esign.file, esign.access), (Some(0x075D), Some(Fid(0xC001)), None));
    // §2.3: the size of a DF under tag 81, tag 85 with 00 or 01.
    let df = decode(
        "6F358102007F8203380000830290028501018609FF1010FFFFFFFF10FFCB18FFFF03040304FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    );
    assert_eq!((df.size, df.is_dedicated()), (Some(0x7F), true));
    // The application of ACe 2025, as SELECT by its name answers.
    let application = decode(
        "6F468102702C8203380000840CA000000530000B104001021A83023F008501018609FFFFFFFFFFFFFFFFFF8A0105CB18FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    );
    assert_eq!(application.name.unwrap().len(), 12);
}

#[test]
fn quirk_08_an_access_byte_is_always_never_or_an_object() {
    let access = AccessConditions([0x00, 0xFF, 0x66, 0x10, 0x1F, 0x1A, 0x20, 0x05, 0x80]);
    let read = access.ef(EfOperation::Read);
    let others = [EfOperation::Update, EfOperation::Append, EfOperation::Activate, EfOperation::Admin];
    assert_eq!(read, Condition::Always);
    assert!(others.iter().all(|operation| access.ef(*operation) == Condition::Never));
    assert_eq!(access.ef(EfOperation::Deactivate), Condition::Verified(ObjectId::CNS_PIN));
    assert_eq!(access.ef(EfOperation::Delete), Condition::Verified(ObjectId::SIGNATURE_PIN));
}

#[tokio::test]
async fn quirk_09_a_file_ends_in_three_ways() {
    // Data with 6282 where it is short; nothing and 6B00 behind the end are the virtual card's own ways.
    let warn: Answer = Box::new(|command, card| {
        is(command, &[0x00, 0xB0]).then(|| {
            let mut answer = card.transmit(command);
            if answer.ends_with(&[0x90, 0x00]) {
                let at = answer.len() - 2;
                answer[at..].copy_from_slice(&[0x62, 0x82]);
            }
            answer
        })
    });
    let (reader, _plugged) = listed_changed(plain_card_of("st2021"), None, warn).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
    assert_eq!(reader.card().await.card.holder.surname, sample::holder().surname);
    // A file that ends inside the certificate it announces: the end is found, and it is no certificate.
    let cut: Answer = Box::new(|command, _| match command {
        [0x00, 0xB0, 0x00, 0x00, ..] => None,
        [0x00, 0xB0, ..] => Some(vec![0x6B, 0x00]),
        _ => None,
    });
    let (reader, _plugged) = listed_changed(plain_card_of("incard10"), None, cut).await;
    assert!(reader.card().await.card.certificates.is_empty());
}

#[tokio::test]
async fn quirk_10_a_read_that_is_too_long_is_made_shorter() {
    // Extended length is refused, by the chip or by a reader that reports an error.
    for refusal in [&[0x67, 0x00][..], &[0x6F, 0x00], &[0x6D, 0x00], &[0x90]] {
        let refuse: Answer = Box::new(move |command, _| {
            (command.len() == 7 && is(command, &[0x00, 0xB0])).then(|| refusal.to_vec())
        });
        let (reader, plugged) = listed_changed(plain_card_of("st2021"), None, refuse).await;
        assert_eq!(reader.card().await.card.certificates.len(), 1, "{refusal:02X?}");
        // Tried in full, and then in steps of 256 bytes.
        let log = take(&plugged);
        assert!(log.iter().any(|(sent, _)| sent.starts_with("00B0") && sent.len() == 14), "{log:#?}");
        assert!(log.iter().any(|(sent, _)| sent == "00B0010000"), "{log:#?}");
    }
    // The right length is told.
    let shorter: Answer = Box::new(|command, _| match command {
        [0x00, 0xB0, _, _, 0x00] => Some(vec![0x6C, 0x80]),
        _ => None,
    });
    let (reader, _plugged) = listed_changed(plain_card_of("incard10"), None, shorter).await;
    assert_eq!(reader.card().await.card.certificates.len(), 1);
}

#[tokio::test]
async fn quirk_24_no_directory_of_pkcs15_is_looked_for() {
    for card in ["st2021", "idemia2021", "ace2025", "cardos", "st2022-nfc", "cie3"] {
        let reader = Reader::start();
        let plugged = connect(&reader, card_of(card));
        reader
            .until("an end", |reader| {
                !matches!(
                    reader.state,
                    cns_protocol::reader::ReaderState::Reading | cns_protocol::reader::ReaderState::Empty
                )
            })
            .await;
        assert!(
            !take(&plugged).iter().any(|(sent, _)| sent.starts_with("00A4") && sent.contains("2F00")),
            "{card}"
        );
    }
}

#[tokio::test]
async fn quirk_25_a_card_number_is_whatever_the_card_says() {
    for (number, told) in [
        (b"0123456789012345", "0123456789012345"),
        (b"TOKENME000000042", "TOKENME000000042"),
        (b"TOKENME 00000042", "544F4B454E4D45203030303030303432"),
    ] {
        let mut is_number = false;
        let other: Answer = Box::new(move |command, _| {
            if is(command, &[0x00, 0xA4]) {
                is_number = command.ends_with(&[0x10, 0x03]);
            }
            (is_number && is(command, &[0x00, 0xB0])).then(|| [&number[..], &[0x90, 0x00]].concat())
        });
        let (reader, _plugged) = listed_changed(plain_card_of("st2021"), None, other).await;
        assert_eq!(reader.card().await.card.serial, told);
    }
    // Eight bytes of BCD behind two others.
    let (reader, _plugged) = listed(card_of("ace2025")).await;
    assert_eq!(reader.card().await.card.serial, sample::ID_CARD);
}

#[tokio::test]
async fn quirk_26_personal_data_is_read_as_far_as_it_goes() {
    // Two-digit lengths, some of zero, the last fields absent, the file filled up with zeros.
    let fields = [
        "6999",
        "15012026",
        "14012032",
        "ABCD",
        "ABCDEF",
        "01011980",
        "M",
        "",
        "RSSMRA80A01H501U",
        "",
        "H501",
        "",
        "",
        "H501",
    ];
    let text: String = fields.iter().map(|field| format!("{:02X}{field}", field.len())).collect();
    let mut file = format!("{:06X}{text}", text.len()).into_bytes();
    file.resize(400, 0);
    let data = PersonalData::decode(&file).unwrap();
    assert_eq!(
        (data.fiscal_code.as_str(), data.height.as_str(), data.notes.as_str()),
        ("RSSMRA80A01H501U", "", "")
    );
    // A file that makes no sense costs the holder's data and not the card.
    let mut is_data = false;
    let noise: Answer = Box::new(move |command, _| {
        if is(command, &[0x00, 0xA4]) {
            is_data = command.ends_with(&[0x11, 0x02]);
        }
        (is_data && is(command, &[0x00, 0xB0])).then(|| [&b"zz-no-length"[..], &[0x90, 0x00]].concat())
    });
    let (reader, _plugged) = listed_changed(plain_card_of("st2021"), None, noise).await;
    let card = reader.card().await;
    assert_eq!((card.card.certificates.len(), card.card.holder.surname.as_str()), (1, ""));
}

#[tokio::test]
async fn quirk_28_a_packed_certificate_is_told_and_not_taken_for_one() {
    for tag in [0x5A, 0x7A] {
        let mut is_second = false;
        let packed: Answer = Box::new(move |command, _| {
            if is(command, &[0x00, 0xA4]) {
                is_second = command.windows(2).any(|fid| fid == [0x20, 0x04]);
            }
            (is_second && is(command, &[0x00, 0xB0]))
                .then(|| [&[tag, 0x82, 0x05, 0x21][..], &[0xAB; 200], &[0x90, 0x00]].concat())
        });
        let (reader, _plugged) = listed_changed(card_of("idemia2021"), None, packed).await;
        let card = reader.card().await;
        assert_eq!(card.card.certificates.len(), 1);
        let finding =
            card.card.findings.iter().find(|finding| finding.content == PlaceContent::Container).unwrap();
        assert_eq!(finding.place, "3F00/1400/9001/2004");
        assert_eq!(finding.detail, format!("container {tag:02X}82, not readable"));
        // The login is not touched by it.
        sign(&reader, KeyUse::Authentication, sample::PIN).await.unwrap();
    }
}

#[tokio::test]
async fn quirk_29_bytes_behind_the_status_word_make_a_card_unusable_and_nothing_else() {
    let reader = Reader::start();
    let append: Answer =
        Box::new(|command, card| Some([&card.transmit(command)[..], &[0xDE, 0xAD]].concat()));
    let plugged = connect_changed(&reader, plain_card_of("st2021"), None, append);
    assert!(!unusable(&reader).await.is_empty());
    assert!(take(&plugged).iter().all(|(sent, _)| sent.starts_with("00A4") || sent.starts_with("00B0")));
}
