//! The stage of a demo or a test on real parts: a temporary folder, the programs that run in it, and their end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cns_secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Result;
use crate::error::{During, Error};
use crate::terminal::describe;

/// How long a program may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How much slower than a quiet machine one may be. Only a failure takes so long.
const SLOWNESS: u64 = 4;

/// How long something may take that needs so many seconds at most where nothing else runs.
pub(crate) const fn patience(seconds: u64) -> Duration {
    Duration::from_secs(seconds.saturating_mul(SLOWNESS))
}

/// The most that a program that prints secrets may print, in bytes.
const SECRET_LIMIT: usize = 4096;

/// A temporary folder and the programs that were started in it. Dropping it stops them all, the last one first, and
/// removes the folder.
pub(crate) struct Stage {
    /// The built programs.
    programs: PathBuf,
    running: Vec<Running>,
    folder: Option<TempDir>,
    path: PathBuf,
    /// Where programs are told that the daemon listens.
    socket: PathBuf,
}

struct Running {
    name: String,
    child: Child,
}

impl Stage {
    /// A stage in a new folder that only its owner can enter.
    pub(crate) fn new(programs: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cns-").tempdir().during("making a temporary folder")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).during("closing the folder")?;
        let path = folder.path().to_owned();
        let socket = path.join("cnsd.sock");
        Ok(Self { programs: programs.to_owned(), running: Vec::new(), folder: Some(folder), path, socket })
    }

    /// Tells programs from now on to connect to this socket instead of the daemon's own.
    pub(crate) fn redirect(&mut self, socket: PathBuf) {
        self.socket = socket;
    }

    /// A path inside the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The module.
    pub(crate) fn module(&self) -> PathBuf {
        self.programs.join("libcns_pkcs11.so")
    }

