//! Which PKCS#11 modules the programs on this computer load, ours and others.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place::{Place, is_ours};
use super::{Target, files, firefox, nss, own, policies};

/// Who made a module, as far as the name of its file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Maker {
    /// This project.
    Ours,
    /// Middleware that takes CNS cards for itself: OpenSC, and the makers' own.
    Rival,
    /// p11-kit's proxy, through which a program loads whatever p11-kit has.
    Proxy,
    /// Anybody else.
    Other,
}

/// A module that a program loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Loaded {
    /// The program.
    pub(crate) program: Target,
    /// The file that says so.
    pub(crate) file: PathBuf,
    /// Whether it holds for all users.
    pub(crate) for_all: bool,
    /// The name that the program has for it.
    pub(crate) name: String,
    /// The module's file.
    pub(crate) library: PathBuf,
    /// Who made it.
    pub(crate) maker: Maker,
}

/// File names of middleware that recognises CNS cards: OpenSC; Bit4id, Athena and Gemalto, which the cards' makers give out.
const RIVALS: [&str; 8] = [
    "opensc-pkcs11",
    "onepin-opensc-pkcs11",
    "libopensc-pkcs11",
    "libbit4",
    "libASEP11",
    "libasep11",
    "libIDPrimePKCS11",
    "libcnsPKCS11",
];

fn maker(library: &Path) -> Maker {
    let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if is_ours(&name) {
        Maker::Ours
    } else if RIVALS.iter().any(|rival| name.starts_with(rival)) {
        Maker::Rival
    } else if name.starts_with("p11-kit-proxy") || name.starts_with("libp11-kit") {
        Maker::Proxy
    } else {
        Maker::Other
    }
}

/// Everything that is loaded by programs that we know, as far as this user may read it.
pub(crate) fn loaded(place: &Place) -> Vec<Loaded> {
    let mut all = p11_kit(place);
    let policy = place.system(firefox::POLICIES);
    let devices = files::peek(&policy).and_then(|text| policies::devices(&text).ok()).unwrap_or_default();
    all.extend(
        devices.into_iter().map(|(name, path)| entry(Target::Firefox, &policy, true, name, path.into())),
    );
    let databases = firefox::profiles(place).into_iter().map(|profile| (Target::Firefox, profile));
    let shared = nss::shared(place).map(|folder| (Target::Chromium, folder));
    for (program, folder) in databases.chain(shared) {
        let list = folder.join(nss::MODULES);
        let modules = nss::modules(&files::peek(&list).unwrap_or_default());
        all.extend(modules.into_iter().map(|(name, path)| entry(program, &list, false, name, path.into())));
    }
    for is_system in [true, false] {
        all.extend(own_files(place, is_system));
    }
    all
}

fn entry(program: Target, file: &Path, for_all: bool, name: String, library: PathBuf) -> Loaded {
    Loaded { program, file: file.to_owned(), for_all, name, maker: maker(&library), library }
}

/// p11-kit's files for modules; one of the user's or administrator's hides the package's of the same name.
fn p11_kit(place: &Place) -> Vec<Loaded> {
    let folders = [
        place.configuration("pkcs11/modules").map(|folder| (folder, false)),
        Some((place.system("/etc/pkcs11/modules"), true)),
        Some((place.system("/usr/share/p11-kit/modules"), true)),
    ];
    let (mut all, mut seen) = (Vec::new(), Vec::new());
    for (folder, for_all) in folders.into_iter().flatten() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
        found.sort();
        for file in found.into_iter().filter(|file| file.extension() == Some(OsStr::new("module"))) {
            let text = files::peek(&file).unwrap_or_default();
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let library = text.lines().find_map(|line| line.strip_prefix("module:")).map(str::trim);
            if seen.contains(&name) {
                continue;
            }
            seen.push(name.clone());
            if let Some(library) = library {
                all.push(entry(Target::P11Kit, &file, for_all, name, place.resolve(library)));
            }
        }
    }
    all
}

/// What our own files for Java and OpenSSL name.
fn own_files(place: &Place, is_system: bool) -> Vec<Loaded> {
    let place = place.as_seen(is_system);
    let candidates = [
        (Target::Java, own::java_file(&place), "library = "),
        (Target::Openssl, own::openssl_file(&place), "pkcs11-module-path = "),
        (Target::Openssl, own::openssl_file(&place), "MODULE_PATH = "),
    ];
    let found = candidates.into_iter().filter_map(|(program, file, key)| {
        let file = file.ok()?;
        let text = files::peek(&file)?;
        let library = text.lines().find_map(|line| line.strip_prefix(key))?.trim().to_owned();
        Some(entry(program, &file, is_system, super::place::NAME.into(), library.into()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_told_by_their_files() {
        for (library, expected) in [
            ("/opt/cns/libcns_pkcs11.so", Maker::Ours),
            ("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", Maker::Rival),
            ("/usr/lib/pkcs11/onepin-opensc-pkcs11.so", Maker::Rival),
            ("/usr/lib/libbit4xpki.so", Maker::Rival),
            ("/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so", Maker::Proxy),
            ("p11-kit-trust.so", Maker::Other),
            ("/usr/lib/softhsm/libsofthsm2.so", Maker::Other),
        ] {
            assert_eq!(maker(Path::new(library)), expected, "{library}");
        }
    }
}
