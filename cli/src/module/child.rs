//! Running another program for a bounded time.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::CliError;

/// The most that is kept of what a program prints, in bytes.
const MAX_OUTPUT: u64 = 64 * 1024;

/// Runs a program to its end, or to the end of its time; what it printed on standard output.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String, CliError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |reason: String| CliError::Tool { program: program.clone(), reason };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        failed(if is_missing { "it is not installed".into() } else { error.to_string() })
    })?;
    let printed = [collect(child.stdout.take()), collect(child.stderr.take())];
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(failed(format!("it did not end within {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    // A grandchild could hold the pipe open; what came so far is enough then.
    let [out, err] = printed.map(|text| text.recv_timeout(Duration::from_secs(1)).unwrap_or_default());
    if status.success() {
        return Ok(out);
    }
    let last = err.lines().chain(out.lines()).rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(failed(format!("{last} ({status})")))
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes).unwrap_or_default();
            // The rest is read and thrown away, so that the program is not stopped by a full pipe.
            io::copy(&mut pipe, &mut io::sink()).unwrap_or_default();
        }
        // Nobody waits any more when the time was over.
        sender.send(String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    });
    receiver
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn a_program_without_end_is_ended_and_a_talkative_one_is_not_stopped() {
        let began = Instant::now();
        let late = output(Command::new("sleep").arg("600"), Duration::from_millis(50));
        assert!(matches!(late, Err(CliError::Tool { .. })), "{late:?}");
        assert!(began.elapsed() < Duration::from_secs(60));
        let zeros =
            output(Command::new("head").args(["-c", "1000000", "/dev/zero"]), Duration::from_secs(60));
        assert_eq!(zeros.unwrap().len(), 65536);
        let none = output(&mut Command::new("/no/such/program"), Duration::from_secs(60));
        assert!(none.unwrap_err().to_string().contains("not installed"));
    }
}
