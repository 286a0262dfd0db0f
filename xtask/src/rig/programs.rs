//! Programs that nobody here wrote, using one card through the module at the same time: each as its users would, with
//! the right PIN and with a wrong one.

mod gnutls;
mod java;
mod nss;
mod opensc;
mod openssh;
mod openssl;
mod p11_kit;
pub(super) mod pyhanko;
mod web;

use std::path::{Path, PathBuf};
use std::process::Command;

use cns_secret::Secret;
use serde_json::Value;

use super::{CITIZEN_READER, expect, start_pcscd, wrong_pin};
use crate::error::Error;
use crate::office::{self, CITIZEN, OwnCard};
use crate::stage::{Stage, output_of};
use crate::test::Tally;
use crate::{Result, peers, terminal};

/// The card's generation: the present one, with a signature key that has a PIN of its own.
const GENERATION: &str = "st2021";

/// How many tries a PIN has.
const TRIES: u64 = 3;

/// One card in pcscd, and `cnsd`.
struct Programs {
    stage: Stage,
    card: OwnCard,
    /// `CKA_ID` of the login key, in hex.
    login_id: String,
    /// `CKA_ID` of the signature key, in hex.
    signature_id: String,
}

/// Runs every program.
pub(super) fn run(programs: &Path, tally: &mut Tally) -> Result<()> {
    let mut rig = Programs::set_up(programs)?;
    tally.run("pkcs11-tool tests the module, logged in", || rig.opensc_tests());
    tally.run("pkcs11-tool uses the module from four threads", || rig.opensc_threads());
    tally.run("pkcs11-tool lists the authorities of a card that has them", || rig.opensc_authorities());
    tally.run("p11tool lists and signs", || rig.gnutls());
    tally.run("p11-kit's proxy passes the card on", || rig.p11_kit_proxy());
    tally.run("p11-kit server lends the card to another process", || rig.p11_kit_server());
    tally.run("NSS: modutil, certutil and cmsutil", || rig.nss());
    tally.run("OpenSSL signs CMS", || rig.openssl_cms());
    tally.run("OpenSSL and curl log in to nginx, TLS 1.2 and 1.3", || rig.web());
    tally.run("OpenSSH logs in with the card's key", || rig.openssh());
    tally.run("Java lists, signs and verifies", || rig.java());
    tally.run("pyHanko signs a PDF that pdfsig validates", || rig.pyhanko());
    rig.stage.finish()
}

impl Programs {
    fn set_up(programs: &Path) -> Result<Self> {
        let mut stage = Stage::new(programs)?;
        office::configure_plain(&stage)?;
        start_pcscd(&mut stage, &[])?;
        office::start_daemon(&mut stage)?;
        let generations = office::generations(&stage)?;
        let generation = generations.iter().find(|generation| generation.name == GENERATION);
        let generation =
            generation.ok_or_else(|| Error::Wrong(format!("cns-card knows no generation {GENERATION}")))?;
        let card = office::make_own_card(&stage, generation)?;
        let mut plug = stage.program("cns-card");
        plug.arg("vpcd").arg(stage.path(&format!("{GENERATION}-card")));
        stage.start("card", plug.args(["--host", "127.0.0.1", "--port", "35963"]))?;
        office::wait_for_card(&mut stage, CITIZEN_READER)?;
        let list = ["--list-objects", "--type", "cert"];
        let listing = output_of(&mut peers::pkcs11_tool(&stage, &stage.module(), &list))?;
        let mut ids = peers::certificate_ids(&listing).into_iter();
        let (Some(login_id), Some(signature_id)) = (ids.next(), ids.next()) else {
            return Err(Error::Wrong(format!("the module lists no two certificates:\n{listing}")));
        };
        let rig = Self { stage, card, login_id, signature_id };
        for (which, name) in [("", "login"), ("-signature", "signature")] {
            let mut convert = Command::new("openssl");
            convert.args(["x509", "-inform", "DER", "-in"]);
            convert.arg(rig.stage.path(&format!("{GENERATION}{which}.der")));
            output_of(convert.arg("-out").arg(rig.stage.path(&format!("{name}.pem"))))?;
        }
        Ok(rig)
    }

