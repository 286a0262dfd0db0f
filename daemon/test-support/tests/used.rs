//! Nothing in this crate is dead: the compiler does not say so of what is public.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

/// The text of every Rust file below a folder.
fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    texts
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// The name that a line makes public: of a function, a type, a constant, a field.
fn public_name(line: &str) -> Option<&str> {
    const KINDS: [&str; 8] = ["async", "const", "enum", "fn", "mod", "static", "struct", "trait"];
    words(line.trim_start().strip_prefix("pub ")?).find(|word| !KINDS.contains(word))
}

#[test]
fn what_is_public_here_is_named_in_a_test_or_a_public_signature() {
    assert_eq!(public_name("    pub async fn card(&self) -> X {"), Some("card"));
    assert_eq!(public_name("    pub(crate) fn dump() {"), None);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = sources(&here.join("src"));
    let folders = ["../tests", "../benches", "../../pkcs11-module/tests"];
    let tests: Vec<String> = folders.iter().flat_map(|folder| sources(&here.join(folder))).collect();
    // A type that no test names may be a parameter or result of what they call.
    let signatures = own.iter().flat_map(|text| text.lines()).filter(|line| public_name(line).is_some());
    let in_signatures: Vec<&str> = signatures.flat_map(|line| words(line).skip(3)).collect();
    let mut count = 0;
    for name in own.iter().flat_map(|text| text.lines()).filter_map(public_name) {
        count += 1;
        let is_type = name.starts_with(char::is_uppercase) && in_signatures.contains(&name);
        let is_named = tests.iter().any(|text| words(text).any(|word| word == name));
        assert!(is_named || is_type, "nobody uses `{name}`");
    }
    println!("{count} public names, each used");
    assert!(count > 100);
}
