//! A private place for a pcscd: it listens at one path per machine, so what needs one of its own runs in mount, network
//! and process namespaces, in which it is alone and which end with it.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use crate::error::{During, Error};
use crate::{Result, terminal};

/// The exit status of `timeout` after SIGKILL; `unshare` ignores the gentler signals while it waits.
const KILLED: i32 = 128 + 9;

/// Runs this program again with these arguments, inside, for a limited time: of what it starts there, any program may
/// hang, and with `unshare` everything inside ends.
pub(crate) fn run(arguments: &[&OsStr], limit: Duration) -> Result<()> {
    let this = std::env::current_exe().during("finding this program")?;
    // A user namespace of one's own would not do: the daemon's network helper becomes `nobody`, who is not in it.
    let mut unshare = if rustix::process::geteuid().is_root() {
        Command::new("timeout")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("timeout");
        sudo
    };
    unshare.args(["--foreground", "--signal=KILL"]).arg(limit.as_secs().to_string()).arg("unshare");
    unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    unshare.arg("mount -t tmpfs tmpfs /run && mkdir /run/pcscd && ip link set lo up && exec \"$0\" \"$@\"");
    unshare.arg(this).args(arguments);
    let status = unshare.status().during("starting unshare")?;
    if status.success() {
        return Ok(());
    }
    if status.code() == Some(KILLED) {
        return Err(Error::Wrong(format!(
            "it did not end within {} minutes and was killed",
            limit.as_secs() / 60
        )));
    }
    Err(Error::Program {
        program: terminal::describe(&unshare),
        status: status.to_string(),
        output: String::new(),
    })
}
