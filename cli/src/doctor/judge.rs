//! What the facts mean: pure, so that each finding has a test.

mod card;
mod programs;
#[cfg(test)]
mod tests;

use super::facts::{Answers, Daemon, Facts, Pcscd, SocketAccess};
use super::{Finding, Level};

/// This program's version, which is the project's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All findings, in the order of the way from the reader to the browser; a card's holder is named only when that is asked
/// for.
pub(super) fn judge(facts: &Facts, show_holder: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    pcscd(&facts.pcscd, &mut findings);
    match &facts.daemon {
        Daemon::Answers(answers) => {
            daemon(answers, &mut findings);
            card::judge(answers, facts, show_holder, &mut findings);
        }
        Daemon::NotRunning { is_installed } => findings.push(not_running(*is_installed, facts)),
        Daemon::NoAccess(access) => findings.push(no_access(access, facts)),
        Daemon::Fails(why) => findings.push(Finding::new(
            Level::Fault,
            "cnsd-fails",
            format!("cnsd at {} does not serve you: {why}", facts.socket.display()),
            "All programs reach the card through cnsd.",
            "Ask the administrator which groups may use it (`[[access]]` in /etc/cnsd/cnsd.toml), and see journalctl -u cnsd.",
        )),
    }
    programs::judge(facts, &mut findings);
    findings
}

fn pcscd(pcscd: &Pcscd, findings: &mut Vec<Finding>) {
    findings.push(if pcscd.answers {
        Finding::ok("pcscd-answers", "pcscd, which drives the readers, answers")
    } else if pcscd.is_installed {
        Finding::new(
            Level::Fault,
            "pcscd-not-running",
            "pcscd does not answer at /run/pcscd/pcscd.comm",
            "It drives the smart-card readers; without it no reader is seen.",
            "Start it: systemctl enable --now pcscd.socket",
        )
    } else {
        Finding::new(
            Level::Fault,
            "pcscd-not-installed",
            "pcscd is not installed",
            "It drives the smart-card readers; without it no reader is seen.",
            "Install it (Debian: apt install pcscd libccid) and start it: systemctl enable --now pcscd.socket",
        )
    });
    if pcscd.logs_apdus {
        findings.push(Finding::new(
            Level::Warning,
            "pcscd-logs-apdus",
            "pcscd was started with --apdu or --debug",
            "Its log then holds every PIN that is typed. Counters refuse to work with it.",
            "Start pcscd without these options, and delete the logs that it wrote.",
        ));
    }
}

fn not_running(is_installed: bool, facts: &Facts) -> Finding {
    let socket = facts.socket.display();
    let remedy = if is_installed {
        "Start it: systemctl enable --now cnsd. If it listens elsewhere, say so with --socket or CNSD_SOCKET."
    } else {
        "Install it (docs/operations.md, Install), then: systemctl enable --now cnsd"
    };
    Finding::new(
        Level::Fault,
        "cnsd-not-running",
        format!("cnsd does not run: nobody answers at {socket}"),
        "All programs reach the card through cnsd.",
        remedy,
    )
}

fn no_access(access: &SocketAccess, facts: &Facts) -> Finding {
    let socket = facts.socket.display();
    let why = "All programs that you start reach the card through this socket.";
    match (&access.group, access.is_member) {
        (Some(group), true) => Finding::new(
            Level::Fault,
            "group-not-active",
            format!("you are in the group {group}, but not yet in this session"),
            why,
            "Log out and in again (or start the computer again).",
        ),
        (Some(group), false) => Finding::new(
            Level::Fault,
            "socket-no-access",
            format!("you may not use cnsd's socket {socket}; the group {group} may"),
            why,
            format!("As root: usermod -aG {group} YOU; then log out and in again."),
        ),
        (None, _) => Finding::new(
            Level::Fault,
            "socket-no-access",
            format!("you may not use cnsd's socket {socket}"),
            why,
            "See the permissions of its folder, and socket_group in /etc/cnsd/cnsd.toml.",
        ),
    }
}

fn daemon(answers: &Answers, findings: &mut Vec<Finding>) {
    let roles: Vec<_> = answers.status.roles.iter().map(|role| role.name()).collect();
    let version = &answers.status.version;
    findings.push(Finding::ok(
        "cnsd-answers",
        format!("cnsd {version} answers; your roles: {}", roles.join(", ")),
    ));
    if version != VERSION {
        findings.push(Finding::new(
            Level::Warning,
            "versions-differ",
            format!("cnsd is version {version}, cnsctl is version {VERSION}"),
            "An update was left half done; the two may misunderstand each other.",
            "Install the same version of both, then: systemctl restart cnsd",
        ));
    }
    if answers.is_open_to_all {
        findings.push(Finding::new(
            Level::Note,
            "socket-open-to-all",
            "every user of this computer may use cnsd",
            "A role was opened with `everyone = true`.",
            "On a computer that strangers use, name groups instead (/etc/cnsd/cnsd.toml).",
        ));
    }
    if answers.user.is_some_and(|user| user != 0) && !answers.has_polkit_rule {
        findings.push(Finding::new(
            Level::Fault,
            "polkit-rule-missing",
            "cnsd does not run as root, and no rule of polkit lets it reach pcscd",
            "pcscd asks polkit, and refuses users who are not at the computer's own screen.",
            "Add a rule for org.debian.pcsc-lite.access_pcsc and .access_card (docs/operations.md, Install).",
        ));
    }
}
