//! A connection with handlers of the tests' own behind it: slow ones, failing ones, chatty ones.

use std::os::unix::net::UnixStream as Socket;
use std::sync::atomic::{AtomicU32, Ordering};

use cns_protocol::Role;
use cns_protocol::daemon::Discover;
use cns_protocol::pin::{Done, Logout, Status};
use interprocess::os::unix::uds_local_socket::tokio::Stream as UdStream;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::*;
use crate::dispatch::Call;
use crate::login::CardPlace;
use crate::peer::Peer;

/// What the handlers work with: how much was finished.
#[derive(Default)]
struct Finished(AtomicU32);

struct Bench {
    client: UnixStream,
    caller: Caller,
    quota: Arc<Quota>,
    finished: Arc<Finished>,
    stop: watch::Sender<bool>,
    all_over: mpsc::Receiver<std::convert::Infallible>,
}

async fn report(finished: Arc<Finished>, call: Call, _: Discover) -> Result<Value, RpcError> {
    for done in 1..=3 {
        let report = Progress {
            request: None,
            step: "count".into(),
            paragraph: None,
            message: "counting".into(),
            done,
            total: Some(3),
        };
        call.progress.send(report);
    }
    finished.0.fetch_add(1, Ordering::SeqCst);
    Ok(json!("reported"))
}

async fn slow(finished: Arc<Finished>, _: Call, _: Logout) -> Result<Done, RpcError> {
    sleep(Duration::from_millis(1500)).await;
    finished.0.fetch_add(1, Ordering::SeqCst);
    Ok(Done {})
}

async fn fail(
    _: Arc<Finished>,
    _: Call,
    request: Status,
) -> Result<Vec<cns_protocol::pin::PinState>, RpcError> {
    assert_eq!(request.reader, "not this one", "a handler that panics");
    Ok(Vec::new())
}

async fn long(
    _: Arc<Finished>,
    _: Call,
    _: cns_protocol::custody::ImportCertificate,
) -> Result<cns_protocol::custody::PemCertificate, RpcError> {
    Ok(cns_protocol::custody::PemCertificate { pem: "x".repeat(frame::MAX_BODY) })
}

fn bench() -> Bench {
    let (here, there) = Socket::pair().unwrap();
    for end in [&here, &there] {
        end.set_nonblocking(true).unwrap();
    }
    let finished = Arc::<Finished>::default();
    let mut router = Router::new(Box::new(|_| None));
    router.add(&finished, report);
    router.add(&finished, slow);
    router.add(&finished, fail);
    router.add(&finished, long);
    let limits = Limits {
        connections: 1,
        frame_seconds: 1,
        request_seconds: 1,
        user_requests_in_flight: 1,
        ..Limits::default()
    };
    let quota = Arc::new(Quota::new(&limits));
    let service = Arc::new(Service { router, limits });
    let peer = Peer { uid: 1000, gids: Vec::new(), roles: Role::ALL.to_vec() };
    let caller = Caller { peer: Arc::new(peer), logins: Arc::default(), at_end: Arc::default() };
    let (stop, stopping) = watch::channel(false);
    let (alive, all_over) = mpsc::channel(1);
    let stream = Stream::UdSocket(UdStream::from(UnixStream::from_std(there).unwrap()));
    let connection = Connection::new(stream, caller.clone(), Arc::clone(&quota), service, stopping, alive);
    tokio::spawn(connection.serve());
    Bench { client: UnixStream::from_std(here).unwrap(), caller, quota, finished, stop, all_over }
}

impl Bench {
    async fn request(&mut self, id: u32, method: &str, params: Value) {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let bytes = [frame::header(body.len()).as_bytes(), body.as_bytes()].concat();
        self.client.write_all(&bytes).await.unwrap();
    }

    async fn read(&mut self) -> Value {
        let mut header = HeaderReader::default();
        let length = loop {
            if let Some(length) = header.push(self.client.read_u8().await.unwrap()).unwrap() {
                break length;
            }
        };
        let mut body = vec![0; length];
        self.client.read_exact(&mut body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    async fn is_closed(&mut self) -> bool {
        matches!(self.client.read(&mut [0]).await, Ok(0))
    }

    /// Waits until the connection and all that it began are over.
    async fn over(&mut self) -> u32 {
        timeout(Duration::from_secs(30), self.all_over.recv()).await.unwrap();
        self.finished.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn progress_comes_before_the_answer_and_names_its_request() {
    let mut bench = bench();
    bench.request(42, "rpc.discover", json!({})).await;
    for done in 1..=3 {
        let message = bench.read().await;
        assert_eq!(message["method"], "progress");
        assert_eq!(message["params"]["done"], done);
        assert_eq!(message["params"]["request"], "42");
    }
    assert_eq!(bench.read().await, json!({ "jsonrpc": "2.0", "id": 42, "result": "reported" }));
}

#[tokio::test]
async fn work_that_takes_too_long_is_told_and_finished_all_the_same() {
    let mut bench = bench();
    bench.request(1, "pin.logout", json!({ "reader": "r" })).await;
    let message = bench.read().await;
    assert_eq!(message["error"]["data"]["kind"], "timed-out");
    assert!(bench.is_closed().await);
    assert!(bench.quota.begin().is_none(), "the connection is closed, and its work still has the place");
    assert_eq!(bench.over().await, 1);
    assert!(bench.quota.begin().is_some());
}

#[tokio::test]
async fn work_is_finished_and_logins_end_when_the_client_goes() {
    let mut bench = bench();
    let place = CardPlace { reader: "r".into(), insertion: 1 };
    let pin = cns_secret::Secret::copy_from(b"12345").unwrap();
    bench.caller.logins.keep(place.clone(), pin);
    bench.request(1, "pin.logout", json!({ "reader": "r" })).await;
    bench.client.shutdown().await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert!(bench.caller.logins.pin(&place).unwrap().is_none(), "at once, not when the work is done");
    assert_eq!(bench.finished.0.load(Ordering::SeqCst), 0);
    let (client, _) = Socket::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    drop(std::mem::replace(&mut bench.client, UnixStream::from_std(client).unwrap()));
    assert_eq!(bench.over().await, 1);
}

#[tokio::test]
async fn a_panic_is_one_requests_own() {
    let mut bench = bench();
    bench.request(1, "pin.status", json!({ "reader": "r" })).await;
    let message = bench.read().await;
    assert_eq!(message["id"], 1);
    assert_eq!(message["error"]["code"], -32603);
    assert!(!message.to_string().contains("not this one"), "the panic's words are for the log");
    bench.request(2, "pin.status", json!({ "reader": "not this one" })).await;
    assert_eq!(bench.read().await["result"], json!([]));
}

#[tokio::test]
async fn an_answer_that_fits_no_frame_is_an_error_and_not_the_end() {
    let mut bench = bench();
    bench.request(1, "custody.import_certificate", json!({})).await;
    let message = bench.read().await;
    assert_eq!((&message["id"], &message["error"]["data"]["kind"]), (&json!(1), &json!("internal")));
    bench.request(2, "pin.status", json!({ "reader": "not this one" })).await;
    assert_eq!(bench.read().await["id"], 2);
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_lets_work_finish() {
    let mut idle = bench();
    idle.stop.send_replace(true);
    assert!(idle.is_closed().await);
    let mut busy = bench();
    busy.request(1, "rpc.discover", json!({})).await;
    busy.request(2, "rpc.discover", json!({})).await;
    while busy.read().await["id"] != 1 {}
    busy.stop.send_replace(true);
    assert!(busy.over().await >= 1);
}