    /// The certificate, PEM, of who certified the card's keys.
    fn authority(&self) -> PathBuf {
        self.stage.path(&format!("{GENERATION}-ca.pem"))
    }

    /// The PIN of the signature key.
    fn signature_pin(&self) -> Result<&Secret> {
        self.card.signature_pin.as_ref().ok_or_else(|| Error::Wrong("the card has no signature PIN".into()))
    }

    /// RFC 7512's URI of the login key, or of what else has its identifier.
    fn login_uri(&self, kind: &str) -> String {
        format!(
            "pkcs11:token={};id={};type={kind}",
            token_label().replace(' ', "%20"),
            escaped(&self.login_id)
        )
    }

    /// Presents a wrong PIN through `attempt`, which has to see it refused; the chip must have seen it once. A right
    /// login afterwards brings the tries back.
    fn spends_one_try(&mut self, attempt: impl FnOnce(&mut Self, &Secret) -> Result<()>) -> Result<()> {
        let wrong = wrong_pin(&self.card.pin)?;
        let attempted = attempt(self, &wrong);
        let left = self.tries_left()?;
        let list = ["--login", "--list-objects"];
        let log_in = peers::pkcs11_tool(&self.stage, &self.stage.module(), &list);
        terminal::run(&log_in, &[&self.card.pin])?;
        attempted?;
        expect(left == TRIES - 1, || {
            format!("a wrong PIN was given to the program once, and {left} of {TRIES} tries are left")
        })?;
        let left = self.tries_left()?;
        expect(left == TRIES, || format!("after a right login {left} of {TRIES} tries are left"))
    }

    fn tries_left(&self) -> Result<u64> {
        let status = office::ctl(&self.stage, &["pin", "status", "--reader", CITIZEN_READER])?;
        let mut pins = status.as_array().into_iter().flatten();
        let pin = pins.find(|pin| {
            pin.get("which") == Some(&"cns".into()) && pin.get("is_puk") == Some(&Value::Bool(false))
        });
        let left = pin.and_then(|pin| pin.get("tries_left")?.as_u64());
        left.ok_or_else(|| Error::Wrong(format!("no number of tries: {status}")))
    }

    /// Writes a file for the programs that read a PIN from one: without a line's end, only its owner can read it.
    fn pin_file(&self, name: &str, pin: &Secret) -> Result<PathBuf> {
        self.stage.write_parts(name, &[pin.expose()])
    }

    /// Signs a file with the login key through some module and checks that with OpenSSL.
    fn signs_through(&self, module: &Path, environment: &[(&str, String)], name: &str) -> Result<()> {
        let text = self.stage.write(&format!("{name}.txt"), "A text that is signed on the card.\n")?;
        let signature = self.stage.path(&format!("{name}.sig"));
        let sign = ["--login", "--sign", "--mechanism", "SHA256-RSA-PKCS", "--id", &self.login_id];
        let mut command = peers::pkcs11_tool(&self.stage, module, &sign);
        command
            .args(["--token-label", &token_label()])
            .envs(environment.iter().map(|(key, value)| (key, value)));
        command.arg("--input-file").arg(&text).arg("--output-file").arg(&signature);
        terminal::run(&command, &[&self.card.pin])?;
        let public_key = self.stage.path("login.pub.pem");
        let mut extract = Command::new("openssl");
        extract.args(["x509", "-noout", "-pubkey", "-in"]).arg(self.stage.path("login.pem"));
        output_of(extract.arg("-out").arg(&public_key))?;
        let mut verify = Command::new("openssl");
        verify
            .args(["dgst", "-sha256", "-verify"])
            .arg(public_key)
            .arg("-signature")
            .arg(signature)
            .arg(text);
        contains(&output_of(&mut verify)?, "Verified OK")
    }
}

/// The token's label.
fn token_label() -> String {
    format!("{} {} - CNS login", CITIZEN.name, CITIZEN.surname)
}

/// Bytes in hex as RFC 7512 wants them.
fn escaped(hex: &str) -> String {
    hex.as_bytes().chunks(2).map(|pair| format!("%{}", String::from_utf8_lossy(pair))).collect()
}

/// Fails unless a program's words contain these.
fn contains(text: &str, words: &str) -> Result<()> {
    expect(text.contains(words), || format!("{words:?} is not in what was printed:\n{text}"))
}
