//! Every generation of the table: made, listed, unblocked, signed with; and what its real cards answered.

use cns_apdu::StatusWord;
use cns_apdu::command::{
    CardCommand, ChangeProof, ChangeReferenceData, ManageSecurityEnvironment, PerformSecurityOperation,
    PinReference, ReferenceData, ResetAction, ResetRetryCounter, SelectFile, Template, Verify,
};
use cns_apdu::file_map::{
    AUTHENTICATION_CERTIFICATE, ESIGN_CERTIFICATE, FilePath, MASTER_FILE, PERSONAL_DATA,
    PRIVATE_OBJECT_DIRECTORY, PUBLIC_OBJECT_DIRECTORY, SIGNATURE_CERTIFICATE, SIGNATURE_KEY_DF,
};
use cns_apdu::object::ObjectId;
use cns_apdu::object_directory::{
    CertificateAttributes, KeyAttributes, KeyHalf, ObjectDirectory, ObjectKind,
};
use cns_apdu::personal_data::PersonalData;
use cns_apdu::transmit::{Channel, Limits};
use cns_secret::Secret;
use cns_virtual_card::{
    Behaviour, Generation, Personalisation, SignatureArea, SignatureAreaState, VirtualCard, sample,
};
use rsa::sha2::{Digest, Sha256};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};

use crate::{bytes, expect, run, send};

type Host = Channel<VirtualCard>;

/// Two certificates that differ in length and content; a chip does not look into them.
const LOGIN: [u8; 600] = certificate(0x54, 0x11);
const SIGNATURE: [u8; 700] = certificate(0xB8, 0x22);

/// A SEQUENCE of `LENGTH` bytes, whose length ends in `low`.
const fn certificate<const LENGTH: usize>(low: u8, fill: u8) -> [u8; LENGTH] {
    let mut der = [fill; LENGTH];
    der[0] = 0x30;
    der[1] = 0x82;
    der[2] = 0x02;
    der[3] = low;
    der
}

fn named(name: &str) -> Generation {
    Generation::from_name(name).unwrap()
}

/// The sample card of a generation, with all the keys and certificates that it can have.
pub(crate) fn card_of(generation: Generation) -> VirtualCard {
    let mut card = VirtualCard::create(sample::personalisation_of(generation).unwrap()).unwrap();
    if generation.is_cns() {
        card.load_certificate(&LOGIN).unwrap();
    }
    if generation.takes_signature_key() {
        card.load_signature_certificate(&SIGNATURE).unwrap();
    }
    card
}

fn limits(generation: Generation) -> Limits {
    if generation.takes_extended_length() { Limits::EXTENDED } else { Limits::SHORT }
}

#[track_caller]
fn command<C: CardCommand>(host: &mut Host, command: &C) -> C::Answer {
    host.run(command).unwrap_or_else(|error| panic!("{}: {error}", C::NAME))
}

fn read(host: &mut Host, path: FilePath) -> Vec<u8> {
    let size = command(host, &SelectFile::path(path)).unwrap().size.unwrap();
    host.read_current_file(usize::try_from(size).unwrap()).unwrap()
}

fn verify(host: &mut Host, reference: PinReference, digits: &[u8]) -> Result<(), Option<StatusWord>> {
    let value = ReferenceData::from_digits(&Secret::copy_from(digits).unwrap()).unwrap();
    host.run(&Verify { reference, value: Some(value) }).map_err(|error| error.status())
}

/// Where a key of the sample card is: what a host would have to find out.
struct Place {
    application: Option<&'static str>,
    certificate: FilePath,
    key_df: FilePath,
    key: u8,
    pin: PinReference,
    pin_value: &'static [u8],
    template: Template,
    der: &'static [u8],
}

