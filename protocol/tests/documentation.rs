//! `docs/protocol.md` against the code.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use std::path::Path;

use cns_protocol::ErrorKind;

#[test]
fn every_error_kind_stands_in_the_table_with_its_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = std::fs::read_to_string(path).expect("docs/protocol.md");
    let is_row = |line: &&str| line.starts_with("| 1") || line.starts_with("| -");
    let rows: Vec<&str> = text.lines().filter(is_row).collect();
    for kind in ErrorKind::ALL {
        let name = serde_json::to_value(kind).unwrap();
        let beginning = format!("| {} | `{}` | ", kind.code(), name.as_str().unwrap());
        assert!(rows.iter().any(|row| row.starts_with(&beginning)), "no row begins with {beginning:?}");
    }
    assert_eq!(rows.len(), ErrorKind::ALL.len(), "the table has a row too many");
}
