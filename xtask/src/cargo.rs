//! Calling cargo, and finding what it built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    // Tests that need pcscd skip themselves where it is missing; here it was installed.
    let status = command(arguments).env("CNS_REAL_PARTS", "1").status().during("starting cargo")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: format!("cargo {}", arguments.join(" ")),
        status: status.to_string(),
        output: String::new(),
    })
}

/// Builds every program and the module for release; the folder that holds them.
pub(crate) fn build_release() -> Result<PathBuf> {
    run(&["build", "--release", "--workspace", "--exclude", "xtask"])?;
    Ok(target_directory()?.join("release"))
}

fn target_directory() -> Result<PathBuf> {
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
