//! A daemon with the sample card in its own reader, and an application that has loaded the module.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_card::{VirtualCard, sample};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use tempfile::TempDir;

/// The certificate of the sample card's key.
pub(crate) const CERTIFICATE: &[u8] = include_bytes!("../data/sample.der");

/// The module's state belongs to the process: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) struct Desk {
    pub(crate) application: Pkcs11,
    pub(crate) plugged: Plugged,
    folder: TempDir,
    /// Nothing where the daemon is no process of its own.
    daemon: Option<Child>,
    _turn: MutexGuard<'static, ()>,
}

impl Desk {
    /// Starts everything; a card with its authentication key is in.
    pub(crate) fn set_up() -> Self {
        Self::set_up_with(|_| {
            let mut card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
            card.load_certificate(CERTIFICATE).unwrap();
            card
        })
    }

    /// Starts everything; the card that is made is in. It may keep its files in the folder that it is given.
    pub(crate) fn set_up_with(make: impl FnOnce(&Path) -> VirtualCard) -> Self {
        Self::set_up_at(make, |folder| Some(start_daemon(folder)))
    }

    /// As [`Desk::set_up_with`], with a daemon that the test starts in the folder.
    pub(crate) fn set_up_at(
        make: impl FnOnce(&Path) -> VirtualCard,
        start: impl FnOnce(&Path) -> Option<Child>,
    ) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::new().unwrap();
        // SAFETY: only this function touches the environment, and only one test is in it.
        unsafe { env::set_var("CNSD_SOCKET", folder.path().join("cnsd.sock")) };
        let daemon = start(folder.path());
        let plugged = plug(make(folder.path()), Endpoint::Unix(folder.path().join("card.sock"))).unwrap();
        let application = Pkcs11::new(module()).unwrap();
        application.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let desk = Self { application, plugged, folder, daemon, _turn: turn };
        desk.card();
        // Its coming, if the application was there first.
        while desk.application.get_slot_event().unwrap().is_some() {}
        desk
    }

    /// Where the daemon keeps its things.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The slot with the card, as soon as there is one.
    pub(crate) fn card(&self) -> Slot {
        until("a card", || self.application.get_slots_with_token().unwrap().first().copied())
    }

    /// Waits until no slot has a card.
    pub(crate) fn no_card(&self) {
        until("an empty reader", || {
            self.application.get_slots_with_token().unwrap().is_empty().then_some(())
        });
    }

    /// A read-write session with the card.
    pub(crate) fn session(&self) -> Session {
        self.application.open_rw_session(self.card()).unwrap()
    }

    /// A session that is logged in, and the private key.
    pub(crate) fn logged_in(&self) -> (Session, ObjectHandle) {
        let session = self.session();
        session.login(UserType::User, Some(&pin("12345"))).unwrap();
        let key = private_keys(&session)[0];
        (session, key)
    }

    /// The tries left on the chip's own counter.
    pub(crate) fn tries(&self) -> u8 {
        self.plugged.with_card(|card| card.card().summary().pin_tries)
    }

    /// The module at its start again, as in another process.
    pub(crate) fn loaded_anew(mut self) -> Self {
        self.application.clone().finalize().unwrap();
        self.application = Pkcs11::new(module()).unwrap();
        self.application.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        self
    }

    /// Ends the daemon as a crash would, and starts another.
    pub(crate) fn restart_daemon(&mut self) {
        self.stop_daemon();
        self.daemon = Some(start_daemon(self.folder.path()));
    }

    /// Lets the daemon do nothing until it is thawed.
    pub(crate) fn freeze_daemon(&self) {
        self.signal_daemon("STOP");
    }

    /// Lets a frozen daemon go on.
    pub(crate) fn thaw_daemon(&self) {
        self.signal_daemon("CONT");
    }

    fn signal_daemon(&self, signal: &str) {
        let id = self.daemon.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Ends the daemon as a crash would.
    pub(crate) fn stop_daemon(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop_daemon();
        self.application.clone().finalize().unwrap();
    }
}

pub(crate) fn pin(digits: &str) -> AuthPin {
    AuthPin::new(digits.into())
}

pub(crate) fn private_keys(session: &Session) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap()
}

/// The code that a function of the standard refused with.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> RvError {
    match outcome {
        Err(Error::Pkcs11(code, _)) => code,
        other => panic!("{other:?} is no refusal"),
    }
}

/// Waits for something that happens by itself.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn start_daemon(folder: &Path) -> Child {
    start_daemon_with(folder, &format!("vpcd:{}", folder.join("card.sock").display()))
}

/// Writes the configuration of a daemon with this reader, for who owns the folder.
pub(crate) fn write_configuration(folder: &Path, reader: &str) -> PathBuf {
    let configuration = folder.join("cnsd.toml");
    let access = fs::metadata(folder).map(|folder| std::os::unix::fs::MetadataExt::uid(&folder)).unwrap();
    let text = format!("readers = [\"{reader}\"]\n\n[[access]]\nrole = \"user\"\nusers = [\"{access}\"]\n");
    fs::write(&configuration, text).unwrap();
    configuration
}

/// Starts a daemon with this reader.
pub(crate) fn start_daemon_with(folder: &Path, reader: &str) -> Child {
    launch(folder, &write_configuration(folder, reader))
}

/// Starts a daemon with this configuration, whose things are in the folder.
pub(crate) fn launch(folder: &Path, configuration: &Path) -> Child {
    let socket = folder.join("cnsd.sock");
    let mut daemon = Command::new(daemon_program())
        .arg("--config")
        .arg(configuration)
        .arg("--state")
        .arg(folder.join("state"))
        .arg("--socket")
        .arg(&socket)
        .stderr(Stdio::from(fs::File::create(folder.join("cnsd.log")).unwrap()))
        .spawn()
        .unwrap();
    until("the daemon's socket", || {
        if let Some(status) = daemon.try_wait().unwrap() {
            panic!("cnsd ended, {status}: {}", fs::read_to_string(folder.join("cnsd.log")).unwrap());
        }
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    daemon
}

/// Where cargo puts programs, of the profile of these tests.
fn programs() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned()
}

pub(crate) fn module() -> PathBuf {
    programs().join("deps/libcns_pkcs11.so")
}

/// The daemon; built first where `cargo test` was asked for this package only.
fn daemon_program() -> PathBuf {
    if let Some(folder) = env::var_os("CNS_PROGRAMS") {
        return PathBuf::from(folder).join("cnsd");
    }
    let program = programs().join("cnsd");
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "cnsd"]);
        if !cfg!(debug_assertions) || programs().ends_with("release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", programs().parent().unwrap());
        assert!(build.status().unwrap().success(), "cnsd cannot be built");
    }
    program
}
