//! What is going to be done, before it is done: so that it can be shown, with or without doing it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{files, nss};
use crate::error::CliError;

/// One change.
#[derive(Debug, Serialize)]
#[serde(tag = "does", rename_all = "kebab-case")]
pub(super) enum Step {
    /// Writes a file whole.
    Write {
        /// Which.
        file: PathBuf,
        /// Its new contents.
        text: String,
        /// Where the file as it was is kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        kept_as: Option<PathBuf>,
    },
    /// Removes a file that was written by us.
    Remove {
        /// Which.
        file: PathBuf,
    },
    /// Puts the file that was kept back.
    Restore {
        /// Which.
        file: PathBuf,
        /// What was kept.
        kept_as: PathBuf,
    },
    /// Makes an empty NSS database with `certutil`.
    CreateDatabase {
        /// Its folder.
        folder: PathBuf,
    },
    /// Adds our module to an NSS database with `modutil`.
    AddModule {
        /// The database's folder.
        folder: PathBuf,
        /// The name that the database has for it.
        name: String,
        /// The module.
        library: PathBuf,
    },
    /// Takes a module out of an NSS database with `modutil`.
    DeleteModule {
        /// The database's folder.
        folder: PathBuf,
        /// The name that the database has for it.
        name: String,
    },
    /// Removes an NSS database that we made and nobody has used.
    RemoveDatabase {
        /// Its folder.
        folder: PathBuf,
    },
}

impl Step {
    /// Does it.
    pub(super) fn apply(&self, base: &Path) -> Result<(), CliError> {
        match self {
            Step::Write { file, text, kept_as } => {
                if kept_as.is_some() {
                    files::back_up(file, base)?;
                }
                files::write(file, text, base)
            }
            Step::Remove { file } => files::remove(file),
            Step::Restore { file, .. } => files::restore(file),
            Step::CreateDatabase { folder } => nss::create(folder, base),
            Step::AddModule { folder, name, library } => nss::add(folder, name, library, base),
            Step::DeleteModule { folder, name } => nss::delete(folder, name),
            Step::RemoveDatabase { folder } => nss::remove(folder),
        }
    }

    /// The folder in which it makes something.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Step::Write { file, .. } => file.parent(),
            Step::CreateDatabase { folder } => Some(folder),
            Step::Remove { .. }
            | Step::Restore { .. }
            | Step::AddModule { .. }
            | Step::DeleteModule { .. }
            | Step::RemoveDatabase { .. } => None,
        }
    }

    /// In words; `done` when it was done, else that it would be.
    pub(super) fn text(&self, done: bool) -> String {
        let say = |did: &str, would: &str| if done { did.to_owned() } else { format!("would {would}") };
        match self {
            Step::Write { file, text, kept_as } => {
                let kept = kept_as.as_ref().map_or_else(String::new, |kept| {
                    format!(" (as it was: {})", kept.file_name().unwrap_or_default().to_string_lossy())
                });
                let lines: String = text.lines().map(|line| format!("    | {line}\n")).collect();
                format!("  {} {}{kept}\n{lines}", say("wrote", "write"), file.display())
            }
            Step::Remove { file } => format!("  {} {}\n", say("removed", "remove"), file.display()),
            Step::Restore { file, .. } => {
                format!("  {} {} as it was before\n", say("restored", "restore"), file.display())
            }
            Step::CreateDatabase { folder } => {
                format!("  {} the empty database {}\n", say("made", "make"), folder.display())
            }
            Step::AddModule { folder, name, library } => format!(
                "  {} to {}\n    | library={}\n    | name={name}\n",
                say("added", "add"),
                folder.join(nss::MODULES).display(),
                library.display()
            ),
            Step::DeleteModule { folder, name } => format!(
                "  {} the module {name:?} out of {}\n",
                say("took", "take"),
                folder.join(nss::MODULES).display()
            ),
            Step::RemoveDatabase { folder } => {
                format!("  {} the database {}, unused\n", say("removed", "remove"), folder.display())
            }
        }
    }
}

/// What is going to be done for one kind of program.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What the person should know or do.
    pub(super) notes: Vec<String>,
}
