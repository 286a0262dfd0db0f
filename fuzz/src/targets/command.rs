//! Commands as a chip reads them: the bytes are written as they were read, and a command decodes alike when it is
//! encoded again.

use cns_apdu::chaining::{Assembled, Assembler, LONGEST_CHAIN};
use cns_apdu::{Command, CommandApdu, Form};

use crate::input::Input;

pub(crate) fn run(bytes: &[u8]) {
    one(bytes);
    // The same bytes as a row of commands, of which some continue a chain.
    let (mut input, mut assembler) = (Input::new(bytes), Assembler::default());
    while !input.is_empty() {
        let Ok(apdu) = CommandApdu::parse(input.text()) else { continue };
        if let Ok(Assembled::Whole(whole)) = assembler.push(apdu) {
            assert!(whole.data.len() <= LONGEST_CHAIN.max(65_535));
            if let Ok(command) = Command::decode(&whole) {
                assert!(!command.name().is_empty());
            }
        }
    }
}

fn one(bytes: &[u8]) {
    let Ok(apdu) = CommandApdu::parse(bytes) else { return };
    let written = apdu.to_bytes(Form::of(bytes)).expect("a command that was read can be written");
    assert_eq!(written.expose(), bytes);
    let Ok(command) = Command::decode(&apdu) else { return };
    let once = command.encode().expect("a command that was decoded has an encoding");
    let again = Command::decode(&once);
    let Ok(again) = again else { panic!("{}: its own encoding is refused", command.name()) };
    let twice = again.encode().expect("a command that was decoded has an encoding");
    let form = if once.fits_short() { Form::Short } else { Form::Extended };
    let [once, twice] = [once, twice].map(|apdu| apdu.to_bytes(form).expect("it fits"));
    assert!(once.expose() == twice.expose(), "{}: two encodings", command.name());
}
