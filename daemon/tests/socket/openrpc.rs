//! The OpenRPC document: kept in `docs/openrpc.json`, and what it says of secrets. `UPDATE=1` writes the file anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cns_protocol::openrpc::document;
use serde_json::Value;

#[test]
fn the_document_in_docs_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openrpc.json");
    let served = format!("{:#}\n", document());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &served).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == served, "docs/openrpc.json is out of date: run this test with UPDATE=1");
}

/// The names of all schemas that a schema leads to.
fn reached(schema: &Value, document: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value.as_str().and_then(|text| text.rsplit('/').next())) {
                    ("$ref", Some(name)) => {
                        if names.insert(name.to_owned()) {
                            reached(&document["components"]["schemas"][name], document, names);
                        }
                    }
                    _ => reached(value, document, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| reached(item, document, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_answer_can_hold_a_pin_and_what_can_hold_a_secret_says_so() {
    let document = document();
    let methods = document["methods"].as_array().unwrap();
    assert!(methods.len() >= 27);
    for method in methods {
        let (mut asked, mut answered) = (BTreeSet::new(), BTreeSet::new());
        reached(&method["params"], &document, &mut asked);
        reached(&method["result"], &document, &mut answered);
        assert!(!answered.contains("SecretText"), "{} answers a PIN or PUK", method["name"]);
        assert_eq!(method["x-answers-secret"], answered.contains("SecretBytes"), "{}", method["name"]);
        assert_eq!(method["x-carries-secret"], asked.contains("SecretText"), "{}", method["name"]);
    }
}
