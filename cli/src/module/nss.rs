//! NSS databases (`cert9.db`, `key4.db`, `pkcs11.txt`): Firefox's profiles, and the one that Chromium and its like share.
//! They are changed with NSS's own tools, `modutil` and `certutil` of Debian's `libnss3-tools`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::place::{NAME, Place, is_ours, name_taken};
use super::plan::{Plan, Step};
use super::{child, files};
use crate::error::CliError;

/// The list of modules in a database.
pub(crate) const MODULES: &str = "pkcs11.txt";

/// The file that says what a database looked like when we made it.
pub(super) const MADE: &str = "made-by-cnsctl";

/// The files of a database that hold what people keep in it.
const CONTENTS: [&str; 2] = ["cert9.db", "key4.db"];

/// How long a tool may take; it loads the module, which asks the daemon.
const LIMIT: Duration = Duration::from_secs(60);

/// The folder of the database that Chromium, Chrome, Edge and their like use.
pub(crate) fn shared(place: &Place) -> Option<PathBuf> {
    let (old, new) = (place.home(".pki/nssdb")?, place.data("pki/nssdb")?);
    // Newer ones go by the user's folder for data, where the older place is not there.
    Some(if !old.exists() && new.exists() { new } else { old })
}

/// The modules that a list names: name and library.
pub(crate) fn modules(list: &str) -> Vec<(String, String)> {
    let stanzas = list.split("\n\n");
    let line = |stanza: &str, key: &str| {
        stanza.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
    };
    let module = |stanza: &str| Some((line(stanza, "name")?, line(stanza, "library")?));
    stanzas.filter_map(module).filter(|(_, library)| !library.is_empty()).collect()
}

/// Plans to add the module to a database, which is made where there is none.
pub(super) fn register(folder: &Path, library: &Path) -> Result<Plan, CliError> {
    let mut plan = Plan::default();
    let list = files::read(&folder.join(MODULES))?;
    let there = modules(list.as_deref().unwrap_or_default());
    let path = library.to_string_lossy();
    if there.iter().any(|(_, other)| *other == path) {
        return Ok(plan);
    }
    if there.iter().any(|(name, other)| name == NAME && !is_ours(other)) {
        return Err(name_taken(folder.join(MODULES)));
    }
    if list.is_none() && !folder.join("cert9.db").exists() {
        plan.steps.push(Step::CreateDatabase { folder: folder.to_owned() });
    }
    for (name, _) in there.iter().filter(|(_, other)| is_ours(other)) {
        plan.steps.push(Step::DeleteModule { folder: folder.to_owned(), name: name.clone() });
    }
    plan.steps.push(Step::AddModule {
        folder: folder.to_owned(),
        name: NAME.into(),
        library: library.to_owned(),
    });
    Ok(plan)
}

/// Plans to take the module out of a database, and to remove the database where we made it and nobody used it since.
pub(super) fn unregister(folder: &Path) -> Result<Plan, CliError> {
    let mut plan = Plan::default();
    let Some(list) = files::read(&folder.join(MODULES))? else { return Ok(plan) };
    let there = modules(&list);
    let (ours, others): (Vec<_>, Vec<_>) = there.into_iter().partition(|(_, library)| is_ours(library));
    for (name, _) in ours {
        plan.steps.push(Step::DeleteModule { folder: folder.to_owned(), name });
    }
    if !plan.steps.is_empty() && others.is_empty() && is_unused(folder)? {
        plan.steps.push(Step::RemoveDatabase { folder: folder.to_owned() });
    }
    Ok(plan)
}

/// Makes an empty database without a password, and notes what it looks like.
pub(super) fn create(folder: &Path, base: &Path) -> Result<(), CliError> {
    files::make_folders(folder, base, 0o700)?;
    tool("certutil", &["-N".as_ref(), "--empty-password".as_ref(), "-d".as_ref(), &database(folder)])?;
    files::write(&folder.join(MADE), &fingerprint(folder)?, base)
}

/// Adds a module; the list as it was is kept beside it while this is done, for NSS rewrites it in place.
pub(super) fn add(folder: &Path, name: &str, library: &Path, base: &Path) -> Result<(), CliError> {
    files::back_up(&folder.join(MODULES), base)?;
    let library = library.as_os_str();
    let options: [&OsStr; 7] = [
        "-dbdir".as_ref(),
        &database(folder),
        "-add".as_ref(),
        name.as_ref(),
        "-libfile".as_ref(),
        library,
        "-force".as_ref(),
    ];
    tool("modutil", &options)?;
    let list = files::read(&folder.join(MODULES))?.unwrap_or_default();
    if modules(&list).iter().any(|(_, other)| *other == library.to_string_lossy()) {
        return files::remove(&files::backup_of(&folder.join(MODULES)));
    }
    let reason = format!("the module is not in {} afterwards", folder.join(MODULES).display());
    Err(CliError::Tool { program: "modutil".into(), reason })
}

/// Takes a module out.
pub(super) fn delete(folder: &Path, name: &str) -> Result<(), CliError> {
    tool(
        "modutil",
        &["-dbdir".as_ref(), &database(folder), "-delete".as_ref(), name.as_ref(), "-force".as_ref()],
    )
}

/// Removes a database that is still as we made it.
pub(super) fn remove(folder: &Path) -> Result<(), CliError> {
    if !is_unused(folder)? {
        return Ok(());
    }
    for name in CONTENTS.iter().chain(&[MODULES, MADE]) {
        files::remove(&folder.join(name))?;
    }
    Ok(())
}

fn is_unused(folder: &Path) -> Result<bool, CliError> {
    Ok(files::read(&folder.join(MADE))?.is_some_and(|made| fingerprint(folder).is_ok_and(|now| now == made)))
}

/// What tells whether anybody has put a key or certificate into the database.
fn fingerprint(folder: &Path) -> Result<String, CliError> {
    let line = |name: &&str| {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(|source| CliError::Read { path, source })?;
        Ok(format!("{name} {}\n", hex::encode(Sha256::digest(bytes))))
    };
    CONTENTS.iter().map(line).collect()
}

fn database(folder: &Path) -> std::ffi::OsString {
    let mut name = std::ffi::OsString::from("sql:");
    name.push(folder);
    name
}

fn tool(program: &'static str, arguments: &[&OsStr]) -> Result<(), CliError> {
    child::output(Command::new(program).args(arguments), LIMIT).map(drop)
}
