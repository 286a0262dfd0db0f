//! What earlier versions left on the disk still opens. A sample is made once by its version (`examples/freeze.rs`) and
//! never made anew: where this test fails, the code is wrong, or a migration is missing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cns_protocol::audit::Phase;
use cns_protocol::custody::{HolderStock, StockReport};
use cns_secret::Secret;
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cnsd::audit::Audit;
use cnsd::config::CustodyConfig;
use cnsd::custody::{Custody, CustodyError, PukKind, Sealer};
use cnsd::database::Database;
use der::DecodePem;
use tempfile::TempDir;
use x509_cert::Certificate;

const CARD: &str = "6999000000001230";
const REFUSED: &str = "6999000000001248";

/// A copy that may be changed, with the modes that the daemon's own files have.
fn copy_of(sample: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen").join(sample);
    for file in fs::read_dir(source).unwrap() {
        let file = file.unwrap();
        let target = folder.path().join(file.file_name());
        fs::copy(file.path(), &target).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

async fn open_custody(folder: &TempDir) -> Custody {
    let config = CustodyConfig::default();
    let database = Database::open(&config.database, folder.path()).await.unwrap();
    Custody::open(&database, &config, folder.path()).await.unwrap()
}

#[tokio::test]
async fn custody_of_version_1_lends_its_secrets() {
    let folder = copy_of("custody-v1");
    let custody = open_custody(&folder).await;
    for (kind, expected) in [(PukKind::Cns, "24681357"), (PukKind::Signature, "55667788")] {
        let puk = custody.puk(CARD, kind).await.unwrap().lend(|puk| puk.expose().to_vec());
        assert_eq!(puk, expected.as_bytes());
    }
    let refused = custody.puk(REFUSED, PukKind::Cns).await;
    assert!(matches!(refused, Err(CustodyError::PukRefused { tries_left: Some(2), .. })));
    let pin = custody.envelope_pin("123456782", "p1").await.unwrap().lend(|pin| pin.expose().to_vec());
    assert_eq!(pin, b"13579");
    let destroyed = custody.envelope_pin("999999998", "p2").await;
    assert!(matches!(destroyed, Err(CustodyError::PinDestroyed { .. })));
    let user_code = Secret::copy_from(b"4711081547").unwrap();
    assert!(custody.user_code_matches("123456782", &user_code).await.unwrap());
    let holders = vec![HolderStock {
        operator: Some("op1".into()),
        assigned: 1,
        reserved: 1,
        used: 1,
        low: true,
        ..HolderStock::default()
    }];
    let expected = StockReport {
        cards: 2,
        available: 1,
        assigned: 1,
        reserved: 1,
        used: 1,
        low: true,
        holders,
        ..StockReport::default()
    };
    assert_eq!(custody.stock().await.unwrap(), expected);
}

#[tokio::test]
async fn custody_of_version_1_goes_on() {
    let folder = copy_of("custody-v1");
    let custody = open_custody(&folder).await;
    let certificate = Certificate::from_pem(custody.import_certificate_pem()).unwrap();
    let mut content = Content::with_capacity(Kind::Cards, 256).unwrap();
    let members =
        [("id_card", "6999000000001255"), ("codice_fiscale", "VRDGPP75C12H501H"), ("puk", "99887766")];
    content.push_object(&members.map(|(name, value)| (name, value.as_bytes()))).unwrap();
    let file = Recipient::from_certificate(&certificate).unwrap().seal(&content).unwrap();
    assert_eq!(custody.import(&file).await.unwrap().cards, 1);
    custody.mark_used("123456782", "p1").await.unwrap();
    custody.reserve("000000000", "op1", "p3", CARD).await.unwrap();
}

#[tokio::test]
async fn the_audit_log_of_version_1_holds_and_goes_on() {
    let custody = copy_of("custody-v1");
    let sealer: Sealer = open_custody(&custody).await.sealer().clone();
    let folder = copy_of("audit-v1");
    let audit = Audit::open(folder.path(), &sealer).await.unwrap();
    let entries = audit.list(1, 100).await.unwrap();
    let acts: Vec<&str> = entries.iter().map(|entry| entry.act.as_str()).collect();
    assert_eq!(acts, ["log-begun", "checkpoint", "pin-set", "pin-set", "checkpoint"]);
    let phases = [Phase::Fact, Phase::Fact, Phase::Intention, Phase::Outcome, Phase::Fact];
    assert!(entries.iter().map(|entry| entry.phase).eq(phases));
    let verified = audit.verify().await.unwrap();
    assert_eq!((verified.entries, verified.checkpoints), (5, 2));
    let mut next = cnsd::audit::Record::new("test", Phase::Fact, "It goes on.");
    next.user = Some(0);
    assert_eq!(audit.record(next).await.unwrap(), 6);
    assert_eq!(audit.verify().await.unwrap().entries, 6);
}
