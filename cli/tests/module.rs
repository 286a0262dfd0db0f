//! `cnsctl module …` on folders of its own: what it writes, what it leaves alone, and that it takes everything back.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A module that does as little as a module can: it starts, tells of itself and has no slot.
const SMALLEST_MODULE: &str = r#"
#include <string.h>
#include <stdlib.h>
typedef unsigned long ul;
struct info { unsigned char v[2]; unsigned char maker[32]; ul flags; unsigned char what[32]; unsigned char lib[2]; };
static struct { unsigned char version[2]; void *f[68]; } list = { { 2, 40 } };
static ul initialize(void *a) { INITIALIZE return 0; }
static ul finalize(void *a) { return 0; }
static ul info(struct info *i) { memset(i, ' ', sizeof *i); i->v[0] = 2; i->v[1] = 40; i->flags = 0;
    i->lib[0] = 7; i->lib[1] = 3; return 0; }
static ul slots(unsigned char t, ul *s, ul *n) { *n = 0; return 0; }
static ul none(void) { return 0x54; }
ul C_GetFunctionList(void **l) { for (int i = 0; i < 68; i++) list.f[i] = (void *)none;
    list.f[0] = (void *)initialize; list.f[1] = (void *)finalize; list.f[2] = (void *)info;
    list.f[3] = (void *)C_GetFunctionList; list.f[4] = (void *)slots; *l = &list; return 0; }
"#;

/// Folders that stand for a computer and a home.
struct Computer {
    folder: TempDir,
}

