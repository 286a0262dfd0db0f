//! The files that the log was closed in: named after their first entry, so that the names sort as the entries do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// A closed file of the log.
pub(super) struct Segment {
    /// The number of its first entry, by its name.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// The name of the file whose first entry has this number.
pub(super) fn name(first: u64) -> String {
    format!("{PREFIX}{first:012}{SUFFIX}")
}

/// The closed files in `folder` that begin before entry `end`, oldest first. Files of other names are not looked at.
pub(super) fn before(folder: &Path, end: u64) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let first = path.file_name().and_then(|name| name.to_str()).and_then(first_of);
        segments.extend(first.filter(|first| *first < end).map(|first| Segment { first, path }));
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for first in [1, 300, 20] {
            fs::write(folder.path().join(name(first)), "").unwrap();
        }
        for other in ["audit.jsonl", "audit-.jsonl", "audit-+5.jsonl", "audit-5.jsonl.new", "custody.db"] {
            fs::write(folder.path().join(other), "").unwrap();
        }
        let firsts = |end| -> Vec<u64> {
            before(folder.path(), end).unwrap().iter().map(|segment| segment.first).collect()
        };
        assert_eq!(firsts(u64::MAX), [1, 20, 300]);
        assert_eq!(firsts(300), [1, 20]);
    }
}
