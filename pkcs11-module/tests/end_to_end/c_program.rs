//! A C program that does everything wrong (`tests/c/negative.c`), compiled against the header that the bindings are made
//! from, alone and under valgrind.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::desk::{Desk, module};

/// The folder with `pkcs11.h` of PKCS#11 3.2, which is in the public domain: cargo has it with `cryptoki-sys`.
fn headers() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--offline", "--locked"]);
    // What other platforms need was perhaps never fetched.
    cargo.arg("--filter-platform").arg(format!("{}-unknown-linux-gnu", env::consts::ARCH));
    let metadata = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let bindings = packages.iter().find(|package| package["name"] == "cryptoki-sys").unwrap();
    Path::new(bindings["manifest_path"].as_str().unwrap()).parent().unwrap().join("vendor")
}

/// Compiles the program.
fn compile(folder: &Path) -> PathBuf {
    let program = folder.join("negative");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/negative.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-isystem"]).arg(headers());
    let output = compiler.arg(source).arg("-o").arg(&program).arg("-ldl").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn assert_passed(output: &Output) {
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{told}\n{errors}", output.status);
    assert!(told.contains(" checks, 0 failed"), "{told}");
}

/// Every mistake has its own code, and leaves neither a defect nor memory behind.
#[test]
fn every_mistake_of_a_c_program_has_its_code() {
    let desk = Desk::set_up();
    let program = compile(desk.folder());
    let output = Command::new(&program).arg(module()).arg("1000000").output().unwrap();
    assert_passed(&output);
    // The module prints nothing.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--keep-debuginfo=yes"]);
    valgrind.args(["--show-leak-kinds=definite,indirect,possible", "--child-silent-after-fork=yes"]);
    valgrind.args(["--errors-for-leak-kinds=definite,indirect,possible"]);
    let output = valgrind.arg(&program).arg(module()).arg("1000").output();
    assert_passed(&output.expect("valgrind starts: the Debian package valgrind is wanted"));
    assert_eq!(desk.tries(), 3, "a mistake has cost a try");
}
