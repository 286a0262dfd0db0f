//! `cnsctl module …`: telling other programs of the PKCS#11 module, and taking it back.

mod child;
pub(crate) mod files;
mod firefox;
mod folders;
mod nss;
mod own;
pub(crate) mod place;
mod plan;
mod policies;
pub(crate) mod probe;
pub(crate) mod sandbox;
pub(crate) mod survey;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use folders::Folders;
use place::{Place, PlaceOptions};
use plan::{Plan, Step};
use survey::{Loaded, Maker};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Tell programs of the module; says what it wrote and where
    Register(Change),
    /// Take it back: files that were made for it go, files that were changed are as before
    Unregister(Change),
    /// Tell which programs load the module
    Status(PlaceOptions),
    /// Load a module into this process and tell what it says of itself
    #[command(hide = true)]
    Probe {
        /// The module's file
        file: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Change {
    /// The programs; all of them when none is named
    #[arg(value_enum)]
    programs: Vec<Target>,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: PlaceOptions,
}

/// A program that loads PKCS#11 modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    /// p11-kit, and what uses it: GnuTLS, curl, GNOME, `OpenSSH` and others
    P11Kit,
    /// Firefox: as root by a policy, else in your profiles
    Firefox,
    /// Chromium, Chrome, Edge and whatever else uses the NSS database in your home
    Chromium,
    /// A configuration for Java's `SunPKCS11`
    Java,
    /// A configuration for OpenSSL's engine or provider
    Openssl,
}

impl Target {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Target::P11Kit => "p11-kit",
            Target::Firefox => "Firefox",
            Target::Chromium => "Chromium",
            Target::Java => "Java",
            Target::Openssl => "OpenSSL",
        }
    }
}

/// What was done for one program, or would be.
#[derive(Debug, Serialize)]
struct Outcome {
    program: Target,
    changes: Vec<Step>,
    /// The folders that were missing and are made for it; a list of them is kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    new_folders: Vec<PathBuf>,
    notes: Vec<String>,
    /// Why it went no further.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    dry_run: bool,
    for_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<PathBuf>,
    programs: Vec<Outcome>,
    /// The folders that were made for what is gone, and went with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed_folders: Vec<PathBuf>,
    /// What makes the module a danger to those who load it.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// Browsers that the module cannot reach, and what to do.
    sandboxed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Why the module cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    registered: Vec<Loaded>,
    not_registered: Vec<Target>,
    sandboxed: Vec<String>,
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Register(change) => register(context, change),
        Verb::Unregister(change) => {
            let place = Place::new(change.place);
            carry_out(context, &place, None, &change.programs, change.dry_run)
        }
        Verb::Status(options) => status(context, &Place::new(options)),
        Verb::Probe { file } => {
            let probed = probe::here(&file)?;
            context.show(&probed, |probed| format!("{} {}", probed.description, probed.version))
        }
    }
}

fn register(context: &Context, change: Change) -> Result<(), CliError> {
    let place = Place::new(change.place);
    let module = place.module()?;
    // Nobody is told of a module that cannot be loaded.
    probe::module(&module, context.socket())?;
    carry_out(context, &place, Some(&module), &change.programs, change.dry_run)
}

/// Registers `module`, or unregisters where there is none.
fn carry_out(
    context: &Context,
    place: &Place,
    module: Option<&Path>,
    programs: &[Target],
    dry_run: bool,
) -> Result<(), CliError> {
    let base = place.base()?;
    let programs = if programs.is_empty() { Target::value_variants() } else { programs };
    let folders = Folders::new(place, base)?;
    let outcomes = Outcomes {
        dry_run,
        for_all: place.is_system,
        module: module.map(Path::to_path_buf),
        programs: programs.iter().map(|program| one(place, &folders, *program, module, dry_run)).collect(),
        // Also after what could not be registered: a folder that was made in vain is empty.
        removed_folders: if dry_run { Vec::new() } else { folders.take_back()? },
        warning: module.filter(|_| place.is_system).and_then(Place::exposed_folder).map(|folder| {
            format!(
                "{} is not root's alone: whoever can write there can run what they like in everybody's browser. \
                 Install the module in the system's library folder",
                folder.display()
            )
        }),
        sandboxed: sandbox::installed(place).iter().map(sandbox::Sandboxed::advice).collect(),
    };
    context.show(&outcomes, outcomes_text)?;
    let failed = outcomes.programs.iter().filter(|outcome| outcome.problem.is_some()).count();
    if failed == 0 { Ok(()) } else { Err(CliError::Unfinished(failed)) }
}

fn one(
    place: &Place,
    folders: &Folders<'_>,
    program: Target,
    module: Option<&Path>,
    dry_run: bool,
) -> Outcome {
    let plan = module.map_or_else(|| plan_back(place, program), |module| plan(place, program, module));
    let mut outcome =
        Outcome { program, changes: Vec::new(), new_folders: Vec::new(), notes: Vec::new(), problem: None };
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return Outcome { problem: Some(error.in_full()), ..outcome },
    };
    outcome.notes = plan.notes;
    for step in plan.steps {
        let missing = folders.missing(&step);
        let apply = || folders.note(&missing).and_then(|()| step.apply(folders.base()));
        if !dry_run && let Err(error) = apply() {
            outcome.problem = Some(error.in_full());
            break;
        }
        outcome.new_folders.extend(missing);
        outcome.changes.push(step);
    }
    outcome
}

