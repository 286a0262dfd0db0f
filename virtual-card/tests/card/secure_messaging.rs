//! Secure messaging, host and chip: the conditions enforced both ways, no secret in clear, nothing done on a wrong MAC.

use std::convert::Infallible;

use cns_apdu::command::{
    AuthenticationKey, CardCommand, ChangeKeyData, ChangeProof, ChangeReferenceData, ExternalAuthenticate,
    InternalAuthenticate, ManageSecurityEnvironment, ObjectSettings, PinReference, PutData, ReferenceData,
    ResetAction, ResetRetryCounter, SelectFile, Template, Verify,
};
use cns_apdu::file_map::SIGNATURE_CERTIFICATE;
use cns_apdu::generation::ST_2021;
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_apdu::public_key::PublicKey;
use cns_apdu::secure_messaging::{
    Exchange, Keys, LocalKeys, Nonce, Protection, Protections, SecureMessagingError, SecureTransport,
};
use cns_apdu::signature_area::{self as area, KeySize};
use cns_apdu::transmit::{Channel, Limits, TransmitError, Transport};
use cns_apdu::triple_des::mac3;
use cns_apdu::{CommandApdu, Form, StatusWord};
use cns_secret::Secret;
use cns_virtual_card::{Behaviour, Generation, Personalisation, SecureMessagingKeys, VirtualCard, sample};
use proptest::collection::vec;
use proptest::prelude::*;
use rsa::sha2::{Digest, Sha256};
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};

use crate::{SELECT_SIGNATURE_DF, VERIFY_PIN, bytes, run, send};

const ENCRYPTION: &str = "0123456789ABCDEFFEDCBA9876543210";
const SIGNATURE: &str = "89ABCDEF0123456776543210FEDCBA980011223344556677";
/// ENC and SIG for use, change and unblock of an object, and for the response to its use.
const OBJECT_CONDITIONS: [u8; 16] = [6, 7, 6, 7, 6, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 6, 7];

/// A card whose signature directory demands secure messaging.
fn card() -> VirtualCard {
    behaving(Behaviour::default())
}

fn behaving(behaviour: Behaviour) -> VirtualCard {
    let keys =
        SecureMessagingKeys { encryption: secret(&bytes(ENCRYPTION)), signature: secret(&bytes(SIGNATURE)) };
    let order =
        Personalisation { behaviour, secure_messaging: Some(keys), ..sample::personalisation().unwrap() };
    VirtualCard::create(order).unwrap()
}

fn secret(bytes: &[u8]) -> Secret {
    Secret::copy_from(bytes).unwrap()
}

fn digits(text: &[u8]) -> ReferenceData {
    ReferenceData::from_digits(&secret(text)).unwrap()
}

fn local(id: ObjectId) -> PinReference {
    PinReference::local(id)
}

/// What a sniffer on the reader sees.
struct Recorder {
    card: VirtualCard,
    seen: Vec<Vec<u8>>,
}

impl Transport for Recorder {
    type Error = Infallible;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
        let response = self.card.transmit(command);
        self.seen.extend([command.to_vec(), response.clone()]);
        Ok(response)
    }
}

type Random = fn() -> Option<Nonce>;
type Rule = fn(&CommandApdu) -> Option<Protections>;
type Below = SecureTransport<Recorder, LocalKeys<Random>, Rule>;
type Host = Channel<Below>;

fn random() -> Option<Nonce> {
    Some(rand_core::RngCore::next_u64(&mut rand_core::OsRng).to_be_bytes())
}

const COMMAND: Option<Protections> =
    Some(Protections { command: Protection::BOTH, response: Protection::NONE });
const BOTH_WAYS: Option<Protections> =
    Some(Protections { command: Protection::BOTH, response: Protection::BOTH });

const fn one_way(command: Protection) -> Protections {
    Protections { command, response: Protection::NONE }
}

/// What the card of these tests demands.
fn rule(command: &CommandApdu) -> Option<Protections> {
    match (command.ins, command.p2) {
        (0xDA | 0xE0 | 0x46 | 0xD6 | 0x24, _) | (0x20 | 0x2C, 0x9A | 0x9B) => COMMAND,
        (0x2A | 0xB2, _) => BOTH_WAYS,
        (_, _) => None,
    }
}

