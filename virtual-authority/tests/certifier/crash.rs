//! SIGKILL at the moments that matter.

use std::fs;
use std::process::Command;
use std::time::Duration;

use cns_virtual_authority::{Authority, Profile, Status};
use der::{Decode, Encode, EncodePem};
use x509_cert::crl::CertificateList;
use x509_cert::der::pem::LineEnding;

use crate::fixture::{CNS_SUBJECT, Program, SECRET, certificate, openssl_cmp, post, request, workplace};

const CMP: &str = "application/pkixcmp";
const IR: [&str; 8] = ["-cmd", "ir", "-newkey", "first.pem", "-subject", CNS_SUBJECT, "-certout", "leaf.pem"];

#[test]
fn killed_between_the_certificate_and_its_confirmation() {
    let folder = workplace();
    let path = folder.path();
    let program = Program::start(path);
    let (done, said) = openssl_cmp(
        path,
        program.address,
        "cnsd",
        SECRET,
        "authentication",
        &[&IR[..], &["-disable_confirm"]].concat(),
    );
    assert!(done, "{said}");
    program.kill();
    let records = Authority::open(&path.join("ca")).unwrap().list().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].status, Status::Unconfirmed);

    let program = Program::start(path);
    let (done, said) = openssl_cmp(path, program.address, "cnsd", SECRET, "authentication", &IR);
    assert!(done, "{said}");
    program.kill();
    let again = Authority::open(&path.join("ca")).unwrap().list().unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].status, &again[0].certificate), (Status::Valid, &records[0].certificate));
    assert_eq!(certificate(path.join("leaf.pem")).to_der().unwrap(), records[0].certificate);
}

#[test]
fn the_confirmation_of_before_the_kill_counts_after_it() {
    let folder = workplace();
    let path = folder.path();
    let program = Program::start(path);
    let arguments = [&IR[..], &["-reqout", "ir.der,conf.der"]].concat();
    let (done, said) = openssl_cmp(path, program.address, "cnsd", SECRET, "authentication", &arguments);
    assert!(done, "{said}");
    program.kill();
    // As if the kill had come before the confirmation: its line is the journal's last.
    let journal = path.join("ca/journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(last.contains("\"confirmed\""), "{last}");
    // And cut short in the middle of the line.
    fs::write(&journal, format!("{}\n{}", before.join("\n"), &last[..last.len() / 2])).unwrap();

    let program = Program::start(path);
    let status = || Authority::open(&path.join("ca")).unwrap().list().unwrap()[0].status;
    assert_eq!(status(), Status::Unconfirmed);
    let confirmation = fs::read(path.join("conf.der")).unwrap();
    let (answered, _) = post(program.address, "/pkix/authentication", CMP, &confirmation);
    assert_eq!(answered, 200);
    assert_eq!(status(), Status::Valid);
}

#[test]
fn a_confirmation_of_a_transaction_that_never_was() {
    let folder = workplace();
    let path = folder.path();
    let program = Program::start(path);
    let arguments = [&IR[..], &["-reqout", "ir.der,conf.der"]].concat();
    let (done, said) = openssl_cmp(path, program.address, "cnsd", SECRET, "authentication", &arguments);
    assert!(done, "{said}");
    program.kill();
    fs::write(path.join("ca/journal.jsonl"), "").unwrap();
    let program = Program::start(path);
    let confirmation = fs::read(path.join("conf.der")).unwrap();
    let (status, answer) = post(program.address, "/pkix/authentication", CMP, &confirmation);
    assert_eq!(status, 200);
    assert!(answer.windows(30).any(|window| window == b"there is no such transaction t"));
}

