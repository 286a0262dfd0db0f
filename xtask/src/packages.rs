//! The Debian packages that builds, tests and the demo need.

use std::process::{Command, Stdio};

use crate::error::{During, Error};
use crate::{Result, report};

/// To build the daemon (PC/SC) and aws-lc.
pub(crate) const BUILD: &[&str] = &["gcc", "libc6-dev", "make", "pkg-config", "libpcsclite-dev"];

/// For the demo: programs that use the card through the module.
pub(crate) const DEMO: &[&str] = &["opensc", "openssl", "libengine-pkcs11-openssl", "util-linux"];

/// To build libFuzzer.
pub(crate) const FUZZ: &[&str] = &["g++"];

/// For the tests on real parts.
pub(crate) const REAL_PARTS: &[&str] = &["pcscd", "vsmartcard-vpcd", "iproute2", "libnss3-tools"];

/// Installs what is missing, through `sudo` when not root; or only names it.
pub(crate) fn ensure(groups: &[&[&str]], no_install: bool) -> Result<()> {
    let missing: Vec<&str> =
        groups.iter().copied().flatten().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if no_install {
        return Err(Error::PackagesMissing(missing.join(" ")));
    }
    report::line(&format!("Installing the Debian packages {}", missing.join(", ")));
    apt_get(&["update", "-q"])?;
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(&missing);
    apt_get(&install)
}

fn installed(name: &str) -> bool {
    let query = Command::new("dpkg-query").args(["-W", "-f=${Status}", name]).stderr(Stdio::null()).output();
    query.is_ok_and(|output| output.stdout.ends_with(b" installed"))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("apt-get");
        sudo
    };
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let status = command.status().during("starting apt-get")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: format!("apt-get {}", arguments.join(" ")),
        status: status.to_string(),
        output: "Install the packages by hand, then run this again with --no-install".into(),
    })
}
