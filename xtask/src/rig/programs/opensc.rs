//! OpenSC's `pkcs11-tool` on the module.

use cns_secret::Secret;

use super::{Programs, contains};
use crate::rig::expect;
use crate::{Result, peers, terminal};

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

    /// The signature key wants its own PIN again for each signature.
    fn pins_for_test(&self) -> Result<Vec<&Secret>> {
        let mut pins = vec![&self.card.pin];
        pins.extend([self.signature_pin()?; 30]);
        Ok(pins)
    }
}
