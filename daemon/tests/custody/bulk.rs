//! Large import files: streamed, in chunks, cut off and gone on with, hostile.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use cns_protocol::custody::Imported;
use cnsd::custody::{Arrived, Custody, CustodyError, Fault, FileDigest, ImportError, LineFault, PukKind};
use sha2::{Digest, Sha256};

use super::{CARD, Daemon, HEADER_CARDS, card_line, open, sealed, start};

const CHUNK: usize = 1 << 20;

/// What a bureau sends: BER, because OpenSSL does not know the length when it begins to write.
fn streamed(custody: &Custody, content: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, plain) = (folder.path().join("import.pem"), folder.path().join("plain"));
    fs::write(&certificate, custody.import_certificate_pem()).unwrap();
    fs::write(&plain, content).unwrap();
    let output = Command::new("openssl")
        .args(["cms", "-encrypt", "-binary", "-stream", "-aes256", "-outform", "DER", "-in"])
        .args([&plain, &certificate])
        .stdin(Stdio::null())
        .output()
        .expect("the openssl program is needed");
    assert!(output.status.success());
    assert_eq!(output.stdout[..2], [0x30, 0x80], "an indefinite length");
    output.stdout
}

/// So many cards.
fn cards(count: u64) -> Vec<u8> {
    let mut content = format!("{HEADER_CARDS}\n").into_bytes();
    for number in 0..count {
        writeln!(content, "{}", card_line(&format!("6{number:015}"), "24681357")).unwrap();
    }
    content
}

fn digest(file: &[u8]) -> FileDigest {
    FileDigest::parse(&hex::encode(Sha256::digest(file))).unwrap()
}

async fn upload(custody: &Custody, file: &[u8]) -> FileDigest {
    let digest = digest(file);
    let mut arrived = custody.import_begin(&digest, file.len() as u64).await.unwrap().bytes;
    while let Some(rest) = file.get(usize::try_from(arrived).unwrap()..).filter(|rest| !rest.is_empty()) {
        let chunk = rest[..rest.len().min(CHUNK)].to_vec();
        arrived = custody.import_chunk(&digest, arrived, chunk).await.unwrap();
    }
    digest
}

async fn count(daemon: &Daemon, query: &str) -> i64 {
    sqlx::query_as::<_, (i64,)>(query).fetch_one(daemon.database.pool()).await.unwrap().0
}

