//! The readers over the daemon's own vpcd listener: insertion, removal, queue, hostile cards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use cns_apdu::command::GetChallenge;
use cns_protocol::card::KeyUse;
use cns_protocol::reader::{CardFace, ReaderKind, ReaderState};
use cns_virtual_card::fault::Fault;
use cns_virtual_card::{Behaviour, SignatureArea, sample};
use cnsd::card::CardError;
use cnsd::reader::{Budget, ReaderError, ReaderSpec, Readers, TimeLimits};
use cnsd_test_support::plugged::{Reader, sample_card};

#[tokio::test]
async fn a_card_is_read_once_per_insertion_in_eight_commands() {
    let reader = Reader::start();
    let listed = reader.readers.list().readers;
    assert_eq!((listed.len(), &listed[0].state, listed[0].kind), (1, &ReaderState::Empty, ReaderKind::Vpcd));
    let plugged = reader.plug(sample_card(|_| {}));
    let contents = reader.card().await;
    let card = &contents.card;
    assert_eq!((card.serial.as_str(), card.generation.as_str()), (sample::ID_CARD, "st2021"));
    assert_eq!(card.holder.codice_fiscale, "RSSMRA80A01H501U");
    assert_eq!((card.holder.birth_date.as_str(), card.expires.as_str()), ("1980-01-01", "2032-01-14"));
    assert!(card.data_agree && card.is_virtual);
    assert_eq!(card.certificates.len(), 1);
    assert_eq!((card.certificates[0].key_use, card.certificates[0].key_bits), (KeyUse::Authentication, 2048));
    let traffic = reader.readers.traffic(&reader.name);
    println!("first listing: {traffic:?}");
    assert_eq!(traffic.commands, 8);
    for _ in 0..100 {
        assert_eq!(reader.readers.list().readers.len(), 1);
        reader.readers.find_card(sample::ID_CARD).unwrap();
    }
    assert_eq!(reader.readers.traffic(&reader.name), traffic);
    assert_eq!(reader.readers.list().readers[0].contents_reads, 1);

    plugged.pull_out();
    reader.until("an empty reader", |reader| reader.state == ReaderState::Empty).await;
    assert!(matches!(reader.readers.card(&reader.name), Err(CardError::NoCard)));
    plugged.put_in();
    let again = reader.card().await;
    assert_eq!(again.card.insertion, card.insertion + 2);
    assert_eq!(reader.readers.list().readers[0].contents_reads, 2);
}

#[tokio::test]
async fn a_card_without_signature_directory_certificate_or_quiet_select_is_read_too() {
    let changes: [fn(&mut cns_virtual_card::Personalisation); 3] = [
        |order| order.signature_area = SignatureArea::Absent,
        |order| order.behaviour.select_p2_0c_refused = true,
        |order| order.behaviour = Behaviour { strict_st: true, strict_incard: true, ..Behaviour::default() },
    ];
    for change in changes {
        let reader = Reader::start();
        let _plugged = reader.plug(sample_card(change));
        assert!(reader.card().await.card.data_agree);
    }
    let reader = Reader::start();
    let blank = cns_virtual_card::VirtualCard::create(sample::personalisation().unwrap()).unwrap();
    let _plugged = reader.plug(blank);
    let contents = reader.card().await;
    assert!(contents.card.certificates.is_empty() && !contents.card.data_agree);
    assert_eq!(contents.card.serial, sample::ID_CARD);
}

#[tokio::test]
async fn a_job_for_a_card_that_went_or_was_swapped_is_refused() {
    let reader = Reader::start();
    let nothing = reader.readers.run(&reader.name, None, |_| Ok(())).await;
    assert!(matches!(nothing, Err(CardError::NoCard)));
    assert!(matches!(reader.readers.run("other", None, |_| Ok(())).await, Err(CardError::NoReader)));
    let plugged = reader.plug(sample_card(|_| {}));
    let insertion = reader.card().await.card.insertion;
    reader.readers.run(&reader.name, Some(insertion), |_| Ok(())).await.unwrap();
    plugged.pull_out();
    reader.until("an empty reader", |reader| reader.state == ReaderState::Empty).await;
    let removed = reader.readers.run(&reader.name, Some(insertion), |_| Ok(())).await;
    assert!(matches!(removed, Err(CardError::Removed)), "{removed:?}");
    plugged.put_in();
    reader.card().await;
    let swapped = reader.readers.run(&reader.name, Some(insertion), |_| Ok(())).await;
    assert!(matches!(swapped, Err(CardError::Swapped)), "{swapped:?}");
}

