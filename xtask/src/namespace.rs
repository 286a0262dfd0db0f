//! A private place for a pcscd: it listens at one path per machine, so what needs one of its own runs in mount, network
//! and process namespaces, in which it is alone and which end with it.

use std::ffi::OsStr;
use std::process::Command;

use crate::error::{During, Error};
use crate::{Result, terminal};

/// Runs this program again with these arguments, inside.
pub(crate) fn run(arguments: &[&OsStr]) -> Result<()> {
    let this = std::env::current_exe().during("finding this program")?;
    // A user namespace of one's own would not do: the daemon's network helper becomes `nobody`, who is not in it.
    let mut unshare = if rustix::process::geteuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("unshare");
        sudo
    };
    unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    unshare.arg("mount -t tmpfs tmpfs /run && mkdir /run/pcscd && ip link set lo up && exec \"$0\" \"$@\"");
    unshare.arg(this).args(arguments);
    let status = unshare.status().during("starting unshare")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: terminal::describe(&unshare),
        status: status.to_string(),
        output: String::new(),
    })
}