fn host_with(card: VirtualCard, limits: Limits, rule: Rule) -> Host {
    let below = Channel::new(Recorder { card, seen: Vec::new() }, limits);
    SecureTransport::new(below, local_keys(), rule).into_channel()
}

fn local_keys() -> LocalKeys<Random> {
    let (encryption, signature) = (secret(&bytes(ENCRYPTION)), secret(&bytes(SIGNATURE)));
    LocalKeys { encryption: Some(encryption), signature: Some(signature), random }
}

fn host(limits: Limits) -> Host {
    host_with(card(), limits, rule)
}

fn recorder(host: &mut Host) -> &mut Recorder {
    host.transport_mut().channel_mut().transport_mut()
}

#[track_caller]
fn ok<C: CardCommand>(host: &mut Host, command: &C) -> C::Answer {
    host.run(command).unwrap_or_else(|error| panic!("{}: {error}", C::NAME))
}

#[track_caller]
fn refused<C: CardCommand>(host: &mut Host, command: &C, status: u16)
where
    C::Answer: Sized,
{
    match host.run(command) {
        Ok(_) => panic!("{} was accepted", C::NAME),
        Err(error) => assert_eq!(error.status(), Some(StatusWord(status)), "{}: {error}", C::NAME),
    }
}

/// An object as the signature area has it, with conditions of its own.
fn demanding(command: PutData) -> PutData {
    match command {
        PutData::Oci(settings) => {
            PutData::Oci(ObjectSettings { secure_messaging: Some(OBJECT_CONDITIONS), ..settings })
        }
        PutData::Seci(_) | PutData::Fci(_) => command,
    }
}

/// Conditions of a directory: objects, administration, creation.
fn directory_conditions() -> [u8; 24] {
    let mut conditions = [0xFF; 24];
    for place in [2, 12, 14] {
        conditions[place..place + 2].copy_from_slice(&[6, 7]);
    }
    conditions
}

fn verify_holder(host: &mut Host) {
    let reference = PinReference::global(ObjectId::CNS_PIN);
    ok(host, &Verify { reference, value: Some(digits(sample::PIN)) });
    ok(host, &area::select_signature_df());
}

