//! A pcscd of its own for each test, in namespaces of its own.
#![allow(dead_code, unreachable_pub, reason = "shared by several tests, of which each uses a part")]
#![allow(clippy::print_stdout, reason = "what is missing")]

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Set in the process that runs inside the namespaces.
const INSIDE: &str = "CNSD_TEST_PRIVATE_PCSCD";

/// Set by `cargo xtask test`, which installs the parts: their absence is then a failure.
const REAL_PARTS: &str = "CNS_REAL_PARTS";

/// Runs a test in namespaces of its own, by starting this program again in them for this test alone.
pub fn alone(test: &str, inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let tools = ["/usr/sbin/pcscd", "/usr/bin/unshare", "/etc/reader.conf.d/vpcd"];
    if !tools.iter().all(|tool| Path::new(tool).exists()) {
        assert!(std::env::var_os(REAL_PARTS).is_none(), "pcscd, vsmartcard-vpcd or unshare is missing");
        println!("skipped: needs pcscd, vsmartcard-vpcd and unshare");
        return;
    }
    let as_root: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--map-root-user"] };
    let script = "mount -t tmpfs tmpfs /run && mkdir /run/pcscd && ip link set lo up && exec \"$@\"";
    let status = Command::new("unshare")
        .args(as_root)
        .args(["-m", "-n", "-p", "-f", "--mount-proc", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

pub struct Pcscd(pub Child);

impl Pcscd {
    pub fn start(options: &[&str]) -> Self {
        let mut command = Command::new("/usr/sbin/pcscd");
        command.arg("--foreground").args(options).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Pcscd {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
        std::fs::remove_file("/run/pcscd/pcscd.comm").ok();
        std::fs::remove_file("/run/pcscd/pcscd.pid").ok();
    }
}
