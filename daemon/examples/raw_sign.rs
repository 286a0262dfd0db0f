//! What a signature costs without `cnsd`: PERFORM SECURITY OPERATION on a card in a PC/SC reader, after the same
//! commands in the same transaction. `raw_sign READER GENERATION COUNT` reads the PIN from its standard input and prints
//! the microseconds of each signature, one a line. `cargo xtask bench pkcs11` calls it.
#![allow(clippy::print_stdout, reason = "its answer")]

use std::error::Error;
use std::ffi::CString;
use std::io::Read;
use std::time::Instant;

use cns_apdu::command::{
    ManageSecurityEnvironment, PerformSecurityOperation, ReferenceData, SelectFile, Verify,
};
use cns_apdu::generation::Generation;
use cns_apdu::{CardCommand, Form};
use cns_secret::Secret;
use pcsc::{Context, Disposition, Protocols, Scope, ShareMode, Transaction};

/// The answer to a command: at most 65,536 bytes and the status word.
const ANSWER: usize = 65_538;

/// The longest PIN, and a line's end.
const PIN: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: raw_sign READER GENERATION COUNT");
    let (reader, generation, count) = (next()?, next()?, next()?.parse::<usize>()?);
    let generation = Generation::named(&generation).ok_or("no such generation")?;
    let pin = read_pin()?;
    let commands = commands(generation, &pin)?;
    let context = Context::establish(Scope::User)?;
    let mut card = context.connect(&CString::new(reader)?, ShareMode::Shared, Protocols::ANY)?;
    let mut answer = vec![0; ANSWER];
    let transaction = card.transaction()?;
    let (last, first) = commands.split_last().ok_or("no commands")?;
    for command in first {
        send(&transaction, command, &mut answer)?;
    }
    for _ in 0..count {
        let began = Instant::now();
        send(&transaction, last, &mut answer)?;
        println!("{}", began.elapsed().as_micros());
    }
    transaction.end(Disposition::ResetCard).map_err(|(_, error)| error)?;
    Ok(())
}

fn read_pin() -> Result<Secret, Box<dyn Error>> {
    let mut pin = Secret::zeroed(PIN)?;
    let mut input = std::io::stdin().lock();
    let mut length = 0;
    while let Some(rest) = pin.expose_mut().get_mut(length..).filter(|rest| !rest.is_empty()) {
        match input.read(rest)? {
            0 => break,
            read => length = length.saturating_add(read),
        }
    }
    let typed = pin.expose().get(..length).unwrap_or_default().trim_ascii();
    Ok(Secret::copy_from(typed)?)
}

/// The commands of one signature, encoded, with the login key.
fn commands(generation: &Generation, pin: &Secret) -> Result<Vec<Secret>, Box<dyn Error>> {
    let place = &generation.authentication;
    let se = generation.security_environment;
    // Any block below the modulus will do.
    let mut block = vec![0x5A; usize::from(place.modulus_bits) / 8];
    if let Some(first) = block.first_mut() {
        *first = 0;
    }
    let verify = Verify { reference: place.pin, value: Some(ReferenceData::from_digits(pin)?) };
    let set = ManageSecurityEnvironment::Set { template: place.template, key: place.key };
    let operation = PerformSecurityOperation::Decipher { block: Secret::copy_from(&block)? };
    Ok(vec![
        SelectFile::master_file().encode()?.to_bytes(Form::Short)?,
        verify.encode()?.to_bytes(Form::Short)?,
        ManageSecurityEnvironment::Restore { se }.encode()?.to_bytes(Form::Short)?,
        set.encode()?.to_bytes(Form::Short)?,
        operation.encode()?.to_bytes(Form::Extended)?,
    ])
}

fn send(transaction: &Transaction<'_>, command: &Secret, answer: &mut [u8]) -> Result<(), Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "a measurement without cnsd, and its door")]
    let answered = transaction.transmit(command.expose(), answer)?;
    if answered.ends_with(&[0x90, 0x00]) {
        return Ok(());
    }
    let word = answered.get(answered.len().saturating_sub(2)..).unwrap_or_default();
    Err(format!("the card refused: {word:02X?}").into())
}
