//! `cnsd` itself, as a process of its own, and clients that keep to its protocol and clients that do not.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cns_protocol::client::ClientError;
use cns_protocol::reader::ReaderState;
use cns_protocol::{Client, ErrorKind, Method, RpcError, SecretText, audit, frame, reader};
use cns_secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// All roles for the user of the tests.
pub const EVERYTHING: &[&str] = &["user", "counter", "custodian", "auditor", "admin"];

/// A folder with a configuration, and perhaps a daemon at work in it.
pub struct Running {
    folder: TempDir,
    child: Option<Child>,
}

/// `[[access]]` that gives the user of the tests these roles.
pub fn access(roles: &[&str]) -> String {
    let uid = rustix::process::getuid().as_raw();
    roles.iter().fold(String::new(), |mut text, role| {
        write!(text, "[[access]]\nrole = \"{role}\"\nusers = [\"{uid}\"]\n").unwrap();
        text
    })
}

impl Running {
    /// A folder with this configuration; its readers are the vpcd sockets of these names in the folder.
    pub fn prepare(readers: &[&str], rest: &str) -> Self {
        let folder = TempDir::new().unwrap();
        // Another Unix user must reach the socket in it.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let readers: Vec<String> =
            readers.iter().map(|name| format!("vpcd:{}", folder.path().join(name).display())).collect();
        let socket = folder.path().join("cnsd.sock");
        let text = format!("socket = {socket:?}\nreaders = {readers:?}\nlog = \"trace\"\n{rest}");
        fs::write(folder.path().join("cnsd.toml"), text).unwrap();
        Self { folder, child: None }
    }

    /// A daemon with all roles for us and these readers.
    pub fn start(readers: &[&str]) -> Self {
        Self::start_with(readers, &access(EVERYTHING))
    }

    /// A daemon with this configuration.
    pub fn start_with(readers: &[&str], rest: &str) -> Self {
        let mut running = Self::prepare(readers, rest);
        running.launch();
        running
    }

    /// The command that starts a daemon in this folder.
    pub fn command(&self) -> Command {
        let mut command = Command::new(crate::program());
        command.arg("--config").arg(self.path("cnsd.toml")).arg("--state").arg(self.path("state"));
        command
    }

    /// Starts the daemon, and waits until it serves.
    pub fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.child = Some(self.command().stderr(log).stdin(Stdio::null()).spawn().unwrap());
        let ends = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < ends, "cnsd does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("cnsd.sock")
    }

    /// The name of a reader that was given as `name`.
    pub fn reader(&self, name: &str) -> String {
        format!("vpcd:{}", self.path(name).display())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn client(&self) -> Client {
        let mut client = Client::connect(&self.socket()).unwrap();
        client.set_timeout(Some(PATIENCE)).unwrap();
        client
    }

    pub fn raw(&self) -> Raw {
        Raw::connect(&self.socket())
    }

    /// Waits until a reader has a card that was read; its insertion.
    pub fn card_in(&self, name: &str) -> u64 {
        self.until(name, |state| matches!(state, ReaderState::Card(_)))
    }

    /// Waits until what is in a reader satisfies a condition; the insertion.
    pub fn until(&self, name: &str, holds: impl Fn(&ReaderState) -> bool) -> u64 {
        let (name, mut client, ends) = (self.reader(name), self.client(), Instant::now() + PATIENCE);
        let mut list = client.call(&reader::List {}).unwrap();
        loop {
            let found = list.readers.iter().find(|reader| reader.name == name).unwrap();
            if holds(&found.state) {
                return found.insertion;
            }
            assert!(Instant::now() < ends, "{:?}\n{}", found.state, self.log());
            list = client.call(&reader::Wait { change: list.change, timeout_ms: 1000 }).unwrap();
        }
    }

    /// What the audit log says of an act, as `phase: text`.
    pub fn audited(&self, act: &str) -> Vec<String> {
        let entries = self.client().call(&audit::List { from: 1, limit: 1000 }).unwrap();
        entries
            .into_iter()
            .filter(|entry| entry.act == act)
            .map(|entry| format!("{:?}: {}", entry.phase, entry.text))
            .collect()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks the daemon to stop, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap()
    }

    /// Kills the daemon as a power cut would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// A client that writes and reads frames by hand.
pub struct Raw(pub UnixStream);

impl Raw {
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub fn text(&mut self, body: &str) {
        frame::write(&mut self.0, body.as_bytes()).unwrap();
    }

    pub fn request(&mut self, id: i64, method: &str, params: &Value) {
        self.text(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
    }

    pub fn read(&mut self) -> Value {
        serde_json::from_slice(frame::read(&mut self.0).unwrap().bytes()).unwrap()
    }

    /// The kind of the error that comes.
    pub fn error(&mut self) -> String {
        let answer = self.read();
        answer["error"]["data"]["kind"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Whether the daemon has closed the connection; waits for it.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

pub fn text(digits: &str) -> SecretText {
    SecretText::new(Secret::copy_from(digits.as_bytes()).unwrap()).unwrap()
}

/// The daemon's refusal of a call.
#[track_caller]
pub fn refusal<M: Method>(client: &mut Client, request: &M) -> RpcError {
    match client.call(request) {
        Err(ClientError::Refused(error)) => error,
        Err(other) => panic!("{}: {other}", M::NAME),
        Ok(_) => panic!("{} was allowed", M::NAME),
    }
}

#[track_caller]
pub fn kind<M: Method>(client: &mut Client, request: &M) -> ErrorKind {
    refusal(client, request).kind
}
