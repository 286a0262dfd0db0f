//! §9.3.2-11, §7-form: what is printed says what was done, and no secret.

use std::fs;

use cns_protocol::counter::{Case, Sheet, SheetKind};
use cns_virtual_card::sample;
use cnsd::config::{CounterConfig, SignatureAreaConfig};

use crate::rig::Rig;

fn sheet(procedure: &str, kind: SheetKind) -> Sheet {
    Sheet { procedure: procedure.to_owned(), kind }
}

#[tokio::test(flavor = "multi_thread")]
async fn sheets_tell_what_was_done_and_hold_no_secret() {
    let rig = Rig::new().await;
    let procedures = &rig.rooms().procedures;
    let contact = "Call center <800 000000>".to_owned();
    let counter = CounterConfig {
        issuing_body: "Regione di prova".to_owned(),
        contacts: vec![contact],
        ..CounterConfig::default()
    };
    procedures.configure(counter, SignatureAreaConfig::default());
    let code = &rig.codes[0];
    let started = rig.start(Case::Standard).await.unwrap();
    let none = procedures.sheet(&sheet(&started.id, SheetKind::Request)).await.unwrap_err();
    assert_eq!(none.paragraph(), Some("§7-form"));
    let ready = rig.until(started, code, "§7-form").await;
    let form = procedures.sheet(&sheet(&ready.id, SheetKind::Request)).await.unwrap();
    assert!(form.html.contains("certificato di firma") && form.html.contains("CA12345AA"), "{}", form.html);
    let done = rig.until(ready, code, "").await;
    // Also when the procedure is over, and its PIN consumed.
    let information = procedures.sheet(&sheet(&done.id, SheetKind::Information)).await.unwrap();
    for text in ["Regione di prova", "ROSSI MARIO", "RSSMRA80A01H501U", code, "§9.3.2-7", "§9.1.3", "@page"]
    {
        assert!(information.html.contains(text), "{text}:\n{}", information.html);
    }
    assert!(!information.html.contains("<800"), "{}", information.html);

    let letter = fs::read_to_string(rig.folder.path().join("letters").join(format!("{code}.txt"))).unwrap();
    let mut secrets: Vec<String> = letter
        .lines()
        .filter(|line| !line.contains(code.as_str()))
        .filter_map(|line| line.split_once(": ").map(|(_, value)| value.trim().to_owned()))
        .collect();
    assert!(
        secrets.contains(&String::from_utf8(rig.letter(code)).unwrap()) && secrets.len() >= 2,
        "{letter}"
    );
    secrets.push(String::from_utf8(sample::PUK.to_vec()).unwrap());
    for secret in &secrets {
        for html in [&form.html, &information.html] {
            // Of the digits alone, so that a time or a number that has them by chance is not taken for one.
            let found = html.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == secret);
            assert!(!found, "a secret is printed");
        }
    }
}
