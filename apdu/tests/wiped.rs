//! What a key deciphered does not stay on the heap on its way through secure messaging, GET RESPONSE and the decoding, and
//! no PIN or PUK does when a session is recorded: an allocator that looks at each block before it is given back sees
//! them in none.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests may fail loudly")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use cns_apdu::access::ObjectConditions;
use cns_apdu::chaining;
use cns_apdu::command::{
    CardCommand, ChangeProof, ChangeReferenceData, ObjectSettings, PerformSecurityOperation, PinReference,
    PutData, ReferenceData, ResetAction, ResetRetryCounter, Verify,
};
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectAttributes, ObjectClass, ObjectId};
use cns_apdu::secure_messaging::{
    Exchange, Keys, LocalKeys, Nonce, Protection, Protections, SecureTransport,
};
use cns_apdu::trace::{Recorder, Trace};
use cns_apdu::transmit::{Channel, Limits, Transport};
use cns_apdu::{CommandApdu, Form, ResponseApdu, StatusWord};
use cns_secret::Secret;
use zeroize::{Zeroize, Zeroizing};

/// XORed, so that what is looked for stands nowhere in the program.
const HIDDEN: [u8; 8] = [0x62, 0x66, 0x6C, 0x64, 0x60, 0x60, 0x6D, 0x67];
const MASK: u8 = 0x55;
/// Longer than one response over T=0.
const DECIPHERED: usize = 320;

static SEEN: AtomicUsize = AtomicUsize::new(0);

struct Watching;

