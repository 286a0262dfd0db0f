//! `cnsctl doctor` as a person runs it: what it sees of a computer, and its exit status. What each thing means is tested
//! beside the code (`src/doctor/judge/tests.rs`).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

struct Computer {
    folder: TempDir,
}

impl Computer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root/run/pcscd", "root/proc/12", "home"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn doctor(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cnsctl"));
        command.arg("doctor").args(arguments).arg("--root").arg(self.path("root"));
        command.arg("--socket").arg(self.path("cnsd.sock")).env("HOME", self.path("home"));
        command.arg("--module").arg(self.path("none.so"));
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env_remove(name);
        }
        command
    }

    /// The findings by their names, and the exit status.
    fn findings(&self, arguments: &[&str]) -> (Vec<String>, Option<i32>) {
        let output = self.doctor(&[&["--json"], arguments].concat());
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ids =
            said["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap().into());
        assert_eq!(said["healthy"].as_bool().unwrap(), output.status.success(), "{said}");
        (ids.collect(), output.status.code())
    }
}

/// A daemon with one empty reader, for so many connections.
fn daemon(socket: &Path, connections: usize) -> std::thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.unwrap();
            while let Ok(body) = cns_protocol::frame::read(&mut stream) {
                let request: Value = serde_json::from_slice(body.bytes()).unwrap();
                let method = request["method"].as_str().unwrap().to_owned();
                let result = match method.as_str() {
                    "daemon.status" => {
                        json!({ "version": "99.0.0", "protocol": 1, "uptime_seconds": 1, "roles": ["user"] })
                    }
                    "reader.list" => json!({ "instance": "1", "change": 1, "readers": [] }),
                    other => panic!("{other}"),
                };
                asked.push(method);
                let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
                cns_protocol::frame::write(&mut stream, answer.to_string().as_bytes()).unwrap();
            }
        }
        asked
    })
}

#[test]
fn on_a_bare_computer_each_part_is_missed() {
    let computer = Computer::new();
    let (ids, status) = computer.findings(&[]);
    assert_eq!(ids, ["pcscd-not-installed", "cnsd-not-running", "module-unusable"]);
    assert_eq!(status, Some(1));
    let output = computer.doctor(&[]);
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    for expected in
        ["FAULT    pcscd is not installed", "Why: It drives", "Do:  Install it", "3 things want attention"]
    {
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn pcscd_its_options_the_daemon_and_its_readers_are_seen() {
    let computer = Computer::new();
    let pcscd = UnixListener::bind(computer.path("root/run/pcscd/pcscd.comm")).unwrap();
    computer.write("root/proc/12/comm", "pcscd\n");
    computer.write("root/proc/12/cmdline", "pcscd\0--foreground\0--apdu\0");
    let daemon = daemon(&computer.path("cnsd.sock"), 2);
    let (ids, status) = computer.findings(&["--ask-tries"]);
    let expected =
        ["pcscd-answers", "pcscd-logs-apdus", "cnsd-answers", "versions-differ", "socket-open-to-all"];
    let seen: Vec<_> = ids.iter().filter(|id| *id != "socket-open-to-all").map(String::as_str).collect();
    assert_eq!(seen, [&expected[..4], &["no-reader", "module-unusable"]].concat());
    assert_eq!(status, Some(1));
    // The card is asked for nothing where there is none.
    assert_eq!(daemon.join().unwrap(), ["daemon.status", "reader.list"]);
    drop(pcscd);
    // A socket that nobody listens at any more is as good as none.
    computer.write("root/usr/sbin/pcscd", "");
    let (ids, _) = computer.findings(&[]);
    assert_eq!(ids[0], "pcscd-not-running");
    assert!(ids.contains(&"cnsd-not-running".into()), "{ids:?}");
}

#[test]
fn browsers_doubles_and_sandboxes_are_seen() {
    let computer = Computer::new();
    let ours = computer.path("root/usr/lib/libcns_pkcs11.so");
    computer.write("root/usr/lib/libcns_pkcs11.so", "");
    computer.write("root/usr/bin/firefox-esr", "");
    computer.write("root/usr/bin/chromium", "#!/bin/sh\nexec /snap/bin/chromium\n");
    fs::create_dir_all(computer.path("root/snap/chromium")).unwrap();
    let (ids, _) = computer.findings(&[]);
    assert!(ids.ends_with(&["browser-not-registered".into(), "browser-in-sandbox".into()]), "{ids:?}");
    let list =
        format!("library={}\nname=CNS\n\nlibrary=/usr/lib/opensc-pkcs11.so\nname=OpenSC\n\n", ours.display());
    computer.write("home/.mozilla/firefox/profiles.ini", "[Profile0]\nIsRelative=1\nPath=abc\n");
    computer.write("home/.mozilla/firefox/abc/pkcs11.txt", &list);
    computer.write("root/usr/share/p11-kit/modules/opensc-pkcs11.module", "module: opensc-pkcs11.so\n");
    let (ids, _) = computer.findings(&[]);
    assert!(ids.ends_with(&["registered".into(), "double".into(), "browser-in-sandbox".into()]), "{ids:?}");
    computer.write("root/etc/pkcs11/modules/cns.module", &format!("module: {}\n", ours.display()));
    let doubles = |computer: &Computer| computer.findings(&[]).0.iter().filter(|id| *id == "double").count();
    assert_eq!(doubles(&computer), 2);
    // A file of the administrator's hides the package's of the same name from p11-kit.
    computer.write("root/etc/pkcs11/modules/opensc-pkcs11.module", "# hidden\n");
    assert_eq!(doubles(&computer), 1);
}

#[test]
fn a_daemon_that_says_nothing_is_not_waited_for_without_end() {
    let computer = Computer::new();
    let listener = UnixListener::bind(computer.path("cnsd.sock")).unwrap();
    let daemon = std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().take(2) {
            held.push(stream.unwrap());
        }
        // Held until the doctor went away by itself.
        for mut stream in held {
            while cns_protocol::frame::read(&mut stream).is_ok() {}
        }
    });
    let mut doctor = computer.command(&["--json"]);
    let mut doctor = doctor.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while doctor.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            doctor.kill().unwrap();
            doctor.wait().unwrap();
            panic!("it still waits");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = doctor.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("cnsd-fails"), "{output:?}");
    daemon.join().unwrap();
}
