//! `cnsctl` as a person runs it, where no daemon is needed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn cnsctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cnsctl")).args(arguments).env_remove("CNSD_SOCKET").output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// A log of the daemon's first version, with its key.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/tests/frozen/audit-v1").join(name)
}

fn verify(log: &Path) -> Output {
    let key = sample("audit.pub");
    cnsctl(&["audit", "verify", "--file", log.to_str().unwrap(), "--public-key", key.to_str().unwrap()])
}

#[test]
fn without_a_daemon_it_says_so_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let output = cnsctl(&["--socket", socket.to_str().unwrap(), "card", "list"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(words(&output).contains("cannot reach cnsd"), "{}", words(&output));
    assert!(words(&output).contains("Start the daemon"), "{}", words(&output));
    let output = cnsctl(&["--json", "--socket", socket.to_str().unwrap(), "card", "list"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["hint"].as_str().unwrap().contains("Start the daemon"), "{error}");
}

/// Words of closed lists, and papers that are not whole, are refused before anything is sent.
#[test]
fn a_request_about_certificates_is_judged_by_its_form_first() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let revoke =
        ["--socket", socket.to_str().unwrap(), "certificate", "revoke", "--card", "6999000000001230"];
    for wrong in [
        &["--reason", "boredom"][..],
        &["--reason", "theft", "--report", "2026/77"],
        &["--reason", "theft", "--self-declaration"],
        &["--reason", "loss", "--document", "library-card"],
        &["--channel", "friend", "--reason", "loss"],
    ] {
        let output = cnsctl(&[&revoke[..], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", words(&output));
    }
    let right =
        ["--channel", "counter", "--reason", "loss", "--self-declaration", "--paper-date", "2026-11-01"];
    let output = cnsctl(&[&revoke[..], &right].concat());
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
}

#[test]
fn a_copied_audit_log_is_verified_without_the_daemon() {
    let output = verify(&sample("audit.jsonl"));
    assert!(output.status.success(), "{}", words(&output));
    assert!(words(&output).contains("Signed checkpoints"), "{}", words(&output));
}

#[test]
fn every_changed_entry_of_an_audit_log_is_seen() {
    let log = std::fs::read_to_string(sample("audit.jsonl")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("audit.jsonl");
    let lines: Vec<&str> = log.lines().collect();
    for changed in 0..lines.len() {
        let mut entry: serde_json::Value = serde_json::from_str(lines[changed]).unwrap();
        entry["text"] = "nothing happened".into();
        let mut tampered: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        tampered[changed] = entry.to_string();
        std::fs::write(&copy, tampered.join("\n")).unwrap();
        let output = verify(&copy);
        assert_eq!(output.status.code(), Some(4), "entry {changed}: {}", words(&output));
    }
    for missing in 0..lines.len() - 1 {
        let kept: Vec<&str> =
            lines.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, line)| *line).collect();
        std::fs::write(&copy, kept.join("\n")).unwrap();
        assert_eq!(verify(&copy).status.code(), Some(4), "entry {missing} is missing");
    }
}

#[test]
fn a_secret_is_not_taken_from_the_command_line() {
    for arguments in [["pin", "change", "--pin", "12345"], ["operator", "login", "--pin", "12345"]] {
        assert_eq!(cnsctl(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// A daemon that has a reader with an unknown card, and a report on it.
fn daemon_with_a_report(socket: &Path, connections: usize) -> std::thread::JoinHandle<()> {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.unwrap();
            while let Ok(body) = cns_protocol::frame::read(&mut stream) {
                let request: serde_json::Value = serde_json::from_slice(body.bytes()).unwrap();
                let result = match request["method"].as_str().unwrap() {
                    "reader.list" => serde_json::json!({ "instance": "1", "change": 1, "readers": [] }),
                    "card.report" => serde_json::json!({ "text": "# card: unknown\n" }),
                    other => panic!("{other}"),
                };
                let answer = serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
                cns_protocol::frame::write(&mut stream, answer.to_string().as_bytes()).unwrap();
            }
        }
    })
}

#[test]
fn a_report_is_shown_first_and_saved_only_when_somebody_agreed() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, file) = (folder.path().join("cnsd.sock"), folder.path().join("report.txt"));
    let daemon = daemon_with_a_report(&socket, 3);
    let report = |more: &[&str]| {
        let fixed = ["--socket", socket.to_str().unwrap(), "card", "report", "--reader", "a reader"];
        Command::new(env!("CARGO_BIN_EXE_cnsctl"))
            .args(fixed)
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let save = ["--save", file.to_str().unwrap()];
    assert!(report(&[]).status.success());
    // Nobody is there to agree.
    let refused = report(&save);
    assert!(!refused.status.success() && !file.exists());
    assert!(
        words(&refused).contains("# card: unknown") && words(&refused).contains("--yes"),
        "{}",
        words(&refused)
    );
    let saved = report(&[&save[..], &["--yes"]].concat());
    assert!(saved.status.success() && words(&saved).contains("# card: unknown"), "{}", words(&saved));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# card: unknown\n");
    // No file to save to, nothing to agree to.
    assert_eq!(report(&["--yes"]).status.code(), Some(2));
    daemon.join().unwrap();
}

/// A daemon with one reader that has a PIN pad; gives the one request for a PIN that it got.
fn daemon_with_a_pin_pad(socket: &Path) -> std::thread::JoinHandle<serde_json::Value> {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = serde_json::Value::Null;
        while let Ok(body) = cns_protocol::frame::read(&mut stream) {
            let request: serde_json::Value = serde_json::from_slice(body.bytes()).unwrap();
            let result = if request["method"] == "reader.list" {
                serde_json::json!({ "instance": "1", "change": 1, "readers": [{
                    "name": "Keypad 00 00", "kind": "pcsc", "insertion": 3, "state": "reading", "pin_pad": true,
                    "traffic": { "commands": 0, "bytes_sent": 0, "bytes_received": 0 }, "contents_reads": 0
                }] })
            } else {
                asked = request.clone();
                serde_json::json!({})
            };
            let answer = serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
            cns_protocol::frame::write(&mut stream, answer.to_string().as_bytes()).unwrap();
        }
        asked
    })
}

#[test]
fn with_a_pin_pad_the_person_is_told_to_type_on_the_reader() {
    for (verb, method, codes) in [
        ("verify", "pin.verify", &["pin"][..]),
        ("change", "pin.change", &["old_pin", "new_pin"]),
        ("unblock", "pin.unblock", &["puk", "new_pin"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("cnsd.sock");
        let daemon = daemon_with_a_pin_pad(&socket);
        let output = cnsctl(&["--socket", socket.to_str().unwrap(), "pin", verb]);
        assert!(output.status.success(), "{}", words(&output));
        assert!(words(&output).contains("Type on the reader Keypad 00 00"), "{}", words(&output));
        let asked = daemon.join().unwrap();
        assert_eq!((&asked["method"], &asked["params"]["insertion"]), (&method.into(), &3.into()));
        assert!(codes.iter().all(|code| asked["params"][code].is_null()), "{asked}");
    }
}

#[test]
fn a_pin_on_standard_input_is_taken_in_spite_of_a_pin_pad() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cnsd.sock");
    let daemon = daemon_with_a_pin_pad(&socket);
    let mut program = Command::new(env!("CARGO_BIN_EXE_cnsctl"))
        .args(["--socket", socket.to_str().unwrap(), "pin", "verify", "--pin-stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(b"73195\n").unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success() && !words(&output).contains("Type on"), "{}", words(&output));
    assert_eq!(daemon.join().unwrap()["params"]["pin"], "73195");
}
