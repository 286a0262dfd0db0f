//! What `doctor` looks at. Nothing is changed, and every wait has an end.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use cns_protocol::client::{Client, ClientError};
use cns_protocol::daemon::DaemonStatus;
use cns_protocol::pin::PinState;
use cns_protocol::reader::{Reader, ReaderState};
use cns_protocol::{daemon, pin, reader};
use time::OffsetDateTime;

use crate::module::place::Place;
use crate::module::probe::{self, Probed};
use crate::module::sandbox::{self, Sandboxed};
use crate::module::survey::{self, Loaded};
use crate::module::{Target, files};

/// How long the daemon may take for what it knows already.
const DAEMON_LIMIT: Duration = Duration::from_secs(5);

/// How long a card may take to tell its tries.
const CARD_LIMIT: Duration = Duration::from_secs(30);

/// How long a connection to a local socket may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// pcscd as it was found.
#[derive(Clone, Debug)]
pub(super) struct Pcscd {
    pub(super) is_installed: bool,
    pub(super) answers: bool,
    /// Whether it was started with `--apdu` or `--debug`.
    pub(super) logs_apdus: bool,
}

/// A socket that may not be used.
#[derive(Clone, Debug, Default)]
pub(super) struct SocketAccess {
    /// The group that may use it.
    pub(super) group: Option<String>,
    /// Whether the user belongs to that group by the computer's list.
    pub(super) is_member: bool,
}

/// The daemon as it was found.
#[derive(Clone, Debug)]
pub(super) enum Daemon {
    /// Nobody listens.
    NotRunning { is_installed: bool },
    /// This user may not connect.
    NoAccess(SocketAccess),
    /// It answers that this user has no role, or something else went wrong.
    Fails(String),
    /// It answers.
    Answers(Box<Answers>),
}

/// What the daemon told.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) status: DaemonStatus,
    pub(super) readers: Vec<Reader>,
    /// PINs of the cards, by reader, where they were asked for.
    pub(super) pins: Vec<(String, Vec<PinState>)>,
    /// The user that it runs as, where that is known.
    pub(super) user: Option<u32>,
    /// Whether a rule of polkit lets users other than root reach pcscd.
    pub(super) has_polkit_rule: bool,
    /// Whether everybody on this computer may connect.
    pub(super) is_open_to_all: bool,
}

/// Everything that is judged.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) now: OffsetDateTime,
    pub(super) pcscd: Pcscd,
    pub(super) socket: PathBuf,
    pub(super) daemon: Daemon,
    /// The module's file with what it says of itself, or why not.
    pub(super) module: Result<(PathBuf, Probed), String>,
    pub(super) loaded: Vec<Loaded>,
    /// The browsers that are installed as ordinary packages.
    pub(super) browsers: Vec<Target>,
    pub(super) sandboxed: Vec<Sandboxed>,
}

impl Facts {
    pub(super) fn gather(place: &Place, socket: &Path, ask_tries: bool) -> Self {
        let probed = place.module().and_then(|path| Ok((path.clone(), probe::module(&path, socket)?)));
        Self {
            now: OffsetDateTime::now_utc(),
            pcscd: pcscd(place),
            socket: socket.to_owned(),
            daemon: daemon_at(place, socket, ask_tries),
            module: probed.map_err(|error| error.in_full()),
            loaded: survey::loaded(place),
            browsers: browsers(place),
            sandboxed: sandbox::installed(place),
        }
    }
}

fn pcscd(place: &Place) -> Pcscd {
    let answers = connect(&place.system("/run/pcscd/pcscd.comm")).is_ok();
    let programs = ["/usr/sbin/pcscd", "/usr/bin/pcscd", "/usr/local/sbin/pcscd"];
    let is_installed = programs.iter().any(|path| place.system(path).exists());
    let processes = fs::read_dir(place.system("/proc")).into_iter().flatten().filter_map(Result::ok);
    let logs_apdus = processes.map(|entry| entry.path()).any(|process| {
        let is_pcscd = files::peek(&process.join("comm")).is_some_and(|name| name.trim_end() == "pcscd");
        is_pcscd && files::peek(&process.join("cmdline")).is_some_and(|line| asks_for_log(&line))
    });
    Pcscd { is_installed, answers, logs_apdus }
}

