//! NSS's tools, as browsers use the module: in a database of their own.

use std::process::Command;

use super::{Programs, contains, token_label};
use crate::Result;
use crate::office::CITIZEN;
use crate::rig::expect;
use crate::stage::{output_of, run_refused};

impl Programs {
    fn nss_tool(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = self.stage.foreign(tool);
        // Without -d each tool would use the user's own database.
        let option = if tool == "modutil" { "-dbdir" } else { "-d" };
        command.arg(option).arg(format!("sql:{}", self.stage.path("nss").display())).args(arguments);
        command
    }

    /// A new database that trusts the card's authority, and has no password and no module yet.
    pub(super) fn make_nss_database(&self) -> Result<()> {
        let folder = self.stage.path("nss");
        if !folder.exists() {
            std::fs::create_dir(&folder).map_err(|source| crate::error::Error::Io {
                what: "making the database's folder".into(),
                source,
            })?;
            output_of(&mut self.nss_tool("certutil", &["-N", "--empty-password"]))?;
            let trust = ["-A", "-n", "authority", "-t", "CT,C,C", "-i"];
            output_of(self.nss_tool("certutil", &trust).arg(self.authority()))?;
        }
        Ok(())
    }

    pub(super) fn nss(&mut self) -> Result<()> {
        self.make_nss_database()?;
        let add = ["-force", "-add", "CNS", "-libfile"];
        output_of(self.nss_tool("modutil", &add).arg(self.stage.module()))?;
        contains(
            &output_of(&mut self.nss_tool("modutil", &["-list"]))?,
            &format!("token: {}", token_label()),
        )?;
        let label = token_label();
        self.spends_one_try(|rig, wrong| {
            let file = rig.pin_file("wrong-pin", wrong)?;
            let mut list = rig.nss_tool("certutil", &["-K", "-h", &label, "-f"]);
            contains(&run_refused(list.arg(file), &[])?, "SEC_ERROR_BAD_PASSWORD")
        })?;
        let pin = self.pin_file("pin", &self.card.pin)?;
        let keys = output_of(self.nss_tool("certutil", &["-K", "-h", &label, "-f"]).arg(&pin))?;
        for id in [&self.login_id, &self.signature_id] {
            contains(&keys, id)?;
        }
        let certificates = output_of(self.nss_tool("certutil", &["-L", "-h", &label, "-f"]).arg(&pin))?;
        let own = certificates.lines().filter(|line| line.ends_with("u,u,u")).count();
        expect(own == 2, || format!("NSS finds keys to {own} of two certificates:\n{certificates}"))?;
        self.nss_requests_certificate(&label, &pin)?;
        self.nss_signs(&label, &pin)?;
        output_of(&mut self.nss_tool("modutil", &["-force", "-delete", "CNS"])).map(drop)
    }

    /// A certificate request that the card's key signs.
    fn nss_requests_certificate(&self, label: &str, pin: &std::path::Path) -> Result<()> {
        let request = self.stage.path("nss.csr");
        let make = ["-R", "-h", label, "-k", &self.login_id, "-s", "CN=prova", "-f"];
        output_of(self.nss_tool("certutil", &make).arg(pin).arg("-o").arg(&request))?;
        let mut verify = Command::new("openssl");
        verify.args(["req", "-inform", "DER", "-noout", "-verify", "-in"]).arg(request);
        output_of(&mut verify).map(drop)
    }

    /// A signed message by NSS, verified by OpenSSL.
    fn nss_signs(&self, label: &str, pin: &std::path::Path) -> Result<()> {
        let text = self.stage.write("nss.txt", "A text that NSS signs.\n")?;
        let message = self.stage.path("nss.p7m");
        let certificate = format!("{label}:CNS authentication {} {}", CITIZEN.name, CITIZEN.surname);
        // Usage 5: the e-mail signer. 4 would be the e-mail recipient.
        let sign = ["-S", "-N", &certificate, "-u", "5", "-f"];
        let mut command = self.nss_tool("cmsutil", &sign);
        output_of(command.arg(pin).arg("-i").arg(text).arg("-o").arg(&message))?;
        let mut verify = Command::new("openssl");
        verify.args(["cms", "-verify", "-inform", "DER", "-in"]).arg(message);
        let verified = output_of(verify.args(["-purpose", "any", "-CAfile"]).arg(self.authority()))?;
        contains(&verified, "A text that NSS signs.")
    }
}
