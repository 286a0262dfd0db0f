//! GnuTLS's `p11tool` on the module.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use super::{Programs, contains};
use crate::rig::expect;
use crate::stage::run_refused;
use crate::{Result, terminal};

impl Programs {
    fn p11tool(&self, arguments: &[&str]) -> Command {
        let mut command = self.stage.foreign("p11tool");
        command.arg("--provider").arg(self.stage.module()).args(arguments);
        command
    }

    pub(super) fn gnutls(&mut self) -> Result<()> {
        let key = self.login_uri("private");
        self.spends_one_try(|rig, wrong| {
            // At a terminal it would ask for ever.
            let mut list = rig.p11tool(&["--login", "--list-privkeys", &key]);
            let text = run_refused(list.env("GNUTLS_PIN", OsStr::from_bytes(wrong.expose())), &[])?;
            contains(&text, "Wrong PIN")
        })?;
        let list = self.p11tool(&["--login", "--list-all", &key.replace(";type=private", "")]);
        let text = terminal::run(&list, &[&self.card.pin])?;
        for kind in ["X.509 Certificate (RSA-2048)", "Public key (RSA-2048)", "Private key (RSA-2048)"] {
            let found = text.matches(kind).count();
            expect(found == 1, || format!("{found} times {kind:?}:\n{text}"))?;
        }
        let sign = self.p11tool(&["--login", "--test-sign", &key]);
        let text = terminal::run(&sign, &[&self.card.pin])?;
        contains(&text, "Signing using RSA-SHA256... ok")?;
        contains(&text, "Verifying against public key in the token... ok")
    }
}
