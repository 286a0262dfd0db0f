//! A terminal for programs that ask for a PIN, as a person would sit at it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cns_secret::Secret;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::Result;
use crate::error::{During, Error};

/// How long a dialogue may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a program at a terminal and types the next of `answers` whenever it asks for a PIN or PUK; what it printed.
pub(crate) fn run(command: &Command, answers: &[&Secret]) -> Result<String> {
    match dialogue(command, answers)? {
        (text, status) if status.success() => Ok(text),
        (output, status) => {
            Err(Error::Program { program: describe(command), status: status.to_string(), output })
        }
    }
}

/// As [`run`], of a program that must refuse.
pub(crate) fn run_refused(command: &Command, answers: &[&Secret]) -> Result<String> {
    match dialogue(command, answers)? {
        (text, status) if status.success() => {
            Err(Error::Wrong(format!("`{}` should have been refused:\n{text}", describe(command))))
        }
        (text, _) => Ok(text),
    }
}

fn dialogue(command: &Command, answers: &[&Secret]) -> Result<(String, ExitStatus)> {
    let mut answers = answers.iter();
    let mut dialogue = Dialogue::start(command)?;
    let began = Instant::now();
    let mut answered_up_to = 0;
    loop {
        match dialogue.output.recv_timeout(Duration::from_millis(100)) {
            Ok(bytes) => dialogue.seen.extend(bytes),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        let unanswered =
            String::from_utf8_lossy(dialogue.seen.get(answered_up_to..).unwrap_or_default()).into_owned();
        // The echo goes off after the prompt, and whatever was typed before that is thrown away.
        if asks_for_pin(&unanswered)
            && dialogue.is_silent()?
            && let Some(pin) = answers.next()
        {
            dialogue.master.write_all(pin.expose()).during("typing the PIN")?;
            dialogue.master.write_all(b"\n").during("typing the PIN")?;
            answered_up_to = dialogue.seen.len();
        }
        if began.elapsed() > LIMIT {
            dialogue.child.kill().during("stopping a program that hangs")?;
            return Err(Error::TooSlow {
                what: describe(command),
                seconds: LIMIT.as_secs(),
                output: dialogue.text(),
            });
        }
    }
    let status = dialogue.child.wait().during("waiting for a program")?;
    Ok((dialogue.text(), status))
}

/// Whether a line of the text asks for a PIN or PUK. What follows the colon is not looked at: the program's other threads may
/// have printed there.
fn asks_for_pin(text: &str) -> bool {
    // "Enter PKCS#11 token PIN for LABEL:" and "Enter new PIN [LABEL]:" have the label before the colon.
    text.lines().any(|line| {
        let asked = line.find("PIN").or_else(|| line.find("PUK"));
        asked.and_then(|start| line.get(start..)).is_some_and(|rest| rest.contains(':'))
    })
}

struct Dialogue {
    child: Child,
    master: File,
    output: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Dialogue {
    fn start(command: &Command) -> Result<Self> {
        let what = "opening a terminal";
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(io::Error::from).during(what)?;
        grantpt(&master).map_err(io::Error::from).during(what)?;
        unlockpt(&master).map_err(io::Error::from).during(what)?;
        let name = ptsname(&master, Vec::new()).map_err(io::Error::from).during(what)?;
        let slave = OpenOptions::new().read(true).write(true).open(&*name.to_string_lossy()).during(what)?;
        // setsid makes the terminal the controlling one, where getpass-like programs look for a person.
        let mut at_terminal = Command::new("setsid");
        at_terminal.arg("--ctty").arg("--wait").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => at_terminal.env(name, value),
                None => at_terminal.env_remove(name),
            };
        }
        at_terminal.stdin(slave.try_clone().during(what)?).stdout(slave.try_clone().during(what)?);
        let child = at_terminal.stderr(Stdio::from(slave)).spawn().during(describe(command))?;
        drop(at_terminal);
        let master = File::from(master);
        let output = read_in_background(master.try_clone().during(what)?);
        Ok(Self { child, master, output, seen: Vec::new() })
    }

    fn is_silent(&self) -> Result<bool> {
        let modes =
            tcgetattr(&self.master).map_err(io::Error::from).during("looking at the terminal")?.local_modes;
        Ok(!modes.contains(LocalModes::ECHO))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).replace('\r', "")
    }
}

fn read_in_background(mut master: File) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Reading a terminal whose last user left fails with EIO: the end.
        while let Ok(length) = master.read(&mut buffer) {
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            if sender.send(bytes.to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The program and its arguments.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::asks_for_pin;

    #[test]
    fn a_question_is_heard_also_while_others_talk() {
        assert!(asks_for_pin("Logging in to \"A B\".\nPlease enter User PIN: "));
        assert!(asks_for_pin("Please enter User PIN:   token label        : A B\n  token model : st2021\n"));
        assert!(asks_for_pin("Enter PKCS#11 token PIN for A B - CNS login:"));
        assert!(asks_for_pin("Please enter new PUK [A B]:"));
        assert!(!asks_for_pin(
            "token flags        : login required, rng, PIN initialized\npin min/max : 5/8\n"
        ));
    }
}
