//! `docs/card-commands.md` lists exactly the commands of the code, and what it points to exists.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use cns_apdu::command::NAMES;
use cns_apdu::secure_messaging::{
    DF_CREATE, DF_OBJECTS, EF_APPEND, EF_READ_COMMAND, EF_READ_RESPONSE, EF_UPDATE, FILE_ADMIN,
    OBJECT_CHANGE, OBJECT_UNBLOCK, OBJECT_USE, OBJECT_USE_RESPONSE, Place,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The cells of the table whose header starts with `command | CLA INS`.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/card-commands.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| command | CLA INS ")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_table_lists_exactly_the_commands() {
    let listed: Vec<_> = rows().into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(listed, NAMES);
}

#[test]
fn every_row_points_to_a_section_a_file_and_vectors() {
    for row in rows() {
        let file = row[0].to_lowercase().replace(' ', "_");
        let source = fs::read_to_string(Path::new(ROOT).join(format!("apdu/src/command/{file}.rs"))).unwrap();
        let section = row[2].strip_prefix("cns-card ").unwrap();
        let title = source.lines().next().unwrap();
        assert!(title.contains(&row[0]) && title.contains(&format!("`cns-card` {section})")), "{title}");
        assert_eq!(row[3], format!("[`{file}.rs`](../apdu/src/command/{file}.rs)"));
        assert_eq!(row[4], format!("[`{file}/`](../test-vectors/{file})"));
        assert!(Path::new(ROOT).join("test-vectors").join(&file).is_dir(), "{file}");
    }
}

/// The table of secure messaging names commands that exist, and the bytes that the code reads.
#[test]
fn the_table_of_secure_messaging_is_that_of_the_code() {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/card-commands.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| operation | bytes of `CB` ")).skip(2);
    let rows: Vec<Vec<String>> = table
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    let pair = |place: Place| format!("{place}, {}", place + 1);
    let both = |command, response| format!("{}; response {}", pair(command), pair(response));
    let expected = [
        ("READ BINARY", both(EF_READ_COMMAND, EF_READ_RESPONSE)),
        ("UPDATE BINARY", pair(EF_UPDATE)),
        ("APPEND RECORD", pair(EF_APPEND)),
        ("PUT DATA", pair(FILE_ADMIN)),
        ("PUT DATA", pair(DF_OBJECTS)),
        ("CREATE FILE", pair(DF_CREATE)),
        ("VERIFY", pair(OBJECT_USE)),
        ("PERFORM SECURITY OPERATION", both(OBJECT_USE, OBJECT_USE_RESPONSE)),
        ("CHANGE REFERENCE DATA", pair(OBJECT_CHANGE)),
        ("RESET RETRY COUNTER", pair(OBJECT_UNBLOCK)),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (command, places)) in rows.iter().zip(expected) {
        assert!(NAMES.contains(&command) && row[0].starts_with(command), "{row:?}");
        assert_eq!(row[1], places, "{row:?}");
    }
}
