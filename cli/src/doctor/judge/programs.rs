//! The module, and the programs that load it.

use std::path::Path;

use cns_protocol::reader::ReaderState;

use super::super::facts::{Daemon, Facts};
use super::super::{Finding, Level};
use super::VERSION;
use crate::module::Target;
use crate::module::survey::{Loaded, Maker};

pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    judge_module(facts, findings);
    registered(facts, findings);
    for browser in &facts.browsers {
        let has_ours =
            facts.loaded.iter().any(|loaded| loaded.program == *browser && loaded.maker == Maker::Ours);
        if !has_ours {
            let name = browser.name();
            findings.push(Finding::new(
                Level::Warning,
                "browser-not-registered",
                format!("{name} does not know the module"),
                format!("{name} sees no card."),
                format!("cnsctl module register {}", name.to_lowercase()),
            ));
        }
    }
    doubles(facts, findings);
    findings.extend(facts.sandboxed.iter().map(|sandboxed| {
        Finding::new(
            Level::Warning,
            "browser-in-sandbox",
            format!("{} is installed as a {}", sandboxed.browser, sandboxed.sandbox),
            "In its sandbox it reaches neither the module's file nor cnsd's socket.",
            sandboxed.advice(),
        )
    }));
}

fn judge_module(facts: &Facts, findings: &mut Vec<Finding>) {
    let (path, probed) = match &facts.module {
        Ok(found) => found,
        Err(why) => {
            findings.push(Finding::new(
                Level::Fault,
                "module-unusable",
                format!("the PKCS#11 module cannot be loaded: {why}"),
                "Browsers and signing software reach the card through it.",
                "Install libcns_pkcs11.so again (docs/operations.md, Install), or name it with --module.",
            ));
            return;
        }
    };
    let ours = VERSION.rsplit_once('.').map_or(VERSION, |(version, _)| version);
    findings.push(Finding::ok("module", format!("{} loads, version {}", path.display(), probed.version)));
    if probed.version != ours {
        findings.push(Finding::new(
            Level::Warning,
            "module-version-differs",
            format!("the module is version {}, cnsctl is version {VERSION}", probed.version),
            "An update was left half done; browsers would go on with the other version.",
            "Install the same version of both, then start the browsers again.",
        ));
    }
    if let Daemon::Answers(answers) = &facts.daemon {
        let cards =
            answers.readers.iter().filter(|reader| matches!(reader.state, ReaderState::Card(_))).count();
        if probed.tokens.len() < cards {
            findings.push(Finding::new(
                Level::Fault,
                "module-sees-no-card",
                format!("cnsd has {cards} cards, the module shows {}", probed.tokens.len()),
                "Browsers see what the module shows.",
                "If CNSD_SOCKET is set, see that the browser has the same; then see journalctl -u cnsd.",
            ));
        }
    }
}

fn registered(facts: &Facts, findings: &mut Vec<Finding>) {
    for loaded in facts.loaded.iter().filter(|loaded| loaded.maker == Maker::Ours) {
        let (program, file) = (loaded.program.name(), loaded.file.display());
        let library = loaded.library.display();
        if !loaded.library.exists() {
            findings.push(Finding::new(
                Level::Fault,
                "registered-module-missing",
                format!("{program} is told by {file} to load {library}, which is not there"),
                format!("{program} sees no card."),
                "cnsctl module register",
            ));
            continue;
        }
        findings.push(Finding::ok("registered", format!("{program} loads the module ({file})")));
        let current = facts.module.as_ref().ok().map(|(path, _)| path.as_path());
        if current.is_some_and(|current| !same_file(current, &loaded.library)) {
            findings.push(Finding::new(
                Level::Note,
                "registered-other-module",
                format!(
                    "{program} loads {library}, which is another file than the one that was looked at here"
                ),
                "It may be of another version.",
                "cnsctl module register",
            ));
        }
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok().is_some_and(|one| other.canonicalize().ok() == Some(one))
}

/// Other middleware beside ours in one program: the card is there twice, and the PIN is asked for twice.
fn doubles(facts: &Facts, findings: &mut Vec<Finding>) {
    let has_ours = |program: Target| {
        facts.loaded.iter().any(|loaded| loaded.program == program && loaded.maker == Maker::Ours)
    };
    for other in facts.loaded.iter().filter(|other| has_ours(other.program)) {
        let program = other.program.name();
        let what = match other.maker {
            Maker::Rival => format!(
                "{program} also loads {}, which takes the same cards for itself",
                other.library.display()
            ),
            Maker::Proxy if has_ours(Target::P11Kit) => {
                format!("{program} also loads p11-kit's proxy, which brings the module a second time")
            }
            Maker::Proxy | Maker::Ours | Maker::Other => continue,
        };
        findings.push(Finding::new(
            Level::Warning,
            "double",
            what,
            format!("{program} then shows the card twice and may ask for the PIN twice, or take the wrong one of the two."),
            unload(other),
        ));
    }
}

/// How a program is told to load another's module no more.
fn unload(other: &Loaded) -> String {
    let (name, file) = (&other.name, other.file.display());
    let folder = other.file.parent().unwrap_or(Path::new("/")).display();
    match (other.program, other.for_all) {
        (Target::Firefox, true) => {
            format!("Take {name:?} out of {file}, and unload it in Firefox's settings.")
        }
        (Target::Firefox, false) => format!(
            "In Firefox: Settings, Privacy & Security, Security Devices, {name:?}, Unload. Or, with Firefox closed: \
             modutil -dbdir sql:{folder} -delete {name:?}"
        ),
        (Target::Chromium, _) => {
            format!("With all such browsers closed: modutil -dbdir sql:{folder} -delete {name:?}")
        }
        (Target::P11Kit, _) => format!(
            "If nothing else needs it, remove its package; else a file /etc/pkcs11/modules/{name}.module that holds only \
             a comment hides it from p11-kit (now: {file})."
        ),
        (Target::Java | Target::Openssl, _) => format!("Take it out of {file}."),
    }
}
