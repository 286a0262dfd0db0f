//! Java's SunPKCS11.

use super::{Programs, contains};
use crate::Result;
use crate::rig::expect;
use crate::stage::{output_of, run_refused};

/// The program: `java Login.java CONFIGURATION PIN-FILE`.
const SOURCE: &str = include_str!("Login.java");

impl Programs {
    pub(super) fn java(&mut self) -> Result<()> {
        let configuration = format!("name = CNS\nlibrary = {}\nslot = 0\n", self.stage.module().display());
        let configuration = self.stage.write("java.cfg", &configuration)?;
        let keytool = |rig: &Self, file: &std::path::Path| {
            let mut keytool = rig.stage.foreign("keytool");
            keytool.args(["-list", "-keystore", "NONE", "-storetype", "PKCS11", "-providerClass"]);
            keytool.args(["sun.security.pkcs11.SunPKCS11", "-providerArg"]).arg(&configuration);
            keytool.arg("-storepass:file").arg(file);
            keytool
        };
        self.spends_one_try(|rig, wrong| {
            let file = rig.pin_file("wrong-pin", wrong)?;
            contains(&run_refused(&mut keytool(rig, &file), &[])?, "load failed")
        })?;
        let pin = self.pin_file("pin", &self.card.pin)?;
        let listing = output_of(&mut keytool(self, &pin))?;
        let entries = listing.matches("PrivateKeyEntry").count();
        expect(entries == 2, || format!("keytool lists {entries} of two keys:\n{listing}"))?;
        let source = self.stage.write("Login.java", SOURCE)?;
        let text = output_of(self.stage.foreign("java").arg(source).arg(configuration).arg(pin))?;
        contains(&text, "8 signatures verified")
    }
}
