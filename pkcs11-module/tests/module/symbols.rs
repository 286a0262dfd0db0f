//! What the library shows to the linker.

use std::fs;

use object::{Object, ObjectSymbol};

use crate::library;

#[test]
fn only_functions_of_the_standard_are_exported() {
    let bytes = fs::read(library::path()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let exported: Vec<_> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .map(|symbol| symbol.name().unwrap().to_owned())
        .collect();
    assert_eq!(exported.iter().filter(|name| !name.starts_with("C_")).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(exported.len(), 104);
}

/// An application that knows PKCS#11 only through this module should not be given other libraries with it.
#[test]
fn nothing_but_the_c_library_is_needed() {
    let bytes = fs::read(library::path()).unwrap();
    let text = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    assert!(text(b"libc.so.6\0"));
    for other in [&b"libpcsclite.so"[..], b"libcrypto.so", b"libssl.so", b"libstdc++.so"] {
        assert!(!text(other), "{}", String::from_utf8_lossy(other));
    }
}
