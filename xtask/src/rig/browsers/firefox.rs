//! Firefox, without a display. Its window for the PIN is modal and Marionette answers nothing while it is up, so a script
//! inside Firefox, installed before, fills it in and notes what it said.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::marionette::Marionette;
use super::{Desk, Visits, Whose};
use crate::Result;
use crate::error::{During, Error};
use crate::office::{CITIZEN, OwnCard};
use crate::report;
use crate::rig::{expect, nginx};
use crate::stage::patience;

/// Where Firefox listens for its remote control, in the tests' own network namespace.
const PORT: u16 = 2828;

/// How long a card may take to be seen by Firefox.
const PATIENCE: Duration = patience(10);

/// Nothing that goes out to the network, no pages of greeting; a certificate is chosen without asking.
const PREFERENCES: &str = r#"user_pref("security.default_personal_cert", "Select Automatically");
user_pref("browser.startup.page", 0);
user_pref("browser.startup.homepage", "about:blank");
user_pref("browser.newtabpage.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.server", "");
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("app.normandy.enabled", false);
user_pref("services.settings.server", "");
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("browser.safebrowsing.update.enabled", false);
"#;

/// Notes each window that wants a password, and gives it the PIN: three times at most, to block no card.
const TYPIST: &str = r#"
    const pin = arguments[0];
    const asked = [];
    Services.prefs.setStringPref("cns.asked", "[]");
    Services.obs.addObserver(window => {
        const dialog = window.Dialog;
        const field = dialog?.ui?.password1Textbox;
        if (!field || field.hidden) { return; }
        asked.push(dialog.args.text || dialog.ui.infoBody.textContent);
        Services.prefs.setStringPref("cns.asked", JSON.stringify(asked));
        if (asked.length <= 2) { field.value = pin; dialog.ui.button0.click(); } else { dialog.ui.button1.click(); }
    }, "common-dialog-loaded");
"#;

/// Registers, visits the page twice, and takes everything back.
pub(super) fn logs_in(desk: &mut Desk, card: &OwnCard, whose: Whose) -> Result<()> {
    let visits = with_firefox(desk, card, whose, |_, firefox| {
        [1, 2].into_iter().map(|number| firefox.visit(&page(number))).collect()
    })?;
    visits.judge()
}

/// Started before the card is put in, and going on when it is taken out and put in again: nothing is started anew, and
/// each insertion takes one PIN.
pub(super) fn follows_the_card(desk: &mut Desk, card: &OwnCard, name: &str) -> Result<()> {
    desk.pull(name)?;
    let visits = with_firefox(desk, card, Whose::Own, |desk, firefox| {
        let mut pages = vec![firefox.visit(&page(1))?];
        desk.insert(name)?;
        pages.push(visit_until(firefox, |page| page.contains(CITIZEN.codice_fiscale))?);
        desk.pull(name)?;
        pages.push(visit_until(firefox, |page| !page.contains(CITIZEN.codice_fiscale))?);
        desk.insert(name)?;
        pages.push(visit_until(firefox, |page| page.contains(CITIZEN.codice_fiscale))?);
        Ok(pages)
    })?;
    let shows: Vec<_> = visits.pages.iter().map(|page| page.contains(CITIZEN.codice_fiscale)).collect();
    let (pages, asked) = (&visits.pages, &visits.asked);
    expect(shows == [false, true, false, true], || format!("the pages are {pages:?}; asked: {asked:?}"))?;
    expect(asked.len() == 2, || format!("it asked for the PIN {} times", asked.len()))
}

/// Visits again and again, as a person would who has just put the card in: NSS looks at a reader once a second at most.
fn visit_until(firefox: &mut Marionette, is_right: impl Fn(&str) -> bool) -> Result<String> {
    let (began, mut number) = (Instant::now(), 1);
    loop {
        number += 1;
        let seen = firefox.visit(&page(number))?;
        if is_right(&seen) || began.elapsed() > PATIENCE {
            report::fact(&format!("after {} visits, {}", number - 1, report::seconds(began.elapsed())));
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn page(number: usize) -> String {
    format!("https://localhost:{}/titled?visit={number}", nginx::PORT)
}

/// Registers, starts Firefox for an errand, ends it, and takes everything back.
fn with_firefox(
    desk: &mut Desk,
    card: &OwnCard,
    whose: Whose,
    errand: impl FnOnce(&mut Desk, &mut Marionette) -> Result<Vec<String>>,
) -> Result<Visits> {
    let profile = make_profile(desk)?;
    desk.module("register", "firefox", whose)?;
    let registered = desk.module("status", "", whose);
    let visits = run(desk, card, &profile, errand);
    desk.stage.kill("firefox")?;
    let back = desk.module("unregister", "firefox", whose);
    fs::remove_dir_all(desk.stage.path("home/.mozilla")).during("removing the profile")?;
    let registered = registered?;
    expect(registered.contains("Firefox: registered"), || format!("the status is:\n{registered}"))?;
    let visits = visits?;
    let back = back?;
    expect(back.contains("Firefox: done"), || format!("it was not taken back:\n{back}"))?;
    Ok(visits)
}

/// An empty profile, as Firefox would find it at its first start.
pub(super) fn make_profile(desk: &Desk) -> Result<std::path::PathBuf> {
    let folder = desk.stage.path("home/.mozilla/firefox");
    let profile = folder.join("rig.default");
    fs::create_dir_all(&profile).during("making a profile")?;
    let list = "[Profile0]\nName=default\nIsRelative=1\nPath=rig.default\nDefault=1\n";
    fs::write(folder.join("profiles.ini"), list).during("making a profile")?;
    fs::write(profile.join("user.js"), PREFERENCES).during("making a profile")?;
    Ok(profile)
}

fn run(
    desk: &mut Desk,
    card: &OwnCard,
    profile: &Path,
    errand: impl FnOnce(&mut Desk, &mut Marionette) -> Result<Vec<String>>,
) -> Result<Visits> {
    let mut firefox = desk.at_home(desk.stage.foreign("firefox-esr"));
    firefox.args(["--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile"]);
    firefox.arg(profile).arg("about:blank").env("MOZ_CRASHREPORTER_DISABLE", "1");
    desk.stage.start("firefox", &mut firefox)?;
    let stream =
        desk.stage.wait_for("Firefox's start", 60, |_| Ok(TcpStream::connect(("127.0.0.1", PORT)).ok()))?;
    let mut marionette = Marionette::begin(stream)?;
    marionette.in_chrome_with(TYPIST, &card.pin)?;
    let pages = errand(desk, &mut marionette);
    let asked = marionette.in_chrome("return Services.prefs.getStringPref('cns.asked');")?;
    let asked = serde_json::from_str(asked.as_str().unwrap_or_default()).unwrap_or_default();
    let pages = pages.map_err(|error| Error::Wrong(format!("{error}; asked: {asked:?}")))?;
    marionette.command("Marionette:Quit", &json!({ "flags": ["eForceQuit"] })).unwrap_or(Value::Null);
    Ok(Visits { asked, pages })
}
