//! The network, in a process of its own.
//!
//! `cnsd` reads PUKs and runs as root, so it opens no connection itself: it starts its own program again as
//! `cnsd network-helper`, without privileges, environment or files, and passes it one request at a time through
//! pipes. What the helper answers is as hostile as what the network answers.

mod child;
mod frame;

use std::fs::File;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::unistd::{User, geteuid};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::authority::checks::TrustAnchors;
pub use crate::authority::helper::child::helper_main;
use crate::authority::helper::frame::{
    Answer, BODY_LIMIT, Fault, HEADER_LIMIT, Method, Order, Route, encode,
};
use crate::config::NetworkConfig;

/// The hidden subcommand of `cnsd` that is the helper.
pub const SUBCOMMAND: &str = "network-helper";
/// How long one request may take, connecting included.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The helper keeps the limit itself; this long after it, it is killed.
const GRACE: Duration = Duration::from_secs(2);
const URL_LIMIT: usize = 2048;
/// Where there is no account of that name, Linux's number for it.
const NOBODY: u32 = 65534;

/// Why the network gave nothing.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The address is not one of HTTP.
    #[error("{0:?} is not an address of the form http://HOST/PATH or https://HOST/PATH")]
    Url(String),
    /// The address is one of HTTPS, and no roots are configured.
    #[error("{0:?} needs `network.tls_roots`: no other authority of servers is trusted")]
    NoRoots(String),
    /// A file that the configuration names cannot be read, or holds no certificate.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The proxy's address cannot be used.
    #[error("{0:?} is not a proxy of the form http://HOST:PORT (one that wants a password is not supported)")]
    Proxy(String),
    /// A server that is to be reached without the proxy is not named so that it could be known again.
    #[error(
        "{0:?} in `network.no_proxy` is no host such as ca.example, .example, 10.1.* or ::1, without a port or a mask"
    )]
    NoProxy(String),
    /// The helper could not be started.
    #[error("the network helper cannot be started: {0}")]
    Start(io::Error),
    /// The helper ended or answered nonsense; it is started again for the next request.
    #[error("the network helper failed: {0}")]
    Helper(io::Error),
    /// Nobody answered in time.
    #[error("no answer within {} seconds", TIME_LIMIT.as_secs())]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("{0}")]
    Transport(String),
    /// The server's certificate is not what it should be; nothing was sent to it.
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(String),
    /// The proxy does not connect to the server.
    #[error("the proxy does not connect to the server: {words}")]
    Unconnected {
        /// The status of HTTP that it answered with, if it did.
        status: Option<u16>,
        /// Why.
        words: String,
    },
    /// The server answered with an error of HTTP.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// What was to be sent, or was answered, is too long.
    #[error("a message that is longer than it may be")]
    TooLarge,
}

impl NetworkError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Helper(_) | Self::TimedOut | Self::Transport(_) => true,
            Self::Status(status) => *status >= 500,
            Self::Unconnected { status, .. } => status.is_none_or(|status| status >= 500),
            Self::Url(_)
            | Self::NoRoots(_)
            | Self::File { .. }
            | Self::Proxy(_)
            | Self::NoProxy(_)
            | Self::Untrusted(_)
            | Self::Start(_)
            | Self::TooLarge => false,
        }
    }
}

impl From<Fault> for NetworkError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TimedOut => Self::TimedOut,
            Fault::TooLarge => Self::TooLarge,
            Fault::Transport(words) => Self::Transport(words),
            Fault::Untrusted(words) => Self::Untrusted(words),
            Fault::Unconnected { status, words } => Self::Unconnected { status, words },
        }
    }
}

/// Refuses what is no address of HTTP or HTTPS.
///
/// # Errors
/// [`NetworkError::Url`].
pub fn check_url(url: &str) -> Result<(), NetworkError> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or_default();
    let prints = url.bytes().all(|byte| byte.is_ascii_graphic());
    if prints && url.len() <= URL_LIMIT && !host.is_empty() && !host.starts_with('/') && !host.contains('@') {
        Ok(())
    } else {
        Err(NetworkError::Url(url.chars().take(100).collect()))
    }
}

