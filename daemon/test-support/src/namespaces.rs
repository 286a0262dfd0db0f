//! A test alone in namespaces of its own, which end with it.

use std::process::{Command, Stdio};

/// Starts this program again for one test alone, in the namespaces that these options of `unshare` make. A shell prepares
/// them with a script whose `$1` is `place`; inside, the variable `inside` has this value.
pub(crate) fn run_inside(test: &str, options: &[&str], script: &str, (inside, place): (&str, &str)) {
    let status = Command::new("unshare")
        .args(options)
        .args(["sh", "-c", &format!("{script} && shift && exec \"$@\""), "sh", place])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(inside, place)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// These options of `unshare` for who is not root.
pub(crate) fn unless_root<'a>(options: &'a [&'a str]) -> &'a [&'a str] {
    if rustix::process::geteuid().is_root() { &[] } else { options }
}
