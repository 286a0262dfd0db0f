//! `docs/manual-coverage.md` against `docs/manual.md` and the tests: no rule of the daemon or the chip without a row, no
//! row that names a test which does not exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, iter};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows of all tables of a document: the heading above, and the cells.
fn rows(document: &str) -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs").join(document)).unwrap();
    let (mut heading, mut rows) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut heading);
        } else if line.starts_with('|') && !line.starts_with("|-") {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            rows.push((heading.clone(), cells.collect()));
        }
    }
    rows
}

/// The identifiers in a cell: `9.3.4, 9.3.5` and `X1`; what follows an identifier is its name in words.
fn identifiers(cell: &str) -> Vec<String> {
    let first_word = |part: &str| part.split_whitespace().next().unwrap_or_default().to_owned();
    cell.split(',').map(|part| first_word(part.trim())).filter(|id| !id.is_empty()).collect()
}

/// Texts between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The file that a row names: of the daemon's tests, of its code, or by its path.
fn file(name: &str) -> Option<String> {
    ["daemon/tests", "daemon/src", ""]
        .iter()
        .find_map(|base| fs::read_to_string(root().join(base).join(name)).ok())
}

/// What is wrong with the tests that a row names; at least one must be named, as `file.rs` `function`.
fn faults(cell: &str) -> Vec<String> {
    let (mut source, mut found, mut faults) = (None, 0, Vec::new());
    for name in quoted(cell) {
        if name.ends_with(".rs") {
            source = file(name);
            if source.is_none() {
                faults.push(format!("there is no {name}"));
            }
        } else if source.as_ref().is_some_and(|text: &String| text.contains(&format!("fn {name}("))) {
            found += 1;
        } else {
            faults.push(format!("there is no test {name}"));
        }
    }
    if found == 0 {
        faults.push("no test is named".to_owned());
    }
    faults
}

#[test]
fn every_rule_of_the_daemon_or_the_chip_has_a_row_and_every_row_a_test() {
    let mut covered = BTreeMap::new();
    let mut wrong = Vec::new();
    for (heading, cells) in rows("manual-coverage.md") {
        let first = cells.first().cloned().unwrap_or_default();
        if first == "rule" || first == "choice" {
            continue;
        }
        let open = heading == "Not yet";
        for id in identifiers(&first) {
            covered.insert(id, open);
        }
        if !open {
            let tests = cells.last().cloned().unwrap_or_default();
            wrong.extend(faults(&tests).into_iter().map(|fault| format!("{first}: {fault}")));
        }
    }
    let (mut kept, mut not_yet) = (0, Vec::new());
    for (_, cells) in rows("manual.md") {
        let [ids, _, place] = cells.as_slice() else { continue };
        // Rules that only a person, the authority or another system keeps have no row of necessity.
        if ids == "id" || !["daemon", "chip"].iter().any(|own| place.contains(own)) {
            continue;
        }
        for id in identifiers(ids) {
            match covered.get(&id) {
                Some(false) => kept += 1,
                Some(true) => not_yet.push(id),
                None => wrong.push(format!("rule {id} ({place}) has no row")),
            }
        }
    }
    println!("{kept} rules kept, {} not yet: {}", not_yet.len(), not_yet.join(", "));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(kept > 40, "the tables are read");
}

#[test]
fn a_row_without_a_test_or_with_a_wrong_one_is_seen() {
    let good = "`counter/coverage.rs` `a_row_without_a_test_or_with_a_wrong_one_is_seen`";
    assert!(faults(good).is_empty());
    let bad =
        ["—", "`counter/nowhere.rs` `x`", "`counter/coverage.rs` `there_is_none`", "`counter/coverage.rs`"];
    for (cell, bad) in iter::zip(bad, iter::repeat(true)) {
        assert_eq!(!faults(cell).is_empty(), bad, "{cell}");
    }
    assert_eq!(identifiers("9.3.4, 9.3.5 as the standard, X1"), ["9.3.4", "9.3.5", "X1"]);
}

/// Code, commits and other pages name a threat by its number.
#[test]
fn every_threat_has_a_number_of_its_own() {
    let mut numbers = BTreeMap::<String, usize>::new();
    for (_, cells) in rows("threat-model.md") {
        let first = cells.first().cloned().unwrap_or_default();
        let is_threat = first.strip_prefix('T').is_some_and(|rest| rest.contains('.'));
        if is_threat {
            *numbers.entry(first).or_default() += 1;
        }
    }
    let twice: Vec<_> = numbers.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty() && numbers.len() > 30, "{twice:?} of {}", numbers.len());
}