impl Computer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "home", "lib"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let computer = Self { folder };
        computer.make_module("");
        computer
    }

    /// Compiles the module; what it does in C_Initialize.
    fn make_module(&self, initialize: &str) {
        let source = self.path("lib/module.c");
        fs::write(&source, SMALLEST_MODULE.replace("INITIALIZE", initialize)).unwrap();
        let made =
            Command::new("cc").args(["-shared", "-fPIC", "-w", "-o"]).arg(self.module()).arg(source).status();
        assert!(made.unwrap().success());
        fs::set_permissions(self.module(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn module(&self) -> PathBuf {
        self.path("lib/libcns_pkcs11.so")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cnsctl"));
        command.arg("module").args(arguments).arg("--root").arg(self.path("root"));
        command.arg("--module").arg(self.module()).env("HOME", self.path("home"));
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    /// Runs it, which must succeed; its answer.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Every file, folder and link, with permissions and contents.
    fn everything(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        fn look(folder: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let what = fs::symlink_metadata(&path).unwrap();
                let contents = if what.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                found.insert(path.clone(), (what.permissions().mode(), contents));
                if what.is_dir() {
                    look(&path, found);
                }
            }
        }
        let mut found = BTreeMap::new();
        look(self.folder.path(), &mut found);
        found
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn has_nss_tools() -> bool {
    let there = Command::new("modutil").arg("-H").output().is_ok();
    assert!(there || std::env::var_os("CNS_REAL_PARTS").is_none(), "modutil (libnss3-tools) is missing");
    there
}

/// Each program whose configuration is a file of ours or Firefox's policies, for all users and for one.
const WITHOUT_NSS: [(&str, &str, &str); 7] = [
    ("p11-kit", "--system", "root/etc/pkcs11/modules/cns.module"),
    ("p11-kit", "--user", "home/.config/pkcs11/modules/cns.module"),
    ("firefox", "--system", "root/etc/firefox/policies/policies.json"),
    ("java", "--system", "root/etc/cnsd/sunpkcs11.cfg"),
    ("java", "--user", "home/.config/cns/sunpkcs11.cfg"),
    ("openssl", "--system", "root/etc/cnsd/openssl.cnf"),
    ("openssl", "--user", "home/.config/cns/openssl.cnf"),
];

fn computer_with_openssl_engine() -> Computer {
    let computer = Computer::new();
    let folder = format!("root/usr/lib/{}-linux-gnu/engines-3/pkcs11.so", std::env::consts::ARCH);
    computer.write(&folder, "");
    fs::create_dir(computer.path("root/etc")).unwrap();
    fs::create_dir(computer.path("home/.config")).unwrap();
    computer
}

#[test]
fn what_is_registered_is_shown_first_told_once_and_taken_back_whole() {
    let computer = computer_with_openssl_engine();
    for (program, whose, file) in WITHOUT_NSS {
        let before = computer.everything();
        let dry = computer.json(&["register", program, whose, "--dry-run"]);
        assert_eq!(computer.everything(), before, "{program} {whose}: a dry run wrote");
        let done = computer.json(&["register", program, whose]);
        assert_eq!(dry["programs"], done["programs"], "{program} {whose}: not what was announced");
        let change = &done["programs"][0]["changes"][0];
        assert_eq!(change["file"], computer.path(file).to_str().unwrap());
        assert_eq!(fs::read_to_string(computer.path(file)).unwrap(), change["text"].as_str().unwrap());
        assert!(change["text"].as_str().unwrap().contains(computer.module().to_str().unwrap()));
        let status = computer.json(&["status", whose]);
        assert_eq!(status["registered"].as_array().unwrap().len(), 1, "{program} {whose}: {status}");
        assert_eq!(status["registered"][0]["program"], program);
        assert_eq!(status["version"], "7.3");
        let registered = computer.everything();
        let again = computer.json(&["register", program, whose]);
        assert_eq!(again["programs"][0]["changes"], serde_json::json!([]), "{program} {whose}");
        assert_eq!(computer.everything(), registered);
        computer.json(&["unregister", program, whose]);
        assert_eq!(computer.everything(), before, "{program} {whose}: something is left");
        let nothing = computer.json(&["unregister", program, whose]);
        assert_eq!(nothing["programs"][0]["changes"], serde_json::json!([]));
    }
}

#[test]
fn folders_that_were_there_stay_and_those_that_were_made_go() {
    let computer = computer_with_openssl_engine();
    // Empty, as p11-kit's and Firefox's packages leave them.
    fs::create_dir_all(computer.path("home/.config/pkcs11/modules")).unwrap();
    fs::create_dir(computer.path("root/etc/firefox")).unwrap();
    let before = computer.everything();
    for (program, whose, _) in WITHOUT_NSS {
        computer.json(&["register", program, whose]);
    }
    let lists = ["root/etc/cnsd/made-folders", "home/.config/cns/made-folders"];
    let noted = lists.map(|list| fs::read_to_string(computer.path(list)).unwrap());
    let noted = noted.each_ref().map(|text| text.lines().skip(1).collect::<Vec<_>>());
    assert_eq!(noted[0], ["etc/cnsd", "etc/firefox/policies", "etc/pkcs11", "etc/pkcs11/modules"]);
    assert_eq!(noted[1], [".config/cns"]);
    for (program, whose, file) in WITHOUT_NSS {
        assert!(computer.path(file).exists(), "{file} went with another program's");
        computer.json(&["unregister", program, whose]);
    }
    assert_eq!(computer.everything(), before);

    // What somebody else keeps in a folder of ours makes it theirs.
    computer.json(&["register", "java", "openssl", "--user"]);
    computer.json(&["unregister", "java", "--user"]);
    let theirs = computer.write("home/.config/cns/theirs", "x");
    let told = computer.json(&["unregister", "openssl", "--user"]);
    assert_eq!(told.get("removed_folders"), None, "{told}");
    assert_eq!(fs::read_dir(computer.path("home/.config/cns")).unwrap().count(), 1);
    computer.json(&["register", "openssl", "--user"]);
    computer.json(&["unregister", "openssl", "--user"]);
    fs::remove_file(theirs).unwrap();
    fs::remove_dir(computer.path("home/.config/cns")).unwrap();
    assert_eq!(computer.everything(), before);
}

#[test]
fn policies_of_an_administrator_are_merged_and_restored_byte_for_byte() {
    let computer = Computer::new();
    let file = computer.write(
        "root/etc/firefox/policies/policies.json",
        "{ \"policies\" :\n\t{\"Zeta\":true, \"SecurityDevices\":{\"Add\":{\"Other\":\"/o.so\"}}, \"Alpha\": [ 1 ] } }",
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = computer.everything();
    computer.json(&["register", "firefox", "--system"]);
    let merged: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let added = &merged["policies"]["SecurityDevices"]["Add"];
    assert_eq!(added["CNS"], computer.module().to_str().unwrap());
    assert_eq!((&added["Other"], &merged["policies"]["Alpha"][0]), (&"/o.so".into(), &1.into()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let kept = file.with_file_name("policies.json.before-cns");
    assert_eq!(fs::read(&kept).unwrap(), before[&file].1);
    // What an administrator changes meanwhile stays, in place of what was kept.
    let changed = fs::read_to_string(&file)
        .unwrap()
        .replace("\"Zeta\":true", "\"Zeta\":false")
        .replace("\"Zeta\": true", "\"Zeta\": false");
    fs::write(&file, &changed).unwrap();
    computer.json(&["unregister", "firefox", "--system"]);
    let left: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(left["policies"]["Zeta"], false);
    assert!(left["policies"]["SecurityDevices"]["Add"].get("CNS").is_none());
    fs::write(&file, &before[&file].1).unwrap();
    fs::remove_file(kept).unwrap();
    computer.json(&["register", "firefox", "--system"]);
    computer.json(&["unregister", "firefox", "--system"]);
    assert_eq!(computer.everything(), before);
}

#[test]
fn what_is_not_understood_or_not_ours_is_left_alone() {
    let computer = computer_with_openssl_engine();
    let policies =
        computer.write("root/etc/firefox/policies/policies.json", "// Mozilla allows no comments\n{}");
    let foreign = computer.write("root/etc/pkcs11/modules/cns.module", "module: other.so\n");
    let secret = computer.write("secret", "untouched");
    fs::create_dir(computer.path("root/etc/cnsd")).unwrap();
    symlink(&secret, computer.path("root/etc/cnsd/sunpkcs11.cfg")).unwrap();
    let before = computer.everything();
    for program in ["firefox", "p11-kit", "java"] {
        for verb in ["register", "unregister"] {
            let output = computer.run(&["--json", verb, program, "--system"]);
            assert_eq!(output.status.code(), Some(1), "{verb} {program}: {}", words(&output));
            assert!(words(&output).contains("left alone"), "{verb} {program}: {}", words(&output));
        }
    }
    assert_eq!(computer.everything(), before, "{} {}", policies.display(), foreign.display());
    // One that cannot be done does not stop the others.
    let output = computer.run(&["register", "p11-kit", "openssl", "--system"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(computer.path("root/etc/cnsd/openssl.cnf").exists(), "{}", words(&output));
}

#[test]
fn another_device_of_our_name_in_a_policy_is_left_alone() {
    for devices in [r#"{"Add":{"CNS":"/other.so"}}"#, r#"{"CNS":"/other.so"}"#] {
        let computer = Computer::new();
        let text = format!(r#"{{"policies":{{"SecurityDevices":{devices}}}}}"#);
        computer.write("root/etc/firefox/policies/policies.json", &text);
        let before = computer.everything();
        let output = computer.run(&["register", "firefox", "--system"]);
        assert_eq!(output.status.code(), Some(1), "{devices}: {}", words(&output));
        assert!(words(&output).contains("another module is called CNS"), "{}", words(&output));
        computer.json(&["unregister", "firefox", "--system"]);
        assert_eq!(computer.everything(), before, "{devices}");
    }
}

#[test]
fn another_module_of_our_name_in_a_database_is_left_alone() {
    let computer = Computer::new();
    computer.write("home/.pki/nssdb/pkcs11.txt", "library=/other.so\nname=CNS\n\n");
    let before = computer.everything();
    for arguments in
        [&["register", "chromium", "--user", "--dry-run"][..], &["register", "chromium", "--user"]]
    {
        let output = computer.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", words(&output));
        assert!(words(&output).contains("another module is called CNS"), "{}", words(&output));
    }
    computer.json(&["unregister", "chromium", "--user"]);
    assert_eq!(computer.everything(), before);
}

#[test]
fn policies_of_one_installation_are_not_put_out_of_force() {
    let computer = Computer::new();
    computer.write("root/usr/lib/firefox-esr/distribution/policies.json", "{\"policies\":{}}");
    let output = computer.run(&["register", "firefox", "--system"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("out of force"), "{}", words(&output));
    assert!(!computer.path("root/etc/firefox").exists());
}

#[test]
fn a_module_that_does_not_load_is_registered_nowhere() {
    let computer = Computer::new();
    let before = |computer: &Computer| computer.everything().len();
    let count = before(&computer);
    for (initialize, told) in [("abort();", "signal: 6"), ("return 5;", "cannot be used")] {
        computer.make_module(initialize);
        let output = computer.run(&["register", "p11-kit", "--user"]);
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        assert!(words(&output).contains(told), "{}", words(&output));
        assert_eq!(before(&computer), count);
    }
    computer.make_module("");
    fs::set_permissions(computer.module(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = computer.run(&["register", "p11-kit", "--user"]);
    assert!(words(&output).contains("others can write"), "{}", words(&output));
    fs::remove_file(computer.module()).unwrap();
    let output = computer.run(&["register", "p11-kit", "--user"]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
}

#[test]
fn chromium_gets_a_database_that_goes_again_when_nobody_used_it() {
    if !has_nss_tools() {
        return;
    }
    let computer = Computer::new();
    let before = computer.everything();
    computer.json(&["register", "chromium", "--user"]);
    let list = fs::read_to_string(computer.path("home/.pki/nssdb/pkcs11.txt")).unwrap();
    assert!(list.contains(&format!("library={}\nname=CNS", computer.module().display())), "{list}");
    assert_eq!(fs::metadata(computer.path("home/.pki")).unwrap().permissions().mode() & 0o777, 0o700);
    let again = computer.json(&["register", "chromium", "--user"]);
    assert_eq!(again["programs"][0]["changes"], serde_json::json!([]));
    computer.json(&["unregister", "chromium", "--user"]);
    assert_eq!(computer.everything(), before);
    // With something of its owner's in it, it stays.
    computer.json(&["register", "chromium", "--user"]);
    let mut key = Command::new("certutil");
    key.args(["-S", "-x", "-n", "own", "-s", "CN=Own", "-t", ",,", "-z", "/etc/hostname", "-d"]);
    let made = key.arg(format!("sql:{}", computer.path("home/.pki/nssdb").display())).output().unwrap();
    assert!(made.status.success(), "{}", words(&made));
    computer.json(&["unregister", "chromium", "--user"]);
    let list = fs::read_to_string(computer.path("home/.pki/nssdb/pkcs11.txt")).unwrap();
    assert!(!list.contains("libcns_pkcs11"), "{list}");
}

#[test]
fn a_database_and_a_profile_that_are_there_lose_nothing() {
    if !has_nss_tools() {
        return;
    }
    let computer = Computer::new();
    let profile = computer.path("home/.mozilla/firefox/abc.default-esr");
    computer.write(
        "home/.mozilla/firefox/profiles.ini",
        "[General]\nStartWithLastProfile=1\n\n[Profile0]\nName=default\nIsRelative=1\nPath=abc.default-esr\n",
    );
    // Newer ones keep their profiles where the user's configuration is.
    let newer = computer.path("home/.config/mozilla/firefox/def.default");
    computer
        .write("home/.config/mozilla/firefox/profiles.ini", "[Profile0]\nIsRelative=1\nPath=def.default\n");
    let database = computer.path("home/.pki/nssdb");
    for folder in [&profile, &newer, &database] {
        fs::create_dir_all(folder).unwrap();
        let mut make = Command::new("certutil");
        make.args(["-N", "--empty-password", "-d"]).arg(format!("sql:{}", folder.display()));
        assert!(make.status().unwrap().success());
    }
    let before = computer.everything();
    // Firefox, running with this profile, would write its own list over ours.
    let lock = profile.join("lock");
    symlink(format!("127.0.1.1:+{}", std::process::id()), &lock).unwrap();
    let output = computer.run(&["register", "firefox", "--user"]);
    assert!(words(&output).contains("close it first"), "{}", words(&output));
    fs::remove_file(&lock).unwrap();
    symlink("127.0.1.1:+4194400", &lock).unwrap();
    computer.json(&["register", "firefox", "chromium", "--user"]);
    let status = computer.json(&["status", "--user"]);
    assert_eq!(status["registered"].as_array().unwrap().len(), 3, "{status}");
    computer.json(&["unregister", "firefox", "chromium", "--user"]);
    fs::remove_file(&lock).unwrap();
    assert_eq!(computer.everything(), before);
}

#[test]
fn without_modutil_it_says_which_package_has_it() {
    let computer = Computer::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cnsctl"));
    command.args(["module", "register", "chromium", "--user", "--module"]).arg(computer.module());
    let output = command.env("HOME", computer.path("home")).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("libnss3-tools"), "{}", words(&output));
}

#[test]
fn a_module_that_others_could_replace_is_warned_of_when_it_is_for_all() {
    let computer = Computer::new();
    let lib = computer.path("lib");
    let is_root = fs::metadata(&lib).is_ok_and(|folder| std::os::unix::fs::MetadataExt::uid(&folder) == 0);
    if is_root {
        let safe = computer.json(&["register", "p11-kit", "--system"]);
        assert_eq!(safe.get("warning"), None, "{safe}");
    }
    fs::set_permissions(&lib, fs::Permissions::from_mode(0o777)).unwrap();
    let warned = computer.json(&["register", "p11-kit", "--system"]);
    assert!(warned["warning"].as_str().unwrap().contains(lib.to_str().unwrap()), "{warned}");
    assert_eq!(computer.json(&["register", "p11-kit", "--user"]).get("warning"), None);
}

#[test]
fn a_browser_in_a_sandbox_is_told_of() {
    let computer = Computer::new();
    assert_eq!(computer.json(&["status"])["sandboxed"], serde_json::json!([]));
    for folder in ["root/snap/firefox", "home/.local/share/flatpak/app/org.chromium.Chromium"] {
        fs::create_dir_all(computer.path(folder)).unwrap();
    }
    let told = computer.json(&["register", "p11-kit", "--user"])["sandboxed"].to_string();
    assert!(told.contains("Firefox as a snap") && told.contains("Chromium as a flatpak"), "{told}");
}
