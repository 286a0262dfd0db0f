//! Secure messaging: nothing is believed whose MAC is wrong, what was protected comes back alike, and a chip's answers
//! cost a bounded number of commands.

use std::cell::Cell;
use std::convert::Infallible;

use cns_apdu::command::ReadBinary;
use cns_apdu::secure_messaging::{
    Conditions, Exchange, Keys, LocalKeys, Nonce, Protection, Protections, SecureTransport,
};
use cns_apdu::transmit::{Channel, LONGEST_ANSWER, Limits, Transport};
use cns_apdu::{CommandApdu, Form};
use cns_secret::Secret;

use crate::input::Input;

const HEADER: [u8; 4] = [0x0C, 0xB0, 0x00, 0x00];
const NONCE: Nonce = [0x5A; 8];

/// One GET CHALLENGE, one GIVE RANDOM, one command, each once more with the right Le, and all of GET RESPONSE.
const MOST_COMMANDS: usize = 6 + 3 * (LONGEST_ANSWER / 256 + 1);

pub(crate) fn run(bytes: &[u8]) {
    let [encryption, signature] =
        [0x11, 0x22].map(|byte| Secret::copy_from(&[byte; 16]).expect("locked memory"));
    let keys = |encrypted: bool, signed: bool| Keys {
        encryption: encrypted.then_some(&encryption),
        signature: signed.then_some(&signature),
    };
    for keys in [keys(true, true), keys(true, false), keys(false, true)] {
        let exchange =
            Exchange { command: keys, response: keys, challenge: Some(NONCE), random: Some(NONCE) };
        hostile(&exchange, bytes);
        honest(&exchange, bytes);
    }
    transport(bytes);
    _ = Conditions(bytes).at(0);
}

/// Bytes of somebody who has no key.
fn hostile(exchange: &Exchange<'_>, bytes: &[u8]) {
    if let Ok(data) = exchange.unwrap_response(HEADER, bytes) {
        assert!(data.len() <= bytes.len());
        // Guessing a MAC takes more than a fuzzer's life.
        assert!(exchange.response.signature.is_none(), "a response without a key was believed");
    }
    if let Ok(command) = CommandApdu::parse(bytes)
        && exchange.unwrap_command(&command).is_ok()
    {
        assert!(exchange.command.signature.is_none(), "a command without a key was believed");
    }
}

/// What was protected comes back alike, unless a bit of it was changed.
fn honest(exchange: &Exchange<'_>, bytes: &[u8]) {
    let Ok(mut wrapped) = exchange.wrap_response(HEADER, bytes) else { return };
    let data = exchange.unwrap_response(HEADER, &wrapped).expect("what was protected is believed");
    assert!(data.expose() == bytes);
    let place = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % wrapped.len().max(1);
    if let (Some(byte), Some(_)) = (wrapped.get_mut(place), exchange.response.signature) {
        *byte ^= 0x01;
        let believed = exchange.unwrap_response(HEADER, &wrapped);
        assert!(believed.is_err(), "a changed byte at {place} was not noticed");
    }
    let command = CommandApdu::new(0xD6, 0x00, 0x00).plain(bytes.to_vec());
    if let Ok(wrapped) = exchange.wrap_command(&command) {
        let plain = exchange.unwrap_command(&wrapped).expect("what was protected is believed");
        assert!(plain.data.as_bytes() == bytes && plain.cla == 0x00);
        wrapped.to_bytes(Form::Extended).expect("it fits");
    }
}

/// Answers, one after the other; then an empty one for ever.
struct Answers<'a> {
    input: Input<'a>,
    commands: &'a Cell<usize>,
}

impl Transport for Answers<'_> {
    type Error = Infallible;

    fn exchange(&mut self, _command: &[u8]) -> Result<Vec<u8>, Infallible> {
        self.commands.set(self.commands.get() + 1);
        Ok(match self.input.byte() {
            // The same word again and again is what never ends.
            0xFF => vec![0xAB, 0x61, 0x10],
            0xFE => vec![0x6C, 0x08],
            0xFD => [&[0xA5; 8][..], &[0x90, 0x00]].concat(),
            length => self.input.take(usize::from(length)).to_vec(),
        })
    }
}

fn transport(bytes: &[u8]) {
    let secret = |byte| Some(Secret::copy_from(&[byte; 16]).expect("locked memory"));
    let keys = LocalKeys { encryption: secret(0x11), signature: secret(0x22), random: || Some(NONCE) };
    let commands = Cell::new(0);
    let channel = Channel::new(Answers { input: Input::new(bytes), commands: &commands }, Limits::SHORT);
    let both = Protections { command: Protection::BOTH, response: Protection::BOTH };
    let mut channel = SecureTransport::new(channel, keys, |_: &CommandApdu| Some(both)).into_channel();
    let read = channel.run(&ReadBinary { offset: 0, length: 100 });
    assert!(read.is_err(), "a response without a key was believed");
    assert!(commands.get() <= MOST_COMMANDS, "{} commands", commands.get());
}