#[tokio::test]
async fn a_card_pulled_out_in_the_middle_of_a_job_ends_it() {
    let reader = Reader::start();
    let plugged = reader.plug(sample_card(|_| {}));
    reader.card().await;
    plugged.with_card(|card| card.plan(1, Fault::PullOutBefore));
    let job = reader.readers.run(&reader.name, None, |session| {
        session.run(&GetChallenge { length: 8 })?;
        session.run(&GetChallenge { length: 8 })
    });
    assert!(matches!(job.await, Err(CardError::Removed)));
    reader.until("an empty reader", |reader| reader.state == ReaderState::Empty).await;
}

#[tokio::test]
async fn a_panic_ends_the_job_and_not_the_reader() {
    let reader = Reader::start();
    let _plugged = reader.plug(sample_card(|_| {}));
    reader.card().await;
    let job = reader.readers.run(&reader.name, None, |_| -> Result<(), CardError> { panic!("on purpose") });
    assert!(matches!(job.await, Err(CardError::Panicked)));
    reader.readers.run(&reader.name, None, |session| session.run(&GetChallenge { length: 8 })).await.unwrap();
}

#[tokio::test]
async fn jobs_run_one_after_the_other_and_the_queue_has_an_end() {
    let reader = Reader::start();
    let _plugged = reader.plug(sample_card(|_| {}));
    reader.card().await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let hold = {
        let (readers, name) = (reader.readers.clone(), reader.name.clone());
        tokio::spawn(async move {
            readers.run(&name, None, move |_| held.recv().map_err(|_| CardError::Stopped)).await
        })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let many: Vec<_> = (0..100)
        .map(|_| {
            let (readers, name) = (reader.readers.clone(), reader.name.clone());
            tokio::spawn(async move { readers.run(&name, None, |_| Ok(())).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    release.send(()).unwrap();
    hold.await.unwrap().unwrap();
    let mut busy = 0;
    for job in many {
        match job.await.unwrap() {
            Ok(()) => {}
            Err(CardError::Busy) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(busy, 100 - 63);
}

#[tokio::test]
async fn a_mute_card_costs_no_more_than_the_time_limit() {
    let limit = Duration::from_millis(300);
    let reader =
        Reader::start_with(TimeLimits { command: limit, key_generation: limit, ..TimeLimits::default() });
    let plugged = reader.plug(sample_card(|_| {}));
    reader.card().await;
    plugged.with_card(|card| card.plan(0, Fault::Mute));
    let began = Instant::now();
    let job =
        reader.readers.run(&reader.name, None, |session| session.run(&GetChallenge { length: 8 })).await;
    assert!(matches!(job, Err(CardError::TimedOut)), "{job:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn readers_that_stop_refuse_what_waits() {
    let reader = Reader::start();
    let _plugged = reader.plug(sample_card(|_| {}));
    reader.card().await;
    reader.readers.stop();
    let job =
        reader.readers.run(&reader.name, None, |session| session.run(&GetChallenge { length: 8 })).await;
    let stopped = matches!(job, Err(CardError::Stopped | CardError::NoCard | CardError::Removed));
    assert!(stopped, "{job:?}");
    assert!(!reader.socket.exists());
}

#[tokio::test]
async fn the_socket_is_private_and_a_stale_one_is_replaced() {
    let reader = Reader::start();
    let mode = std::fs::metadata(&reader.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let spec: ReaderSpec = reader.name.parse().unwrap();
    assert!(matches!(Readers::start(&[spec]), Err(ReaderError::InUse(_))));

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    let spec: ReaderSpec = format!("vpcd:{}", path.display()).parse().unwrap();
    drop(Readers::start(std::slice::from_ref(&spec)).unwrap());
    assert!(matches!(Readers::start(&[spec.clone(), spec]), Err(ReaderError::Twice(_))));
    let file = folder.path().join("file");
    std::fs::write(&file, "no socket").unwrap();
    let spec: ReaderSpec = format!("vpcd:{}", file.display()).parse().unwrap();
    assert!(matches!(Readers::start(&[spec]), Err(ReaderError::NotASocket(_))));
    assert!(file.exists());
}

/// Reads a frame as a card does.
fn frame(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// A card that answers every command with the same bytes, until it is disconnected; counts the commands.
fn answering(
    socket: &std::path::Path,
    atr: &'static [u8],
    answer: &'static [u8],
) -> std::thread::JoinHandle<u32> {
    let mut stream = UnixStream::connect(socket).unwrap();
    std::thread::spawn(move || {
        let mut commands = 0;
        while let Ok(command) = frame(&mut stream) {
            let answer = match command.as_slice() {
                [0..=2] => continue,
                [4] => atr,
                _ => {
                    commands += 1;
                    answer
                }
            };
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            if stream.write_all(&[&length, answer].concat()).is_err() {
                break;
            }
        }
        commands
    })
}

#[tokio::test]
async fn a_stranger_is_told_politely_that_it_is_no_cns() {
    let reader = Reader::start();
    let _card = answering(&reader.socket, &[0x3B, 0x00], &[0x6A, 0x82]);
    reader.until("an unusable card", |reader| matches!(reader.state, ReaderState::Unusable(_))).await;
    let Err(CardError::Unknown(words)) = reader.readers.card(&reader.name) else {
        panic!("a stranger was taken for a CNS")
    };
    assert!(words.contains("no CNS"), "{words}");
}

/// Quirk 23 of real cards: a dual reader falls back to its antenna when the card is not pushed in.
#[tokio::test]
async fn quirk_23_the_face_of_the_card_that_is_reached_is_told() {
    let reader = Reader::start();
    let _card = answering(&reader.socket, &[0x3B, 0x81, 0x80, 0x01, 0x80, 0x80], &[0x6A, 0x82]);
    reader.until("an unusable card", |reader| matches!(reader.state, ReaderState::Unusable(_))).await;
    assert_eq!(reader.readers.list().readers[0].face, Some(CardFace::Contactless));
    let Err(CardError::Unknown(words)) = reader.readers.card(&reader.name) else {
        panic!("a stranger was taken for a CNS")
    };
    assert!(words.contains("NFC") && words.contains("push it"), "{words}");

    let reader = Reader::start();
    assert_eq!(reader.readers.list().readers[0].face, None);
    let plugged = reader.plug(sample_card(|_| {}));
    reader.card().await;
    assert_eq!(reader.readers.list().readers[0].face, Some(CardFace::Contacts));
    plugged.pull_out();
    reader.until("an empty reader", |reader| reader.state == ReaderState::Empty).await;
    assert_eq!(reader.readers.list().readers[0].face, None);
}

#[tokio::test]
async fn endless_answers_end_the_recognition_within_its_budget() {
    // More and more bytes are announced; a file that never ends; an answer without status word.
    for answer in [&[0x61, 0x00][..], &[b'0', 0x90, 0x00], &[0x90], &[0x6C, 0x01]] {
        let reader = Reader::start();
        let _card = answering(&reader.socket, &[0x3B, 0x00], answer);
        // A card that answers "0" to everything has a number of sixteen digits; that it is good for nothing else is
        // no matter of time.
        reader
            .until("an end", |reader| matches!(reader.state, ReaderState::Unusable(_) | ReaderState::Card(_)))
            .await;
        assert!(reader.readers.traffic(&reader.name).commands <= u64::from(Budget::RECOGNITION.commands));
    }
}

#[tokio::test]
async fn a_connection_that_is_no_card_leaves_room_for_one() {
    let limit = Duration::from_millis(300);
    let reader =
        Reader::start_with(TimeLimits { command: limit, key_generation: limit, ..TimeLimits::default() });
    // Never answers.
    let silent = UnixStream::connect(&reader.socket).unwrap();
    reader.until("an unusable card", |reader| matches!(reader.state, ReaderState::Unusable(_))).await;
    // Waits for its turn.
    let _plugged = reader.plug(sample_card(|_| {}));
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(silent);
    reader.card().await;
}

#[tokio::test]
async fn over_tcp_no_command_waits_for_a_delayed_acknowledgement() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spec: ReaderSpec = format!("vpcd:127.0.0.1:{port}").parse().unwrap();
    let readers = Readers::start(std::slice::from_ref(&spec)).unwrap();
    let name = spec.to_string();
    let endpoint = cns_virtual_card::vpcd::Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
    let _plugged = cns_virtual_card::vpcd::plug(sample_card(|_| {}), endpoint).unwrap();
    let mut list = readers.list();
    while readers.card(&name).is_err() {
        list = readers.wait(list.change, Duration::from_secs(1)).await;
    }
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        readers.run(&name, None, |session| session.run(&GetChallenge { length: 8 })).await.unwrap();
        quickest = quickest.min(began.elapsed());
    }
    // The kernel's delay is 40 ms.
    assert!(quickest < Duration::from_millis(20), "{quickest:?}");
}