fn check_proxy(proxy: &str) -> Result<(), NetworkError> {
    let port = proxy.trim_end_matches('/').rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    check_url(proxy).ok().filter(|()| proxy.starts_with("http://") && matches!(port, Some(Ok(_)))).ok_or_else(
        || NetworkError::Proxy(proxy.chars().filter(|sign| !sign.is_control()).take(100).collect()),
    )
}

/// A host of `no_proxy`, as the library compares it: a pattern that it does not know it would pass over in silence.
fn without_proxy(host: &str) -> Result<String, NetworkError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{bare}]"));
    }
    let name = host.strip_prefix('*').unwrap_or(host);
    let name = name.strip_suffix('*').unwrap_or(name);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_name && !host.is_empty() {
        return Ok(host.to_owned());
    }
    Err(NetworkError::NoProxy(host.chars().filter(|sign| !sign.is_control()).take(100).collect()))
}

/// The roots of TLS, as the helper wants them.
fn read_roots(path: &Path) -> Result<Vec<String>, NetworkError> {
    let failed = |source| NetworkError::File { path: path.to_path_buf(), source };
    let bundle = std::fs::read(path).map_err(failed)?;
    let anchors = TrustAnchors::from_pem(&bundle)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let roots: Vec<String> = anchors.encoded().map(|der| BASE64.encode(der)).collect();
    // The header of an order has other things to carry.
    if roots.iter().map(String::len).sum::<usize>() > HEADER_LIMIT / 2 {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(roots)
}

struct Running {
    child: Child,
    orders: ChildStdin,
    answers: ChildStdout,
}

/// The way to the network. The helper is started when it is first needed.
pub struct NetworkHelper {
    program: PathBuf,
    time_limit: Duration,
    route: Route,
    running: Mutex<Option<Running>>,
}

impl Default for NetworkHelper {
    /// The helper is this very program, also when its file was replaced meanwhile.
    fn default() -> Self {
        Self::with_program(Path::new("/proc/self/exe"))
    }
}

impl NetworkHelper {
    /// The helper is `program`, called with [`SUBCOMMAND`].
    #[must_use]
    pub fn with_program(program: &Path) -> Self {
        Self {
            program: program.to_path_buf(),
            time_limit: TIME_LIMIT,
            route: Route::default(),
            running: Mutex::new(None),
        }
    }

    /// The same with another time limit.
    #[must_use]
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// The same by the configured way.
    ///
    /// # Errors
    /// When the proxy's address, a host that is reached without it, or the file of the roots cannot be used.
    pub fn with_route(self, config: &NetworkConfig) -> Result<Self, NetworkError> {
        if let Some(proxy) = &config.proxy {
            check_proxy(proxy)?;
        }
        let tls_roots = config.tls_roots.as_deref().map(read_roots).transpose()?.unwrap_or_default();
        let no_proxy =
            config.no_proxy.iter().map(|host| without_proxy(host)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { route: Route { proxy: config.proxy.clone(), no_proxy, tls_roots }, ..self })
    }

    /// Posts `body` and returns the body of the answer, of 1 MiB at most.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub async fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Vec<u8>, NetworkError> {
        self.request(Method::Post { content_type: content_type.to_owned() }, url, body, BODY_LIMIT).await
    }

    /// Gets what is at `url`, of `limit` bytes at most.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub async fn get(&self, url: &str, limit: usize) -> Result<Vec<u8>, NetworkError> {
        self.request(Method::Get, url, &[], limit).await
    }

    /// Refuses an address that this helper would not reach.
    ///
    /// # Errors
    /// [`NetworkError::Url`], [`NetworkError::NoRoots`].
    pub fn check(&self, url: &str) -> Result<(), NetworkError> {
        check_url(url)?;
        if url.starts_with("https:") && self.route.tls_roots.is_empty() {
            return Err(NetworkError::NoRoots(url.to_owned()));
        }
        Ok(())
    }

    async fn request(
        &self,
        method: Method,
        url: &str,
        body: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, NetworkError> {
        self.check(url)?;
        if body.len() > BODY_LIMIT {
            return Err(NetworkError::TooLarge);
        }
        let milliseconds = u64::try_from(self.time_limit.as_millis()).unwrap_or(u64::MAX);
        let order = Order { method, url: url.to_owned(), milliseconds, limit, route: self.route.clone() };
        let order = encode(&order, body).map_err(NetworkError::Helper)?;
        let mut place = self.running.lock().await;
        // Taken out, so that a helper whose answer nobody waited for is killed rather than asked something else.
        let mut running = match place.take() {
            Some(running) => running,
            None => self.start().map_err(NetworkError::Start)?,
        };
        match timeout(self.time_limit.saturating_add(GRACE), exchange(&mut running, &order, limit)).await {
            Ok(Ok((answer, body))) => {
                *place = Some(running);
                match answer {
                    Answer::Response { status: 200 } => Ok(body),
                    Answer::Response { status } => Err(NetworkError::Status(status)),
                    Answer::Fault(fault) => Err(fault.into()),
                }
            }
            Ok(Err(error)) => {
                end(running).await;
                Err(NetworkError::Helper(error))
            }
            Err(_) => {
                end(running).await;
                Err(NetworkError::TimedOut)
            }
        }
    }

    fn start(&self) -> io::Result<Running> {
        // Opened with our rights and run through the descriptor: the unprivileged account may be unable to reach the
        // file by its path.
        let program = File::open(&self.program)?;
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command
            .arg0("cnsd")
            .arg(SUBCOMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if geteuid().is_root() {
            let nobody = User::from_name("nobody").ok().flatten();
            let (user, group) =
                nobody.map_or((NOBODY, NOBODY), |nobody| (nobody.uid.as_raw(), nobody.gid.as_raw()));
            // The standard library drops the supplementary groups as well when root sets a user.
            command.gid(group).uid(user);
        }
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, answers) = pipes.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        tracing::debug!(pid = child.id(), "network helper started");
        Ok(Running { child, orders, answers })
    }

    /// The helper's process, while there is one.
    pub async fn process(&self) -> Option<u32> {
        self.running.lock().await.as_ref().and_then(|running| running.child.id())
    }
}