fn watch(block: &[u8]) {
    let is_plain = |window: &[u8]| window.iter().zip(HIDDEN).all(|(byte, hidden)| *byte == hidden ^ MASK);
    if block.windows(HIDDEN.len()).any(is_plain) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged; blocks are only looked at.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to `GlobalAlloc`'s contract. Zeroed, so that every byte may be looked at.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's, `layout.size()` bytes long, and initialised by `alloc`.
        watch(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller keeps to `GlobalAlloc`'s contract.
        unsafe { System.dealloc(block, layout) }
    }
    // `realloc` is the default: a new block, a copy, and `dealloc` of the old one, which is looked at.
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn deciphered() -> Secret {
    let mut plain = Secret::zeroed(DECIPHERED).unwrap();
    for (byte, hidden) in plain.expose_mut().iter_mut().zip(HIDDEN.iter().cycle()) {
        *byte = hidden ^ MASK;
    }
    plain
}

fn key() -> Secret {
    Secret::copy_from(&[0x31; 24]).unwrap()
}

/// A chip that answers a protected decipherment in two responses, as over T=0.
struct Chip {
    random: Option<Nonce>,
    rest: Vec<u8>,
}

impl Transport for Chip {
    type Error = Infallible;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Infallible> {
        let apdu = CommandApdu::parse(command).unwrap();
        Ok(match apdu.ins {
            0x84 => [&[7; 8][..], &[0x90, 0x00]].concat(),
            0x86 => {
                self.random = command.get(5..13).and_then(|random| random.try_into().ok());
                vec![0x90, 0x00]
            }
            0xC0 => {
                let rest = std::mem::take(&mut self.rest);
                [&rest[..], &[0x90, 0x00]].concat()
            }
            _ => {
                let (encryption, signature) = (key(), key());
                let response = Keys { encryption: Some(&encryption), signature: Some(&signature) };
                let exchange = Exchange { response, random: self.random.take(), ..Exchange::default() };
                let plain = deciphered();
                let header = [apdu.cla, apdu.ins, apdu.p1, apdu.p2];
                let sealed = exchange.wrap_response(header, plain.expose()).unwrap();
                let (first, rest) = sealed.split_at(256);
                self.rest = rest.to_vec();
                [first, &[0x61, u8::try_from(rest.len()).unwrap()]].concat()
            }
        })
    }
}

/// The same as a PIN or PUK of eight digits.
fn code() -> Secret {
    deciphered().truncated(HIDDEN.len())
}

fn digits() -> ReferenceData {
    ReferenceData::from_digits(&code()).unwrap()
}

/// PIN and PUK stand in the commands that make objects, set, change and unblock PINs; whole, in parts of a chain, and
/// of any class.
fn a_recording_copies_no_code() {
    let reference = PinReference::local(ObjectId::SIGNATURE_PIN);
    let object = PutData::Oci(ObjectSettings {
        address: ObjectAddress::new(ObjectClass::Test, ObjectId::SIGNATURE_PIN),
        attributes: Some(ObjectAttributes::exponent(Algorithm::Pin)),
        conditions: Some(ObjectConditions([0; 7])),
        secure_messaging: None,
        body: Some(code()),
    });
    let proof = ChangeProof::Value(digits());
    let action = ResetAction::SetNew { puk: digits(), new: digits() };
    let commands = [
        object.encode().unwrap(),
        Verify { reference, value: Some(digits()) }.encode().unwrap(),
        ChangeReferenceData { reference, proof, new: digits() }.encode().unwrap(),
        ResetRetryCounter { reference, action }.encode().unwrap(),
    ];
    let mut recorder = Recorder::new();
    recorder.reset();
    let mut record = |apdu: &CommandApdu, form: Form| {
        let bytes = apdu.to_bytes(form).unwrap();
        recorder.exchange(bytes.expose(), &[0x90, 0x00]);
        // Nor when the lengths contradict, and nobody knows what it is.
        recorder.exchange(bytes.expose().split_last().unwrap().1, &[0x67, 0x00]);
    };
    for apdu in &commands {
        record(apdu, Form::Short);
        record(apdu, Form::Extended);
        for part in chaining::split(apdu, apdu.data.len() - 1).unwrap() {
            record(&part, Form::Short);
        }
    }
    for class in [0x04, 0x0C, 0x80, 0x90, 0xFF] {
        let mut bytes = commands.first().unwrap().to_bytes(Form::Short).unwrap();
        *bytes.expose_mut().first_mut().unwrap() = class;
        recorder.exchange(bytes.expose(), &[0x6E, 0x00]);
    }
    // What a chip gives back is no safer.
    let answer = Zeroizing::new([code().expose(), &[0x90, 0x00]].concat());
    for command in
        [&[0x00, 0xCA, 0x01, 0x6E, 0x00], &[0x00, 0xB0, 0x00, 0x00, 0x00], &[0x00, 0xA4, 0x00, 0x00, 0x00]]
    {
        recorder.exchange(command, &answer);
    }
    let sessions = recorder.sessions();
    let recorded = sessions.concat().len();
    let text = Trace { sessions: recorder.take(), ..Trace::default() }.to_string();
    drop((sessions, recorder, text, answer, commands));
    assert_eq!(recorded, 40);
    assert_eq!(SEEN.swap(0, Ordering::SeqCst), 0, "in a recording");
}

/// One test, so that nothing else uses the heap meanwhile.
#[test]
fn neither_codes_nor_what_was_deciphered_stay_on_the_heap() {
    drop(deciphered().expose().to_vec());
    assert_eq!(SEEN.swap(0, Ordering::SeqCst), 1, "the allocator sees what it should");
    a_recording_copies_no_code();

    let below = Channel::new(Chip { random: None, rest: Vec::new() }, Limits::EXTENDED);
    let both = Protections { command: Protection::BOTH, response: Protection::BOTH };
    let keys = LocalKeys { encryption: Some(key()), signature: Some(key()), random: || Some([9; 8]) };
    let mut host = SecureTransport::new(below, keys, |_: &CommandApdu| Some(both)).into_channel();
    let command = PerformSecurityOperation::Decipher { block: Secret::copy_from(&[0x5A; 256]).unwrap() };
    let mut answer = host.run(&command).unwrap();
    assert!(deciphered().ct_eq(&Secret::copy_from(&answer).unwrap()));
    // The caller's own.
    answer.zeroize();
    assert_eq!(SEEN.load(Ordering::SeqCst), 0, "under secure messaging");

    // In plain, in two responses, and looked at in other ways.
    struct Plain(bool);
    impl Transport for Plain {
        type Error = Infallible;
        fn exchange(&mut self, _: &[u8]) -> Result<Vec<u8>, Infallible> {
            let plain = deciphered();
            let (first, rest) = plain.expose().split_at(256);
            self.0 = !self.0;
            Ok(if self.0 { [first, &[0x61, 0x40]].concat() } else { [rest, &[0x90, 0x00]].concat() })
        }
    }
    let mut answer = Channel::new(Plain(false), Limits::EXTENDED).run(&command).unwrap();
    answer.zeroize();
    let response = ResponseApdu::new(deciphered().expose().to_vec(), StatusWord::SUCCESS);
    response.to_bytes().zeroize();
    drop(response);
    assert_eq!(SEEN.load(Ordering::SeqCst), 0, "in plain");
}
