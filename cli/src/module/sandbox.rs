//! Browsers in a sandbox (snap, flatpak), which see neither the module's file nor the daemon's socket.

use serde::Serialize;

use super::place::Place;

/// A sandboxed browser that is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sandboxed {
    /// The browser.
    pub(crate) browser: &'static str,
    /// What it is in.
    pub(crate) sandbox: &'static str,
}

const SNAPS: [(&str, &str); 5] = [
    ("Firefox", "firefox"),
    ("Chromium", "chromium"),
    ("Brave", "brave"),
    ("Opera", "opera"),
    ("Thunderbird", "thunderbird"),
];

const FLATPAKS: [(&str, &str); 6] = [
    ("Firefox", "org.mozilla.firefox"),
    ("Chromium", "org.chromium.Chromium"),
    ("Chrome", "com.google.Chrome"),
    ("Edge", "com.microsoft.Edge"),
    ("Brave", "com.brave.Browser"),
    ("Thunderbird", "org.mozilla.Thunderbird"),
];

impl Sandboxed {
    /// What to do about it.
    pub(crate) fn advice(&self) -> String {
        let Self { browser, sandbox } = self;
        let instead = match *browser {
            "Firefox" => {
                "Mozilla's own .deb (https://support.mozilla.org/kb/install-firefox-linux) or firefox-esr"
            }
            "Chromium" => "your distribution's .deb or .rpm of Chromium, or Google Chrome's",
            _ => "its maker's .deb or .rpm",
        };
        let remove = if *sandbox == "snap" { "snap remove" } else { "flatpak uninstall" };
        format!(
            "{browser} as a {sandbox} reaches neither the module nor the card. Install {instead} beside it, and use \
             that one for the card; or replace it (`{remove}`)"
        )
    }
}

/// The sandboxed browsers of this computer and user.
pub(crate) fn installed(place: &Place) -> Vec<Sandboxed> {
    let snap = |name: &str| {
        let mounted =
            ["/snap", "/var/lib/snapd/snap"].iter().any(|root| place.system(root).join(name).exists());
        mounted.then_some("snap")
    };
    let flatpak = |name: &str| {
        let own = place.data("flatpak/app").is_some_and(|apps| apps.join(name).exists());
        (own || place.system("/var/lib/flatpak/app").join(name).exists()).then_some("flatpak")
    };
    let snaps = SNAPS.iter().filter_map(|(browser, name)| Some(Sandboxed { browser, sandbox: snap(name)? }));
    let flatpaks =
        FLATPAKS.iter().filter_map(|(browser, name)| Some(Sandboxed { browser, sandbox: flatpak(name)? }));
    snaps.chain(flatpaks).collect()
}