/// The login key, and the signature key where there is one, as the documentation tells.
fn places(generation: Generation) -> Vec<Place> {
    let pin = match generation.name() {
        "st2021" | "incard10" | "incard11" | "jsign2048" | "st2022" | "st2022-nfc" | "dsd" => {
            PinReference::local(ObjectId::CNS_PIN)
        }
        _ => PinReference::global(ObjectId::CNS_PIN),
    };
    let login = Place {
        application: None,
        certificate: AUTHENTICATION_CERTIFICATE,
        key_df: MASTER_FILE,
        key: 0x01,
        pin,
        pin_value: sample::PIN,
        template: Template::Confidentiality,
        der: &LOGIN,
    };
    let stored = |certificate: &str, key| Place {
        certificate: FilePath::from_bytes(&bytes(certificate)).unwrap(),
        key_df: FilePath::from_bytes(&bytes("14009002")).unwrap(),
        key,
        ..Place { pin, ..places_of_the_store() }
    };
    let classic_signature = |application| Place {
        application,
        certificate: SIGNATURE_CERTIFICATE,
        key_df: SIGNATURE_KEY_DF,
        key: 0x10,
        pin: PinReference::local(ObjectId::SIGNATURE_PIN),
        pin_value: sample::SIGNATURE_PIN,
        template: Template::Signature,
        der: &SIGNATURE,
    };
    match generation.name() {
        "idemia2021" | "idemia-nfc" | "idemia-cosmo91" | "hpc-idemia" => {
            vec![stored("140090012002", 0x02), Place { der: &SIGNATURE, ..stored("140090012004", 0x05) }]
        }
        "oberthur-cosmo7" => {
            vec![stored("140090012002", 0x0E), Place { der: &SIGNATURE, ..stored("140090012005", 0x0F) }]
        }
        "ace2025" => {
            vec![Place { application: Some("A000000530455349474E"), certificate: ESIGN_CERTIFICATE, ..login }]
        }
        "st2022-nfc" => {
            let application = Some("A00000009501004D");
            vec![Place { application, ..login }, classic_signature(application)]
        }
        "chipdoc" | "cie3" => Vec::new(),
        _ if generation.takes_signature_key() => vec![login, classic_signature(None)],
        _ => vec![login],
    }
}

/// What all places of an object store have in common.
fn places_of_the_store() -> Place {
    Place {
        application: None,
        certificate: MASTER_FILE,
        key_df: MASTER_FILE,
        key: 0,
        pin: PinReference::global(ObjectId::CNS_PIN),
        pin_value: sample::PIN,
        template: Template::Confidentiality,
        der: &LOGIN,
    }
}

fn key_of(generation: Generation, place: &Place) -> RsaPrivateKey {
    if place.der == LOGIN {
        sample::key_of(generation).unwrap()
    } else {
        sample::signature_key_of(generation).unwrap()
    }
}

/// DigestInfo of SHA-256, and a whole signature block around it.
fn block(length: usize) -> (Vec<u8>, Vec<u8>) {
    let hash = Sha256::digest(b"document").to_vec();
    let info = [bytes("3031300D060960864801650304020105000420"), hash.clone()].concat();
    let block = [&[0x00, 0x01][..], &vec![0xFF; length - info.len() - 3], &[0x00], &info].concat();
    (hash, block)
}

