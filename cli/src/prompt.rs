//! Asking the person at the terminal. Secrets are read byte by byte into locked memory, with the echo off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};

use cns_protocol::SecretText;
use cns_secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::CliError;
use crate::output;

/// Where secrets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The terminal, without echo.
    Terminal,
    /// Standard input, one secret a line.
    StandardInput,
}

impl Source {
    /// The source that the option `--pin-stdin` chooses.
    pub(crate) fn from_flag(pin_stdin: bool) -> Self {
        if pin_stdin { Source::StandardInput } else { Source::Terminal }
    }
}

/// Reads a secret; `what` names it in the prompt.
pub(crate) fn secret(source: Source, what: &str) -> Result<SecretText, CliError> {
    secret_with(source, "Enter", what)
}

/// As [`secret`]; `enter` is the prompt's verb, in the language of the name.
pub(crate) fn secret_with(source: Source, enter: &str, what: &str) -> Result<SecretText, CliError> {
    let secret = match source {
        Source::StandardInput => read_line(&mut unbuffered_stdin()?)?,
        Source::Terminal => from_terminal(enter, what)?,
    };
    Ok(SecretText::new(secret)?)
}

/// Reads a new PIN: twice at the terminal, once from standard input.
pub(crate) fn new_pin(source: Source) -> Result<SecretText, CliError> {
    let first = secret(source, "the new PIN")?;
    if source == Source::Terminal && !secret(source, "the new PIN again")?.secret().ct_eq(first.secret()) {
        return Err(CliError::EntriesDiffer);
    }
    Ok(first)
}

/// Asks a question whose answer is no secret; nothing when there is no terminal.
pub(crate) fn question(text: &str) -> Result<Option<String>, CliError> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    write!(io::stderr().lock(), "{text} ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().take(1024).read_line(&mut answer)?;
    Ok(Some(answer.trim().to_owned()))
}

/// Asks yes or no (also sì); nothing when there is no terminal.
pub(crate) fn yes_or_no(text: &str) -> Result<Option<bool>, CliError> {
    loop {
        let Some(answer) = question(&format!("{text} [y/n]"))? else { return Ok(None) };
        match answer.to_lowercase().as_str() {
            "y" | "yes" | "s" | "si" | "sì" => return Ok(Some(true)),
            "n" | "no" => return Ok(Some(false)),
            "" => return Ok(None),
            _ => output::note("Please answer y or n."),
        }
    }
}

/// The standard library's `Stdin` keeps what it read ahead in a buffer that nobody wipes.
fn unbuffered_stdin() -> Result<File, CliError> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn from_terminal(enter: &str, what: &str) -> Result<Secret, CliError> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let mut terminal = opened.map_err(|_| CliError::NoTerminal(what.to_owned()))?;
    write!(terminal, "{enter} {what}: ")?;
    let silence = Silence::begin(&terminal)?;
    let secret = read_line(&mut terminal.try_clone()?);
    drop(silence);
    writeln!(terminal)?;
    secret
}

fn read_line(input: &mut impl Read) -> Result<Secret, CliError> {
    let mut line = Secret::zeroed(cns_protocol::secret_text::MAX_LENGTH)?;
    let mut length = 0;
    let mut byte = Secret::zeroed(1)?;
    loop {
        if input.read(byte.expose_mut())? == 0 || byte.expose() == b"\n" {
            return Ok(line.truncated(length));
        }
        if byte.expose() == b"\r" {
            continue;
        }
        let slot = line.expose_mut().get_mut(length).ok_or(cns_protocol::secret_text::NotText)?;
        slot.clone_from(byte.expose().first().unwrap_or(&0));
        length += 1;
    }
}

/// The terminal's echo, off until this is dropped.
struct Silence<'a> {
    terminal: &'a File,
    before: rustix::termios::Termios,
}

impl<'a> Silence<'a> {
    fn begin(terminal: &'a File) -> Result<Self, CliError> {
        let before = tcgetattr(terminal).map_err(io::Error::from)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent).map_err(io::Error::from)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        tcsetattr(self.terminal, OptionalActions::Now, &self.before).unwrap_or_default();
    }
}
