//! Who gets in, what is refused, and that no client can hold up another.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use cns_protocol::{Client, ErrorKind, Role, audit, counter, custody, daemon, frame, openrpc, reader};
use serde_json::{Value, json};

use crate::running::{EVERYTHING, PATIENCE, Raw, Running, access, kind, refusal};

fn status(raw: &mut Raw) -> Value {
    raw.request(7, "daemon.status", &json!({}));
    raw.read()
}

#[test]
fn roles_open_what_they_open_and_nothing_else() {
    let running = Running::start_with(&[], &access(&["user", "auditor"]));
    let mut client = running.client();
    let status = client.call(&daemon::Status {}).unwrap();
    assert_eq!(status.roles, [Role::User, Role::Auditor]);
    assert_eq!(status.protocol, cns_protocol::VERSION);
    assert!(client.call(&audit::Verify {}).is_ok());
    let refused = refusal(&mut client, &custody::Stock {});
    assert_eq!(refused.kind, ErrorKind::Forbidden);
    assert!(refused.message.contains("custodian") && refused.hint.is_some(), "{refused}");
    assert_eq!(kind(&mut client, &counter::List {}), ErrorKind::Forbidden);
    assert_eq!(client.call(&daemon::Discover {}).unwrap(), openrpc::document());
}

#[test]
fn a_peer_without_a_role_is_turned_away() {
    let running = Running::start_with(&[], "[[access]]\nrole = \"user\"\nusers = [\"54321\"]\n");
    let mut raw = running.raw();
    assert_eq!(raw.error(), "forbidden");
    assert!(raw.is_closed());
}

/// What `another_user_has_the_roles_of_their_groups` runs as another user; does nothing otherwise.
#[test]
fn probe_as_another_user() {
    let Some(socket) = std::env::var_os("PROBE_SOCKET") else { return };
    let mut client = Client::connect(socket.as_ref()).unwrap();
    let roles = client.call(&daemon::Status {}).map(|status| status.roles);
    println!("probe: {:?}", roles.map_err(|error| error.to_string()));
}

#[test]
fn another_user_has_the_roles_of_their_groups() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: cannot become another user");
        return;
    }
    let rules = "[[access]]\nrole = \"user\"\neveryone = true\n\
                 [[access]]\nrole = \"counter\"\ngroups = [\"4242\"]\n\
                 [[access]]\nrole = \"custodian\"\ngroups = [\"4343\"]\n";
    let running = Running::start_with(&[], rules);
    let mode = std::fs::metadata(running.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o666, "a role for everyone opens the door");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=4343", "--groups=4141,4242", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "connections::probe_as_another_user", "--nocapture"])
        .env("PROBE_SOCKET", running.socket())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("probe: Ok([User, Counter, Custodian])"), "{said}\n{:?}", output.stderr);
}

#[test]
fn nonsense_is_answered_and_only_a_broken_frame_ends_the_connection() {
    let running = Running::start(&[]);
    let mut raw = running.raw();
    raw.text("{");
    assert_eq!(raw.error(), "parse-error");
    raw.text("");
    assert_eq!(raw.error(), "parse-error");
    raw.text("[]");
    assert_eq!(raw.error(), "invalid-request");
    raw.text(r#"{"jsonrpc":"2.0","method":"daemon.status"}"#);
    assert_eq!(raw.error(), "invalid-request");
    raw.request(1, "card.destroy", &json!({}));
    assert_eq!(raw.error(), "method-not-found");
    raw.request(2, "reader.wait", &json!({ "change": 1, "timeout_ms": 60_001 }));
    assert_eq!(raw.error(), "invalid-params");
    raw.request(3, "daemon.status", &json!({ "verbose": true }));
    assert_eq!(raw.error(), "invalid-params");
    assert_eq!(status(&mut raw)["id"], 7, "the connection goes on");

    for header in ["GET / HTTP/1.1\r\n\r\n", "Content-Length: -5\r\n\r\n", "\r\n\r\n"] {
        let mut raw = running.raw();
        raw.bytes(header.as_bytes());
        assert_eq!(raw.error(), "parse-error", "{header:?}");
        assert!(raw.is_closed(), "{header:?}");
    }
    let mut raw = running.raw();
    raw.bytes(b"Content-Length: 2097153\r\n\r\n");
    assert_eq!(raw.error(), "invalid-request");
    assert!(raw.is_closed());
}

#[test]
fn requests_sent_at_once_are_answered_one_by_one() {
    let running = Running::start(&[]);
    let mut raw = running.raw();
    for id in 0..20 {
        raw.request(id, "reader.list", &json!({}));
    }
    for id in 0..20 {
        assert_eq!(raw.read()["id"], id);
    }
    raw.text(r#"{"jsonrpc":"2.0","id":"text","method":"daemon.status"}"#);
    assert_eq!(raw.read()["id"], "text");
}

#[test]
fn a_pin_in_a_frame_outside_locked_memory_is_refused() {
    let running = Running::start(&[]);
    let mut raw = running.raw();
    let padding = " ".repeat(17_000);
    raw.text(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"pin.verify","params":{{{padding}"reader":"r","pin":"12345"}}}}"#
    ));
    assert_eq!(raw.error(), "invalid-request");
    raw.text(r#"{"jsonrpc":"2.0","id":1,"method":"pin.verify","params":{"reader":"r","pin":"\u00312345"}}"#);
    assert_eq!(raw.error(), "invalid-params");
    assert_eq!(status(&mut raw)["id"], 7);
}

