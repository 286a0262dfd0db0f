//! The Debian packages that builds, tests and the demo need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{During, Error};
use crate::stage::output_of;
use crate::{Result, report};

/// To build the daemon (PC/SC) and aws-lc.
pub(crate) const BUILD: &[&str] = &["gcc", "libc6-dev", "make", "pkg-config", "libpcsclite-dev"];

/// For the demo: programs that use the card through the module.
pub(crate) const DEMO: &[&str] = &["opensc", "openssl", "libengine-pkcs11-openssl", "util-linux"];

/// To build libFuzzer.
pub(crate) const FUZZ: &[&str] = &["g++"];

/// For the members' tests: the server that daemons share, an HSM, what the module is used under by a C program, and what
/// stands before a certifier.
pub(crate) const MEMBERS: &[&str] = &["nginx-light", "postgresql", "softhsm2", "tinyproxy-bin", "valgrind"];

/// For the tests on real parts: pcscd's, and those that show what leaves the daemon.
pub(crate) const REAL_PARTS: &[&str] = &["pcscd", "vsmartcard-vpcd", "iproute2", "gdb", "strace"];

/// For the tests with programs that nobody here wrote, beside those above. Java's compiler runs its source.
pub(crate) const PROGRAMS: &[&str] = &[
    "curl",
    "default-jdk-headless",
    "gnutls-bin",
    "libnss3-tools",
    "openssh-client",
    "openssh-server",
    "p11-kit",
    "p11-kit-modules",
    "poppler-utils",
    "python3-venv",
];

/// For the tests with browsers, beside those above: Chromium's window for the PIN needs a display, a window manager that
/// gives it the focus, and something that types.
pub(crate) const BROWSERS: &[&str] = &["chromium", "firefox-esr", "openbox", "xdotool", "xvfb"];

/// pyHanko, of which Debian has no package, with all that it needs for PKCS#11: each package with the hashes of its files,
/// which pip compares.
const PYHANKO: &str = include_str!("../pyhanko.txt");

/// Where pyHanko lies: beside the folder of the built programs, so that it need not be fetched for each run, and the
/// tests find it where there is no network.
pub(crate) fn pyhanko_folder(programs: &Path) -> PathBuf {
    programs.with_file_name("pyhanko")
}

/// Installs pyHanko into a virtual environment of its own, anew where the list of packages has changed; or only names it.
pub(crate) fn ensure_pyhanko(programs: &Path, no_install: bool) -> Result<()> {
    let folder = pyhanko_folder(programs);
    // Written last, so that a half installed one is made anew.
    let mark = folder.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == PYHANKO) {
        return Ok(());
    }
    if no_install {
        return Err(Error::PythonPackagesMissing { folder });
    }
    report::line(&format!("Installing pyHanko into {}", folder.display()));
    output_of(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let list = folder.join("pyhanko.txt");
    fs::write(&list, PYHANKO).during("writing the list of pyHanko's packages")?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    output_of(pip.args(["--require-hashes", "--only-binary=:all:", "--requirement"]).arg(list))?;
    fs::write(mark, PYHANKO).during("noting that pyHanko is installed")
}

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
