//! `docs/pkcs11-features.md` says what the code does.

use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../../docs/pkcs11-features.md");
const PAIRS: &str =
    concat!(include_str!("../../src/ffi/functions.rs"), include_str!("../../src/ffi/functions_v3.rs"));
const LIST: &str = include_str!("../../src/ffi/function_list.rs");

/// The functions of the code, in the order of the newest list.
pub(crate) fn listed() -> Vec<&'static str> {
    LIST.lines().map(str::trim).filter(|line| line.starts_with("C_")).collect()
}

/// The functions of the document's table, with what it says of them.
fn documented() -> BTreeMap<String, String> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `C_")?.split('|');
        let name = cells.next()?.trim().trim_matches('`').to_owned();
        Some((format!("C_{name}"), cells.next()?.trim().to_owned()))
    };
    DOCUMENT.lines().filter_map(row).collect()
}

/// The functions of the code: what they are paired with, if anything.
fn coded() -> BTreeMap<String, Option<String>> {
    let pair = |name: &str| {
        let pair = PAIRS.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
        pair.map(|pair| pair.split(' ').next().unwrap_or_default().to_owned())
    };
    listed().into_iter().map(|name| (name.to_owned(), pair(name))).collect()
}

#[test]
fn the_document_names_every_function_and_no_other() {
    let documented: Vec<_> = documented().into_keys().collect();
    let coded: Vec<_> = coded().into_keys().collect();
    assert_eq!(documented, coded);
    assert_eq!(coded.len(), 104);
}

#[test]
fn the_document_says_what_is_refused() {
    let documented = documented();
    for (name, pair) in coded() {
        let expected = match pair.as_deref() {
            Some("refused::in_session" | "refused::in_slot") => "`CKR_FUNCTION_NOT_SUPPORTED`",
            Some("refused::parallel") => "`CKR_FUNCTION_NOT_PARALLEL`",
            Some("random::seed_random") => "`CKR_RANDOM_SEED_NOT_SUPPORTED`",
            Some(_) | None => "done",
        };
        assert!(documented[&name].starts_with(expected), "{name}: {}", documented[&name]);
    }
}