/// Whether a command line, its arguments ended by zero bytes, makes pcscd write the bytes of APDUs into its log: `cnsd`
/// judges by the same rule.
fn asks_for_log(command_line: &str) -> bool {
    command_line.split('\0').skip(1).any(|argument| match argument.strip_prefix("--") {
        // getopt_long takes every beginning of a name that no other option shares.
        Some(name) => !name.is_empty() && ("apdu".starts_with(name) || "debug".starts_with(name)),
        None => argument.strip_prefix('-').is_some_and(|letters| letters.contains(['a', 'd'])),
    })
}

fn daemon_at(place: &Place, socket: &Path, ask_tries: bool) -> Daemon {
    let stream = match connect(socket) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Daemon::NoAccess(socket_access(place, socket));
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            let programs = ["/usr/sbin/cnsd", "/usr/local/sbin/cnsd"];
            return Daemon::NotRunning {
                is_installed: programs.iter().any(|path| place.system(path).exists()),
            };
        }
        Err(error) => return Daemon::Fails(error.to_string()),
    };
    let user = rustix::net::sockopt::socket_peercred(&stream).ok().map(|peer| peer.uid.as_raw());
    drop(stream);
    match ask(socket, ask_tries) {
        Ok((status, readers, pins)) => Daemon::Answers(Box::new(Answers {
            status,
            readers,
            pins,
            user,
            has_polkit_rule: has_polkit_rule(place),
            is_open_to_all: fs::metadata(socket).is_ok_and(|socket| socket.mode() & 0o002 != 0),
        })),
        Err(error) => Daemon::Fails(error.to_string()),
    }
}

type Told = (DaemonStatus, Vec<Reader>, Vec<(String, Vec<PinState>)>);

fn ask(socket: &Path, ask_tries: bool) -> Result<Told, ClientError> {
    let mut client = Client::connect(socket)?;
    client.set_timeout(Some(DAEMON_LIMIT))?;
    let status = client.call(&daemon::Status {})?;
    let readers = client.call(&reader::List {})?.readers;
    let mut pins = Vec::new();
    client.set_timeout(Some(CARD_LIMIT))?;
    for reader in readers.iter().filter(|reader| ask_tries && matches!(reader.state, ReaderState::Card(_))) {
        // A card that does not tell is told of by its reader.
        if let Ok(states) = client.call(&pin::Status { reader: reader.name.clone() }) {
            pins.push((reader.name.clone(), states));
        }
    }
    Ok((status, readers, pins))
}

/// Connects, within its time: a listener that accepts nobody would hold us up.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (sender, receiver) = mpsc::channel();
    let path = socket.to_owned();
    // Nobody listens any more when the time was over.
    std::thread::spawn(move || sender.send(UnixStream::connect(path)).unwrap_or_default());
    receiver.recv_timeout(CONNECT_LIMIT).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Who may use the socket, and whether this user should be one of them.
fn socket_access(place: &Place, socket: &Path) -> SocketAccess {
    // The folder may be closed too; then nobody but its owner knows.
    let Ok(found) = fs::metadata(socket) else { return SocketAccess::default() };
    let users = files::peek(&place.system("/etc/passwd")).unwrap_or_default();
    let groups = files::peek(&place.system("/etc/group")).unwrap_or_default();
    let user = rustix::process::geteuid().as_raw();
    group_of(&users, &groups, user, found.gid())
}

