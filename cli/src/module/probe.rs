//! Loading the module to see that it works, in a process of its own: a module that crashes or hangs takes no one along.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use serde::{Deserialize, Serialize};

use super::child;
use crate::error::CliError;

/// How long loading and looking may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What a module says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probed {
    /// Its version.
    pub(crate) version: String,
    /// What it calls itself.
    pub(crate) description: String,
    /// The labels of the tokens it shows now.
    pub(crate) tokens: Vec<String>,
}

/// Loads a module in a process of its own.
pub(crate) fn module(path: &Path, socket: &Path) -> Result<Probed, CliError> {
    let unusable = |reason: String| CliError::ModuleUnusable { path: path.to_owned(), reason };
    let this = std::env::current_exe()?;
    let mut probe = Command::new(this);
    probe.args(["--json", "module", "probe"]).arg(path).env("CNSD_SOCKET", socket);
    let said = child::output(&mut probe, LIMIT)
        .map_err(|error| if let CliError::Tool { reason, .. } = error { unusable(reason) } else { error })?;
    serde_json::from_str(&said).map_err(|_| unusable("it does not say what it is".into()))
}

/// Loads a module into this process: the child's part of [`module`].
pub(super) fn here(path: &Path) -> Result<Probed, CliError> {
    let unusable = |error: cryptoki::error::Error| CliError::ModuleUnusable {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let module = Pkcs11::new(path).map_err(unusable)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(unusable)?;
    let info = module.get_library_info().map_err(unusable)?;
    let slots = module.get_slots_with_token().map_err(unusable)?;
    let labels = slots.into_iter().filter_map(|slot| module.get_token_info(slot).ok());
    Ok(Probed {
        version: info.library_version().to_string(),
        description: info.library_description().trim().to_owned(),
        tokens: labels.map(|token| token.label().trim().to_owned()).collect(),
    })
}
