//! What a person reads while a command runs.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::error::Error;

/// A step of a long command: prints its heading at once and its time at the end.
pub(crate) struct Section {
    began: Instant,
}

impl Section {
    /// Prints the heading.
    pub(crate) fn begin(number: &str, title: &str) -> Self {
        line(&format!("\n{} {}", bold(number), bold(title)));
        Self { began: Instant::now() }
    }

    /// Prints how long it took, and what else there is to say.
    pub(crate) fn end(self, note: &str) {
        let note = if note.is_empty() { String::new() } else { format!(", {note}") };
        line(&format!("   {}", dim(&format!("({}{note})", seconds(self.began.elapsed())))));
    }
}

/// A fact within a step.
pub(crate) fn fact(text: &str) {
    for part in text.lines() {
        line(&format!("   {part}"));
    }
}

/// A fact that was checked.
pub(crate) fn checked(text: &str) {
    line(&format!("   {} {text}", if colour() { "\x1b[32m✓\x1b[0m" } else { "✓" }));
}

/// What a slow step is doing.
pub(crate) fn progress(text: &str) {
    line(&format!("     {}", dim(&format!("… {text}"))));
}

/// What stopped the command.
pub(crate) fn failure(error: &Error) {
    let mark = if colour() { "\x1b[31;1merror:\x1b[0m" } else { "error:" };
    writeln!(io::stderr().lock(), "{mark} {error}").unwrap_or_default();
}

/// A plain line.
pub(crate) fn line(text: &str) {
    // A closed standard output must not stop the clean-up that follows.
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).unwrap_or_default();
}

/// A duration as a person writes it.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

fn bold(text: &str) -> String {
    if colour() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

fn dim(text: &str) -> String {
    if colour() { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
}

fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