fn plan(place: &Place, program: Target, module: &Path) -> Result<Plan, CliError> {
    match program {
        Target::P11Kit => {
            let plan = own::register(own::p11_kit_file(place)?, own::p11_kit_text(module))?;
            let is_unread = !place.is_system && rustix::process::geteuid().is_root();
            let note =
                "p11-kit reads no user's own configuration when root runs it; --system holds for root too";
            Ok(Plan { notes: if is_unread { vec![note.into()] } else { Vec::new() }, ..plan })
        }
        Target::Firefox => firefox::register(place, module),
        Target::Chromium => match nss::shared(place).filter(|_| !place.is_system) {
            Some(folder) => nss::register(&folder, module),
            None => Ok(chromium_has_no_system_list()),
        },
        Target::Java => {
            let file = own::java_file(place)?;
            let notes = own::java_notes(&file);
            Ok(Plan { notes, ..own::register(file, own::java_text(module))? })
        }
        Target::Openssl => {
            let file = own::openssl_file(place)?;
            let Some(text) = own::openssl_text(place, module) else {
                let note = "neither OpenSSL's PKCS#11 provider (Debian: pkcs11-provider) nor its engine \
                            (libengine-pkcs11-openssl) is installed; nothing to configure";
                return Ok(Plan { notes: vec![note.into()], ..Plan::default() });
            };
            let notes = own::openssl_notes(&file);
            Ok(Plan { notes, ..own::register(file, text)? })
        }
    }
}

fn plan_back(place: &Place, program: Target) -> Result<Plan, CliError> {
    match program {
        Target::P11Kit => own::unregister(own::p11_kit_file(place)?),
        Target::Firefox => firefox::unregister(place),
        Target::Chromium => match nss::shared(place).filter(|_| !place.is_system) {
            Some(folder) => nss::unregister(&folder),
            None => Ok(chromium_has_no_system_list()),
        },
        Target::Java => own::unregister(own::java_file(place)?),
        Target::Openssl => own::unregister(own::openssl_file(place)?),
    }
}

fn chromium_has_no_system_list() -> Plan {
    let note = "there is no list for all users; each user runs `cnsctl module register chromium`".into();
    Plan { notes: vec![note], ..Plan::default() }
}

fn outcomes_text(outcomes: &Outcomes) -> String {
    let mut text = String::new();
    for outcome in &outcomes.programs {
        let state = match (&outcome.problem, outcome.changes.is_empty()) {
            (Some(problem), _) => format!("NOT done: {problem}"),
            (None, true) => "nothing to do".into(),
            (None, false) if outcomes.dry_run => "to be done".into(),
            (None, false) => "done".into(),
        };
        text += &format!("{}: {state}\n", outcome.program.name());
        text.extend(outcome.changes.iter().map(|step| step.text(!outcomes.dry_run)));
        let made = if outcomes.dry_run { "would make" } else { "made" };
        text.extend(
            outcome.new_folders.iter().map(|folder| format!("  {made} the folder {}\n", folder.display())),
        );
        text.extend(outcome.notes.iter().map(|note| format!("  {note}\n")));
    }
    let removed = outcomes.removed_folders.iter();
    text.extend(
        removed
            .map(|folder| format!("Removed the folder {}, made by register and empty.\n", folder.display())),
    );
    text.extend(outcomes.warning.iter().map(|warning| format!("WARNING: {warning}.\n")));
    text.extend(outcomes.sandboxed.iter().map(|advice| format!("{advice}.\n")));
    text
}

fn status(context: &Context, place: &Place) -> Result<(), CliError> {
    let registered: Vec<_> =
        survey::loaded(place).into_iter().filter(|loaded| loaded.maker == Maker::Ours).collect();
    let is_missing = |program: &Target| !registered.iter().any(|loaded| loaded.program == *program);
    let not_registered = Target::value_variants().iter().copied().filter(is_missing).collect();
    let (module, version, problem) = match place.module() {
        Ok(path) => match probe::module(&path, context.socket()) {
            Ok(probed) => (Some(path), Some(probed.version), None),
            Err(error) => (Some(path), None, Some(error.to_string())),
        },
        Err(error) => (None, None, Some(error.to_string())),
    };
    let sandboxed = sandbox::installed(place).iter().map(sandbox::Sandboxed::advice).collect();
    let status = Status { module, version, problem, registered, not_registered, sandboxed };
    context.show(&status, status_text)
}

fn status_text(status: &Status) -> String {
    let mut text = match (&status.module, &status.version, &status.problem) {
        (Some(module), Some(version), _) => format!("Module {version}: {}\n", module.display()),
        (_, _, Some(problem)) => format!("Module: {problem}\n"),
        _ => String::new(),
    };
    for loaded in &status.registered {
        let whose = if loaded.for_all { "for all users" } else { "for you" };
        let gone = if loaded.library.exists() { "" } else { ", WHICH IS NOT THERE" };
        let (program, library) = (loaded.program.name(), loaded.library.display());
        text += &format!("{program}: registered {whose} in {}: {library}{gone}\n", loaded.file.display());
    }
    for program in &status.not_registered {
        text += &format!("{}: not registered\n", program.name());
    }
    text.extend(status.sandboxed.iter().map(|advice| format!("{advice}.\n")));
    text
}
