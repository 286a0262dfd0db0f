//! OpenSSL through libp11's engine. Debian 12 has no PKCS#11 provider for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Programs, contains};
use crate::rig::expect;
use crate::stage::{output_of, run_refused};
use crate::{Result, peers, terminal};

const TEXT: &str = "A text that OpenSSL signs.\n";

impl Programs {
    /// Somebody's program that loads the engine for the module.
    pub(super) fn with_engine(&self, program: &str) -> Result<Command> {
        let mut command = self.stage.foreign(program);
        command.env("OPENSSL_CONF", peers::engine_configuration(&self.stage)?);
        Ok(command)
    }

    pub(super) fn openssl_cms(&mut self) -> Result<()> {
        let text = self.stage.write("cms.txt", TEXT)?;
        self.spends_one_try(|rig, wrong| {
            let uri = rig.login_uri("private");
            let uri = format!("{uri}?pin-source=file:{}", rig.pin_file("wrong-pin", wrong)?.display());
            let refused = run_refused(&mut rig.sign_cms("login", &uri, &text)?, &[])?;
            contains(&refused, "PIN incorrect")
        })?;
        let command = self.sign_cms("login", &self.login_uri("private"), &text)?;
        terminal::run(&command, &[&self.card.pin])?;
        self.verify_cms("login")?;
        // The signature key asks once more, for the one signature.
        let uri = format!("pkcs11:id={};type=private", super::escaped(&self.signature_id));
        let command = self.sign_cms("signature", &uri, &text)?;
        terminal::run(&command, &[&self.card.pin, self.signature_pin()?])?;
        self.verify_cms("signature")
    }

    fn sign_cms(&self, name: &str, uri: &str, text: &Path) -> Result<Command> {
        let mut sign = self.with_engine("openssl")?;
        sign.args(["cms", "-sign", "-binary", "-nodetach", "-md", "sha256", "-outform", "DER"]);
        sign.args(["-engine", "pkcs11", "-keyform", "engine", "-inkey", uri, "-signer"]);
        sign.arg(self.stage.path(&format!("{name}.pem"))).arg("-in").arg(text);
        sign.arg("-out").arg(self.message(name));
        Ok(sign)
    }

    fn verify_cms(&self, name: &str) -> Result<()> {
        let mut verify = Command::new("openssl");
        verify.args(["cms", "-verify", "-inform", "DER", "-purpose", "any", "-in"]).arg(self.message(name));
        let verified = output_of(verify.arg("-CAfile").arg(self.authority()))?;
        expect(verified == TEXT, || format!("the message was verified, and says {verified:?}"))
    }

    fn message(&self, name: &str) -> PathBuf {
        self.stage.path(&format!("{name}.p7m"))
    }
}
