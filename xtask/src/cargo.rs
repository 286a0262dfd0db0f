//! Calling cargo, and finding what it built.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::error::{During, Error};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// A cargo command in the workspace's root.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs cargo with its output shown.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut child = start(arguments, &[])?;
    judge(arguments, child.wait().during("waiting for cargo")?)
}

/// As [`run`], but ends it, and all that it started, when it takes longer than `limit`: a test that waits for ever
/// shall be told, not waited for.
pub(crate) fn run_within(arguments: &[&str], environment: &[(&str, &str)], limit: Duration) -> Result<()> {
    let mut child = start(arguments, environment)?;
    let ends = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().during("waiting for cargo")? {
            return judge(arguments, status);
        }
        if Instant::now() > ends {
            let what = format!("the end of `cargo {}`", arguments.join(" "));
            let family = family(child.id()).during("listing the processes")?;
            for process in family {
                // It may have ended by itself meanwhile.
                kill_process(process, Signal::KILL).unwrap_or_default();
            }
            child.wait().during("waiting for cargo")?;
            return Err(Error::TooSlow { what, seconds: limit.as_secs(), output: String::new() });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Child> {
    // Tests that need pcscd skip themselves where it is missing; here it was installed.
    let mut command = command(arguments);
    command.env("CNS_REAL_PARTS", "1").envs(environment.iter().copied()).spawn().during("starting cargo")
}

fn judge(arguments: &[&str], status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: format!("cargo {}", arguments.join(" ")),
        status: status.to_string(),
        output: String::new(),
    })
}

/// A process and its descendants, the process itself first.
fn family(ancestor: u32) -> io::Result<Vec<Pid>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process that has just ended has no parent to tell of. The name before the parent may hold anything but
        // ends at the last parenthesis.
        let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let parent =
            status.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        parents.extend(parent.map(|parent| (process, parent)));
    }
    let mut found = vec![i32::try_from(ancestor).map_err(io::Error::other)?];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(process, _)| *process));
        next += 1;
    }
    Ok(found.into_iter().filter_map(Pid::from_raw).collect())
}

/// Builds every program and the module for release; the folder that holds them.
pub(crate) fn build_release() -> Result<PathBuf> {
    let not_delivered = ["--exclude", "xtask", "--exclude", "cns-fuzz", "--exclude", "cns-virtual-reader"];
    run(&[&["build", "--release", "--workspace"][..], &not_delivered].concat())?;
    Ok(target_directory()?.join("release"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    folder.map(PathBuf::from).ok_or_else(|| Error::Wrong("cargo metadata names no target folder".into()))
}

/// What `cargo metadata` says of the workspace's own members.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps"];
    let output = command(&arguments).stderr(Stdio::inherit()).output().during("starting cargo metadata")?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Wrong(format!("cargo metadata cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let ends = Instant::now() + Duration::from_secs(20);
        let mut found = Vec::new();
        while found.len() < 2 && Instant::now() < ends {
            found = family(shell.id()).unwrap();
        }
        for process in &found {
            kill_process(*process, Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
        assert_eq!(found.len(), 2);
    }
}