/// What `/etc/passwd` and `/etc/group` say of a user and a group.
fn group_of(users: &str, groups: &str, user: u32, group: u32) -> SocketAccess {
    fn column(line: &str, number: usize) -> &str {
        line.split(':').nth(number).unwrap_or_default()
    }
    let account = users.lines().find(|line| column(line, 2) == user.to_string());
    let Some(entry) = groups.lines().find(|line| column(line, 2) == group.to_string()) else {
        return SocketAccess::default();
    };
    let is_member = account.is_some_and(|account| {
        column(account, 3) == group.to_string()
            || column(entry, 3).split(',').any(|name| name == column(account, 0))
    });
    SocketAccess { group: Some(column(entry, 0).to_owned()), is_member }
}

/// Whether polkit lets anybody but root reach pcscd; also true where there is no polkit to ask.
fn has_polkit_rule(place: &Place) -> bool {
    let daemons = ["/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd"];
    if !daemons.iter().any(|path| place.system(path).exists()) {
        return true;
    }
    let folders =
        ["/etc/polkit-1/rules.d", "/usr/share/polkit-1/rules.d", "/usr/local/share/polkit-1/rules.d"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(place.system(folder)).into_iter().flatten());
    let mut texts = files.filter_map(Result::ok).filter_map(|entry| files::peek(&entry.path()));
    texts.any(|text| text.contains("org.debian.pcsc-lite.access_pcsc"))
}

fn browsers(place: &Place) -> Vec<Target> {
    let firefox = ["/usr/bin/firefox", "/usr/bin/firefox-esr", "/opt/firefox/firefox"];
    let chromium = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
        "/usr/bin/google-chrome-stable",
        "/usr/bin/microsoft-edge",
        "/usr/bin/brave-browser",
    ];
    let snap = Path::new("/snap");
    let there = |path: &&str| {
        let path = place.system(path);
        // Ubuntu's packages of that name are links and scripts that lead to the snap.
        let is_snap =
            path.canonicalize().is_ok_and(|real| real.starts_with(snap) || real.ends_with("usr/bin/snap"));
        let is_script = fs::metadata(&path).is_ok_and(|file| file.len() < 16 * 1024)
            && files::peek(&path).is_some_and(|text| text.contains("/snap/bin/"));
        path.exists() && !is_snap && !is_script
    };
    let found: BTreeSet<usize> = [firefox.as_slice(), chromium.as_slice()]
        .iter()
        .enumerate()
        .filter_map(|(number, paths)| paths.iter().any(&there).then_some(number))
        .collect();
    [Target::Firefox, Target::Chromium]
        .into_iter()
        .enumerate()
        .filter_map(|(number, target)| found.contains(&number).then_some(target))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pcscd_that_logs_apdus_is_known_by_its_command_line() {
        for line in
            ["pcscd\0--apdu\0", "pcscd\0-f\0-a\0", "pcscd\0--debug\0", "pcscd\0-fd\0", "pcscd\0--ap\0"]
        {
            assert!(asks_for_log(line), "{line:?}");
        }
        for line in
            ["pcscd\0", "pcscd\0--foreground\0--info\0", "pcscd\0--auto-exit\0", "/usr/sbin/pcscd\0-f\0-x\0"]
        {
            assert!(!asks_for_log(line), "{line:?}");
        }
    }

    #[test]
    fn membership_is_read_from_both_lists() {
        let users = "anna:x:1000:1000::/home/anna:/bin/sh\nugo:x:1001:990::/home/ugo:/bin/sh\npia:x:1002:1002::/:/bin/sh\n";
        let groups = "cns:x:990:anna,carlo\n";
        for (user, is_member) in [(1000, true), (1001, true), (1002, false), (1003, false)] {
            let access = group_of(users, groups, user, 990);
            assert_eq!((access.group.as_deref(), access.is_member), (Some("cns"), is_member), "{user}");
        }
        assert_eq!(group_of(users, groups, 1000, 5).group, None);
    }
}
