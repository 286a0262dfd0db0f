//! Firefox: the computer's policies, or the user's own profiles.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::{NAME, Place, is_ours, name_taken};
use super::plan::{Plan, Step};
use super::{files, nss, policies};
use crate::error::CliError;

/// The policies for all Firefoxes of a computer.
pub(crate) const POLICIES: &str = "/etc/firefox/policies/policies.json";

/// Policies of single installations, which count only where [`POLICIES`] is absent.
const DISTRIBUTIONS: [&str; 5] = [
    "/usr/lib/firefox-esr/distribution/policies.json",
    "/usr/lib/firefox/distribution/policies.json",
    "/usr/lib64/firefox/distribution/policies.json",
    "/usr/share/firefox-esr/distribution/policies.json",
    "/opt/firefox/distribution/policies.json",
];

/// The profiles of this user's Firefoxes that have been started at least once.
pub(crate) fn profiles(place: &Place) -> Vec<PathBuf> {
    let folders = [place.home(".mozilla/firefox"), place.configuration("mozilla/firefox")];
    let mut found: Vec<_> = folders.into_iter().flatten().flat_map(|folder| profiles_in(&folder)).collect();
    found.sort();
    found.dedup();
    found
}

fn profiles_in(folder: &Path) -> Vec<PathBuf> {
    let list = files::peek(&folder.join("profiles.ini")).unwrap_or_default();
    let sections = list.split("\n[").filter(|section| section.trim_start_matches('[').starts_with("Profile"));
    let value = |section: &str, key: &str| {
        section.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
    };
    let paths = sections.filter_map(|section| {
        let path = value(section, "Path")?;
        let is_relative = value(section, "IsRelative").as_deref() != Some("0");
        Some(if is_relative { folder.join(path) } else { path.into() })
    });
    paths.filter(|profile| profile.is_dir()).collect()
}

/// Whether Firefox runs with this profile: its link `lock` names address and process.
fn is_running(profile: &Path) -> bool {
    let link = fs::read_link(profile.join("lock")).unwrap_or_default();
    let process = link.to_string_lossy().rsplit('+').next().and_then(|number| number.parse::<u32>().ok());
    process.is_some_and(|process| Path::new("/proc").join(process.to_string()).exists())
}

/// Plans to give Firefox the module.
pub(super) fn register(place: &Place, module: &Path) -> Result<Plan, CliError> {
    if place.is_system {
        return register_policy(place, module);
    }
    let mut plan = each_profile(place, |profile| nss::register(profile, module))?;
    if profiles(place).is_empty() {
        plan.notes.push("no Firefox profile: start Firefox once, then run this again".into());
    }
    Ok(plan)
}

/// Plans to take it away again.
pub(super) fn unregister(place: &Place) -> Result<Plan, CliError> {
    if place.is_system { unregister_policy(place) } else { each_profile(place, nss::unregister) }
}

fn each_profile(place: &Place, plan_one: impl Fn(&Path) -> Result<Plan, CliError>) -> Result<Plan, CliError> {
    let mut plan = Plan::default();
    for profile in profiles(place) {
        let one = plan_one(&profile)?;
        if !one.steps.is_empty() && is_running(&profile) {
            let reason = "Firefox runs with this profile; close it first".into();
            return Err(CliError::LeftAlone { path: profile, reason });
        }
        plan.steps.extend(one.steps);
    }
    Ok(plan)
}

fn register_policy(place: &Place, module: &Path) -> Result<Plan, CliError> {
    let file = place.system(POLICIES);
    let before = files::read(&file)?;
    if before.is_none()
        && let Some(other) = DISTRIBUTIONS.iter().map(|path| place.system(path)).find(|path| path.exists())
    {
        let reason = format!("it would put {} out of force; copy that one here first", other.display());
        return Err(CliError::LeftAlone { path: file, reason });
    }
    let policies = before.as_deref().unwrap_or("{}");
    let devices = policies::devices(policies).map_err(|error| no_policies(&file, &error))?;
    if devices.iter().any(|(name, other)| name == NAME && !is_ours(other)) {
        return Err(name_taken(file));
    }
    let text = policies::with_device(policies, NAME, &module.to_string_lossy());
    let mut plan = Plan::default();
    if let Some(text) = text.map_err(|error| no_policies(&file, &error))? {
        let kept_as = before.map(|_| files::backup_of(&file));
        plan.steps.push(Step::Write { file, text, kept_as });
        plan.notes.push("Firefox reads this at its next start".into());
    }
    Ok(plan)
}

fn unregister_policy(place: &Place) -> Result<Plan, CliError> {
    let file = place.system(POLICIES);
    let mut plan = Plan::default();
    let Some(before) = files::read(&file)? else { return Ok(plan) };
    let devices = policies::devices(&before).map_err(|error| no_policies(&file, &error))?;
    let ours: Vec<_> = devices.into_iter().filter(|(_, path)| is_ours(path)).map(|(name, _)| name).collect();
    if ours.is_empty() {
        return Ok(plan);
    }
    let without = policies::without_devices(&before, &ours).map_err(|error| no_policies(&file, &error))?;
    let kept_as = files::backup_of(&file);
    let kept = files::read(&kept_as)?;
    let is_as_before = kept.as_deref().is_some_and(|kept| same(kept, without.as_deref().unwrap_or("{}")));
    plan.steps.push(match without {
        _ if is_as_before => Step::Restore { file, kept_as },
        Some(text) => Step::Write { file, text, kept_as: None },
        None => Step::Remove { file },
    });
    plan.notes.push(
        "profiles that Firefox opened meanwhile keep the module: `cnsctl module unregister firefox --user` for each user"
            .into(),
    );
    Ok(plan)
}

/// Whether two files of policies mean the same.
fn same(one: &str, other: &str) -> bool {
    let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(one).is_some_and(|one| Some(one) == parse(other))
}

fn no_policies(file: &Path, error: &serde_json::Error) -> CliError {
    CliError::LeftAlone { path: file.to_owned(), reason: format!("Firefox would not understand it: {error}") }
}
