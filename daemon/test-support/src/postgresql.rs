//! A real PostgreSQL server in a temporary folder: no TCP, peer authentication, gone with this process.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The role that daemons have: it owns its databases and is nothing else.
pub const ROLE: &str = "cnsd";
/// The role of the server's owner.
const OWNER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(60);

/// Not for anything but tests: what a power cut takes is not missed here.
const SETTINGS: &str = "listen_addresses = ''\nfsync = off\nfull_page_writes = off\nshared_buffers = 32MB\n\
                        max_connections = 300\nlog_min_messages = warning\n";

/// A server. Its folder goes with it.
pub struct Server {
    folder: TempDir,
    programs: PathBuf,
    running: Option<Child>,
}

impl Server {
    /// The server that the tests of this program share.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// A server of one's own, to be stopped and started.
    pub fn start() -> Self {
        let programs = programs().expect("the Debian package `postgresql` is needed");
        let folder = tempfile::Builder::new().prefix("cns-pg-").tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            let (user, group) = (id("-u"), id("-g"));
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = Self { folder, programs, running: None };
        server.initialise();
        server.launch();
        server.run(&format!("CREATE ROLE {ROLE} LOGIN"));
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn initialise(&self) {
        let mut command = self.program("initdb");
        command.args([
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
            "--auth=peer",
            "--username",
            OWNER,
            "-D",
        ]);
        let output = command.arg(self.data()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let append = |file: &str, text: &str| {
            let path = self.data().join(file);
            fs::write(&path, fs::read_to_string(&path).unwrap() + text).unwrap();
        };
        let folder = self.folder.path().display();
        append("postgresql.conf", &format!("{SETTINGS}unix_socket_directories = '{folder}'\n"));
        // Who runs the tests may be either role; which user that is, the kernel tells the server.
        fs::write(self.data().join("pg_hba.conf"), "local all all peer map=tests\n").unwrap();
        append("pg_ident.conf", &format!("tests /^.*$ {ROLE}\ntests /^.*$ {OWNER}\n"));
    }

    /// Starts the server. It ends when this process does, however that ends: a shell waits for the end of its input.
    pub fn launch(&mut self) {
        let script = r#"folder=$1; shift; "$@" & server=$!; cat; kill -INT $server; wait $server;
                        test -e "$folder/keep" || rm -rf "$folder""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(self.folder.path());
        let server = self.program("postgres");
        command.arg(server.get_program()).args(server.get_args()).arg("-D").arg(self.data());
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !self.psql("SELECT 1").output().unwrap().status.success() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "the server does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server, breaking its connections off. Its data stay.
    pub fn stop(&mut self) {
        let keep = self.folder.path().join("keep");
        fs::write(&keep, "").unwrap();
        let mut running = self.running.take().unwrap();
        drop(running.stdin.take());
        running.wait().unwrap();
        fs::remove_file(keep).unwrap();
    }

    /// The address of a database, as the configuration has it.
    pub fn address(&self, name: &str) -> String {
        format!("postgresql:///{name}?host={}&user={ROLE}", self.folder.path().display())
    }

    /// Makes a database, empty or as a copy of another one.
    pub fn create(&self, name: &str, template: Option<&str>) {
        if let Some(template) = template {
            // A pool that was closed ends its last connection by and by; a template may have none.
            self.run(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'"
            ));
        }
        let template = template.unwrap_or("template0");
        self.run(&format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template}"));
    }

    /// Runs a statement as the server's owner.
    fn run(&self, sql: &str) {
        let output = self.psql(sql).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `pg_dump` makes of a database.
    pub(crate) fn dump(&self, name: &str) -> Vec<u8> {
        let mut command = self.program("pg_dump");
        command.args(["--no-owner", "-U", OWNER, "-d", name, "-h"]).arg(self.folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Fills an empty database from a dump, as the daemon's role.
    pub(crate) fn restore(&self, name: &str, dump: &Path) {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name, "-U", ROLE, "-h"]);
        let output = command.arg(self.folder.path()).arg("-f").arg(dump).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn psql(&self, sql: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-d", "postgres", "-U", OWNER, "-c", sql, "-h"]).arg(self.folder.path());
        command
    }

    /// One of the server's programs, as a user whom it accepts: never root.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        if !rustix::process::geteuid().is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={OWNER}"), format!("--regid={OWNER}")])
            .arg("--clear-groups")
            .arg(path);
        command.current_dir("/");
        command
    }
}

/// Whether there is a server to test with; where there is none, says so. `cargo xtask test` installs one: its absence is
/// then a failure.
pub fn installed() -> bool {
    let installed = programs().is_some_and(|programs| programs.join("initdb").exists());
    if !installed {
        assert!(std::env::var_os("CNS_REAL_PARTS").is_none(), "postgresql is missing");
        println!("skipped: needs postgresql");
    }
    installed
}

/// The folder of the newest server's programs.
fn programs() -> Option<PathBuf> {
    let version = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(version)?;
    Some(newest.join("bin"))
}

fn id(what: &str) -> u32 {
    let output = Command::new("id").args([what, OWNER]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
