//! Custody's upkeep as the administrator does it, with the daemon killed in the middle of a rotation.

use std::fs;
use std::time::Instant;

use cns_protocol::custody::{
    Backup, DecideRotation, Erase, Erased, Import, ImportCertificate, Keys, RotateKey, RotatedKey,
    RotationRequests, Verify,
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
    assert_ne!(before.wrapping_key, wrapped.keys.wrapping_key);
    assert_ne!(fs::read(running.path("state/custody.key")).unwrap(), old);
    let rotated = running.client().call(&RotateKey { key: RotatedKey::Data }).unwrap();
    assert_eq!(rotated.keys.data_key, before.data_key + 1);
    assert!(rotated.keys.older_records > 4000, "{rotated:?}");
    running.kill();
    running.launch();
    let ends = Instant::now() + PATIENCE;
    let mut left = running.client().call(&Keys {}).unwrap();
    while left.older_records > 0 {
        assert!(Instant::now() < ends, "{left:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
        left = running.client().call(&Keys {}).unwrap();
    }
    assert_eq!((left.data_key, left.wrapping_key), (rotated.keys.data_key, wrapped.keys.wrapping_key));
    let report = running.client().call(&Verify {}).unwrap();
    assert_eq!((report.records, report.damaged), (rotated.keys.older_records, 0));
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

/// Where four eyes are demanded, one Unix user alone replaces no key.
#[test]
fn with_four_eyes_no_key_is_replaced_by_one_person() {
    let rules = format!("{}[custody]\nrotate_four_eyes = true\n", access(EVERYTHING));
    let mut running = Running::start_with(&[], &rules);
    let mut client = running.client();
    let before = client.call(&Keys {}).unwrap();
    let key_file = fs::read(running.path("state/custody.key")).unwrap();
    let asked = client.call(&RotateKey { key: RotatedKey::Wrapping }).unwrap();
    assert_eq!(asked.keys, before, "nothing was replaced");
    let request = asked.request.unwrap();
    let mine = DecideRotation { request: request.clone(), confirm: true };
    assert_eq!(kind(&mut client, &mine), ErrorKind::SecondPersonNeeded);
    // It waits over a restart, and can be turned down by who asked.
    running.kill();
    running.launch();
    let mut client = running.client();
    let waiting = client.call(&RotationRequests {}).unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].request.as_str(), waiting[0].key), (request.as_str(), RotatedKey::Wrapping));
    let down = DecideRotation { request: request.clone(), confirm: false };
    assert_eq!(client.call(&down).unwrap(), before);
    assert!(client.call(&RotationRequests {}).unwrap().is_empty());
    assert_eq!(kind(&mut client, &down), ErrorKind::InvalidParams, "it was decided");
    assert_eq!(client.call(&Keys {}).unwrap(), before);
    assert_eq!(fs::read(running.path("state/custody.key")).unwrap(), key_file);
    let told = running.audited("custody-rotate-key");
    assert!(
        told.iter().any(|line| line.contains(&format!("waits for a second person, request {request}"))),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line.contains("turns down request")), "{told:?}");
}

/// Another Unix user, who is custodian and not administrator, confirms.
#[test]
fn a_second_unix_user_confirms_the_replacement_of_a_key() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: cannot become another user");
        return;
    }
    let custodian = "[[access]]\nrole = \"custodian\"\nusers = [\"65534\"]\n";
    let rules = format!("{}{custodian}[custody]\nrotate_four_eyes = true\n", access(EVERYTHING));
    let running = Running::start_with(&[], &rules);
    fs::set_permissions(running.socket(), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let mut client = running.client();
    let before = client.call(&Keys {}).unwrap();
    let mut requests = Vec::new();
    for key in [RotatedKey::Wrapping, RotatedKey::Data] {
        requests.push(client.call(&RotateKey { key }).unwrap().request.unwrap());
    }
    let status = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "upkeep::confirm_as_another_user", "--nocapture"])
        .env("CONFIRM_SOCKET", running.socket())
        .env("CONFIRM_REQUESTS", requests.join(","))
        .status()
        .unwrap();
    assert!(status.success());
    let after = client.call(&Keys {}).unwrap();
    assert_ne!(after.wrapping_key, before.wrapping_key);
    assert_eq!(after.data_key, before.data_key + 1);
    assert_eq!(client.call(&Verify {}).unwrap().damaged, 0);
}

/// What `a_second_unix_user_confirms_the_replacement_of_a_key` runs as that user; does nothing otherwise.
#[test]
fn confirm_as_another_user() {
    let Some(socket) = std::env::var_os("CONFIRM_SOCKET") else { return };
    let requests = std::env::var("CONFIRM_REQUESTS").unwrap();
    let mut client = cns_protocol::Client::connect(socket.as_ref()).unwrap();
    assert_eq!(kind(&mut client, &RotateKey { key: RotatedKey::Data }), ErrorKind::Forbidden);
    for request in requests.split(',') {
        client.call(&DecideRotation { request: request.to_owned(), confirm: true }).unwrap();
    }
}
