//! Chromium. Its window for the PIN needs a display: Xvfb, with openbox so that windows get the focus. xdotool tells the
//! titles of the windows and types; the page's title shows what the server knows.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Desk, Visits, Whose};
use crate::Result;
use crate::error::{During, Error};
use crate::office::OwnCard;
use crate::rig::{expect, nginx};
use crate::stage::{output_of, output_with_input, patience};

/// Chooses the certificate without asking; a window for that has no place in a count of questions.
const POLICY: &str =
    r#"{"AutoSelectCertificateForUrls":["{\"pattern\":\"https://localhost\",\"filter\":{}}"]}"#;

/// How long one visit may take.
const LIMIT: Duration = patience(60);

/// What the titles of windows that want the PIN have in them.
const QUESTIONS: [&str; 3] = ["Security Device", "Unlock", "Sign in to"];

/// How often the PIN is typed at most, to block no card.
const MOST_TYPED: usize = 2;

/// Registers, starts, visits the page twice, and takes everything back.
pub(super) fn logs_in(desk: &mut Desk, card: &OwnCard) -> Result<()> {
    let folder = std::path::Path::new("/etc/chromium/policies/managed");
    fs::create_dir_all(folder).during("making the folder for policies")?;
    fs::write(folder.join("cns-rig.json"), POLICY).during("writing a policy")?;
    let registered = desk.module("register", "chromium", Whose::Own)?;
    expect(registered.contains("made the empty database"), || format!("it said:\n{registered}"))?;
    let visits = visit(desk, card);
    for program in ["chromium", "openbox", "xvfb"] {
        desk.stage.kill(program)?;
    }
    let back = desk.module("unregister", "chromium", Whose::Own);
    fs::remove_dir_all(desk.stage.path("chromium-data")).during("removing Chromium's data")?;
    visits?.judge()?;
    let back = back?;
    expect(!desk.stage.path("home/.pki").exists(), || format!("something is left in ~/.pki:\n{back}"))
}

fn visit(desk: &mut Desk, card: &OwnCard) -> Result<Visits> {
    let mut xvfb = Command::new("Xvfb");
    xvfb.args(["-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]);
    desk.stage.start("xvfb", &mut xvfb)?;
    let display = desk.stage.wait_for("Xvfb's display", 20, |stage| {
        let log = stage.log("xvfb");
        Ok(log.lines().find(|line| line.parse::<u16>().is_ok()).map(|number| format!(":{number}")))
    })?;
    desk.stage.start("openbox", Command::new("openbox").env("DISPLAY", &display))?;
    let mut chromium = browser(desk, &display, 1);
    desk.stage.start("chromium", &mut chromium)?;
    let mut visits = Visits { asked: Vec::new(), pages: Vec::new() };
    let first = page(desk, &display, card, 1, &mut visits.asked)?;
    visits.pages.push(first);
    // The second call hands the address to the running browser and ends.
    let mut again = Command::new("timeout");
    let second = browser(desk, &display, 2);
    again.arg(patience(30).as_secs().to_string()).arg(second.get_program()).args(second.get_args());
    for (name, value) in second.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    output_of(&mut again)?;
    let second = page(desk, &display, card, 2, &mut visits.asked)?;
    visits.pages.push(second);
    Ok(visits)
}

fn browser(desk: &Desk, display: &str, visit: usize) -> Command {
    let mut chromium = desk.at_home(desk.stage.foreign("chromium"));
    chromium
        .env("DISPLAY", display)
        .arg(format!("--user-data-dir={}", desk.stage.path("chromium-data").display()));
    // The tests run as root, for which Chromium has no sandbox.
    chromium.args(["--no-sandbox", "--no-first-run", "--no-default-browser-check", "--password-store=basic"]);
    chromium.args(["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]);
    chromium.args(["--ignore-certificate-errors", "--ozone-platform=x11"]);
    chromium.arg(format!("https://localhost:{}/titled?visit={visit}", nginx::PORT));
    chromium
}

/// Waits for the page of this visit, and types the PIN into each window that wants it; the page's title.
fn page(desk: &Desk, display: &str, card: &OwnCard, visit: usize, asked: &mut Vec<String>) -> Result<String> {
    let end = Instant::now() + LIMIT;
    let mut answered = Vec::new();
    loop {
        let windows = windows(display)?;
        if let Some(title) = windows.values().find(|title| title.contains(&format!("visit {visit}"))) {
            return Ok(title.clone());
        }
        let question = windows.iter().find(|(window, title)| {
            QUESTIONS.iter().any(|question| title.contains(question)) && !answered.contains(*window)
        });
        if let Some((window, title)) = question {
            asked.push(title.clone());
            expect(asked.len() <= MOST_TYPED, || format!("it asks for the PIN again and again: {asked:?}"))?;
            xdotool(display, &["windowactivate", "--sync", window])?;
            let mut keys = Command::new("timeout");
            keys.args(["20", "xdotool", "type", "--delay", "20", "--file", "-"]).env("DISPLAY", display);
            output_with_input(&mut keys, card.pin.expose())?;
            xdotool(display, &["key", "Return"])?;
            answered.push(window.clone());
        }
        if Instant::now() > end {
            let titles: Vec<_> = windows.into_values().collect();
            let output = format!("windows: {titles:?}\n{}", desk.stage.log("chromium"));
            return Err(Error::TooSlow { what: "Chromium's page".into(), seconds: LIMIT.as_secs(), output });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The windows that are shown, with their titles.
fn windows(display: &str) -> Result<BTreeMap<String, String>> {
    let found = xdotool(display, &["search", "--onlyvisible", "--name", "."]).unwrap_or_default();
    let mut windows = BTreeMap::new();
    for window in found.lines() {
        // One that was closed meanwhile has no title.
        if let Ok(title) = xdotool(display, &["getwindowname", window]) {
            windows.insert(window.to_owned(), title.trim().to_owned());
        }
    }
    Ok(windows)
}

fn xdotool(display: &str, arguments: &[&str]) -> Result<String> {
    output_of(Command::new("timeout").args(["20", "xdotool"]).args(arguments).env("DISPLAY", display))
}