#[test]
fn every_generation_is_listed_and_signs() {
    let mut signed = 0;
    for generation in Generation::all() {
        for place in places(generation) {
            let name = generation.name();
            let mut host = Channel::new(card_of(generation), limits(generation));
            if let Some(application) = place.application {
                command(&mut host, &SelectFile::application(&bytes(application)));
            }
            let file = read(&mut host, place.certificate.clone());
            assert_eq!(&file[..place.der.len()], place.der, "{name}");
            assert!(file[place.der.len()..].iter().all(|byte| *byte == 0), "{name}");
            command(&mut host, &SelectFile::path(place.key_df.clone()));
            let wrong = verify(&mut host, place.pin, b"99999").unwrap_err();
            assert_eq!(wrong, Some(StatusWord::retries_left(2)), "{name}");
            verify(&mut host, place.pin, place.pin_value).unwrap();
            command(&mut host, &SelectFile::path(place.key_df.clone()));
            command(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
            let (template, key) = (place.template, ObjectId::new(place.key).unwrap());
            command(&mut host, &ManageSecurityEnvironment::Set { template, key });
            let (hash, block) = block(generation.key_bits() / 8);
            let signature = command(
                &mut host,
                &match place.template {
                    Template::Signature => PerformSecurityOperation::ComputeDigitalSignature { input: block },
                    Template::Confidentiality | Template::Authentication => {
                        PerformSecurityOperation::Decipher { block: Secret::copy_from(&block).unwrap() }
                    }
                },
            );
            let public = key_of(generation, &place).to_public_key();
            public.verify(Pkcs1v15Sign::new::<Sha256>(), &hash, &signature).unwrap();
            signed += 1;
        }
    }
    assert_eq!(signed, 30);
}

#[test]
fn every_generation_counts_changes_and_unblocks() {
    for generation in Generation::all().filter(|generation| generation.is_cns()) {
        let name = generation.name();
        let (pin, puk) = (PinReference::global(ObjectId::CNS_PIN), PinReference::global(ObjectId::CNS_PUK));
        let mut host = Channel::new(card_of(generation), Limits::SHORT);
        let digits = |text: &[u8]| ReferenceData::from_digits(&Secret::copy_from(text).unwrap()).unwrap();
        let proof = ChangeProof::Value(digits(sample::PIN));
        command(&mut host, &ChangeReferenceData { reference: pin, proof, new: digits(b"7654321") });
        assert_eq!(verify(&mut host, pin, sample::PIN), Err(Some(StatusWord::retries_left(2))), "{name}");
        verify(&mut host, pin, b"7654321").unwrap();
        for left in [2, 1, 0] {
            assert_eq!(verify(&mut host, pin, b"99999"), Err(Some(StatusWord::retries_left(left))), "{name}");
        }
        assert_eq!(verify(&mut host, pin, b"7654321"), Err(Some(StatusWord::BLOCKED)), "{name}");
        let wrong = verify(&mut host, puk, b"00000000").unwrap_err();
        let tries = if name.starts_with("idemia") || matches!(name, "oberthur-cosmo7" | "hpc-idemia") {
            8
        } else {
            3
        };
        assert_eq!(wrong, Some(StatusWord::retries_left(tries - 1)), "{name}");
        let action = ResetAction::SetNew { puk: digits(sample::PUK), new: digits(sample::PIN) };
        command(&mut host, &ResetRetryCounter { reference: pin, action });
        verify(&mut host, pin, sample::PIN).unwrap();
    }
}

/// What OpenSC asks of every card before it takes it for a CNS, and while it looks for certificates: an answer other
/// than a refusal would hand the card to another driver, another refusal than 6A82 would stop it.
#[test]
fn no_generation_answers_to_another_cards_name() {
    let names = [
        "627601FF000000",
        "A00000000101",
        "E82B0601040181C31F0201",
        "D23300000045737445494420763335",
        "A000000308000010000100",
        "A00000011 6DB00",
        "A000000079 0100",
        "A000000079 010F",
    ];
    for generation in Generation::all() {
        let mut card = card_of(generation);
        for name in names {
            let name = name.replace(' ', "");
            let answer = send(&mut card, &format!("00A40400{:02X}{name}00", name.len() / 2));
            assert_eq!(answer, "6A82", "{} to {name}", generation.name());
        }
        for path in ["2F00", "5015", "5031", "2FFF8228"] {
            let answer = send(&mut card, &format!("00A40800{:02X}{path}00", path.len() / 2));
            assert_eq!(answer, "6A82", "{} to {path}", generation.name());
        }
        for probe in ["00CADF3005", "00CB3FFF035C017E08"] {
            assert_eq!(send(&mut card, probe)[..1], *"6", "{} to {probe}", generation.name());
        }
    }
}

#[test]
fn a_makers_container_is_loaded_as_it_is() {
    let mut card = card_of(named("idemia2021"));
    let container = [&[0x7A, 0x82, 0x01, 0x00][..], &[0x5C; 256]].concat();
    card.load_signature_certificate(&container).unwrap();
    let mut host = Channel::new(card, Limits::SHORT);
    let public = ObjectDirectory::decode(&read(&mut host, PUBLIC_OBJECT_DIRECTORY));
    let entry = public.of_kind(ObjectKind::Certificate).nth(1).unwrap();
    assert_eq!(usize::from(entry.size), container.len());
    assert_eq!(read(&mut host, entry.path()), container);
}

#[test]
fn every_cns_tells_its_holder_and_its_number() {
    for generation in Generation::all().filter(|generation| generation.is_cns()) {
        let application = match generation.name() {
            "st2022-nfc" => Some("A00000009501004D"),
            "chipdoc" => Some("A000000530000B104001011B"),
            _ => None,
        };
        let mut host = Channel::new(card_of(generation), Limits::SHORT);
        if let Some(application) = application {
            let refused = host.run(&SelectFile::path(PERSONAL_DATA)).unwrap_err();
            assert_eq!(refused.status(), Some(StatusWord::FILE_NOT_FOUND), "{}", generation.name());
            command(&mut host, &SelectFile::application(&bytes(application)));
        }
        let data = PersonalData::decode(&read(&mut host, PERSONAL_DATA)).unwrap();
        assert_eq!(data.surname, "ROSSI", "{}", generation.name());
        assert_eq!(read(&mut host, cns_apdu::file_map::ID_CARD), sample::ID_CARD.as_bytes());
    }
}

#[test]
fn the_object_store_leads_to_both_certificates_and_keys() {
    for (name, login, signature) in [("oberthur-cosmo7", 0x0E, 0x0F), ("idemia2021", 0x02, 0x05)] {
        let mut host = Channel::new(card_of(named(name)), Limits::SHORT);
        let public = ObjectDirectory::decode(&read(&mut host, PUBLIC_OBJECT_DIRECTORY));
        let certificates: Vec<_> = public.of_kind(ObjectKind::Certificate).collect();
        let sizes: Vec<_> = certificates.iter().map(|entry| usize::from(entry.size)).collect();
        assert_eq!(sizes, [LOGIN.len(), SIGNATURE.len()], "{name}");
        assert_eq!(read(&mut host, certificates[0].path()), LOGIN);
        assert_eq!(read(&mut host, certificates[1].path()), SIGNATURE);
        let private = ObjectDirectory::decode(&read(&mut host, PRIVATE_OBJECT_DIRECTORY));
        let keys: Vec<_> = private.of_kind(ObjectKind::PrivateKey).collect();
        let references: Vec<_> = keys.iter().filter_map(|entry| entry.key()).map(ObjectId::value).collect();
        assert_eq!(references, [login, signature], "{name}");
        verify(&mut host, PinReference::global(ObjectId::CNS_PIN), sample::PIN).unwrap();
        for (certificate, key) in certificates.iter().zip(&keys) {
            let certificate = read(&mut host, certificate.attributes_path());
            let certificate = CertificateAttributes::decode(&certificate).unwrap();
            let key =
                KeyAttributes::decode(KeyHalf::Private, &read(&mut host, key.attributes_path())).unwrap();
            assert_eq!((certificate.id, certificate.label), (key.id, key.label), "{name}");
        }
    }
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_old_one() {
    let mut card = card_of(named("oberthur-cosmo7"));
    card.load_certificate(&SIGNATURE).unwrap();
    let mut host = Channel::new(card, Limits::SHORT);
    let public = ObjectDirectory::decode(&read(&mut host, PUBLIC_OBJECT_DIRECTORY));
    assert_eq!(public.of_kind(ObjectKind::Certificate).count(), 2);
    let entry = public.of_kind(ObjectKind::Certificate).next().unwrap();
    assert_eq!(read(&mut host, entry.path()), SIGNATURE);
}

#[test]
fn keys_of_the_store_are_found_only_from_their_directory_and_at_their_use() {
    let mut card = card_of(named("idemia2021"));
    let sign = format!("002A8086000101 00 {} 0100", hex::encode(block(256).1));
    run(
        &mut card,
        &[
            ("0020001008 3132333435FFFFFF", "9000"),
            ("0022F303", "9000"),
            ("0022F1B803830102", "9000"),
            (&sign, "6984"),
            ("00A4080004 14009002", "9000"),
        ],
    );
    assert_eq!(send(&mut card, &sign).len(), 2 * 258);
}

#[test]
fn idemias_habits() {
    run(
        &mut card_of(named("idemia2021")),
        &[
            ("00A4080C04 11001102", "6A86"),
            ("00A4080004 11001102", "9000"),
            ("0084000021", "6700"),
            ("00200090", "6A88"),
            ("00200010", "63C3"),
            ("00A4080004 11001101", "9000"),
            ("00B006FF01", "00 9000"),
            ("80CADF6405", "6E00"),
            // The holder's PIN could; but the DF of the keys wants the issuer's secure messaging.
            ("0020001008 3132333435FFFFFF", "9000"),
            ("00A4080004 14009002", "9000"),
            ("00DA016E21 8302001A 850802038703FF000005 8607001A1BFFFFFFFF 8F08 3534333231FFFFFF", "6E00"),
        ],
    );
    assert_eq!(send(&mut card_of(named("idemia2021")), "0084000020").len(), 2 * 34);
}

#[test]
fn a_chip_may_take_one_form_of_restore_alone() {
    let behaviour = Behaviour { strict_restore: true, ..Behaviour::default() };
    let order = Personalisation { behaviour, ..sample::personalisation().unwrap() };
    let mut card = VirtualCard::create(order).unwrap();
    run(&mut card, &[("0022F30300", "6700"), ("0022F303", "9000")]);
    run(&mut crate::card(), &[("0022F30300", "9000"), ("0022F303", "9000")]);
}

#[test]
fn applications_are_reached_by_name_alone_and_stay_selected() {
    run(
        &mut card_of(named("ace2025")),
        &[
            ("00A4080C04 11001102", "9000"),
            ("00A4080C04 DA01C001", "6A82"),
            ("00A4000C02 7F02", "6A82"),
            ("00A4030C", "9000"),
            ("00A4030C", "6A82"),
            ("00A4040C0A A000000530455349474E", "9000"),
            ("00A4080C04 DA01C001", "9000"),
            ("00A4000C02 3F00", "9000"),
            ("00A4080C04 11001102", "6A82"),
            ("00A4080C02 D003", "9000"),
            ("00B0000208", "6999000000001230 9000"),
            // The holder's PIN is the card's, not an application's.
            ("0020001008 3132333435FFFFFF", "9000"),
            ("00A4040C0C A000000530000B104001021A", "9000"),
            ("00200010", "9000"),
            ("00A4080C04 11001101", "6A82"),
        ],
    );
}

#[test]
fn a_reset_leaves_the_application() {
    let mut card = card_of(named("st2022-nfc"));
    run(&mut card, &[("00A4040C08 A00000009501004D", "9000"), ("00A4080C04 11001101", "9000")]);
    assert_eq!(send(&mut card, "00CA018000"), hex::encode_upper(b"JSign4\x90\x00"));
    card.reset();
    expect(&mut card, "00A4080C04 11001101", "6A82");
}

#[test]
fn what_is_no_cns_holds_nothing_of_one() {
    let mut card = card_of(named("cie3"));
    for path in ["10001003", "11001101", "11001102", "140090012002", "DA01C001"] {
        let length = path.len() / 2;
        expect(&mut card, &format!("00A4080C{length:02X}{path}"), "6A82");
        expect(&mut card, &format!("00A40800{length:02X}{path}00"), "6A82");
    }
    run(&mut card, &[("0020001000", "6A88"), ("00A4040C0C A000000530000B104001021A", "6A82")]);
    assert!(card.load_certificate(&LOGIN).is_err() && card.certificate_request("Ente").is_err());
}

#[test]
fn chipdocs_keys_are_out_of_reach_and_its_certificates_are_not() {
    let mut card = card_of(named("chipdoc"));
    run(
        &mut card,
        &[
            ("00A4040C07 A0000002471001", "9000"),
            ("00A4000C02 3F00", "9000"),
            ("00A4080C02 E000", "9000"),
            ("00A4040C0A E828BD080F014E585030", "9000"),
            ("00A4000C02 0002", "9000"),
            ("00B0000004", "308202B8 9000"),
            ("00A4040C0C A000000530000B104001011B", "9000"),
            ("0020001008 3132333435FFFFFF", "9000"),
            ("00A4080C04 11001102", "9000"),
        ],
    );
    assert!(send(&mut card, "00A404040A E828BD080F014E585030 00").ends_with("9000"));
    let sign = format!("002A8086000101 00 {} 0100", hex::encode(block(256).1));
    run(&mut card, &[("0022F303", "9000"), ("0022F1B803830110", "9000"), (&sign, "6982")]);
}

#[test]
fn a_filled_signature_area_is_locked() {
    let mut card = card_of(named("st2021"));
    assert_eq!(card.summary().signature_area, SignatureAreaState::Certified);
    run(
        &mut card,
        &[
            ("0020009008 3132333435FFFFFF", "9000"),
            ("00A4080C02 1400", "9000"),
            ("00DA016E0E 8302001A 8F08 3939393939FFFFFF", "6982"),
            ("00A4080C04 14008110", "9000"),
            ("002C009A10 3837363534333231 3939393939FFFFFF", "9000"),
            ("0020009A08 3939393939FFFFFF", "9000"),
        ],
    );
}

#[test]
fn impossible_signature_areas_are_refused() {
    let order = |name: &str, signature_area| Personalisation {
        signature_area,
        signature_key: None,
        ..sample::personalisation_of(named(name)).unwrap()
    };
    assert!(VirtualCard::create(order("athena", SignatureArea::Filled)).is_err());
    assert!(VirtualCard::create(order("oberthur-cosmo7", SignatureArea::Absent)).is_err());
    let mut card = VirtualCard::create(order("st2021", SignatureArea::Empty)).unwrap();
    assert!(card.load_signature_certificate(&SIGNATURE).is_err());
    assert!(card.signature_certificate_request().is_err());
}
