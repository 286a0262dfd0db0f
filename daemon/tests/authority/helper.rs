//! The process that the network is reached through.

use std::fs;
use std::time::{Duration, Instant};

use cnsd::authority::NetworkError;
use cnsd_test_support::network;
use der::Encode;

use crate::fixture::{Running, rogue};

const LIMIT: usize = 1024 * 1024;

fn response(head: &str, body: &[u8]) -> Option<Vec<u8>> {
    Some([format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat())
}

#[tokio::test]
async fn it_has_no_privileges_no_environment_and_no_files() {
    let running = Running::start().await;
    let network = network();
    let got = network.get(&format!("http://{}/ca.der", running.address), LIMIT).await.unwrap();
    assert_eq!(got, running.certifier.ca_certificate().to_der().unwrap());
    let process = format!("/proc/{}", network.process().await.unwrap());
    // Readable by root even now; by others only while the process is theirs.
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    if nix::unistd::geteuid().is_root() {
        assert!(field("Uid:").iter().all(|uid| uid != "0"), "{status}");
        assert!(field("Gid:").iter().all(|gid| gid != "0"), "{status}");
        assert_eq!(field("Groups:"), Vec::<String>::new(), "{status}");
        assert_eq!(field("CapEff:"), ["0000000000000000"], "{status}");
    }
    assert_eq!(fs::read(format!("{process}/environ")).unwrap(), b"");
    assert_eq!(fs::read_link(format!("{process}/cwd")).unwrap().to_str(), Some("/"));
    let arguments = fs::read(format!("{process}/cmdline")).unwrap();
    assert_eq!(arguments, b"cnsd\0network-helper\0");
    let mut open: Vec<_> = fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    open.sort();
    // Standard input, output and error, and the connection that is kept.
    assert!(open.len() <= 4, "{open:?}");
    assert!(open.iter().filter(|target| target.starts_with("socket:")).count() <= 1, "{open:?}");
}

#[tokio::test]
async fn one_helper_serves_many_requests_and_a_killed_one_is_replaced() {
    let running = Running::start().await;
    let network = network();
    let url = format!("http://{}/healthz", running.address);
    network.get(&url, LIMIT).await.unwrap();
    let first = network.process().await.unwrap();
    network.get(&url, LIMIT).await.unwrap();
    assert_eq!(network.process().await.unwrap(), first);
    let pid = rustix::process::Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let error = network.get(&url, LIMIT).await.unwrap_err();
    assert!(matches!(error, NetworkError::Helper(_)) && error.is_passing(), "{error}");
    network.get(&url, LIMIT).await.unwrap();
    assert_ne!(network.process().await.unwrap(), first);
}

#[tokio::test]
async fn a_silent_server_costs_the_time_limit_and_no_more() {
    let network = network().with_time_limit(Duration::from_secs(1));
    let silent = rogue(None);
    let begin = Instant::now();
    let error = network.get(&format!("http://{silent}/"), LIMIT).await.unwrap_err();
    assert!(matches!(error, NetworkError::TimedOut), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let honest = rogue(response("200 OK", b"here"));
    assert_eq!(network.get(&format!("http://{honest}/"), LIMIT).await.unwrap(), b"here");
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_is_not_given_to_the_next() {
    let network = network();
    let silent = rogue(None);
    let url = format!("http://{silent}/");
    assert!(tokio::time::timeout(Duration::from_millis(500), network.get(&url, LIMIT)).await.is_err());
    let honest = rogue(response("200 OK", b"here"));
    assert_eq!(network.get(&format!("http://{honest}/"), LIMIT).await.unwrap(), b"here");
}

#[tokio::test]
async fn redirects_errors_and_floods_are_not_followed_or_swallowed() {
    let network = network();
    let target = rogue(response("200 OK", b"secret"));
    let redirect = rogue(response(&format!("302 Found\r\nLocation: http://{target}/"), b""));
    let error = network.get(&format!("http://{redirect}/"), LIMIT).await.unwrap_err();
    assert!(matches!(error, NetworkError::Status(302)), "{error}");
    let failing = rogue(response("500 Broken", b"x"));
    let error = network.get(&format!("http://{failing}/"), LIMIT).await.unwrap_err();
    assert!(matches!(error, NetworkError::Status(500)) && error.is_passing(), "{error}");
    let flood = rogue(response("200 OK", &vec![0; 1024 * 1024 + 1]));
    let error = network.get(&format!("http://{flood}/"), LIMIT).await.unwrap_err();
    assert!(matches!(error, NetworkError::TooLarge), "{error}");
    let nonsense = rogue(Some(b"\0\0\0 nonsense\r\n\r\n".to_vec()));
    let error = network.get(&format!("http://{nonsense}/"), LIMIT).await.unwrap_err();
    assert!(matches!(error, NetworkError::Transport(_)), "{error}");
    let error =
        network.post("http://127.0.0.1:1/", "text/plain", &vec![0; 1024 * 1024 + 1]).await.unwrap_err();
    assert!(matches!(error, NetworkError::TooLarge), "{error}");
}
