//! OpenSC's `pkcs11-tool` on the module.

use std::process::Command;

use cns_secret::Secret;

use super::{Programs, contains};
use crate::rig::{OPERATOR_READER, expect};
use crate::stage::output_of;
use crate::{Result, office, peers, terminal};

/// A generation on which certificates of authorities may lie.
const WITH_AUTHORITIES: &str = "idemia2021";

/// What each of four threads does: initialise with the system's locks, library, slots, the first slot's token, again.
const THREAD: &str = "ILGISLT0GISLT0";

impl Programs {
    /// All of `pkcs11-tool --test`: it says "No errors" only if every operation that it tried did what it should.
    pub(super) fn opensc_tests(&mut self) -> Result<()> {
        let test = peers::pkcs11_tool(&self.stage, &self.stage.module(), &["--login", "--test"]);
        self.spends_one_try(|_, wrong| {
            contains(&terminal::run_refused(&test, &[wrong])?, "CKR_PIN_INCORRECT")
        })?;
        let text = terminal::run(&test, &self.pins_for_test()?)?;
        contains(&text, "No errors")?;
        contains(&text, "SHA256-RSA-PKCS: OK")?;
        expect(!text.contains("ERR"), || format!("pkcs11-tool found errors:\n{text}"))
    }

    /// The threads run beside the same tests; pkcs11-tool would wait half a minute for threads that outlive its work.
    pub(super) fn opensc_threads(&mut self) -> Result<()> {
        let mut command = peers::pkcs11_tool(&self.stage, &self.stage.module(), &["--login", "--test"]);
        for _ in 0..4 {
            command.args(["--test-threads", THREAD]);
        }
        let text = terminal::run(&command, &self.pins_for_test()?)?;
        contains(&text, "No errors")?;
        contains(&text, "test_threads all threads have ended with CKR_OK")?;
        let good = text.matches("state:-1, rv:CKR_OK").count();
        expect(good >= 4, || format!("{good} of 4 threads ended well:\n{text}"))
    }

    /// A second card, with two certificates of authorities and none of its holder, goes into the second reader. They are
    /// found by the search that follows the listing, so that the first answer may not have them yet.
    pub(super) fn opensc_authorities(&mut self) -> Result<()> {
        let (first, second) = (self.make_authority("first")?, self.make_authority("second")?);
        let more = ["--authority-certificate", &first, "--authority-certificate", &second];
        office::make_plain_card(&self.stage, WITH_AUTHORITIES, &more)?;
        let mut plug = self.stage.program("cns-card");
        plug.arg("vpcd").arg(self.stage.path(&format!("{WITH_AUTHORITIES}-card")));
        self.stage.start("second", plug.args(["--host", "127.0.0.1", "--port", "35964"]))?;
        office::wait_for_card(&mut self.stage, OPERATOR_READER)?;
        let list = ["--slot-index", "1", "--list-objects", "--type", "cert"];
        self.stage.wait_for("the certificates of the authorities", 30, |stage| {
            let listing = output_of(&mut peers::pkcs11_tool(stage, &stage.module(), &list))?;
            let told = |name| listing.contains(&format!("Authority {name}"));
            Ok((told("first") && told("second")).then_some(()))
        })?;
        self.stage.stop("second")
    }

    /// An authority's certificate, DER.
    fn make_authority(&self, name: &str) -> Result<String> {
        let certificate = self.stage.path(&format!("{name}.ca.der"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-outform", "DER"]);
        make.args(["-subj", &format!("/C=IT/O=Prova/CN={name}"), "-keyout", "/dev/null", "-out"]);
        output_of(make.arg(&certificate))?;
        Ok(certificate.display().to_string())
    }

    /// The signature key wants its own PIN again for each signature.
    fn pins_for_test(&self) -> Result<Vec<&Secret>> {
        let mut pins = vec![&self.card.pin];
        pins.extend([self.signature_pin()?; 30]);
        Ok(pins)
    }
}
