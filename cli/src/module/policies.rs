//! Firefox's `policies.json`: our entry in it, everything else as it was, order and writing included.
//!
//! The policy is `SecurityDevices` (<https://mozilla.github.io/policy-templates/#securitydevices>): a member `Add` with a
//! path for each name, or, as older Firefox has it, the names and paths themselves.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON object whose members keep their order, and whose values keep their writing.
#[derive(Clone, Debug, Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members_;
        impl<'de> Visitor<'de> for Members_ {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Members_)
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Members {
    fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// The object of this name; an empty one when there is none.
    fn object(&self, name: &str) -> serde_json::Result<Self> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map_or_else(|| Ok(Self::default()), |(_, value)| Self::parse(value.get()))
    }

    fn set(&mut self, name: &str, value: &impl Serialize) -> serde_json::Result<()> {
        let value = to_raw_value(value)?;
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Puts an object into its place, or takes the place away when the object is empty.
    fn put(&mut self, name: &str, object: &Self) -> serde_json::Result<()> {
        if object.0.is_empty() {
            self.0.retain(|(other, _)| other != name);
            return Ok(());
        }
        self.set(name, object)
    }
}

/// The devices that a policy adds: name and path.
pub(crate) fn devices(text: &str) -> serde_json::Result<Vec<(String, String)>> {
    let devices = Members::parse(text)?.object("policies")?.object("SecurityDevices")?;
    let added = if is_new_form(&devices) { devices.object("Add")? } else { devices };
    let path = |value: &RawValue| serde_json::from_str(value.get());
    added.0.iter().map(|(name, value)| Ok((name.clone(), path(value)?))).collect()
}

/// The policies with this device; nothing when they have it already.
pub(super) fn with_device(text: &str, name: &str, path: &str) -> serde_json::Result<Option<String>> {
    if devices(text)?.iter().any(|(n, p)| (n.as_str(), p.as_str()) == (name, path)) {
        return Ok(None);
    }
    edit(text, |added| added.set(name, &path)).map(Some)
}

/// The policies without these devices; nothing when no policy would be left.
pub(super) fn without_devices(text: &str, names: &[String]) -> serde_json::Result<Option<String>> {
    let edited = edit(text, |added| {
        added.0.retain(|(name, _)| !names.contains(name));
        Ok(())
    })?;
    Ok(if Members::parse(&edited)?.0.is_empty() { None } else { Some(edited) })
}

fn edit(
    text: &str,
    change: impl FnOnce(&mut Members) -> serde_json::Result<()>,
) -> serde_json::Result<String> {
    let mut whole = Members::parse(text)?;
    let mut policies = whole.object("policies")?;
    let mut devices = policies.object("SecurityDevices")?;
    if is_new_form(&devices) {
        let mut added = devices.object("Add")?;
        change(&mut added)?;
        devices.put("Add", &added)?;
    } else {
        change(&mut devices)?;
    }
    policies.put("SecurityDevices", &devices)?;
    whole.put("policies", &policies)?;
    // Objects inside are written on one line by `to_raw_value`; parsing what changed lays them out again.
    laid_out(&whole).map(|text| text + "\n")
}

/// Firefox takes all members for names of devices only where there is neither `Add` nor `Delete`.
fn is_new_form(devices: &Members) -> bool {
    devices.0.is_empty() || devices.has("Add") || devices.has("Delete")
}

/// Four levels are ours to lay out (the file, its policies, their devices, the ones that are added); values deeper and
/// beside them stay as they were written.
fn laid_out(whole: &Members) -> serde_json::Result<String> {
    fn level(members: &Members, depth: usize, path: &[&str]) -> serde_json::Result<String> {
        let indent = "  ".repeat(depth + 1);
        let mut lines = Vec::new();
        for (name, value) in &members.0 {
            let inner = match path.split_first() {
                Some((first, rest)) if first == name => {
                    level(&Members::parse(value.get())?, depth + 1, rest)?
                }
                _ => value.get().to_owned(),
            };
            lines.push(format!("{indent}{}: {inner}", serde_json::to_string(name)?));
        }
        if lines.is_empty() {
            return Ok("{}".into());
        }
        Ok(format!("{{\n{}\n{}}}", lines.join(",\n"), "  ".repeat(depth)))
    }
    level(whole, 0, &["policies", "SecurityDevices", "Add"])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    const OURS: &str = "/usr/lib/libcns_pkcs11.so";

    #[test]
    fn an_empty_file_gets_the_policy_and_loses_it_again() {
        let with = with_device("{}", "CNS", OURS).unwrap().unwrap();
        assert_eq!(devices(&with).unwrap(), [("CNS".to_owned(), OURS.to_owned())]);
        let value: serde_json::Value = serde_json::from_str(&with).unwrap();
        assert_eq!(value.pointer("/policies/SecurityDevices/Add/CNS").unwrap(), OURS);
        assert_eq!(with_device(&with, "CNS", OURS).unwrap(), None);
        assert_eq!(without_devices(&with, &["CNS".into()]).unwrap(), None);
    }

    #[test]
    fn other_policies_keep_order_and_writing() {
        let before = "{\n  \"policies\": {\n    \"Zeta\": { \"b\":1,\n        \"a\": 1.50 },\n    \"SecurityDevices\": {\n      \
                      \"Add\": {\n        \"Other\": \"/usr/lib/other.so\"\n      },\n      \"Delete\": [\"Old\"]\n    },\n    \"Alpha\": true\n  }\n}\n";
        let with = with_device(before, "CNS", OURS).unwrap().unwrap();
        assert!(with.contains("\"Zeta\": { \"b\":1,\n        \"a\": 1.50 }"), "{with}");
        assert!(with.find("Zeta").unwrap() < with.find("Alpha").unwrap(), "{with}");
        assert_eq!(devices(&with).unwrap().len(), 2);
        let without = without_devices(&with, &["CNS".into()]).unwrap().unwrap();
        assert_eq!(without, before);
    }

    #[test]
    fn the_older_form_is_not_put_out_of_force() {
        let before = r#"{"policies":{"SecurityDevices":{"Other":"/usr/lib/other.so"}}}"#;
        let with = with_device(before, "CNS", OURS).unwrap().unwrap();
        // A member `Add` would make Firefox ignore the other device.
        assert!(!with.contains("Add"), "{with}");
        assert_eq!(devices(&with).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_policy_file_is_an_error() {
        for text in ["", "[]", "{\"policies\": 1}", "{\"policies\":{\"SecurityDevices\":[]}}", "// x\n{}"] {
            assert!(with_device(text, "CNS", OURS).is_err(), "{text}");
        }
    }
}