    /// The folder with the built programs.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// One of the project's programs, told where the daemon's socket is.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("CNSD_SOCKET", &self.socket);
        command
    }

    /// Somebody else's program, told where the daemon's socket is.
    pub(crate) fn foreign(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("CNSD_SOCKET", &self.socket);
        command
    }

    /// Writes a file that only the owner can read.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<PathBuf> {
        self.write_parts(name, &[contents.as_bytes()])
    }

    /// The same from several parts, of which some may be secret: they are not copied together.
    pub(crate) fn write_parts(&self, name: &str, parts: &[&[u8]]) -> Result<PathBuf> {
        let what = format!("writing {name}");
        let path = self.path(name);
        let mut file = File::create(&path).during(&what)?;
        file.set_permissions(fs::Permissions::from_mode(0o600)).during(&what)?;
        for part in parts {
            file.write_all(part).during(&what)?;
        }
        Ok(path)
    }

    /// Starts a program in the background; what it prints goes to `NAME.log`.
    pub(crate) fn start(&mut self, name: &str, command: &mut Command) -> Result<u32> {
        let log = File::create(self.path(&format!("{name}.log"))).during("making a log file")?;
        command.stdin(Stdio::null()).stdout(log.try_clone().during("making a log file")?).stderr(log);
        let child = command.spawn().during(format!("starting {}", describe(command)))?;
        let id = child.id();
        self.running.push(Running { name: name.to_owned(), child });
        Ok(id)
    }

    /// What a background program has printed.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Stops one background program: SIGTERM, then SIGKILL when it does not listen.
    pub(crate) fn stop(&mut self, name: &str) -> Result<()> {
        if let Some(index) = self.running.iter().position(|running| running.name == name) {
            return end(self.running.remove(index));
        }
        Ok(())
    }

    /// Ends one background program at once: SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) -> Result<()> {
        if let Some(index) = self.running.iter().position(|running| running.name == name) {
            let mut running = self.running.remove(index);
            running.child.kill().during(format!("killing {name}"))?;
            running.child.wait().during(format!("killing {name}"))?;
        }
        Ok(())
    }

    /// Waits until `check` gives something; `seconds` are enough where nothing else runs, as [`patience`] has it.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        seconds: u64,
        mut check: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let patience = patience(seconds);
        let limit = Instant::now() + patience;
        loop {
            if let Some(found) = check(self)? {
                return Ok(found);
            }
            self.check_running()?;
            if Instant::now() > limit {
                let logs: Vec<_> = self
                    .running
                    .iter()
                    .map(|r| format!("--- {}\n{}", r.name, tail(&self.log(&r.name))))
                    .collect();
                let (seconds, output) = (patience.as_secs(), logs.join("\n"));
                return Err(Error::TooSlow { what: what.into(), seconds, output });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn check_running(&mut self) -> Result<()> {
        for running in &mut self.running {
            if let Some(status) = running.child.try_wait().during("looking after a program")? {
                let log =
                    fs::read_to_string(self.path.join(format!("{}.log", running.name))).unwrap_or_default();
                let program = running.name.clone();
                return Err(Error::Program { program, status: status.to_string(), output: tail(&log) });
            }
        }
        Ok(())
    }

    /// Leaves everything running; the folder and the process ids, to be ended by hand.
    pub(crate) fn leave(mut self) -> (PathBuf, Vec<u32>) {
        let ids = self.running.drain(..).map(|running| running.child.id()).collect();
        if let Some(folder) = self.folder.take() {
            // The folder is kept on purpose: the caller prints its path.
            drop(folder.keep());
        }
        (self.path.clone(), ids)
    }

    /// Stops everything and removes the folder.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.stop_all()?;
        match self.folder.take() {
            Some(folder) => folder.close().during("removing the temporary folder"),
            None => Ok(()),
        }
    }

    fn stop_all(&mut self) -> Result<()> {
        while let Some(running) = self.running.pop() {
            end(running)?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.stop_all() {
            crate::report::failure(&error);
        }
    }
}

fn end(mut running: Running) -> Result<()> {
    let what = format!("stopping {}", running.name);
    if let Some(pid) = i32::try_from(running.child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        kill_process(pid, Signal::TERM).unwrap_or_default();
    }
    let limit = Instant::now() + STOP_LIMIT;
    while running.child.try_wait().during(&what)?.is_none() {
        if Instant::now() > limit {
            running.child.kill().during(&what)?;
            running.child.wait().during(&what)?;
            return Err(Error::TooSlow { what, seconds: STOP_LIMIT.as_secs(), output: String::new() });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Runs a program to its end; what it printed on standard output.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    output_with_input(command, &[])
}

/// Runs a program to its end with something on its standard input; what it printed on standard output.
pub(crate) fn output_with_input(command: &mut Command, input: &[u8]) -> Result<String> {
    let output = output(command, input)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(Error::Program {
        program: describe(command),
        status: output.status.to_string(),
        output: tail(&String::from_utf8_lossy(&printed)),
    })
}

/// Runs a program to its end; what it printed, at most [`SECRET_LIMIT`] bytes, into locked memory.
pub(crate) fn secret_output_of(command: &mut Command) -> Result<Secret> {
    let what = describe(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().during(format!("starting {what}"))?;
    let mut printed = Secret::zeroed(SECRET_LIMIT)?;
    let mut length = 0;
    if let Some(mut stdout) = child.stdout.take() {
        while let Some(rest) = printed.expose_mut().get_mut(length..).filter(|rest| !rest.is_empty()) {
            match stdout.read(rest).during(format!("reading from {what}"))? {
                0 => break,
                read => length += read,
            }
        }
    }
    let status = child.wait().during(format!("running {what}"))?;
    match printed.expose().get(..length).filter(|_| status.success()) {
        Some(printed) => Ok(Secret::copy_from(printed)?),
        None => Err(Error::Program { program: what, status: status.to_string(), output: String::new() }),
    }
}

/// Runs a program to its end and looks at each line as it prints it.
pub(crate) fn each_line(command: &mut Command, mut look: impl FnMut(&str) -> Result<()>) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().during(format!("starting {}", describe(command)))?;
    let stdout = child.stdout.take();
    for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        look(&line.during(format!("reading from {}", describe(command)))?)?;
    }
    let output = child.wait_with_output().during(format!("running {}", describe(command)))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: describe(command),
        status: output.status.to_string(),
        output: tail(&String::from_utf8_lossy(&output.stderr)),
    })
}

/// Runs a program that must refuse; what it printed on standard error.
pub(crate) fn run_refused(command: &mut Command, input: &[u8]) -> Result<String> {
    let output = output(command, input)?;
    if output.status.success() {
        return Err(Error::Wrong(format!("`{}` should have been refused", describe(command))));
    }
    Ok([output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}

fn output(command: &mut Command, input: &[u8]) -> Result<std::process::Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().during(format!("starting {}", describe(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it early.
        stdin.write_all(input).unwrap_or_default();
    }
    child.wait_with_output().during(format!("running {}", describe(command)))
}

/// The last lines of what a program printed.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
}
