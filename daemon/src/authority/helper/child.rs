//! The helper's own side: it knows nothing and may do nothing but HTTP.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::close;
use rustix::process::{Resource, Rlimit, setrlimit};
use ureq::{Agent, Error};

use crate::authority::helper::frame::{Answer, BODY_LIMIT, Fault, Method, Order, decode, encode};

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
    // One for all, so that a CMP transaction can stay on one connection (RFC 6712 §3.1).
    let agent: Agent = Agent::config_builder()
        .proxy(None)
        // A redirect would lead the daemon's request to where nobody configured it.
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_connections(1)
        .max_idle_age(IDLE_LIMIT)
        .user_agent("cnsd")
        .build()
        .into();
    while let Some((order, body)) = decode(orders)? {
        let (answer, body) = match fetch(&agent, &order, &body) {
            Ok((status, body)) => (Answer::Response { status }, body),
            Err(fault) => (Answer::Fault(fault), Vec::new()),
        };
        answers.write_all(&encode(&answer, &body)?)?;
        answers.flush()?;
    }
    Ok(())
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
    let limit = u64::try_from(BODY_LIMIT).unwrap_or(u64::MAX);
    let body = response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| fault(&error))?;
    Ok((response.status().as_u16(), body))
}

fn fault(error: &Error) -> Fault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's errors are open; all others are told in words"
    )]
    match error {
        Error::Timeout(_) => Fault::TimedOut,
        Error::BodyExceedsLimit(_) => Fault::TooLarge,
        other => Fault::Transport(other.to_string().chars().take(TEXT_LIMIT).collect()),
    }
}
