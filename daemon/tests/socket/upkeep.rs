//! Custody's upkeep as the administrator does it, with the daemon killed in the middle of a rotation.

use std::fs;
use std::time::Instant;

use cns_protocol::custody::{
    Backup, Erase, Erased, Import, ImportCertificate, Keys, RotateKey, RotatedKey, Verify,
};
use cns_protocol::{ErrorKind, audit};
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use der::DecodePem;
use x509_cert::Certificate;

use crate::running::{EVERYTHING, PATIENCE, Running, access, kind};

const HOLDER: &str = "RSSMRA80A01H501U";

/// A file of `count` cards of one holder.
fn import(running: &Running, count: u64) {
    let mut client = running.client();
    let pem = client.call(&ImportCertificate {}).unwrap().pem;
    let recipient = Recipient::from_certificate(&Certificate::from_pem(pem).unwrap()).unwrap();
    let mut content = Content::with_capacity(Kind::Cards, 1 << 19).unwrap();
    for number in 0..count {
        let serial = format!("{:016}", 6_999_000_000_000_000 + number);
        let members = [("id_card", serial.as_str()), ("codice_fiscale", HOLDER), ("puk", "24681357")];
        content.push_object(&members.map(|(name, value)| (name, value.as_bytes()))).unwrap();
    }
    let file = recipient.seal(&content).unwrap();
    assert_eq!(client.call(&Import { file }).unwrap().cards, count);
}

#[test]
fn a_rotation_that_was_killed_goes_on_at_the_next_start() {
    let mut running = Running::start_with(&[], &access(EVERYTHING));
    import(&running, 4000);
    let old = fs::read(running.path("state/custody.key")).unwrap();
    let before = running.client().call(&Keys {}).unwrap();
    let wrapped = running.client().call(&RotateKey { key: RotatedKey::Wrapping }).unwrap();
    assert_ne!(before.wrapping_key, wrapped.wrapping_key);
    assert_ne!(fs::read(running.path("state/custody.key")).unwrap(), old);
    let rotated = running.client().call(&RotateKey { key: RotatedKey::Data }).unwrap();
    assert_eq!(rotated.data_key, before.data_key + 1);
    assert!(rotated.older_records > 4000, "{rotated:?}");
    running.kill();
    running.launch();
    let ends = Instant::now() + PATIENCE;
    let mut left = running.client().call(&Keys {}).unwrap();
    while left.older_records > 0 {
        assert!(Instant::now() < ends, "{left:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
        left = running.client().call(&Keys {}).unwrap();
    }
    assert_eq!((left.data_key, left.wrapping_key), (rotated.data_key, wrapped.wrapping_key));
    let report = running.client().call(&Verify {}).unwrap();
    assert_eq!((report.records, report.damaged), (rotated.older_records, 0));
    let told = running.audited("custody-rotate-key");
    assert_eq!(told.len(), 4, "{told:?}");
    let made = running.client().call(&Backup {}).unwrap();
    assert_eq!(fs::metadata(&made.path).unwrap().len(), made.bytes);
}

#[test]
fn a_holder_is_erased_and_the_audit_log_stays_whole() {
    let running = Running::start_with(&[], &access(EVERYTHING));
    import(&running, 2);
    let before = running.client().call(&audit::Verify {}).unwrap();
    let erased = running.client().call(&Erase { codice_fiscale: HOLDER.to_owned() }).unwrap();
    assert_eq!((erased.cards.len(), erased.procedures, erased.envelopes), (2, 0, 0));
    let again = running.client().call(&Erase { codice_fiscale: HOLDER.to_owned() }).unwrap();
    assert_eq!(again, Erased::default());
    let after = running.client().call(&audit::Verify {}).unwrap();
    assert!(after.entries >= before.entries + 4, "an intention and an outcome for each");
    let told = running.audited("custody-erase");
    assert!(
        told[1].contains("6999000000000001") && told.iter().all(|text| !text.contains(HOLDER)),
        "{told:?}"
    );
    assert!(!running.log().contains(HOLDER));
}

#[test]
fn keys_and_backups_are_the_administrators() {
    let running = Running::start_with(&[], &access(&["user", "custodian", "auditor", "counter"]));
    let client = &mut running.client();
    let kinds = [
        kind(client, &RotateKey { key: RotatedKey::Wrapping }),
        kind(client, &RotateKey { key: RotatedKey::Data }),
        kind(client, &Keys {}),
        kind(client, &Verify {}),
        kind(client, &Backup {}),
    ];
    assert_eq!(kinds, [ErrorKind::Forbidden; 5]);
}