async fn end(mut running: Running) {
    if let Err(error) = running.child.kill().await {
        tracing::warn!(%error, "the network helper could not be killed");
    }
}

async fn exchange(running: &mut Running, order: &[u8], limit: usize) -> io::Result<(Answer, Vec<u8>)> {
    running.orders.write_all(order).await?;
    running.orders.flush().await?;
    let header = part(&mut running.answers, HEADER_LIMIT).await?;
    let body = part(&mut running.answers, limit).await?;
    Ok((serde_json::from_slice(&header)?, body))
}

/// One part of a frame; its length is judged before room is made for it.
async fn part(answers: &mut ChildStdout, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(answers.read_u32().await?).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    let mut bytes = vec![0; length];
    answers.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_http() {
        for good in [
            "http://127.0.0.1:8080/pkix/signature",
            "http://[::1]/",
            "http://ca.example",
            "https://ca.example/",
        ] {
            check_url(good).unwrap();
        }
        for bad in [
            "",
            "http://",
            "http:///etc",
            "https://",
            "ftp://ca.example",
            "file:///etc/passwd",
            "http://u:p@ca.example/",
            "http://ca.example/\r\nX: y",
            "HTTP://ca.example",
            "http://ca.example/ x",
        ] {
            assert!(matches!(check_url(bad), Err(NetworkError::Url(_))), "{bad}");
        }
    }

    #[test]
    fn proxies_have_a_port_and_no_password() {
        for good in ["http://proxy.example:3128", "http://[::1]:8080/"] {
            check_proxy(good).unwrap();
        }
        for bad in ["", "proxy:3128", "http://proxy", "https://proxy:1", "http://u:p@proxy:1", "http://p:x"] {
            assert!(matches!(check_proxy(bad), Err(NetworkError::Proxy(_))), "{bad}");
        }
    }
    #[test]
    fn hosts_without_the_proxy_are_names_and_addresses() {
        for (host, compared) in [
            ("ca.example", "ca.example"),
            (".example", ".example"),
            ("*.example", "*.example"),
            ("*", "*"),
            ("10.1.*", "10.1.*"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_proxy(host).unwrap(), compared);
        }
        for bad in
            ["", "ca.example:443", "[::1]:443", "10.0.0.0/8", "http://ca.example", "a.*.example", "a b"]
        {
            assert!(matches!(without_proxy(bad), Err(NetworkError::NoProxy(_))), "{bad}");
        }
    }
}
