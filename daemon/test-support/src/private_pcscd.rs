//! A pcscd of its own for each test, in namespaces of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::namespaces::{run_inside, unless_root};

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
    let options = [unless_root(&["--map-root-user"]), &["-m", "-n", "-p", "-f", "--mount-proc"]].concat();
    let script = "mount -t tmpfs tmpfs \"$1\" && mkdir \"$1/pcscd\" && ip link set lo up";
    run_inside(test, &options, script, (INSIDE, "/run"));
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
