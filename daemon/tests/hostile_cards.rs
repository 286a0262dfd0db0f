//! Cards that answer whatever they like: the daemon takes any bytes without panic, endless loop or lost PIN try.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_protocol::pin::PinName;
use cns_protocol::reader::ReaderState;
use cns_virtual_card::vpcd::{Endpoint, plug as plug_in};
use cns_virtual_card::{VirtualCard, sample};
use cnsd::card::{CardError, CardSession, LastTry, pin, random, sign, signature_area};
use cnsd::reader::{ReaderSpec, Readers, TimeLimits, VpcdAddress};
use cnsd_test_support::plugged::{self, Reader, sample_card, secret};
use proptest::prelude::*;
use tempfile::TempDir;

/// What a hostile card does with one answer.
#[derive(Clone, Debug)]
enum Trick {
    /// Other bytes.
    Bytes(Vec<u8>),
    /// Other data and "done".
    Data(Vec<u8>),
    /// A part of the answer.
    Cut(usize),
    /// One byte is another one.
    Flip(usize, u8),
    /// Only a status word.
    Status(u16),
}

impl Trick {
    fn play(&self, answer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Data(data) => [&data[..], &[0x90, 0x00]].concat(),
            Self::Cut(length) => answer[..answer.len().min(*length)].to_vec(),
            Self::Flip(place, with) => {
                let mut answer = answer;
                let length = answer.len().max(1);
                if let Some(byte) = answer.get_mut(place % length) {
                    *byte ^= with;
                }
                answer
            }
            Self::Status(word) => word.to_be_bytes().to_vec(),
        }
    }
}

fn trick() -> impl Strategy<Value = Trick> {
    let bytes = prop::collection::vec(any::<u8>(), 0..600);
    let word = prop_oneof![
        any::<u16>(),
        (0x63C0_u16..0x63D0),
        (0x6100_u16..0x6D00),
        Just(0x9000),
        Just(0x6983),
        Just(0x6282),
    ];
    prop_oneof![
        bytes.clone().prop_map(Trick::Bytes),
        bytes.prop_map(Trick::Data),
        (0_usize..300).prop_map(Trick::Cut),
        (any::<usize>(), 1_u8..).prop_map(|(place, with)| Trick::Flip(place, with)),
        word.prop_map(Trick::Status),
    ]
}

/// The sample card with its certificate, which is issued once.
fn card() -> VirtualCard {
    static CERTIFICATE: OnceLock<Vec<u8>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| {
        let mut card = sample_card(|_| {});
        let path = [0x00, 0xA4, 0x08, 0x0C, 0x04, 0x11, 0x00, 0x11, 0x01];
        assert_eq!(card.transmit(&path), [0x90, 0x00]);
        let mut content = card.transmit(&[0x00, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x00]);
        let length = 4 + usize::from(u16::from_be_bytes([content[2], content[3]]));
        content.truncate(length);
        content
    });
    let mut card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
    card.load_certificate(certificate).unwrap();
    card
}

/// Plugs a card whose answers are changed by a plan: command number → trick. Gives the number of PINs and PUKs seen.
fn plug(socket: &Path, plan: BTreeMap<usize, Trick>) -> JoinHandle<usize> {
    let mut stream = UnixStream::connect(socket).unwrap();
    std::thread::spawn(move || {
        let mut card = card();
        let (mut commands, mut codes) = (0, 0);
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut frame).unwrap();
            let answer = match frame.as_slice() {
                [1 | 2] => {
                    card.power_on();
                    continue;
                }
                [0] => continue,
                [4] => card.answer_to_reset(),
                command => {
                    codes += usize::from(matches!(command, [0, 0x20 | 0x2C, _, _, _, ..]));
                    let answer = card.transmit(command);
                    commands += 1;
                    plan.get(&(commands - 1)).map_or(answer.clone(), |trick| trick.play(answer))
                }
            };
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            if stream.write_all(&[&length, &answer[..]].concat()).is_err() {
                break;
            }
        }
        codes
    })
}

