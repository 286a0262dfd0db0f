//! The helper's own side: it knows nothing and may do nothing but HTTP.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::errno::Errno;
use nix::unistd::close;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustls::CertificateError;
use rustls::crypto::aws_lc_rs;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error, Proxy, ProxyProtocol};

use crate::authority::helper::frame::{Answer, Fault, Method, Order, Route, decode, encode};

const TEXT_LIMIT: usize = 300;
const STDERR: RawFd = 2;
/// Servers close idle connections too; a request on one that is just being closed is lost.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// `cnsd network-helper`: does what stands on the standard input until that is closed.
#[must_use]
pub fn helper_main() -> ExitCode {
    match confine().and_then(|()| serve(&mut io::stdin().lock(), &mut io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads it but the daemon, which sees the pipe close and starts another.
        Err(_) => ExitCode::FAILURE,
    }
}

/// No core dumps, no new files and none that were left open: whoever takes this process over gets a network and
/// nothing else.
fn confine() -> io::Result<()> {
    close_inherited()?;
    for resource in [Resource::Core, Resource::Fsize] {
        setrlimit(resource, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    Ok(())
}

/// Closes what is neither standard input nor output nor error. The daemon's own files close themselves, but a library
/// or whoever started the daemon may have left others.
fn close_inherited() -> io::Result<()> {
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > STDERR)
        .collect();
    for descriptor in open {
        match close(descriptor) {
            // The descriptor that the folder was read through is closed by now.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn serve(orders: &mut impl Read, answers: &mut impl Write) -> io::Result<()> {
    // One for all, so that a CMP transaction can stay on one connection (RFC 9811 §3.1).
    let mut at_hand: Option<(Route, Agent)> = None;
    while let Some((order, body)) = decode(orders)? {
        let agent = match at_hand.take() {
            Some((route, agent)) if route == order.route => Ok(agent),
            _ => agent(&order.route),
        };
        let fetched = agent.and_then(|agent| {
            let fetched = fetch(&agent, &order, &body);
            at_hand = Some((order.route, agent));
            fetched
        });
        let (answer, body) = match fetched {
            Ok((status, body)) => (Answer::Response { status }, body),
            Err(fault) => (Answer::Fault(fault), Vec::new()),
        };
        answers.write_all(&encode(&answer, &body)?)?;
        answers.flush()?;
    }
    Ok(())
}

fn agent(route: &Route) -> Result<Agent, Fault> {
    let unusable = |what: &str| Fault::Transport(format!("{what} cannot be used"));
    let roots = route.tls_roots.iter().map(|root| BASE64.decode(root)).collect::<Result<Vec<_>, _>>();
    let roots = roots.map_err(|_| unusable("a root certificate"))?;
    let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    Ok(Agent::config_builder()
        .proxy(route.proxy.as_deref().map(|proxy| through(proxy, &route.no_proxy)).transpose()?)
        .tls_config(tls)
        // A redirect would lead the daemon's request to where nobody configured it.
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_connections(1)
        .max_idle_age(IDLE_LIMIT)
        .user_agent("cnsd")
        .build()
        .into())
}

/// The proxy at `http://HOST:PORT`.
fn through(address: &str, no_proxy: &[String]) -> Result<Proxy, Fault> {
    let unusable = || Fault::Transport("the proxy's address cannot be used".to_owned());
    let place = address.strip_prefix("http://").unwrap_or_default().trim_end_matches('/');
    let (host, port) = place.rsplit_once(':').ok_or_else(unusable)?;
    let port = port.parse().map_err(|_| unusable())?;
    let proxy = Proxy::builder(ProxyProtocol::Http).host(host).port(port);
    let proxy = no_proxy.iter().fold(proxy, |proxy, host| proxy.no_proxy(host));
    proxy.build().map_err(|_| unusable())
}

fn fetch(agent: &Agent, order: &Order, body: &[u8]) -> Result<(u16, Vec<u8>), Fault> {
    let limit = Some(Duration::from_millis(order.milliseconds));
    let response = match &order.method {
        Method::Get => agent.get(&order.url).config().timeout_global(limit).build().call(),
        Method::Post { content_type } => {
            let request = agent.post(&order.url).header("Content-Type", content_type);
            request.config().timeout_global(limit).build().send(body)
        }
    };
    let mut response = response.map_err(|error| fault(&error))?;
    let limit = u64::try_from(order.limit).unwrap_or(u64::MAX);
    let body = response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| fault(&error))?;
    Ok((response.status().as_u16(), body))
}

fn fault(error: &Error) -> Fault {
    if let Some(words) = untrusted(error) {
        return Fault::Untrusted(words.chars().take(TEXT_LIMIT).collect());
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's errors are open; all others are told in words"
    )]
    match error {
        Error::Timeout(_) => Fault::TimedOut,
        Error::BodyExceedsLimit(_) => Fault::TooLarge,
        Error::ConnectProxyFailed(reason) => unconnected(reason),
        other => Fault::Transport(other.to_string().chars().take(TEXT_LIMIT).collect()),
    }
}

/// What is wrong with the server's certificate, if that is what is wrong.
fn untrusted(error: &Error) -> Option<String> {
    let Error::Io(error) = error else { return None };
    let rustls::Error::InvalidCertificate(fault) = error.get_ref()?.downcast_ref()? else { return None };
    if *fault == CertificateError::UnknownIssuer {
        return Some("none of `network.tls_roots` issued it".to_owned());
    }
    let is_over = matches!(fault, CertificateError::Expired | CertificateError::ExpiredContext { .. });
    Some(if is_over { "it has expired".to_owned() } else { fault.to_string() })
}

/// The library tells in words alone what the proxy answered: `proxy server responded 403/403`.
fn unconnected(reason: &str) -> Fault {
    let status = reason.rsplit_once(' ').and_then(|(_, last)| last.split('/').next()?.parse().ok());
    let words = match status {
        Some(407) => "it wants a password (HTTP status 407), which is not supported".to_owned(),
        Some(status) => format!("it answers with HTTP status {status}"),
        None => reason.chars().take(TEXT_LIMIT).collect(),
    };
    Fault::Unconnected { status, words }
}