#[test]
fn a_frame_that_stops_half_way_is_cut_and_an_idle_client_is_not() {
    let limits = format!("{}[limits]\nframe_seconds = 1\n", access(EVERYTHING));
    let running = Running::start_with(&[], &limits);
    let mut idle = running.raw();
    for begun in ["Content-Le", "Content-Length: 100\r\n\r\n{\"jsonrpc\""] {
        let mut slow = running.raw();
        slow.bytes(begun.as_bytes());
        let since = Instant::now();
        assert_eq!(slow.error(), "timed-out");
        assert!(slow.is_closed());
        assert!(since.elapsed() >= Duration::from_millis(900), "a second is a second");
    }
    assert_eq!(status(&mut idle)["id"], 7, "two seconds idle");
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let limits = format!("{}[limits]\nframe_seconds = 1\n", access(EVERYTHING));
    let running = Running::start_with(&[], &limits);
    let mut deaf = running.raw();
    let discover = json!({ "jsonrpc": "2.0", "id": 1, "method": "rpc.discover" }).to_string();
    for _ in 0..200 {
        // The daemon stops reading, and then closes.
        if frame::write(&mut deaf.0, discover.as_bytes()).is_err() {
            break;
        }
    }
    // Dropped for certain once its write time is over, and until then it holds up nobody.
    assert!(running.client().call(&reader::List {}).is_ok());
    let ends = Instant::now() + PATIENCE;
    while !running.log().contains("does not take its answers") {
        assert!(Instant::now() < ends, "still served");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn connections_over_the_cap_are_told_so() {
    let limits = format!("{}[limits]\nconnections = 4\n", access(EVERYTHING));
    let running = Running::start_with(&[], &limits);
    let mut mine: Vec<Raw> = (0..2).map(|_| raw_with_a_place(&running)).collect();
    let mut third = running.raw();
    assert_eq!(third.error(), "busy", "one user gets half of the places");
    assert!(third.is_closed());
    assert!(is_told_busy(&mut running.raw()), "also when the request is sent first");
    mine.pop();
    raw_with_a_place(&running);
}

/// A connection that is served, as soon as one that was closed has left its place.
fn raw_with_a_place(running: &Running) -> Raw {
    let ends = Instant::now() + PATIENCE;
    loop {
        let mut raw = running.raw();
        if status(&mut raw)["id"] == 7 {
            return raw;
        }
        assert!(Instant::now() < ends, "no place is free again");
    }
}

#[test]
fn a_client_that_goes_while_it_waits_leaves_its_place() {
    let limits = format!("{}[limits]\nconnections = 2\n", access(EVERYTHING));
    let running = Running::start_with(&[], &limits);
    let mut waiting = raw_with_a_place(&running);
    let change = {
        waiting.request(1, "reader.list", &json!({}));
        waiting.read()["result"]["change"].clone()
    };
    waiting.request(2, "reader.wait", &json!({ "change": change, "timeout_ms": 60_000 }));
    drop(waiting);
    let since = Instant::now();
    while is_told_busy(&mut running.raw()) {
        assert!(since.elapsed() < Duration::from_secs(30), "the wait goes on for nobody");
    }
}

/// Whether the daemon says that it is busy.
fn is_told_busy(raw: &mut Raw) -> bool {
    status(raw)["error"]["data"]["kind"] == "busy"
}

#[test]
fn a_wait_ends_when_its_time_is_over_and_when_the_daemon_stops() {
    let mut running = Running::start(&[]);
    let mut client = running.client();
    let list = client.call(&reader::List {}).unwrap();
    let again = client.call(&reader::Wait { change: list.change, timeout_ms: 50 }).unwrap();
    assert_eq!(again, list);
    let mut waiting = running.raw();
    waiting.request(1, "reader.wait", &json!({ "change": list.change, "timeout_ms": 60_000 }));
    let since = Instant::now();
    assert!(running.terminate().success());
    assert!(since.elapsed() < Duration::from_secs(20), "nobody holds up the stop");
    assert!(waiting.is_closed());
    assert!(!running.socket().exists());
}

#[test]
fn one_daemon_per_state_folder_and_socket() {
    let running = Running::start(&[]);
    let second = running.command().output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another cnsd works with the state folder"), "{said}");
    let elsewhere = Running::prepare(&[], &access(EVERYTHING));
    let third = elsewhere.command().arg("--socket").arg(running.socket()).output().unwrap();
    assert!(!third.status.success());
    let said = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(said.contains("is in use"), "{said}");
    assert!(running.client().call(&daemon::Status {}).is_ok(), "the first one goes on");
}

#[test]
fn a_killed_daemon_starts_again_and_its_audit_log_holds() {
    let mut running = Running::start(&[]);
    // It answers only after its start was recorded.
    running.client().call(&daemon::Status {}).unwrap();
    running.kill();
    assert!(running.socket().exists(), "a killed daemon cleans nothing up");
    running.launch();
    let mut client = running.client();
    assert!(client.call(&audit::Verify {}).is_ok());
    assert_eq!(running.audited("daemon-start").len(), 2);
    assert!(running.audited("daemon-stop").is_empty());
    assert!(running.terminate().success());
    running.launch();
    assert_eq!(running.audited("daemon-stop").len(), 1);
    let state = std::fs::metadata(running.path("state")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_configuration_that_was_named_must_be_there_and_be_right() {
    let running = Running::prepare(&[], "sockets = 1\n");
    let output = running.command().output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("sockets"), "the key is named");
    std::fs::remove_file(running.path("cnsd.toml")).unwrap();
    let output = running.command().output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read the configuration"));
}

#[test]
fn memory_does_not_leave_the_process() {
    let mut running = Running::start(&[]);
    let pid = running.pid();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert!(running.terminate().success());
}
