//! The arrows between the members: who may depend on whom. Arrows only run downwards.

use serde_json::Value;

use crate::error::Error;
use crate::{Result, cargo};

/// What each member may depend on, outside of its tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("cns-secret", &[]),
    ("cns-apdu", &["cns-secret"]),
    ("cns-virtual-card", &["cns-apdu", "cns-secret"]),
    ("cns-virtual-authority", &[]),
    // A driver for pcscd, in tests only: nothing depends on it outside of them, and nothing of it is delivered.
    ("cns-virtual-reader", &["cns-apdu"]),
    ("cns-protocol", &["cns-secret"]),
    ("cnsd", &["cns-apdu", "cns-protocol", "cns-secret"]),
    // The daemon's tests; nothing depends on it outside of tests, and nothing of it is delivered.
    (
        "cnsd-test-support",
        &[
            "cns-protocol",
            "cns-secret",
            "cns-virtual-authority",
            "cns-virtual-card",
            "cns-virtual-reader",
            "cnsd",
        ],
    ),
    ("cns-pkcs11", &["cns-protocol", "cns-secret"]),
    ("cns-ctl", &["cns-protocol", "cns-secret"]),
    ("cns-test-vectors", &[]),
    // Nothing depends on it, and nothing of it is delivered.
    ("cns-fuzz", &["cns-apdu", "cns-pkcs11", "cns-protocol", "cns-secret", "cns-virtual-card", "cnsd"]),
    ("xtask", &["cns-secret"]),
];

/// Checks the arrows against what cargo says.
pub(crate) fn check() -> Result<()> {
    let metadata = cargo::metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.ok_or_else(|| Error::Wrong("cargo metadata lists no packages".into()))?;
    let members: Vec<&str> = packages.iter().filter_map(|package| package.get("name")?.as_str()).collect();
    for package in packages {
        let name = package.get("name").and_then(Value::as_str).unwrap_or_default();
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(member, _)| *member == name)
            .ok_or_else(|| Error::Wrong(format!("the member {name} has no row in the table of arrows")))?;
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        for dependency in dependencies.into_iter().flatten() {
            let target = dependency.get("name").and_then(Value::as_str).unwrap_or_default();
            let in_tests_only = dependency.get("kind").and_then(Value::as_str) == Some("dev");
            if members.contains(&target) && !in_tests_only && !allowed.contains(&target) {
                return Err(Error::Wrong(format!("{name} must not depend on {target}")));
            }
        }
    }
    Ok(())
}
