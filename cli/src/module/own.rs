//! The programs for which a file of our own does: p11-kit, Java, OpenSSL.

use std::path::{Path, PathBuf};

use super::files;
use super::place::{NAME, Place};
use super::plan::{Plan, Step};
use crate::error::CliError;

/// The first line of each file that is wholly ours.
const MARK: &str = "# Written by `cnsctl module register`; `cnsctl module unregister` removes it.\n";

/// The module file of p11-kit, in the user's or the system's folder for them.
pub(super) fn p11_kit_file(place: &Place) -> Result<PathBuf, CliError> {
    let own = || place.configuration("pkcs11/modules").ok_or(CliError::NoHome);
    let folder = if place.is_system { place.system("/etc/pkcs11/modules") } else { own()? };
    Ok(folder.join("cns.module"))
}

/// What p11-kit is told.
pub(super) fn p11_kit_text(module: &Path) -> String {
    format!("{MARK}module: {}\n", module.display())
}

/// The configuration of Java's SunPKCS11.
pub(super) fn java_file(place: &Place) -> Result<PathBuf, CliError> {
    place.own_file("sunpkcs11.cfg")
}

/// What Java is told.
pub(super) fn java_text(module: &Path) -> String {
    format!(
        "{MARK}name = {NAME}\nlibrary = {}\n# Without one of these lines Java takes the first reader:\n\
         # slotListIndex = 1\n# slot = 2\n",
        module.display()
    )
}

/// How Java is told to use its file.
pub(super) fn java_notes(file: &Path) -> Vec<String> {
    let file = file.display();
    vec![
        format!("keytool -list -keystore NONE -storetype PKCS11 -addprovider SunPKCS11 -providerarg {file}"),
        format!(
            "in a program: Security.addProvider(Security.getProvider(\"SunPKCS11\").configure(\"{file}\"))"
        ),
    ]
}

/// A configuration of OpenSSL.
pub(super) fn openssl_file(place: &Place) -> Result<PathBuf, CliError> {
    place.own_file("openssl.cnf")
}

/// What OpenSSL is told: by the provider where there is one, else by the engine. No section is called `default`: that
/// name belongs to OpenSSL's parser, and the provider `default` would not be found.
pub(super) fn openssl_text(place: &Place, module: &Path) -> Option<String> {
    let found = |path: &str| {
        let mut there = place.library_folders().into_iter().map(|folder| folder.join(path));
        there.find(|path| path.exists())
    };
    let module = module.display();
    let head = format!("{MARK}openssl_conf = cns_openssl\n\n[cns_openssl]\n");
    if let Some(provider) = found("ossl-modules/pkcs11.so") {
        return Some(format!(
            "{head}providers = cns_providers\n\n[cns_providers]\ndefault = cns_default_provider\n\
             pkcs11 = cns_pkcs11_provider\n\n[cns_default_provider]\nactivate = 1\n\n[cns_pkcs11_provider]\n\
             module = {}\npkcs11-module-path = {module}\nactivate = 1\n",
            provider.display()
        ));
    }
    let engine = found("engines-3/pkcs11.so")?;
    Some(format!(
        "{head}engines = cns_engines\n\n[cns_engines]\npkcs11 = cns_pkcs11_engine\n\n[cns_pkcs11_engine]\n\
         engine_id = pkcs11\ndynamic_path = {}\nMODULE_PATH = {module}\ninit = 0\n",
        engine.display()
    ))
}

/// How OpenSSL is told to use its file.
pub(super) fn openssl_notes(file: &Path) -> Vec<String> {
    vec![format!("OPENSSL_CONF={} openssl …, with keys named as 'pkcs11:type=private;…'", file.display())]
}

/// Plans to write a file of ours; a file of that name that is not ours is left alone.
pub(super) fn register(file: PathBuf, text: String) -> Result<Plan, CliError> {
    let mut plan = Plan::default();
    match files::read(&file)? {
        Some(before) if before == text => {}
        Some(before) if !before.starts_with(MARK) => return Err(not_ours(file)),
        _ => plan.steps.push(Step::Write { file, text, kept_as: None }),
    }
    Ok(plan)
}

/// Plans to remove a file of ours.
pub(super) fn unregister(file: PathBuf) -> Result<Plan, CliError> {
    let mut plan = Plan::default();
    match files::read(&file)? {
        None => {}
        Some(text) if !text.starts_with(MARK) => return Err(not_ours(file)),
        Some(_) => plan.steps.push(Step::Remove { file }),
    }
    Ok(plan)
}

fn not_ours(path: PathBuf) -> CliError {
    CliError::LeftAlone { path, reason: "somebody else wrote it; move it away first".into() }
}
