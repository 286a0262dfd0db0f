//! The listener: the socket's place and rights, how many may connect, and the clean stop.
//!
//! The kernel's word about the peer decides on every request ([`crate::judge`]); the socket file's mode only keeps
//! strangers from knocking. It is 0660 with the configured group (`socket_group`, `cns` by default; the daemon's own
//! group where the system has no such group), and 0666 only when a rule under `[[access]]` says `everyone = true`.

mod place;
mod places_taken;
mod quota;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cns_protocol::rpc::{ErrorObject, OutgoingAnswer};
use cns_protocol::{ErrorKind, RpcError};
use cns_secret::Secret;
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::connection::{self, Connection, Service, stopped};
use crate::dispatch::Caller;
use crate::login::LoginRegistry;
use crate::peer::{Access, Peer};
pub use place::{Door, SocketError, SocketPlace};
use places_taken::PlacesTaken;
pub use quota::{Quota, Quotas};

/// How long running requests may take after the daemon was told to stop. Card work that is cut here is settled when
/// the daemon starts again.
const STOP_TIME: Duration = Duration::from_secs(20);

/// How long a peer that is turned away has to take the reason.
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);

/// How many peers are told so at a time.
const TURNED_AWAY_AT_A_TIME: usize = 64;

/// A pause after an accept that failed: usually no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until `stop` turns true, then waits for running requests.
pub async fn run(
    socket: SocketPlace,
    access: Access,
    service: Arc<Service>,
    logins: Arc<LoginRegistry>,
    mut stop: watch::Receiver<bool>,
) {
    let (alive, mut all_over) = mpsc::channel(1);
    let places = PlacesTaken::new(service.limits.connections);
    let quotas = Quotas::new(&service.limits);
    let doorkeeper = Doorkeeper::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener().accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = match welcome(&stream, &access) {
            Ok(peer) => peer,
            Err(refusal) => {
                doorkeeper.turn_away(stream, refusal);
                continue;
            }
        };
        let Some(place) = places.take(peer.uid) else {
            tracing::warn!(uid = peer.uid, "turned away: too many connections");
            let busy = RpcError::new(ErrorKind::Busy, "the daemon serves as many connections as it may")
                .hint("Close connections that are not needed, or try again later");
            doorkeeper.turn_away(stream, busy);
            continue;
        };
        let uid = peer.uid;
        let caller = Caller { peer: Arc::new(peer), logins: logins.open(), at_end: Arc::default() };
        let service = Arc::clone(&service);
        let connection =
            Connection::new(stream, caller, quotas.of(uid), service, stop.clone(), alive.clone());
        tokio::spawn(async move {
            if let Err(error) = connection.serve().await {
                tracing::info!(uid, %error, "connection ended");
            }
            drop(place);
        });
    }
    drop(alive);
    drop(socket);
    if timeout(STOP_TIME, all_over.recv()).await.is_err() {
        tracing::warn!("stopping although requests are still running; they are settled at the next start");
    }
}

fn welcome(stream: &Stream, access: &Access) -> Result<Peer, RpcError> {
    let Stream::UdSocket(socket) = stream;
    let peer = Peer::of(socket.inner(), access).map_err(|error| {
        tracing::warn!(%error, "turned away");
        RpcError::new(ErrorKind::Forbidden, "the daemon cannot tell who you are")
    })?;
    if peer.roles.is_empty() {
        tracing::info!(uid = peer.uid, "turned away: no role");
        return Err(RpcError::new(ErrorKind::Forbidden, "your Unix user has no role here")
            .hint("The administrator gives roles to users and groups under [[access]] in cnsd.toml"));
    }
    Ok(peer)
}

/// Tells peers why they are not served. So many at a time and no more: those beyond are only disconnected.
struct Doorkeeper(Arc<Semaphore>);

impl Doorkeeper {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(TURNED_AWAY_AT_A_TIME)))
    }

    fn turn_away(&self, stream: Stream, refusal: RpcError) {
        if let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() {
            tokio::spawn(async move {
                // Whether the peer listens is its own affair.
                timeout(TURN_AWAY_TIME, explain(stream, refusal)).await.ok();
                drop(permit);
            });
        }
    }
}

/// Says why, and reads until the peer goes: its request would otherwise meet a closed socket before it sees the reason.
async fn explain(stream: Stream, refusal: RpcError) {
    let answer: OutgoingAnswer<()> =
        OutgoingAnswer { jsonrpc: "2.0", id: None, result: None, error: Some(ErrorObject::from(refusal)) };
    if connection::send(&stream, &answer, TURN_AWAY_TIME).await.is_ok() {
        let mut reader = &stream;
        let mut ignored = Secret::zeroed(256);
        // What is ignored here may be a PIN.
        while let Ok(buffer) = &mut ignored
            && matches!(reader.read(buffer.expose_mut()).await, Ok(1..))
        {}
    }
}

/// Prepares the state folder: root-only.
///
/// # Errors
/// When it cannot be made or its mode cannot be set.
pub fn prepare_state(state: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(state)?;
    std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700))
}
