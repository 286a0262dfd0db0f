//! Every input that fuzzing has kept, through its target.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cns_fuzz::TARGETS;

/// The corpus is committed: small files, not many.
const MOST_FILES: usize = 300;
const LONGEST: u64 = 8 * 1024;

/// One test for all: the memory that is measured is that of the whole process.
#[test]
fn the_corpus_finds_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders: BTreeSet<_> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, TARGETS.iter().map(|target| target.name.to_owned()).collect());
    for target in TARGETS {
        let mut files: Vec<_> =
            fs::read_dir(corpus.join(target.name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!((5..=MOST_FILES).contains(&files.len()), "{}: {} files", target.name, files.len());
        target.run(&[]);
        for file in files {
            assert!(fs::metadata(&file).unwrap().len() <= LONGEST, "{} is long", file.display());
            println!("{}", file.display());
            target.run(&fs::read(&file).unwrap());
        }
    }
}