type Job = fn(&mut CardSession<'_>) -> Result<(), CardError>;

/// Everything that the daemon does with a card, whatever comes of it. Each presents a PIN or PUK once at most.
const JOBS: [Job; 8] = [
    |session| pin::status(session).map(drop),
    |session| random::random(session, 100).map(drop),
    |session| pin::verify(session, PinName::Cns, &secret(sample::PIN), LastTry::Ask),
    |session| {
        let (pin, mechanism) = (secret(sample::PIN), Mechanism::RsaPkcs1);
        sign::sign(session, KeyUse::Authentication, &pin, LastTry::Ask, &mechanism, &[1; 20]).map(drop)
    },
    |session| {
        pin::reset(session, PinName::Cns, &secret(sample::PUK), &secret(sample::PIN), LastTry::Ask).map(drop)
    },
    |session| signature_area::inspect(session).map(drop),
    |session| {
        let (pin, area_pin, puk) = (secret(sample::PIN), secret(b"54321"), secret(b"11223344"));
        signature_area::create(session, &pin, &area_pin, &puk, &|_| ())
    },
    |session| signature_area::lock(session, &secret(sample::PIN), &|_| ()),
];

async fn survive(plan: BTreeMap<usize, Trick>) {
    let limit = Duration::from_secs(2);
    let reader =
        Reader::start_with(TimeLimits { command: limit, key_generation: limit, ..TimeLimits::default() });
    let card = plug(&reader.socket, plan);
    let read = |reader: &cns_protocol::reader::Reader| {
        matches!(reader.state, ReaderState::Card(_) | ReaderState::Unusable(_))
    };
    reader.until("an end of reading", read).await;
    if let Err(CardError::Unknown(words)) = reader.readers.card(&reader.name) {
        assert!(!words.contains("inside the daemon"), "{words}");
    }
    let mut jobs = 0;
    for job in JOBS {
        let outcome = reader.readers.run(&reader.name, None, job).await;
        assert!(!matches!(outcome, Err(CardError::Panicked)), "a job panicked");
        jobs += 1;
    }
    assert!(reader.readers.traffic(&reader.name).commands < 200 + jobs * 100);
    reader.readers.stop();
    let codes = card.join().unwrap();
    // Five of the jobs present a code; as many commands that carry or ask for one, one question more before each of
    // them (after an answer that was not understood it is asked again), for the two of the status and for the three of
    // the signature area.
    assert!(codes <= 5 + 5 + 4 + 3, "{codes} commands on codes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_answers_are_survived(plan in prop::collection::btree_map(0_usize..60, trick(), 1..6)) {
        tokio::runtime::Runtime::new().unwrap().block_on(survive(plan));
    }

    #[test]
    fn noise_alone_is_survived(plan in prop::collection::vec(trick(), 100)) {
        tokio::runtime::Runtime::new().unwrap().block_on(survive(plan.into_iter().enumerate().collect()));
    }
}

/// How a card keeps its reader busy: its answer to reset is right, what comes then is not.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// No answer at all.
    Silent,
    /// An answer that announces many bytes, and one of them a second.
    Dripping,
    /// An answer that announces more bytes than come.
    FrameTooLong,
    /// More bytes than the answer announces: the rest counts as the next answer.
    FrameTooShort,
    /// There is always more.
    Endless,
}

/// Plugs such a card; it goes when the stream is shut down.
fn plug_hostile(socket: &Path, manner: Manner) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    let end = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut frame).unwrap_or_default();
            let answer: &[u8] = match (frame.as_slice(), manner) {
                ([0..=2], _) | (_, Manner::Silent) if frame != [4] => continue,
                ([4], _) => &[0x00, 0x02, 0x3B, 0x00],
                (_, Manner::Dripping) => &[0x40, 0x00],
                (_, Manner::FrameTooLong) => &[0xFF, 0xFF, 0x90, 0x00],
                (_, Manner::FrameTooShort) => &[0x00, 0x02, 0x61, 0x00, 0xFF, 0xFF, 0xFF],
                (_, Manner::Endless | Manner::Silent) => &[0x00, 0x03, 0xAB, 0x61, 0x00],
            };
            if stream.write_all(answer).is_err() {
                return;
            }
            if matches!(manner, Manner::Dripping) && frame != [4] {
                while stream.write_all(&[0xAB]).is_ok() {
                    std::thread::sleep(Duration::from_secs(1));
                }
                return;
            }
        }
    });
    end
}

async fn until(readers: &Readers, name: &str, holds: impl Fn(&ReaderState) -> bool) {
    let ends = tokio::time::Instant::now() + plugged::WAIT;
    loop {
        let list = readers.list();
        let state = &list.readers.iter().find(|reader| reader.name == name).unwrap().state;
        if holds(state) {
            return;
        }
        assert!(tokio::time::Instant::now() < ends, "{name} stays {state:?}");
        readers.wait(list.change, Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_is_listed_and_signs_while_a_card_is_hostile() {
    let folder = TempDir::new().unwrap();
    let socket = |name: &str| -> PathBuf { folder.path().join(name) };
    let spec = |name: &str| ReaderSpec::Vpcd(VpcdAddress::Unix(socket(name)));
    let (hostile, honest) = (spec("hostile.sock"), spec("honest.sock"));
    let limit = Duration::from_secs(600);
    let limits = TimeLimits { command: limit, key_generation: limit, ..TimeLimits::default() };
    let readers = Readers::start_with(&[hostile.clone(), honest.clone()], limits).unwrap();
    let (hostile, honest) = (hostile.to_string(), honest.to_string());
    for manner in
        [Manner::Silent, Manner::Dripping, Manner::FrameTooLong, Manner::FrameTooShort, Manner::Endless]
    {
        let end = plug_hostile(&socket("hostile.sock"), manner);
        // Those that the daemon waits for keep their reader, and nothing else, until they are pulled out.
        let waits = !matches!(manner, Manner::Endless);
        if waits {
            until(&readers, &hostile, |state| matches!(state, ReaderState::Reading)).await;
        } else {
            until(&readers, &hostile, |state| matches!(state, ReaderState::Unusable(_))).await;
        }
        let plugged = plug_in(card(), Endpoint::Unix(socket("honest.sock"))).unwrap();
        until(&readers, &honest, |state| matches!(state, ReaderState::Card(_))).await;
        let signed = readers.run(&honest, None, |session| {
            let (pin, mechanism) = (secret(sample::PIN), Mechanism::RsaPkcs1);
            sign::sign(session, KeyUse::Authentication, &pin, LastTry::Ask, &mechanism, &[1; 20])
        });
        assert_eq!(signed.await.unwrap().len(), 256, "{manner:?}");
        if waits {
            until(&readers, &hostile, |state| matches!(state, ReaderState::Reading)).await;
        }
        drop(plugged);
        end.shutdown(std::net::Shutdown::Both).unwrap_or_default();
        until(&readers, &hostile, |state| matches!(state, ReaderState::Empty)).await;
        until(&readers, &honest, |state| matches!(state, ReaderState::Empty)).await;
    }
    readers.stop();
}