async fn refused(daemon: &Daemon, file: &[u8]) -> ImportError {
    let digest = upload(&daemon.custody, file).await;
    match daemon.custody.import_finish(&digest, |_, _| {}).await {
        Err(CustodyError::Import(error)) => {
            for table in ["card", "puk", "import_card", "import_envelope", "import_file"] {
                assert_eq!(count(daemon, &format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
            }
            assert_eq!(fs::read_dir(daemon.folder.path().join("imports")).unwrap().count(), 0);
            error
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_streamed_file_arrives_in_chunks_and_is_taken_in_once() {
    let daemon = start().await;
    let custody = &daemon.custody;
    let file = streamed(custody, &cards(25_000));
    assert!(file.len() > 2 * CHUNK);
    let digest = upload(custody, &file).await;
    let last = AtomicU64::new(0);
    let progress = |done: u64, total: u64| {
        assert!(done <= total && total == file.len() as u64);
        assert!(last.swap(done, Ordering::Relaxed) < done);
    };
    let imported = custody.import_finish(&digest, progress).await.unwrap();
    assert_eq!(imported, Imported { cards: 25_000, ..Imported::default() });
    assert!(last.load(Ordering::Relaxed) > file.len() as u64 / 2);
    let puk = custody.puk("6000000000012345", PukKind::Cns).await.unwrap().lend(|puk| puk.expose().to_vec());
    assert_eq!(puk, b"24681357");
    assert_eq!(count(&daemon, "SELECT COUNT(*) FROM import_card").await, 0, "nothing is left behind");
    assert_eq!(fs::read_dir(daemon.folder.path().join("imports")).unwrap().count(), 0);
    // The answer was lost: asked again, nothing is doubled.
    let again = custody.import_finish(&digest, |_, _| {}).await.unwrap();
    assert_eq!(again, Imported { already: true, ..imported });
    let known = custody.import_begin(&digest, file.len() as u64).await.unwrap();
    assert_eq!(known, Arrived { bytes: 0, done: Some(again) });
    assert_eq!(custody.stock().await.unwrap().cards, 25_000);
}

/// As a SIGKILL leaves it: some lines staged, the rest not.
#[tokio::test]
async fn a_cut_off_import_goes_on() {
    let daemon = start().await;
    let file = streamed(&daemon.custody, &cards(20_000));
    let digest = upload(&daemon.custody, &file).await;
    let (sender, mut began) = tokio::sync::mpsc::unbounded_channel();
    let (custody, own) = (daemon.custody.clone(), digest.clone());
    let work = tokio::spawn(async move {
        custody.import_finish(&own, move |done, _| sender.send(done).unwrap_or_default()).await
    });
    began.recv().await.unwrap();
    work.abort();
    assert!(work.await.unwrap_err().is_cancelled());
    let staged = count(&daemon, "SELECT COUNT(*) FROM import_card").await;
    assert!((1..20_000).contains(&staged), "{staged}");
    assert_eq!(daemon.custody.stock().await.unwrap().cards, 0, "all or nothing");

    let Daemon { folder, database, custody } = daemon;
    database.close().await;
    drop(custody);
    let (database, custody) = open(folder.path()).await.unwrap();
    let daemon = Daemon { folder, database, custody };
    let place = daemon.custody.import_begin(&digest, file.len() as u64).await.unwrap();
    assert_eq!(place.bytes, file.len() as u64, "nothing need be sent again");
    let (sender, mut began) = tokio::sync::mpsc::unbounded_channel();
    let imported = daemon
        .custody
        .import_finish(&digest, move |done, _| sender.send(done).unwrap_or_default())
        .await
        .unwrap();
    assert_eq!(imported.cards, 20_000);
    let lines = u64::try_from(staged).unwrap();
    assert!(
        began.recv().await.unwrap() > file.len() as u64 * lines / 20_000,
        "what was staged is not staged again"
    );
    assert_eq!(daemon.custody.stock().await.unwrap().cards, 20_000);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_and_is_checked() {
    let daemon = start().await;
    let custody = &daemon.custody;
    let file = sealed(custody, &[HEADER_CARDS, &card_line(CARD, "24681357")]);
    let (own, size) = (digest(&file), file.len() as u64);
    let wrong = custody.import_chunk(&own, 0, file.clone()).await;
    assert!(matches!(wrong, Err(CustodyError::Import(ImportError::NotBegun))), "{wrong:?}");
    custody.import_begin(&own, size).await.unwrap();
    assert_eq!(custody.import_chunk(&own, 0, file[..100].to_vec()).await.unwrap(), 100);
    let twice = custody.import_chunk(&own, 0, file[..100].to_vec()).await;
    assert!(matches!(twice, Err(CustodyError::Import(ImportError::Offset(100)))), "{twice:?}");
    assert_eq!(custody.import_begin(&own, size).await.unwrap().bytes, 100);
    assert_eq!(custody.import_chunk(&own, 100, file[100..].to_vec()).await.unwrap(), size);
    assert_eq!(custody.import_finish(&own, |_, _| {}).await.unwrap().cards, 1);

    let other = sealed(custody, &[HEADER_CARDS, &card_line("6999000000001248", "24681357")]);
    let announced = digest(&other);
    custody.import_begin(&announced, size).await.unwrap();
    custody.import_chunk(&announced, 0, file).await.unwrap();
    let exchanged = custody.import_finish(&announced, |_, _| {}).await;
    assert!(matches!(exchanged, Err(CustodyError::Import(ImportError::Digest))), "{exchanged:?}");
    let gone = custody.import_finish(&announced, |_, _| {}).await;
    assert!(matches!(gone, Err(CustodyError::Import(ImportError::NotBegun))), "{gone:?}");

    let huge = custody.import_begin(&announced, u64::MAX).await;
    assert!(matches!(huge, Err(CustodyError::Import(ImportError::TooLarge(_)))), "{huge:?}");
    let large = custody.import_chunk(&announced, 0, vec![0; CHUNK + 1]).await;
    assert!(matches!(large, Err(CustodyError::Import(ImportError::TooLarge(_)))), "{large:?}");
    for wrong in ["", "../../etc/passwd", &"g".repeat(64), &"a".repeat(65)] {
        assert!(FileDigest::parse(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn unfinished_uploads_are_few_and_can_be_dropped() {
    let daemon = start().await;
    let custody = &daemon.custody;
    let digests: Vec<FileDigest> = (0..9_u8).map(|number| digest(&[number])).collect();
    for digest in &digests[..8] {
        custody.import_begin(digest, 1).await.unwrap();
    }
    let refused = custody.import_begin(&digests[8], 1).await;
    assert!(matches!(refused, Err(CustodyError::Import(ImportError::TooManyUploads(8)))), "{refused:?}");
    custody.import_begin(&digests[0], 1).await.unwrap();
    custody.import_drop(&digests[0]).await.unwrap();
    custody.import_drop(&digests[0]).await.unwrap();
    custody.import_begin(&digests[8], 1).await.unwrap();
}

#[tokio::test]
async fn repeated_and_known_lines_are_told_and_counted() {
    let daemon = start().await;
    let mut content = cards(2_000);
    for number in 0..50 {
        writeln!(content, "{}", card_line(&format!("6{number:015}"), "11111111")).unwrap();
    }
    let ImportError::Lines(faults) = refused(&daemon, &streamed(&daemon.custody, &content)).await else {
        panic!("refused for its lines");
    };
    assert_eq!((faults.total, faults.told.len()), (50, 20));
    assert_eq!(faults.told[0], LineFault { line: 2_002, fault: Fault::Repeated });
    let said = faults.to_string();
    assert!(said.ends_with("line 2021 repeats an earlier line; and 30 more wrong lines"), "{said}");

    let file = streamed(&daemon.custody, &cards(1_000));
    let digest = upload(&daemon.custody, &file).await;
    daemon.custody.import_finish(&digest, |_, _| {}).await.unwrap();
    let file = streamed(&daemon.custody, &cards(1_500));
    let digest = upload(&daemon.custody, &file).await;
    let known = daemon.custody.import_finish(&digest, |_, _| {}).await;
    let Err(CustodyError::Import(ImportError::Lines(faults))) = known else { panic!("{known:?}") };
    assert_eq!((faults.total, faults.told[0]), (1_000, LineFault { line: 2, fault: Fault::Known }));
    assert_eq!(daemon.custody.stock().await.unwrap().cards, 1_000);
}

#[tokio::test]
async fn hostile_files_leave_nothing() {
    let daemon = start().await;
    let seal = |content: &[u8]| streamed(&daemon.custody, content);
    let good = seal(&cards(3_000));
    // Cut anywhere, also where lines were staged already.
    for length in [0, 1, 2, 100, 700, good.len() / 2, good.len() - 1] {
        let error = refused(&daemon, &good[..length]).await;
        let early = matches!(error, ImportError::NotEnvelopedData(_));
        assert!(
            if length < 600 { early } else { error == ImportError::Undecryptable },
            "{length}: {error:?}"
        );
    }
    for place in [good.len() / 2, good.len() - 40] {
        let mut damaged = good.clone();
        damaged[place] ^= 0x40;
        let error = refused(&daemon, &damaged).await;
        assert!(matches!(error, ImportError::Undecryptable | ImportError::Lines(_)), "{place}: {error:?}");
    }
    let longer = [good.as_slice(), b"x"].concat();
    assert_eq!(refused(&daemon, &longer).await, ImportError::Undecryptable);
    assert!(matches!(refused(&daemon, &vec![0x55; 100_000]).await, ImportError::NotEnvelopedData(_)));
    assert!(matches!(refused(&daemon, &[0x30, 0x80].repeat(50_000)).await, ImportError::NotEnvelopedData(_)));

    // A line of five megabytes is one wrong line.
    let bomb = [&cards(3)[..], &vec![b'x'; 5 << 20], b"\n", card_line(CARD, "24681357").as_bytes()].concat();
    let ImportError::Lines(faults) = refused(&daemon, &seal(&bomb)).await else { panic!("one wrong line") };
    assert_eq!((faults.total, faults.told), (1, vec![LineFault { line: 5, fault: Fault::Malformed }]));
    assert_eq!(refused(&daemon, &seal(&vec![b'{'; 3 << 20])).await, ImportError::Undecryptable);
    let rubbish = [HEADER_CARDS.as_bytes(), &b"\n[]".repeat(300_000)].concat();
    let ImportError::Lines(faults) = refused(&daemon, &seal(&rubbish)).await else { panic!("wrong lines") };
    assert_eq!((faults.total, faults.told.len()), (300_000, 20));
}
