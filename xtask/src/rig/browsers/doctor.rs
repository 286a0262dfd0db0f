//! `cnsctl doctor` on the same desk: with everything registered, then without pcscd.

use std::process::Command;

use serde_json::Value;

use super::{Desk, Whose, firefox};
use crate::Result;
use crate::office;
use crate::rig::expect;
use crate::stage::{output_of, run_refused};

/// With a card in the reader nothing is wrong, and Debian's OpenSC beside the module in p11-kit is told. Without pcscd
/// that is what it says.
pub(super) fn looks(desk: &mut Desk) -> Result<()> {
    firefox::make_profile(desk)?;
    for (program, whose) in [("firefox", Whose::Own), ("chromium", Whose::Own), ("p11-kit", Whose::System)] {
        desk.module("register", program, whose)?;
    }
    let healthy = office::parse(&output_of(&mut doctor(desk))?)?;
    let loud = loud(&healthy);
    expect(loud == ["double"], || format!("the findings are {loud:?}:\n{healthy:#}"))?;
    expect(healthy.to_string().contains("a CNS, st2021"), || format!("no card:\n{healthy:#}"))?;
    expect(!healthy.to_string().contains("MELIS"), || format!("the holder, unasked:\n{healthy:#}"))?;
    let named = output_of(doctor(desk).arg("--show-holder"))?;
    expect(named.contains("the card of GRAZIA MELIS"), || format!("no holder:\n{named}"))?;
    for (program, whose) in [("firefox", Whose::Own), ("chromium", Whose::Own), ("p11-kit", Whose::System)] {
        desk.module("unregister", program, whose)?;
    }
    desk.stage.kill("pcscd")?;
    let refused = run_refused(&mut doctor(desk), &[])?;
    expect(refused.contains("pcscd-not-running"), || format!("without pcscd it says: {refused}"))
}

fn doctor(desk: &Desk) -> Command {
    let mut doctor = desk.at_home(desk.stage.program("cnsctl"));
    doctor.args(["--json", "doctor", "--ask-tries"]);
    doctor
}

/// What is a warning or worse.
fn loud(diagnosis: &Value) -> Vec<&str> {
    let findings = diagnosis.get("findings").and_then(Value::as_array).into_iter().flatten();
    let text = |finding: &'_ Value, key: &str| finding.get(key).and_then(Value::as_str).map(str::to_owned);
    findings
        .filter(|finding| !matches!(text(finding, "level").as_deref(), Some("ok" | "note")))
        .filter_map(|finding| finding.get("id").and_then(Value::as_str))
        .collect()
}
