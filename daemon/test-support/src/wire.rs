//! A virtual card of any generation whose exchanges a test sees, and may change.

use cns_virtual_authority::Profile;
use cns_virtual_card::fault::Outcome;
use cns_virtual_card::vpcd::{Card, Endpoint, Plugged, plug_card};
use cns_virtual_card::{Generation, VirtualCard, sample};
use cnsd::card::CardContents;
use std::sync::Arc;

use crate::plugged::{Reader, issue, issue_authentication};

/// What answers in place of the chip: nothing where the chip is to answer itself. A reset is told as an empty command.
pub type Change = Box<dyn FnMut(&[u8], &mut VirtualCard) -> Option<Vec<u8>> + Send>;

/// A card on a wire that is listened to.
pub struct Wire {
    pub card: VirtualCard,
    /// Command and answer, in order, since the card came or [`Wire::take`].
    pub log: Vec<(Vec<u8>, Vec<u8>)>,
    pub resets: u32,
    atr: Option<Vec<u8>>,
    change: Change,
}

impl Card for Wire {
    fn power_on(&mut self) {
        let _told_on_request = self.card.power_on();
    }

    fn power_off(&mut self) {
        self.card.power_off();
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.card.reset();
        let _nothing = (self.change)(&[], &mut self.card);
    }

    fn answer_to_reset(&self) -> Vec<u8> {
        self.atr.clone().unwrap_or_else(|| self.card.answer_to_reset())
    }

    fn execute(&mut self, command: &[u8]) -> Outcome {
        let answer = (self.change)(command, &mut self.card).unwrap_or_else(|| self.card.transmit(command));
        self.log.push((command.to_vec(), answer.clone()));
        Outcome::Answer(answer)
    }
}

/// The sample card of a generation with all keys and certificates that it can have.
pub fn card_of(generation: &str) -> VirtualCard {
    let generation = Generation::from_name(generation).unwrap();
    let mut card = VirtualCard::create(sample::personalisation_of(generation).unwrap()).unwrap();
    if generation.is_cns() {
        let request = card.certificate_request("Regione di prova").unwrap();
        card.load_certificate(&issue_authentication(&request)).unwrap();
    }
    if generation.takes_signature_key() {
        let request = card.signature_certificate_request().unwrap();
        card.load_signature_certificate(&issue_signature(generation, &request)).unwrap();
    }
    card
}

/// The sample card of a generation with its authentication key alone.
pub fn plain_card_of(generation: &str) -> VirtualCard {
    let generation = Generation::from_name(generation).unwrap();
    let mut order = sample::personalisation().unwrap();
    order.key = Some(sample::key_of(generation).unwrap());
    order.generation = generation;
    let mut card = VirtualCard::create(order).unwrap();
    let request = card.certificate_request("Regione di prova").unwrap();
    card.load_certificate(&issue_authentication(&request)).unwrap();
    card
}

/// The certifier issues for keys of today's length only; for an old chip's key its certificate is made over.
fn issue_signature(generation: Generation, request: &[u8]) -> Vec<u8> {
    use der::{Decode, Encode};
    if generation.key_bits() >= 2048 {
        return issue(Profile::QualifiedSignature, request);
    }
    let usual = Generation::from_name("st2021").unwrap();
    let card = VirtualCard::create(sample::personalisation_of(usual).unwrap()).unwrap();
    let der = issue(Profile::QualifiedSignature, &card.signature_certificate_request().unwrap());
    let mut certificate = x509_cert::Certificate::from_der(&der).unwrap();
    let asked = x509_cert::request::CertReq::from_der(request).unwrap();
    certificate.tbs_certificate.subject_public_key_info = asked.info.public_key;
    certificate.to_der().unwrap()
}

/// Puts a card into the reader, on a wire.
pub fn connect(reader: &Reader, card: VirtualCard) -> Plugged<Wire> {
    connect_changed(reader, card, None, Box::new(|_, _| None))
}

/// The same with another answer to reset, or with other answers.
pub fn connect_changed(
    reader: &Reader,
    card: VirtualCard,
    atr: Option<&str>,
    change: Change,
) -> Plugged<Wire> {
    plug_changed(Endpoint::Unix(reader.socket.clone()), card, atr, change)
}

/// The same into whatever reader.
pub fn plug_changed(
    endpoint: Endpoint,
    card: VirtualCard,
    atr: Option<&str>,
    change: Change,
) -> Plugged<Wire> {
    let atr = atr.map(|atr| hex::decode(atr).unwrap());
    plug_card(Wire { card, log: Vec::new(), resets: 0, atr, change }, endpoint).unwrap()
}

/// What went over the wire, in hexadecimal, and forgets it.
pub fn take(plugged: &Plugged<Wire>) -> Vec<(String, String)> {
    let log = plugged.with_card(|wire| std::mem::take(&mut wire.log));
    log.into_iter().map(|(sent, answer)| (hex::encode_upper(sent), hex::encode_upper(answer))).collect()
}

/// A card that was read, and looked through.
pub async fn settled(reader: &Reader) -> Arc<CardContents> {
    reader.card().await;
    // A job waits for what the card's owner does before.
    reader.run(|_| Ok(())).await.unwrap();
    reader.readers.card(&reader.name).unwrap()
}

/// Why a card is not used.
pub async fn unusable(reader: &Reader) -> String {
    use cns_protocol::reader::ReaderState;
    reader.until("a card of another kind", |reader| matches!(reader.state, ReaderState::Unusable(_))).await;
    let ReaderState::Unusable(words) = reader.readers.list().readers.remove(0).state else {
        panic!("the card was taken after all");
    };
    words
}