/// Steps 1 to 14 and 17 to 19 of the reference, everything that concerns the signature directory protected.
fn sign_with_a_new_area(card: VirtualCard, limits: Limits) -> Host {
    let mut host = host_with(card, limits, rule);
    verify_holder(&mut host);
    refused(&mut host, &area::select_certificate(), 0x6A82);
    ok(&mut host, &demanding(area::create_puk(&digits(b"11223344")).unwrap()));
    ok(&mut host, &demanding(area::create_pin(&digits(b"54321")).unwrap()));
    let mut key_df = area::create_key_df();
    key_df.secure_messaging = Some(directory_conditions());
    ok(&mut host, &key_df);
    ok(&mut host, &demanding(area::create_modulus(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &demanding(area::create_exponent(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &area::create_public_key_file(KeySize::Rsa2048));
    ok(&mut host, &area::select_key_df());
    ok(&mut host, &Verify { reference: local(ObjectId::SIGNATURE_PIN), value: Some(digits(b"54321")) });
    ok(&mut host, &area::generate_key_pair());
    ok(&mut host, &area::select_public_key());
    let public = PublicKey::decode(&host.read_current_file(0x120).unwrap()).unwrap();
    ok(&mut host, &area::select_key_df());
    let hash = Sha256::digest(b"document").to_vec();
    let info = [bytes("3031300D060960864801650304020105000420"), hash.clone()].concat();
    ok(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
    let key = ObjectId::SIGNATURE_KEY;
    ok(&mut host, &ManageSecurityEnvironment::Set { template: Template::Signature, key });
    let signature = ok(&mut host, &area::sign(info));
    let number = BigUint::from_bytes_be;
    let public = RsaPublicKey::new(number(public.modulus()), number(public.exponent())).unwrap();
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &hash, &signature).unwrap();

    ok(&mut host, &area::select_signature_df());
    let mut file = area::create_certificate_file();
    let mut conditions = [0xFF; 24];
    conditions[2..4].copy_from_slice(&[6, 7]);
    file.secure_messaging = Some(conditions);
    ok(&mut host, &file);
    let certificate = [bytes("308206FC"), vec![0x5A; 1788]].concat();
    host.update_current_file(&certificate).unwrap();
    ok(&mut host, &SelectFile::path(SIGNATURE_CERTIFICATE));
    assert_eq!(host.read_current_file(certificate.len()).unwrap(), certificate);
    ok(&mut host, &area::select_key_df());
    ok(&mut host, &area::lock_key_df());
    ok(&mut host, &area::select_signature_df());
    ok(&mut host, &area::lock_signature_df());
    refused(&mut host, &area::replace_pin(&digits(b"99999")).unwrap(), 0x6982);
    host
}

#[test]
fn a_signature_area_in_extended_length() {
    let mut host = sign_with_a_new_area(card(), ST_2021.limits);
    // Protected: 4 objects, 3 files, VERIFY, GENERATE, PSO, 8 pieces of the certificate, 2 locks and what they refuse;
    // a challenge for each, a number for the one response.
    let traffic = host.transport_mut().traffic();
    let seen = &recorder(&mut host).seen;
    let count = |ins: u8| seen.iter().step_by(2).filter(|command| command[1] == ins).count();
    assert_eq!(u64::try_from(seen.len() / 2).unwrap(), traffic.commands);
    let protected = seen.iter().step_by(2).filter(|command| command[0] == 0x0C).count();
    assert_eq!((protected, count(0x84), count(0x86)), (21, 21, 1));
}

/// What does not fit a short response comes in two.
#[test]
fn a_signature_area_over_t0() {
    let card = behaving(Behaviour { t0: true, ..Behaviour::default() });
    let mut host = sign_with_a_new_area(card, Limits::SHORT_CHAINED);
    let seen = &recorder(&mut host).seen;
    assert!(seen.iter().step_by(2).any(|command| command[..2] == [0x00, 0xC0]), "GET RESPONSE");
}

/// PSO's protected response does not fit a short one, so only that step needs more.
#[test]
fn a_signature_area_in_short_chained_commands_up_to_the_signature() {
    let mut host = host(Limits::SHORT_CHAINED);
    verify_holder(&mut host);
    ok(&mut host, &demanding(area::create_puk(&digits(b"11223344")).unwrap()));
    ok(&mut host, &demanding(area::create_pin(&digits(b"54321")).unwrap()));
    let mut key_df = area::create_key_df();
    key_df.secure_messaging = Some(directory_conditions());
    ok(&mut host, &key_df);
    ok(&mut host, &demanding(area::create_modulus(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &demanding(area::create_exponent(KeySize::Rsa2048).unwrap()));
    ok(&mut host, &area::create_public_key_file(KeySize::Rsa2048));
    ok(&mut host, &area::select_key_df());
    ok(&mut host, &Verify { reference: local(ObjectId::SIGNATURE_PIN), value: Some(digits(b"54321")) });
    ok(&mut host, &area::generate_key_pair());
    let chained = recorder(&mut host).seen.iter().step_by(2).filter(|command| command[0] == 0x1C).count();
    assert_eq!(chained, 2, "the two components of the key are in two parts each");
    ok(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
    let key = ObjectId::SIGNATURE_KEY;
    ok(&mut host, &ManageSecurityEnvironment::Set { template: Template::Signature, key });
    refused(&mut host, &area::sign(vec![0x5A; 51]), 0x6700);
}

#[test]
fn no_secret_travels_in_clear() {
    let mut host = sign_with_a_new_area(card(), ST_2021.limits);
    recorder(&mut host).seen.clear();
    ok(&mut host, &Verify { reference: local(ObjectId::SIGNATURE_PIN), value: Some(digits(b"54321")) });
    let proof = ChangeProof::Value(digits(b"54321"));
    let reference = local(ObjectId::SIGNATURE_PIN);
    ok(&mut host, &ChangeReferenceData { reference, proof, new: digits(b"65432") });
    let action = ResetAction::SetNew { puk: digits(b"11223344"), new: digits(b"76543") };
    ok(&mut host, &ResetRetryCounter { reference, action });
    ok(&mut host, &Verify { reference, value: Some(digits(b"76543")) });
    // Open again, and a new value by PUT DATA.
    ok(&mut host, &area::reopen_signature_df());
    ok(&mut host, &area::replace_pin(&digits(b"87654")).unwrap());
    ok(&mut host, &Verify { reference, value: Some(digits(b"87654")) });

    let seen = &recorder(&mut host).seen;
    for value in ["54321", "65432", "76543", "87654", "11223344"] {
        let clear =
            seen.iter().any(|apdu| apdu.windows(value.len()).any(|window| window == value.as_bytes()));
        assert!(!clear, "{value} travelled in clear");
    }
    // The check sees what is there: the same command in clear.
    let mut plain = host_with(card(), ST_2021.limits, |_| None);
    let verify = Verify { reference: PinReference::global(ObjectId::CNS_PIN), value: Some(digits(b"12345")) };
    ok(&mut plain, &verify);
    let seen = &recorder(&mut plain).seen;
    assert!(seen.iter().any(|apdu| apdu.windows(5).any(|window| window == b"12345")));
}

/// The bytes of a protected VERIFY of the signature PIN, after a challenge of the card.
fn protected_verify(card: &mut VirtualCard, pin: &[u8]) -> Vec<u8> {
    let challenge: Nonce = card.transmit(&bytes("0084000008"))[..8].try_into().unwrap();
    let (encryption, signature) = (secret(&bytes(ENCRYPTION)), secret(&bytes(SIGNATURE)));
    let command = Keys { encryption: Some(&encryption), signature: Some(&signature) };
    let exchange = Exchange { command, challenge: Some(challenge), ..Exchange::default() };
    let plain =
        Verify { reference: local(ObjectId::SIGNATURE_PIN), value: Some(digits(pin)) }.encode().unwrap();
    exchange.wrap_command(&plain).unwrap().to_bytes(Form::Short).unwrap().expose().to_vec()
}

fn with_a_pin() -> VirtualCard {
    let mut host = host(ST_2021.limits);
    verify_holder(&mut host);
    ok(&mut host, &demanding(area::create_puk(&digits(b"11223344")).unwrap()));
    ok(&mut host, &demanding(area::create_pin(&digits(b"54321")).unwrap()));
    host.into_transport().into_inner().into_transport().card
}

/// An empty VERIFY is protected too: what it tells is told to the key's owner alone.
fn tries_left(card: VirtualCard) -> (VirtualCard, StatusWord) {
    let mut host = host_with(card, ST_2021.limits, rule);
    let empty = Verify { reference: local(ObjectId::SIGNATURE_PIN), value: None }.encode().unwrap();
    let status = host.transmit(&empty).unwrap().status();
    (host.into_transport().into_inner().into_transport().card, status)
}

#[test]
fn a_wrong_mac_changes_nothing() {
    let mut card = with_a_pin();
    for place in 5..35 {
        let mut command = protected_verify(&mut card, b"99999");
        assert_eq!(command.len(), 34);
        let last = command.len() - 1;
        command[place.min(last)] ^= 0x01;
        assert_eq!(hex::encode(card.transmit(&command)), "6988", "byte {place}");
    }
    let (mut card, status) = tries_left(card);
    assert_eq!(status, StatusWord::retries_left(3), "no try was taken");
    let wrong = protected_verify(&mut card, b"99999");
    assert_eq!(hex::encode(card.transmit(&wrong)), "63c2", "a wrong PIN under a right MAC takes one");
    let right = protected_verify(&mut card, b"54321");
    assert_eq!(hex::encode(card.transmit(&right)), "9000");
    assert_eq!(tries_left(card).1, StatusWord::SUCCESS);
}

#[test]
fn a_replay_is_refused() {
    let mut card = with_a_pin();
    let command = protected_verify(&mut card, b"54321");
    assert_eq!(hex::encode(card.transmit(&command)), "9000");
    assert_eq!(hex::encode(card.transmit(&command)), "6985", "its challenge is spent");
    send(&mut card, "0084000008");
    assert_eq!(hex::encode(card.transmit(&command)), "6988", "another challenge is another MAC");
    card.reset();
    send(&mut card, SELECT_SIGNATURE_DF);
    assert_eq!(hex::encode(card.transmit(&command)), "6985", "a reset ends every challenge");
}

#[test]
fn what_demands_it_refuses_plain_commands_and_the_other_way_round() {
    let mut card = with_a_pin();
    run(
        &mut card,
        &[
            ("0020009A08 3534333231FFFFFF", "6E00"),
            ("0020009A", "6E00"),
            ("0024009A10 3534333231FFFFFF 3635343332FFFFFF", "6E00"),
            ("002C009A10 3131323233333434 3635343332FFFFFF", "6E00"),
            ("00DA016E0E 8302001A8F083939393939FFFFFF", "6E00"),
            ("00DA016D0F 830103860200FF8F0600100010 1A00", "6E00"),
            ("00DA016F0B 8609FFFFFFFFFFFFFF1A10FF", "6E00"),
            ("00E000001D 621B810208008203380000830281108501018609FF1010FFFF101010FF", "6E00"),
            ("0046000008 2010801000000018", "6A88"),
            // Neither the PIN of the holder nor a selection has conditions.
            ("0C20009008 3132333435FFFFFF", "6985"),
            ("0CA4000002 3F00", "6985"),
            ("8C86000008 0011223344556677", "6985"),
            (VERIFY_PIN, "9000"),
        ],
    );
}

#[test]
fn files_may_demand_it_of_each_operation() {
    let conditions = "0607 0607 0607 FFFFFFFFFFFF 0607 FFFFFFFFFFFFFFFF FF07";
    let mut card = with_a_pin();
    card.reset();
    let mut host = host_with(card, ST_2021.limits, rule);
    verify_holder(&mut host);
    let create = format!(
        "00E000003762 35 80020020 8203020004 83029020 850101 8609000000FFFF101000FF CB18{conditions}"
    );
    let create = CommandApdu::parse(&bytes(&create)).unwrap();
    assert_eq!(host.transmit(&create).unwrap().status(), StatusWord::SUCCESS);
    let mut card = host.into_transport().into_inner().into_transport().card;
    run(
        &mut card,
        &[("00B2010404", "6E00"), ("00DC010404 01020304", "6E00"), ("00E2000004 01020304", "6E00")],
    );
    let mut host = host_with(card, ST_2021.limits, |command| match command.ins {
        0xE2 | 0xDC => COMMAND,
        0xB2 => Some(Protections { command: Protection::SIGNED, response: Protection::BOTH }),
        _ => None,
    });
    let exchange = |host: &mut Host, command: &str| {
        let response = host.transmit(&CommandApdu::parse(&bytes(command)).unwrap()).unwrap();
        hex::encode_upper(response.to_bytes())
    };
    assert_eq!(exchange(&mut host, "00E2000004 01020304"), "9000");
    assert_eq!(exchange(&mut host, "00DC010404 05060708"), "9000");
    assert_eq!(exchange(&mut host, "00B2010404"), "050607089000");
    // A refusal keeps its status word and brings no objects.
    assert_eq!(exchange(&mut host, "00B2020404"), "6A83");
    // One kind of protection in place of both is none: the record is not appended.
    let mut card = host.into_transport().into_inner().into_transport().card;
    let halves: [(Rule, &str); 2] = [
        (|command| if command.ins == 0xE2 { Some(one_way(Protection::SIGNED)) } else { BOTH_WAYS }, "6987"),
        (
            |command| if command.ins == 0xE2 { Some(one_way(Protection::ENCRYPTED)) } else { BOTH_WAYS },
            "6985",
        ),
    ];
    for (half, refusal) in halves {
        let mut host = host_with(card, ST_2021.limits, half);
        assert_eq!(exchange(&mut host, "00E2000004 0A0B0C0D"), refusal);
        assert_eq!(exchange(&mut host, "00B2020404"), "6A83");
        assert_eq!(exchange(&mut host, "00B2010404"), "050607089000");
        card = host.into_transport().into_inner().into_transport().card;
    }
}

#[test]
fn keys_are_used_and_changed_under_it() {
    let mut host = host(ST_2021.limits);
    verify_holder(&mut host);
    let object = |class, id: u8, algorithm| {
        PutData::Oci(ObjectSettings {
            address: ObjectAddress::new(class, ObjectId::new(id).unwrap()),
            attributes: Some(ObjectAttributes { uses: 3, ..ObjectAttributes::exponent(algorithm) }),
            conditions: Some(cns_apdu::access::ObjectConditions([0; 7])),
            secure_messaging: Some(OBJECT_CONDITIONS),
            body: Some(secret(&bytes(ENCRYPTION))),
        })
    };
    ok(&mut host, &object(ObjectClass::Test, 0x15, Algorithm::RetailMac));
    ok(&mut host, &ManageSecurityEnvironment::Restore { se: 3 });
    let key = ObjectId::new(0x15).unwrap();
    ok(&mut host, &ManageSecurityEnvironment::Set { template: Template::Authentication, key });
    let card = host.into_transport().into_inner().into_transport().card;
    let mut host = host_with(card, ST_2021.limits, |command| match command.ins {
        0x82 | 0x24 => COMMAND,
        0x88 => BOTH_WAYS,
        _ => None,
    });
    let internal = InternalAuthenticate {
        key: AuthenticationKey::FromEnvironment,
        challenge: bytes("0011223344556677"),
    };
    assert_eq!(ok(&mut host, &internal), bytes("31A7364CAC91CA39"));
    // The challenge of the MAC is the one that is answered.
    recorder(&mut host).card.plan_randomness(&bytes("0011223344556677"));
    let response = bytes("31A7364CAC91CA39");
    let authenticate = ExternalAuthenticate { key: AuthenticationKey::Object(local(key)), response };
    ok(&mut host, &authenticate);
    let value = secret(&bytes("00112233445566778899AABBCCDDEEFF"));
    let new = mac3(&value, &bytes("0011223344556677")).unwrap();
    let reference = local(key);
    ok(&mut host, &ChangeKeyData { class: ObjectClass::Test, reference, value });
    // A new value brings new uses: three, and no more.
    for _ in 0..3 {
        assert_eq!(ok(&mut host, &internal), new);
    }
    refused(&mut host, &internal, 0x6985);
}

/// A key whose commands are enciphered but not signed takes no challenge for a MAC: the proof uses the host's own.
#[test]
fn a_key_that_demands_encryption_alone_is_proved_with_the_challenge_asked_for() {
    let mut host = host(ST_2021.limits);
    verify_holder(&mut host);
    let mut conditions = [0xFF; 16];
    conditions[0] = 6;
    let settings = ObjectSettings {
        address: ObjectAddress::new(ObjectClass::Test, ObjectId::new(0x15).unwrap()),
        attributes: Some(ObjectAttributes::exponent(Algorithm::RetailMac)),
        conditions: Some(cns_apdu::access::ObjectConditions([0; 7])),
        secure_messaging: Some(conditions),
        body: Some(secret(&bytes(ENCRYPTION))),
    };
    ok(&mut host, &PutData::Oci(settings));
    let mut card = host.into_transport().into_inner().into_transport().card;
    card.plan_randomness(&bytes("0011223344556677"));
    send(&mut card, "0084000008");
    // A plain command is refused before it costs the challenge.
    run(&mut card, &[("0082009508 31A7364CAC91CA39", "6E00")]);
    let rule: Rule = |command| {
        let command_protection = Protections { command: Protection::ENCRYPTED, response: Protection::NONE };
        (command.ins == 0x82).then_some(command_protection)
    };
    let mut host = host_with(card, ST_2021.limits, rule);
    let key = AuthenticationKey::Object(local(ObjectId::new(0x15).unwrap()));
    let authenticate = ExternalAuthenticate { key, response: bytes("31A7364CAC91CA39") };
    ok(&mut host, &authenticate);
    refused(&mut host, &authenticate, 0x6985);
}

#[test]
fn a_response_that_was_tampered_with_is_not_believed() {
    struct Tampering(VirtualCard);
    impl Transport for Tampering {
        type Error = Infallible;
        fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
            let mut response = self.0.transmit(command);
            if command[0] == 0x0C {
                // Stripped to a bare success, as by a reader that has no key.
                response.drain(..response.len() - 2);
            }
            Ok(response)
        }
    }
    let mut card = with_a_pin();
    run(&mut card, &[(VERIFY_PIN, "9000")]);
    let below = Channel::new(Tampering(card), ST_2021.limits);
    let mut host = SecureTransport::new(below, local_keys(), rule).into_channel();
    let create = "00E000003762 35 80020020 8203020004 83029020 850101 8609000000FFFF101000FF CB18 0607 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 0607";
    let create = CommandApdu::parse(&bytes(create)).unwrap();
    assert_eq!(host.transmit(&create).unwrap().status(), StatusWord::SUCCESS);
    let append = CommandApdu::parse(&bytes("00E2000004 01020304")).unwrap();
    assert_eq!(host.transmit(&append).unwrap().status(), StatusWord::SUCCESS);
    let read = CommandApdu::parse(&bytes("00B2010404")).unwrap();
    match host.transmit(&read) {
        Err(TransmitError::Transport(cns_apdu::secure_messaging::SecureError::Keys(
            SecureMessagingError::Missing("MAC"),
        ))) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_forged_end_of_file_does_not_cut_a_signed_read_short() {
    /// Answers the second READ BINARY with a bare status.
    struct Forging(VirtualCard, [u8; 2], usize);
    impl Transport for Forging {
        type Error = Infallible;
        fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
            let response = self.0.transmit(command);
            if command[..2] != [0x0C, 0xB0] {
                return Ok(response);
            }
            self.2 += 1;
            Ok(if self.2 == 2 { self.1.to_vec() } else { response })
        }
    }
    // A transparent file of 512 bytes, read under a signed response.
    for forged in [None, Some([0x62, 0x82]), Some([0x6B, 0x00])] {
        let mut card = with_a_pin();
        run(&mut card, &[(VERIFY_PIN, "9000")]);
        let (status, skip) = forged.map_or(([0; 2], 9), |status| (status, 0));
        let below = Channel::new(Forging(card, status, skip), ST_2021.limits);
        let signed = Protections { command: Protection::SIGNED, response: Protection::SIGNED };
        let rule = |command: &CommandApdu| if command.ins == 0xB0 { Some(signed) } else { rule(command) };
        let mut host = SecureTransport::new(below, local_keys(), rule).into_channel();
        let create = "00E000003762 35 80020200 8203010000 83029020 850101 8609000000FFFF101000FF CB18 FF07 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF FF07";
        let create = CommandApdu::parse(&bytes(create)).unwrap();
        assert_eq!(host.transmit(&create).unwrap().status(), StatusWord::SUCCESS);
        let read = host.read_current_file(512);
        assert_eq!(read.is_ok(), forged.is_none(), "{forged:?}: {read:?}");
    }
}

#[test]
fn a_challenge_of_another_length_protects_nothing() {
    let mut card = with_a_pin();
    let command = protected_verify(&mut card, b"54321");
    send(&mut card, "0084000010");
    assert_eq!(hex::encode(card.transmit(&command)), "6985");
}

/// A card as certifiers issue them: PIN and key are there, and nobody without the issuer's keys can use them.
#[test]
fn a_signature_key_that_is_there_demands_it_of_its_user() {
    let keys =
        SecureMessagingKeys { encryption: secret(&bytes(ENCRYPTION)), signature: secret(&bytes(SIGNATURE)) };
    let order = sample::personalisation_of(Generation::default()).unwrap();
    let mut card = VirtualCard::create(Personalisation { secure_messaging: Some(keys), ..order }).unwrap();
    let select = [("00A4080C0414008110", "9000"), ("0022F30300", "9000"), ("0022F1B603830110", "9000")];
    run(&mut card, &select);
    let pin = format!("0020009A08 {}", hex::encode(digits(sample::SIGNATURE_PIN).as_secret().expose()));
    let digest_info = format!("002A9E9A33 3031300D060960864801650304020105000420{} 00", "5A".repeat(32));
    run(&mut card, &[(&pin, "6E00"), (&digest_info, "6E00"), (VERIFY_PIN, "9000"), (&digest_info, "6E00")]);
    let mut host = host_with(card, ST_2021.limits, rule);
    let reference = local(ObjectId::SIGNATURE_PIN);
    ok(&mut host, &Verify { reference, value: Some(digits(sample::SIGNATURE_PIN)) });
    let info = bytes(&format!("3031300D060960864801650304020105000420{}", "5A".repeat(32)));
    let signature = ok(&mut host, &area::sign(info));
    let public = sample::signature_key_of(Generation::default()).unwrap().to_public_key();
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &[0x5A; 32], &signature).unwrap();
}

/// Bytes of the protected class: known instructions, objects that look right.
fn protected_command() -> impl Strategy<Value = Vec<u8>> {
    let class = prop::sample::select(bytes("0C 0D 0F 1C 8C 9C CC FC"));
    let instruction =
        prop::sample::select(bytes("04 20 22 24 2A 2C 44 46 82 84 86 88 A4 B0 B2 C0 CA D6 DA DC E0 E2 E4"));
    let p2 = prop::sample::select(bytes("00 04 1A 6D 6E 6F 80 86 90 9A 9B"));
    let object = (prop::sample::select(bytes("81 87 8E 96 97")), vec(any::<u8>(), 0..18));
    let objects = vec(object, 0..4).prop_map(|objects| {
        objects
            .iter()
            .flat_map(|(tag, value)| cns_apdu::tlv::encode((*tag).into(), value))
            .collect::<Vec<u8>>()
    });
    let data = prop_oneof![objects, vec(any::<u8>(), 0..40)];
    (class, instruction, any::<u8>(), p2, data, any::<Option<u8>>()).prop_map(
        |(class, instruction, p1, p2, data, le)| {
            let length = u8::try_from(data.len()).unwrap();
            let body = if data.is_empty() { Vec::new() } else { [std::vec![length], data].concat() };
            [std::vec![class, instruction, p1, p2], body, le.into_iter().collect()].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_protected_command_is_answered(commands in vec(protected_command(), 1..60)) {
        let mut card = with_a_pin();
        for command in &commands {
            send(&mut card, "0084000008");
            let answer = card.transmit(command);
            prop_assert!(answer.len() >= 2);
            let status = u16::from_be_bytes(answer[answer.len() - 2..].try_into().unwrap());
            // A part of a chain is taken; nothing else without a key.
            prop_assert!(status != 0x9000 || command[0] == 0x1C, "{:02X?}", command);
        }
        prop_assert_eq!(tries_left(card).1, StatusWord::retries_left(3));
    }
}

/// What is done in the signature directory, right and wrong, in clear.
const ACTS: [&str; 14] = [
    "0020009A08 3534333231FFFFFF",
    "0020009A08 3939393939FFFFFF",
    "0020009A",
    "0020009B08 3131323233333434",
    "0024009A10 3534333231FFFFFF 3534333231FFFFFF",
    "0024009A10 3939393939FFFFFF 3534333231FFFFFF",
    "0024019A08 3534333231FFFFFF",
    "002C009A10 3131323233333434 3534333231FFFFFF",
    "002C009A10 3030303030303030 3534333231FFFFFF",
    "002C039A",
    "00DA016E0E 8302001A8F083534333231FFFFFF",
    "00DA016D0F 8301048602 00FF8F06001000101A00",
    "00E000001D 621B8002002082030100008302902085010186090000FFFFFF1010FFFF",
    "00A4080C021400",
];

/// The signature PIN and PUK on a card that demands nothing.
fn with_a_plain_pin() -> VirtualCard {
    let mut host = host_with(crate::card(), ST_2021.limits, |_| None);
    verify_holder(&mut host);
    ok(&mut host, &area::create_puk(&digits(b"11223344")).unwrap());
    ok(&mut host, &area::create_pin(&digits(b"54321")).unwrap());
    host.into_transport().into_inner().into_transport().card
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Protection changes how a command travels, not what it does.
    #[test]
    fn protected_commands_do_what_plain_ones_do(acts in vec(prop::sample::select(&ACTS[..]), 1..40)) {
        let mut protected = host_with(with_a_pin(), ST_2021.limits, rule);
        let mut plain = host_with(with_a_plain_pin(), ST_2021.limits, |_| None);
        for act in acts {
            let command = CommandApdu::parse(&bytes(act)).unwrap();
            let answers = [&mut protected, &mut plain].map(|host| host.transmit(&command).unwrap().to_bytes());
            prop_assert_eq!(&answers[0], &answers[1], "{}", act);
        }
    }
}
