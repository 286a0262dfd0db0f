//! A private place for a pcscd: it listens at one path per machine, so what needs one of its own runs in mount, network
//! and process namespaces, in which it is alone and which end with it.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::error::{During, Error};
use crate::{Result, terminal};

/// The exit status of `timeout` after SIGKILL; `unshare` ignores the gentler signals while it waits.
const KILLED: i32 = 128 + 9;

/// The variable that tells what runs inside which namespaces are those outside.
const OUTSIDE: &str = "CNS_XTASK_OUTSIDE";

/// Whether this process runs in namespaces that [`run`] made for it.
pub(crate) fn is_inside() -> bool {
    let outside = std::env::var(OUTSIDE).unwrap_or_default();
    current().is_ok_and(|here| is_elsewhere(&outside, &here))
}

/// What the kernel calls this process's namespaces.
fn current() -> Result<Vec<String>> {
    let name = |kind: &&str| {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).during("asking for the namespaces")?;
        Ok(link.to_string_lossy().into_owned())
    };
    ["mnt", "net", "pid"].iter().map(name).collect()
}

/// Whether each namespace is another one than outside.
fn is_elsewhere(outside: &str, here: &[String]) -> bool {
    let outside: Vec<_> = outside.split(' ').collect();
    outside.len() == here.len() && outside.iter().zip(here).all(|(outside, here)| outside != here)
}

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
    unshare.arg(format!(
        "mount -t tmpfs tmpfs /run && mkdir /run/pcscd && ip link set lo up && export {OUTSIDE}=\"$1\" && shift && \
         exec \"$0\" \"$@\""
    ));
    unshare.arg(this).arg(current()?.join(" ")).args(arguments);
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

#[cfg(test)]
mod tests {
    use super::is_elsewhere;

    #[test]
    fn inside_no_namespace_is_that_of_outside() {
        let here = ["mnt:[1]", "net:[2]", "pid:[3]"].map(str::to_owned);
        assert!(is_elsewhere("mnt:[4] net:[5] pid:[6]", &here));
        for outside in [
            "",
            "mnt:[4] net:[5]",
            "mnt:[1] net:[5] pid:[6]",
            "mnt:[4] net:[2] pid:[6]",
            "mnt:[4] net:[5] pid:[3]",
        ] {
            assert!(!is_elsewhere(outside, &here), "{outside}");
        }
    }
}
