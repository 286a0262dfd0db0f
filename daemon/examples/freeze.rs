//! Writes a sample of what this version keeps on the disk, for the tests that later versions must pass:
//! `cargo run -p cnsd --example freeze -- FOLDER` makes `FOLDER/custody-v1` and `FOLDER/audit-v1`. Invented data only.

use std::error::Error;
use std::fs;
use std::path::Path;

use cns_protocol::audit::Phase;
use cns_secret::Secret;
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cnsd::audit::{Audit, Record};
use cnsd::config::CustodyConfig;
use cnsd::custody::{Custody, PukKind};
use cnsd::database::Database;
use der::DecodePem;
use x509_cert::Certificate;

const CARD: &str = "6999000000001230";
const REFUSED: &str = "6999000000001248";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args_os().nth(1).ok_or("give a folder")?;
    let (state, audit) = (Path::new(&target).join("custody-v1"), Path::new(&target).join("audit-v1"));
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&audit)?;
    let config = CustodyConfig::default();
    let database = Database::open(&config.database, &state).await?;
    let custody = Custody::open(&database, &config, &state).await?;
    fill(&custody).await?;
    record(&Audit::open(&audit, custody.sealer()).await?).await?;
    database.close().await;
    Ok(())
}

async fn fill(custody: &Custody) -> Result<(), Box<dyn Error>> {
    let mut cards = Content::with_capacity(Kind::Cards, 1024)?;
    for (serial, codice_fiscale, puk) in
        [(CARD, "RSSMRA80A01H501U", "24681357"), (REFUSED, "BNCLRA85A41H501I", "11223344")]
    {
        let members = [("id_card", serial), ("codice_fiscale", codice_fiscale), ("puk", puk)];
        cards.push_object(&members.map(|(name, value)| (name, value.as_bytes())))?;
    }
    let mut envelopes = Content::with_capacity(Kind::Envelopes, 1024)?;
    for (code, pin, user_code) in [
        ("1234567889", "13579", "4711081547"),
        ("9999999952", "86420", "0815471108"),
        ("0000000098", "97531", "1508471104"),
        ("1000000064", "75319", "5471108154"),
    ] {
        let members = [("code", code), ("pin", pin), ("user_code", user_code)];
        envelopes.push_object(&members.map(|(name, value)| (name, value.as_bytes())))?;
    }
    let recipient = Recipient::from_certificate(&Certificate::from_pem(custody.import_certificate_pem())?)?;
    custody.import(&recipient.seal(&cards)?).await?;
    custody.import(&recipient.seal(&envelopes)?).await?;
    custody.puk_refused(REFUSED, PukKind::Cns, Some(2)).await?;
    custody.store_puk(CARD, PukKind::Signature, &Secret::copy_from(b"55667788")?).await?;
    let codes = ["1234567889", "9999999952", "0000000098"].map(str::to_owned);
    custody.assign("op1", &codes).await?;
    custody.reserve("1234567889", "op1", "p1", CARD).await?;
    custody.reserve("9999999952", "op1", "p2", CARD).await?;
    custody.mark_used("9999999952", "p2").await?;
    custody.consume("p2").await?;
    Ok(())
}

async fn record(audit: &Audit) -> Result<(), Box<dyn Error>> {
    let act = |phase, text: &str| {
        let record = Record::new("pin-set", phase, text).user(1000).operator("op1");
        record.paragraph("§9.3.2-7").card(CARD).procedure("p2")
    };
    audit.record(act(Phase::Intention, "The PIN of envelope 9999999952 is about to be set.")).await?;
    audit.record(act(Phase::Outcome, "The PIN was set.")).await?;
    audit.checkpoint().await?;
    Ok(())
}
