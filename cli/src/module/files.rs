//! Writing into folders that belong to other programs: whole or not at all, never through a symbolic link that somebody
//! else could have laid, with what was there before kept beside it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::CliError;

/// The most that a configuration file may hold, in bytes; real ones hold a few thousand.
const MAX_FILE: u64 = 1024 * 1024;

/// What the name of a file gets that was there before ours.
const BACKUP_SUFFIX: &str = ".before-cns";

/// Where the file as it was before is kept.
pub(super) fn backup_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(BACKUP_SUFFIX);
    file.with_file_name(name)
}

/// What is in a file; nothing when there is none. A symbolic link in its place is refused, as is what is no file.
pub(super) fn read(file: &Path) -> Result<Option<String>, CliError> {
    let failed = |source| CliError::Read { path: file.to_owned(), source };
    let Some(found) = look(file)? else { return Ok(None) };
    let left_alone = |reason: &str| CliError::LeftAlone { path: file.to_owned(), reason: reason.into() };
    if !found.is_file() {
        return Err(left_alone("it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    let opened =
        OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(file);
    opened.map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(left_alone("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| left_alone("it is no UTF-8 text"))
}

/// As [`read`], for looking only: what cannot be read counts as absent, and links are followed.
pub(crate) fn peek(file: &Path) -> Option<String> {
    let mut text = String::new();
    let opened = OpenOptions::new().read(true).custom_flags(flags(OFlags::NONBLOCK)).open(file).ok()?;
    opened.metadata().ok()?.is_file().then_some(())?;
    opened.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes a file whole: who reads it meanwhile sees the one before. One that is there keeps its owner and permissions.
pub(super) fn write(file: &Path, text: &str, base: &Path) -> Result<(), CliError> {
    let before = look(file)?;
    write_like(file, text, base, before.as_ref())
}

/// Keeps a file as it is now beside it, with its owner and permissions.
pub(super) fn back_up(file: &Path, base: &Path) -> Result<(), CliError> {
    match (read(file)?, look(file)?) {
        (Some(text), Some(like)) => write_like(&backup_of(file), &text, base, Some(&like)),
        _ => Ok(()),
    }
}

/// Puts the file that was kept back into its place.
pub(super) fn restore(file: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: file.to_owned(), source };
    look(file)?;
    fs::rename(backup_of(file), file).map_err(failed)?;
    sync(file.parent()).map_err(failed)
}

/// Removes a file.
pub(super) fn remove(file: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: file.to_owned(), source };
    look(file)?;
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| sync(file.parent())).map_err(failed),
    }
}

/// Makes the folders that are missing between `base`, which is there, and `folder`.
pub(super) fn make_folders(folder: &Path, base: &Path, mode: u32) -> Result<(), CliError> {
    trusted(folder, base)?;
    let failed = |source| CliError::Write { path: folder.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(failed)
}

fn write_like(file: &Path, text: &str, base: &Path, like: Option<&Metadata>) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: file.to_owned(), source };
    let folder = file.parent().unwrap_or(base);
    make_folders(folder, base, 0o755)?;
    let mut new = tempfile::Builder::new().prefix(".cns-").tempfile_in(folder).map_err(failed)?;
    let put = |new: &mut File| {
        new.write_all(text.as_bytes())?;
        if let Some(like) = like {
            let now = new.metadata()?;
            if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
                fchown(&*new, Some(like.uid()), Some(like.gid()))?;
            }
        }
        let mode = like.map_or(0o644, |like| like.mode() & 0o777);
        new.set_permissions(fs::Permissions::from_mode(mode))?;
        new.sync_all()
    };
    put(new.as_file_mut()).map_err(failed)?;
    new.persist(file).map_err(|error| failed(error.error))?;
    sync(Some(folder)).map_err(failed)
}

/// What lies at this path; a symbolic link is refused, because the file that it leads to is somebody else's business.
fn look(file: &Path) -> Result<Option<Metadata>, CliError> {
    match fs::symlink_metadata(file) {
        Ok(found) if found.is_symlink() => Err(CliError::LeftAlone {
            path: file.to_owned(),
            reason: "it is a symbolic link; make the change in the file that it leads to".into(),
        }),
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CliError::Read { path: file.to_owned(), source }),
    }
}

/// Folders may be symbolic links (of people who keep their configuration elsewhere), but only of the user's own or root's.
fn trusted(folder: &Path, base: &Path) -> Result<(), CliError> {
    let inner =
        folder.ancestors().take_while(|ancestor| *ancestor != base && !ancestor.as_os_str().is_empty());
    for ancestor in inner {
        let Ok(found) = fs::symlink_metadata(ancestor) else { continue };
        let owner = found.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(CliError::LeftAlone {
                path: ancestor.to_owned(),
                reason: "the folder or link belongs to another user".into(),
            });
        }
    }
    Ok(())
}

fn sync(folder: Option<&Path>) -> io::Result<()> {
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn flags(flags: OFlags) -> i32 {
    // The flags of open(2) fit into its argument.
    i32::try_from(flags.bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_that_is_there_keeps_its_permissions_and_leaves_a_copy_and_no_litter() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("policies.json");
        fs::write(&file, "before").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        back_up(&file, base.path()).unwrap();
        write(&file, "after", base.path()).unwrap();
        for (path, text) in [(file.clone(), "after"), (backup_of(&file), "before")] {
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640, "{}", path.display());
        }
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 2);
        restore(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "before");
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_symbolic_link_is_neither_read_nor_written_nor_removed() {
        let base = tempfile::tempdir().unwrap();
        let (target, link) = (base.path().join("shadow"), base.path().join("link"));
        fs::write(&target, "mine").unwrap();
        symlink(&target, &link).unwrap();
        for refused in [read(&link).map(drop), write(&link, "x", base.path()), remove(&link)] {
            assert!(matches!(refused, Err(CliError::LeftAlone { .. })), "{refused:?}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_is_no_text_file_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let large = base.path().join("large");
        File::create(&large).unwrap().set_len(MAX_FILE + 1).unwrap();
        let binary = base.path().join("binary");
        fs::write(&binary, b"\xff\xfe").unwrap();
        for file in [large.as_path(), binary.as_path(), base.path()] {
            assert!(matches!(read(file), Err(CliError::LeftAlone { .. })), "{}", file.display());
        }
        assert_eq!(read(&base.path().join("none")).unwrap(), None);
    }
}
