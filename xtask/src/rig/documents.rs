//! Documents signed with the key that was made at the counter: CAdES-BES and PAdES baseline B by pyHanko through the
//! module, judged by OpenSSL and poppler's `pdfsig`.

use std::path::Path;
use std::process::Command;

use super::programs::pyhanko::{PAGE, empty_pdf, pyhanko, python, signed_parts};
use super::{Rig, expect, token_label};
use crate::error::{During, Error};
use crate::stage::output_of;
use crate::{Result, peers};

/// Where pyHanko reads how to reach the key.
const CONFIGURATION: &str = "pyhanko.yml";
const CADES: &str = include_str!("cades.py");

impl Rig {
    /// The signature key signs a file and a PDF, and others find both good, and bad after a change.
    pub(super) fn signs_documents(&mut self) -> Result<()> {
        self.configure_pyhanko()?;
        let made = self.makes_cades().and_then(|()| self.makes_pades());
        // It holds the PIN.
        std::fs::remove_file(self.stage.path(CONFIGURATION)).during("removing pyHanko's configuration")?;
        made
    }

    fn configure_pyhanko(&self) -> Result<()> {
        let module = self.stage.module();
        let listing = ["--token-label", &token_label(), "--list-objects", "--type", "cert"];
        let listing = output_of(&mut peers::pkcs11_tool(&self.stage, &module, &listing))?;
        let ids = peers::certificate_ids(&listing);
        let id = ids.get(1).ok_or_else(|| Error::Wrong(format!("no signature certificate:\n{listing}")))?;
        let head = format!(
            "pkcs11-setups:\n  signature:\n    module-path: {}\n    token-criteria: {{label: {}}}\n    \
             cert-id: \"{id}\"\n    signing-pin-mode: reauthenticate\n",
            module.display(),
            token_label(),
        );
        // The area has the card's PIN (X1).
        let pin = self.pin()?.expose();
        let (user, signing, end) = (b"    user-pin: \"", b"\"\n    signing-pin: \"", b"\"\n");
        self.stage.write_parts(CONFIGURATION, &[head.as_bytes(), user, pin, signing, pin, end]).map(drop)
    }

    fn makes_cades(&self) -> Result<()> {
        let text = self.stage.write("contract.txt", "What the citizen signs.\n")?;
        let script = self.stage.write("cades.py", CADES)?;
        let signature = self.stage.path("contract.p7s");
        let mut sign = self.stage.foreign(&python(self.stage.programs())?.to_string_lossy());
        sign.arg(script).arg(self.stage.path(CONFIGURATION)).arg(&text).arg(&signature);
        output_of(&mut sign)?;
        output_of(&mut self.verify_cms(&signature, &text, &["-cades"]))?;
        let mut print = Command::new("openssl");
        print.args(["cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in"]).arg(&signature);
        let attributes = output_of(&mut print)?;
        for attribute in ["id-smime-aa-signingCertificateV2", "messageDigest", "contentType"] {
            expect(attributes.contains(attribute), || format!("no {attribute}:\n{attributes}"))?;
        }
        let other = self.stage.write("forged.txt", "What the citizen did not sign.\n")?;
        let judged = self.verify_cms(&signature, &other, &["-cades"]).output().during("starting openssl")?;
        expect(!judged.status.success(), || "OpenSSL takes the signature for another text".into())
    }

    /// OpenSSL on a detached CMS; the certificate is for signatures, not for mail, so its purpose is not judged.
    fn verify_cms(&self, signature: &Path, content: &Path, options: &[&str]) -> Command {
        let mut verify = Command::new("openssl");
        verify.args(["cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any"]).args(options);
        verify.arg("-in").arg(signature).arg("-content").arg(content);
        verify.arg("-CAfile").arg(self.stage.path("authority").join("ca.pem")).args(["-out", "/dev/null"]);
        verify
    }

    fn makes_pades(&self) -> Result<()> {
        let (source, signed) = (self.stage.path("contract.pdf"), self.stage.path("signed.pdf"));
        std::fs::write(&source, empty_pdf()).during("writing a PDF")?;
        let mut sign = self.stage.foreign(&pyhanko(self.stage.programs())?.to_string_lossy());
        sign.args([
            "sign",
            "addsig",
            "--field",
            "Firma",
            "--use-pades",
            "pkcs11",
            "--p11-setup",
            "signature",
        ]);
        // It reads its configuration where it is started.
        output_of(sign.arg(&source).arg(&signed).current_dir(self.stage.path(".")))?;
        let words = self.pdfsig(&[], &signed)?;
        self.pdfsig(&["-dump"], &signed)?;
        for expected in ["ETSI.CAdES.detached", "Total document signed", "Signature is Valid."] {
            expect(words.contains(expected), || format!("pdfsig does not say {expected:?}:\n{words}"))?;
        }
        let mut pdf = std::fs::read(&signed).during("reading the signed PDF")?;
        let content = self.stage.write_parts("signed-bytes", &signed_parts(&pdf, &words)?)?;
        output_of(&mut self.verify_cms(&self.stage.path("signed.pdf.sig0"), &content, &["-cades"]))?;
        let place = pdf.windows(PAGE.len()).position(|window| window == PAGE.as_bytes());
        let place = place.ok_or_else(|| Error::Wrong("the signed PDF has no page".into()))?;
        pdf.splice(place..place + PAGE.len(), PAGE.replace("300", "301").into_bytes());
        let forged = self.stage.path("forged.pdf");
        std::fs::write(&forged, pdf).during("writing the forged PDF")?;
        let words = self.pdfsig(&[], &forged)?;
        expect(words.contains("Digest Mismatch."), || format!("pdfsig takes a changed PDF:\n{words}"))
    }

    fn pdfsig(&self, options: &[&str], pdf: &Path) -> Result<String> {
        let mut pdfsig = Command::new("pdfsig");
        // Here it writes what it dumps; nobody is asked over the network.
        output_of(pdfsig.arg("-no-ocsp").args(options).arg(pdf).current_dir(self.stage.path(".")))
    }
}