#[test]
fn killed_at_any_moment_of_a_suspension_the_journal_and_the_crl_agree() {
    let folder = workplace();
    let path = folder.path();
    let ca = path.join("ca");
    let asked = request(path, "first.pem", CNS_SUBJECT);
    let leaf = Authority::open(&ca).unwrap().issue(Profile::Authentication, &asked).unwrap();
    fs::write(path.join("leaf.pem"), leaf.to_pem(LineEnding::LF).unwrap()).unwrap();
    let is_suspended = || {
        let authority = Authority::open(&ca).unwrap();
        let list = CertificateList::from_der(&authority.crl().unwrap()).unwrap().tbs_cert_list;
        let suspended = authority.list().unwrap()[0].status != Status::Valid;
        assert_eq!(list.revoked_certificates.is_some(), suspended, "the CRL and the journal disagree");
        suspended
    };
    let change = |address, suspended: bool| {
        let reason = if suspended { "8" } else { "6" };
        let rr = ["-cmd", "rr", "-oldcert", "leaf.pem", "-revreason", reason, "-keep_alive", "0"];
        openssl_cmp(path, address, "cnsd", SECRET, "authentication", &rr)
    };
    let (mut suspended, mut changes) = (false, 0);
    for round in 0..12 {
        let program = Program::start(path);
        let address = program.address;
        std::thread::scope(|scope| {
            let client = scope.spawn(move || change(address, suspended));
            std::thread::sleep(Duration::from_millis(round * 15));
            program.kill();
            let (done, said) = client.join().unwrap();
            let now = is_suspended();
            assert!(!done || now != suspended, "told and not done: {said}");
            changes += u32::from(now != suspended);
            suspended = now;
        });
    }
    println!("12 kills, {changes} changes of status done before them");
    let program = Program::start(path);
    let (done, said) = change(program.address, suspended);
    assert!(done, "{said}");
    program.kill();
    assert_eq!(is_suspended(), !suspended);
}

/// The journal of a certificate that was suspended and reactivated thousands of times is replaced by a short one at the
/// start, and whenever that is killed, it says the same.
#[test]
fn killed_while_it_shortens_its_journal_the_certifier_knows_all_that_it_knew() {
    let folder = workplace();
    let path = folder.path();
    let ca = path.join("ca");
    let asked = request(path, "first.pem", CNS_SUBJECT);
    let authority = Authority::open(&ca).unwrap();
    authority.issue(Profile::Authentication, &asked).unwrap();
    let serial = authority.list().unwrap()[0].serial.clone();
    drop(authority);
    let journal = ca.join("journal.jsonl");
    let mut long = fs::read(&journal).unwrap();
    for at in 0..20_000 {
        for reason in ["certificateHold", "removeFromCRL"] {
            let line = format!(
                "{{\"event\":\"changed\",\"serial\":\"{serial}\",\"reason\":\"{reason}\",\"at\":{at}}}\n"
            );
            long.extend(line.as_bytes());
        }
    }
    let held = format!(
        "{{\"event\":\"changed\",\"serial\":\"{serial}\",\"reason\":\"certificateHold\",\"at\":7}}\n"
    );
    long.extend(held.as_bytes());
    let (mut shortened, mut left_over) = (0, 0);
    for round in 0..40 {
        fs::write(&journal, &long).unwrap();
        let mut list = Command::new(env!("CARGO_BIN_EXE_cns-authority"))
            .args(["list", "ca"])
            .current_dir(path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(round * 5));
        list.kill().unwrap();
        list.wait().unwrap();
        let length = fs::metadata(&journal).unwrap().len();
        shortened += u32::from(length < long.len() as u64 / 100);
        left_over += u32::from(ca.join("journal.new").exists());
        let records = Authority::open(&ca).unwrap().list().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!((&records[0].serial, records[0].status), (&serial, Status::Suspended { since: 7 }));
        assert!(fs::metadata(&journal).unwrap().len() < 100_000);
        assert!(!ca.join("journal.new").exists());
    }
    println!("40 kills: {shortened} after the journal was short, {left_over} while the new one was written");
    assert!(shortened > 0 && shortened < 40, "{shortened}");
}

#[test]
fn the_program_says_what_is_wrong() {
    let folder = workplace();
    let path = folder.path();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cns-authority"))
            .args(arguments)
            .current_dir(path)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(path.join("secret"), "short\n").unwrap();
    let (code, said) = run(&["init", "new", "--cmp-secret-file", "secret"]);
    assert!(code == 1 && said.contains("8 to 256 bytes"), "{said}");
    fs::write(path.join("secret"), "long enough\n").unwrap();
    let (code, said) = run(&["init", "ca", "--cmp-secret-file", "secret"]);
    assert!(code == 1 && said.contains("already holds a certifier"), "{said}");
    let (code, said) = run(&["list", "nowhere"]);
    assert!(code == 1 && said.contains("nowhere/authority.json"), "{said}");
    let (code, said) =
        run(&["init", "new", "--cmp-secret-file", "secret", "--key-bits", "2048", "--name", "Prova"]);
    assert_eq!(code, 0, "{said}");
    use std::os::unix::fs::PermissionsExt;
    for name in ["ca-key.pem", "cmp-secret", "journal.jsonl"] {
        assert_eq!(
            fs::metadata(path.join("new").join(name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
}
