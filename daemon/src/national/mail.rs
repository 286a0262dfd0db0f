//! Mail: the second part of credentials goes to the holder's address (§8.2, §9.3.3-6).
//!
//! `cnsd` opens no connection, so a message is handed to what the host has for it: a folder that another program empties, or
//! a command that takes the message (RFC 5322) on its standard input, as `sendmail -t` does. A message may be handed over
//! twice after a crash, and is known by its Message-ID.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use cns_secret::Secret;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::MailConfig;
use crate::custody::key::write_new;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_ADDRESS: usize = 254;

/// Why a message was not handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The folder, or the command.
    #[error("mail: {0}")]
    System(#[from] io::Error),
    /// The command failed.
    #[error("the mail command failed: {0}")]
    Command(std::process::ExitStatus),
    /// It took too long.
    #[error("the mail command took longer than {} seconds", PATIENCE.as_secs())]
    TimedOut,
    /// The configuration names neither or both.
    #[error("[mail] names a `spool` or a `command`")]
    Configuration,
}

/// The work of handing a message over.
pub type Handing<'a> = Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>>;

/// Where mail goes. An implementation hands the message over at least once; `id` is the same when it comes again.
pub trait MailConnector: Send + Sync {
    /// Hands a message over: headers and text, in locked memory.
    fn hand_over<'a>(&'a self, id: &'a str, message: &'a Secret) -> Handing<'a>;
}

/// The connector that the configuration names.
///
/// # Errors
/// [`MailError::Configuration`].
pub fn connector(config: &MailConfig) -> Result<Box<dyn MailConnector>, MailError> {
    match (&config.spool, config.command.split_first()) {
        (Some(folder), None) => Ok(Box::new(Spool { folder: folder.clone() })),
        (None, Some((program, arguments))) => {
            Ok(Box::new(MailCommand { program: program.clone(), arguments: arguments.to_vec() }))
        }
        (Some(_), Some(_)) | (None, None) => Err(MailError::Configuration),
    }
}

/// Files `ID.eml` in a folder, for their owner alone; each appears whole.
struct Spool {
    folder: PathBuf,
}

impl MailConnector for Spool {
    fn hand_over<'a>(&'a self, id: &'a str, message: &'a Secret) -> Handing<'a> {
        Box::pin(async move {
            let path = self.folder.join(format!("{id}.eml"));
            // Handed over before, and not fetched yet.
            if !path.try_exists()? {
                write_new(&path, message.expose())?;
            }
            Ok(())
        })
    }
}

/// A command that reads the message.
struct MailCommand {
    program: String,
    arguments: Vec<String>,
}

impl MailConnector for MailCommand {
    fn hand_over<'a>(&'a self, _: &'a str, message: &'a Secret) -> Handing<'a> {
        Box::pin(async move {
            let mut child = Command::new(&self.program)
                .args(&self.arguments)
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .current_dir("/")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            let input = child.stdin.take();
            let work = async {
                if let Some(mut input) = input {
                    input.write_all(message.expose()).await?;
                    input.shutdown().await?;
                }
                child.wait().await
            };
            let status = timeout(PATIENCE, work).await.map_err(|_| MailError::TimedOut)??;
            if status.success() { Ok(()) } else { Err(MailError::Command(status)) }
        })
    }
}

/// Whether this can stand in a header as the one recipient.
#[must_use]
pub fn is_address(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@.!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let parts = address.split_once('@');
    address.len() <= LONGEST_ADDRESS
        && address.bytes().all(plain)
        && !address.starts_with('-')
        && parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
}

/// A message with the second part in it, in locked memory of its length.
pub(super) fn message(
    (from, to, id): (&str, &str, &str),
    second: &Secret,
) -> Result<Secret, cns_secret::SecretError> {
    let head = format!(
        "From: {from}\r\nTo: {to}\r\nMessage-ID: <{id}@cnsd.invalid>\r\nSubject: Tessera sanitaria: seconda parte del PUK\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Seconda parte / second part: "
    );
    let tail = "\r\n\r\nSommare ogni cifra a quella della prima parte, senza riporto (7 + 5 = 2).\r\n\
                Add each digit to that of the first part, without carrying (7 + 5 = 2).\r\n";
    let parts = [head.as_bytes(), second.expose(), tail.as_bytes()];
    let mut message = Secret::zeroed(parts.iter().map(|part| part.len()).sum())?;
    let mut rest = message.expose_mut();
    for part in parts {
        let Some((place, next)) = rest.split_at_mut_checked(part.len()) else { break };
        place.copy_from_slice(part);
        rest = next;
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_could_be_more_are_refused() {
        assert!(is_address("mario.rossi@posta.example"));
        for wrong in [
            "",
            "mario",
            "@posta.example",
            "a@b",
            "-x@posta.example",
            "a@b@c.d",
            "a@c.d\r\nBcc: x@y.z",
            "a@c.d,x@y.z",
            "a b@c.d",
        ] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
