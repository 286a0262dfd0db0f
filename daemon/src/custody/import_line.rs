//! One line of an import file: a flat JSON object, read without a copy of any value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A member's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A string that needed no unescaping.
    Text(&'a str),
    /// A whole number.
    Number(u64),
}

/// The values of the members with these names, in this order: each exactly once and nothing else.
pub(crate) fn members<'a, const N: usize>(line: &'a [u8], names: [&str; N]) -> Option<[Value<'a>; N]> {
    // The parser would build an unescaped string in ordinary memory. Digits never need it.
    if line.contains(&b'\\') {
        return None;
    }
    let Object::<'a, N>(found) = serde_json::from_slice(line).ok()?;
    let mut values = [Value::Number(0); N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = found.iter().flatten().find(|(found, _)| *found == name)?.1;
    }
    Some(values)
}

/// An object of exactly N members. With N different names all found, none is there twice.
struct Object<'a, const N: usize>([Option<(&'a str, Value<'a>)>; N]);

impl<'de, const N: usize> Deserialize<'de> for Object<'de, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Members<N> {
            type Value = Object<'de, N>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = [None; N];
                for slot in &mut found {
                    *slot = map.next_entry::<&'de str, Value<'de>>()?;
                }
                match (found.iter().all(Option::is_some), map.next_key::<&'de str>()?) {
                    (true, None) => Ok(Object(found)),
                    (_, _) => Err(A::Error::custom("another number of members")),
                }
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        // The default methods put the value that they refuse into their message, in ordinary memory.
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Value<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a plain string or a whole number")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Value::Text(text))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Value::Number(number))
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(E::custom("an escaped string"))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
                Err(E::custom("a negative number"))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                Err(E::custom("a fraction"))
            }
        }
        deserializer.deserialize_any(Borrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_in_any_order_and_borrowed() {
        let line = br#" {"b" : "two", "a":"one","n":3} "#;
        let found = members(line, ["a", "b", "n"]).unwrap();
        assert_eq!(found, [Value::Text("one"), Value::Text("two"), Value::Number(3)]);
        let Value::Text(one) = found[0] else { panic!() };
        assert!(line.as_ptr_range().contains(&one.as_ptr()));
    }

    #[test]
    fn everything_else_is_refused() {
        let wrong: [&[u8]; 14] = [
            br#"{"a":"one"}"#,
            br#"{"a":"one","b":"two","c":"three"}"#,
            br#"{"a":"one","a":"two"}"#,
            br#"{"a":"one","b":"\u0032"}"#,
            br#"{"a":"one","\u0062":"2"}"#,
            br#"{"a":"one","b":-2}"#,
            br#"{"a":"one","b":2.5}"#,
            br#"{"a":"one","b":null}"#,
            br#"{"a":"one","b":["two"]}"#,
            br#"{"a":"one","b":{"c":"two"}}"#,
            br#"["a","b"]"#,
            br#"{"a":"one","b":"two"} x"#,
            b"{\"a\":\"one\",\"b\":\"\xFF\"}",
            b"",
        ];
        for line in wrong {
            assert!(members(line, ["a", "b"]).is_none(), "{}", String::from_utf8_lossy(line));
        }
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        assert!(members(&deep, ["a", "b"]).is_none());
    }
}
