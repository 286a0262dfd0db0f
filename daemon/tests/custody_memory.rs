//! After work with PINs, PUKs and user codes, none of them is left in memory that is not locked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cns_secret::Secret;
use cns_virtual_card::envelopes::random_digits;
use cnsd::custody::{Custody, CustodyError, ImportError, PukKind};
use cnsd::database::Database;
use cnsd_test_support::database;

const CARD: &str = "6999000000001230";
const CODE: &str = "1234567889";

/// How often `secret` stands in writable memory that is not locked.
fn found(secret: &Secret) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut count = 0;
    for (start, end) in unlocked_regions() {
        // Windows overlap, so that a secret across two of them is found.
        let overlap = secret.len() as u64 - 1;
        let mut place = start;
        while place + overlap < end {
            let wanted = usize::try_from((end - place).min(buffer.len() as u64)).unwrap();
            let window = buffer.get_mut(..wanted).unwrap();
            if memory.read_exact_at(window, place).is_err() {
                break;
            }
            count += window.windows(secret.len()).filter(|part| *part == secret.expose()).count();
            place += wanted as u64 - overlap;
        }
    }
    count
}

/// The writable regions without the flag `lo` (locked), see proc_pid_smaps(5).
fn unlocked_regions() -> Vec<(u64, u64)> {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut regions = Vec::new();
    let mut region = None;
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let locked = flags.split_whitespace().any(|flag| flag == "lo");
            regions.extend(region.take().filter(|_| !locked));
        } else if let Some((range, rest)) = line.split_once(' ')
            && let Some((start, end)) = range.split_once('-')
            && rest.starts_with("rw")
        {
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            region = Some((address(start), address(end)));
        }
    }
    regions
}

/// Encrypts `parts` in another process: this one sees them in locked memory only.
fn sealed(certificate: &Path, parts: &[&[u8]]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(["cms", "-encrypt", "-binary", "-outform", "DER", "-aes256"])
        .arg(certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the openssl program is needed");
    let mut input = child.stdin.take().unwrap();
    parts.iter().for_each(|part| input.write_all(part).unwrap());
    drop(input);
    child.wait_with_output().unwrap().stdout
}

#[tokio::test]
async fn no_secret_stays_in_ordinary_memory() {
    let (puk, pin, user_code) =
        (random_digits(8).unwrap(), random_digits(8).unwrap(), random_digits(12).unwrap());
    let control = random_digits(12).unwrap();
    let copy = control.expose().to_vec();
    assert!(found(&control) > 0, "the search finds a copy in ordinary memory");
    drop(copy);

    let folder = tempfile::tempdir().unwrap();
    let config = database::config(folder.path());
    let database = Database::open(&config.database, folder.path()).await.unwrap();
    let custody = Custody::open(&database, &config, folder.path()).await.unwrap();
    let certificate = folder.path().join("import.pem");
    fs::write(&certificate, custody.import_certificate_pem()).unwrap();

    let cards = b"{\"format\":\"cns-import\",\"version\":1,\"kind\":\"cards\"}\n".as_slice();
    let card =
        b"{\"id_card\":\"6999000000001230\",\"codice_fiscale\":\"RSSMRA80A01H501U\",\"puk\":".as_slice();
    let refused: [&[&[u8]]; 4] = [
        &[cards, card, puk.expose(), b"}"],
        &[cards, card, b"\"", puk.expose(), b"\\u0030\"}"],
        &[cards, b"{\"", puk.expose(), b"\":\"", puk.expose(), b"\"}"],
        &[cards, card, b"\"", puk.expose(), b"1\"}"],
    ];
    for parts in refused {
        let result = custody.import(&sealed(&certificate, parts)).await;
        assert!(matches!(result, Err(CustodyError::Import(ImportError::Lines(_)))), "{result:?}");
    }
    let good = sealed(&certificate, &[cards, card, b"\"", puk.expose(), b"\"}\n"]);
    assert_eq!(custody.import(&good).await.unwrap().cards, 1);
    assert!(custody.import(&good).await.unwrap().already);
    let envelopes = b"{\"format\":\"cns-import\",\"version\":1,\"kind\":\"envelopes\"}\n{\"code\":\"1234567889\",\"pin\":\"";
    let middle = b"\",\"user_code\":\"".as_slice();
    let parts: [&[u8]; 5] = [envelopes, pin.expose(), middle, user_code.expose(), b"\"}\n"];
    assert_eq!(custody.import(&sealed(&certificate, &parts)).await.unwrap().envelopes, 1);

    custody.assign("op1", &[CODE.to_owned()]).await.unwrap();
    custody.reserve(CODE, "op1", "p1", CARD).await.unwrap();
    assert!(custody.puk(CARD, PukKind::Cns).await.unwrap().lend(|lent| lent.ct_eq(&puk)));
    assert!(custody.envelope_pin(CODE, "p1").await.unwrap().lend(|lent| lent.ct_eq(&pin)));
    assert!(custody.user_code_matches(CODE, &user_code).await.unwrap());
    custody.store_puk(CARD, PukKind::Signature, &puk).await.unwrap();

    let mut key_file = Secret::zeroed(48).unwrap();
    File::open(folder.path().join("custody.key")).unwrap().read_exact_at(key_file.expose_mut(), 0).unwrap();
    let key = Secret::copy_from(key_file.expose().get(8..40).unwrap()).unwrap();
    for (name, secret) in [("PUK", &puk), ("PIN", &pin), ("user code", &user_code), ("key", &key)] {
        assert_eq!(found(secret), 0, "{name}");
    }
}
