//! Secure messaging, host and chip: the conditions enforced both ways, no secret in clear, nothing done on a wrong MAC.

mod area;
mod conditions;
mod hostile;

use std::convert::Infallible;

use cns_apdu::command::{CardCommand, ObjectSettings, PinReference, PutData, ReferenceData, Verify};
use cns_apdu::generation::ST_2021;
use cns_apdu::object::ObjectId;
use cns_apdu::secure_messaging::{
    Exchange, Keys, LocalKeys, Nonce, Protection, Protections, SecureTransport,
};
use cns_apdu::signature_area;
use cns_apdu::transmit::{Channel, Limits, Transport};
use cns_apdu::{CommandApdu, Form, StatusWord};
use cns_secret::Secret;
use cns_virtual_card::{Behaviour, Personalisation, SecureMessagingKeys, VirtualCard, sample};

use crate::bytes;

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
    ok(host, &signature_area::select_signature_df());
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
    ok(&mut host, &demanding(signature_area::create_puk(&digits(b"11223344")).unwrap()));
    ok(&mut host, &demanding(signature_area::create_pin(&digits(b"54321")).unwrap()));
    host.into_transport().into_inner().into_transport().card
}

/// An empty VERIFY is protected too: what it tells is told to the key's owner alone.
fn tries_left(card: VirtualCard) -> (VirtualCard, StatusWord) {
    let mut host = host_with(card, ST_2021.limits, rule);
    let empty = Verify { reference: local(ObjectId::SIGNATURE_PIN), value: None }.encode().unwrap();
    let status = host.transmit(&empty).unwrap().status();
    (host.into_transport().into_inner().into_transport().card, status)
}
