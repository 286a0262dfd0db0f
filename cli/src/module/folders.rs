//! The folders that are made for what is registered: noted when they are made, so that those and no others go again.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::Place;
use super::plan::Step;
use super::{files, nss};
use crate::error::CliError;

/// The first line of the list.
const MARK: &str = "# Folders that `cnsctl module register` made; `cnsctl module unregister` removes them when they are empty.";

/// The list of one computer or user.
pub(super) struct Folders<'a> {
    base: &'a Path,
    list: PathBuf,
    /// Where something that was registered may lie.
    registered: Vec<PathBuf>,
}

impl<'a> Folders<'a> {
    pub(super) fn new(place: &Place, base: &'a Path) -> Result<Self, CliError> {
        let list = place.own_file("made-folders")?;
        let databases = nss::shared(place).map(|folder| folder.join(nss::MADE));
        let files = [
            super::own::p11_kit_file(place)?,
            super::own::java_file(place)?,
            super::own::openssl_file(place)?,
        ];
        let policies = place.system(super::firefox::POLICIES);
        Ok(Self { base, list, registered: files.into_iter().chain(databases).chain([policies]).collect() })
    }

    /// Below which everything is written.
    pub(super) fn base(&self) -> &Path {
        self.base
    }

    /// The folders that are missing for a step and would be made, from the outermost; with those for the list itself.
    pub(super) fn missing(&self, step: &Step) -> Vec<PathBuf> {
        let Some(folder) = step.folder() else { return Vec::new() };
        let mut missing = self.missing_to(folder);
        if !missing.is_empty() {
            missing.extend(self.list.parent().map(|own| self.missing_to(own)).unwrap_or_default());
        }
        missing.sort();
        missing.dedup();
        missing
    }

    fn missing_to(&self, folder: &Path) -> Vec<PathBuf> {
        let missing = folder.ancestors().take_while(|folder| *folder != self.base && !folder.exists());
        missing.map(Path::to_path_buf).collect()
    }

    /// Notes folders that are going to be made.
    pub(super) fn note(&self, missing: &[PathBuf]) -> Result<(), CliError> {
        if missing.is_empty() {
            return Ok(());
        }
        let mut noted = self.noted()?;
        noted.extend(missing.iter().cloned());
        self.write(noted)
    }

    /// Removes the noted folders that are empty; those in which nothing is registered any more are forgotten, because what
    /// is in them is somebody else's. Answers what was removed.
    pub(super) fn take_back(&self) -> Result<Vec<PathBuf>, CliError> {
        let noted = self.noted()?;
        if noted.is_empty() {
            return Ok(Vec::new());
        }
        let is_needed = |folder: &&PathBuf| {
            self.registered.iter().any(|file| file.starts_with(folder) && fs::symlink_metadata(file).is_ok())
        };
        let is_over = !noted.iter().any(|folder| is_needed(&folder));
        let (needed, mut rest): (Vec<_>, Vec<_>) = noted
            .into_iter()
            .partition(|folder| is_needed(&folder) || (!is_over && self.list.starts_with(folder)));
        if is_over {
            files::remove(&self.list)?;
        } else if !rest.is_empty() {
            self.write(needed)?;
        }
        // The inner ones first.
        rest.sort_by(|one, other| other.cmp(one));
        Ok(rest.into_iter().filter(|folder| fs::remove_dir(folder).is_ok()).collect())
    }

    fn noted(&self) -> Result<Vec<PathBuf>, CliError> {
        let Some(text) = files::read(&self.list)? else { return Ok(Vec::new()) };
        if !text.starts_with(MARK) {
            let reason = "somebody else wrote it; move it away first".into();
            return Err(CliError::LeftAlone { path: self.list.clone(), reason });
        }
        // Below the base they are named as seen from there, so that an image can be made in any folder.
        Ok(text.lines().skip(1).filter(|line| !line.is_empty()).map(|line| self.base.join(line)).collect())
    }

    fn write(&self, mut folders: Vec<PathBuf>) -> Result<(), CliError> {
        folders.sort();
        folders.dedup();
        let mut text = format!("{MARK}\n");
        for folder in &folders {
            let seen = folder.strip_prefix(self.base).unwrap_or(folder);
            // A name that no line can hold is not noted, and stays.
            if let Some(line) = seen.to_str().filter(|line| !line.contains('\n')) {
                text += &format!("{line}\n");
            }
        }
        files::write(&self.list, &text, self.base)
    }
}
