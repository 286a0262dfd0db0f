//! pyHanko: a PAdES signature of a PDF, which poppler's `pdfsig` judges.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Programs, contains, token_label};
use crate::error::{During, Error};
use crate::office::CITIZEN;
use crate::rig::expect;
use crate::stage::output_of;
use crate::{Result, packages, terminal};

impl Programs {
    pub(super) fn pyhanko(&mut self) -> Result<()> {
        let pdf = self.stage.path("in.pdf");
        std::fs::write(&pdf, empty_pdf()).during("writing a PDF")?;
        self.make_nss_database()?;
        let holder = format!("{} {}", CITIZEN.name, CITIZEN.surname);
        let login = ["--cert-label".to_owned(), format!("CNS authentication {holder}")];
        self.spends_one_try(|rig, wrong| {
            let sign = rig.sign_pdf(&rig.setup_by_options(&login), &pdf, "refused.pdf")?;
            terminal::run_refused(&sign, &[wrong]).map(drop)
        })?;
        let sign = self.sign_pdf(&self.setup_by_options(&login), &pdf, "login.pdf")?;
        terminal::run(&sign, &[&self.card.pin])?;
        contains(&self.validate("login.pdf")?, "Certificate Validation: Certificate is Trusted.")?;
        // The signature key wants its own PIN for the one signature; pyHanko knows that by its configuration alone.
        self.configure_signature_key()?;
        let sign = self.sign_pdf(&["--p11-setup".into(), "signature".into()], &pdf, "signature.pdf");
        output_of(&mut sign?)?;
        self.validate("signature.pdf").map(drop)
    }

    fn setup_by_options(&self, certificate: &[String; 2]) -> Vec<String> {
        let module = self.stage.module().display().to_string();
        let mut options = vec!["--lib".to_owned(), module, "--token-label".to_owned(), token_label()];
        options.extend_from_slice(certificate);
        options
    }

    fn sign_pdf(&self, setup: &[String], pdf: &Path, output: &str) -> Result<Command> {
        let program = pyhanko(self.stage.programs())?;
        let mut command = self.stage.foreign(&program.to_string_lossy());
        command.args(["sign", "addsig", "--field", "Firma", "--use-pades", "pkcs11"]).args(setup);
        // It reads pyhanko.yml where it is started.
        command.arg(pdf).arg(self.stage.path(output)).current_dir(self.stage.path("."));
        Ok(command)
    }

    fn configure_signature_key(&self) -> Result<()> {
        let head = format!(
            "pkcs11-setups:\n  signature:\n    module-path: {}\n    token-criteria: {{label: {}}}\n    \
             cert-id: \"{}\"\n    signing-pin-mode: reauthenticate\n",
            self.stage.module().display(),
            token_label(),
            self.signature_id
        );
        let (pin, signature_pin) = (self.card.pin.expose(), self.signature_pin()?.expose());
        let (user, signing, end) = (b"    user-pin: \"", b"\"\n    signing-pin: \"", b"\"\n");
        let parts: [&[u8]; 6] = [head.as_bytes(), user, pin, signing, signature_pin, end];
        self.stage.write_parts("pyhanko.yml", &parts).map(drop)
    }

    /// What `pdfsig` says of a signed PDF, which has to be good, and bad after a change.
    fn validate(&self, name: &str) -> Result<String> {
        let path = self.stage.path(name);
        let words = self.pdfsig(&path, &[])?;
        contains(&words, "Signature Type: ETSI.CAdES.detached")?;
        contains(&words, "Total document signed")?;
        contains(&words, "Signature Validation: Signature is Valid.")?;
        let mut pdf = std::fs::read(&path).during("reading the signed PDF")?;
        self.trusts_signer(&path, &pdf, &words)?;
        let place = pdf.windows(PAGE.len()).position(|window| window == PAGE.as_bytes());
        let place = place.ok_or_else(|| Error::Wrong("the signed PDF has no page".into()))?;
        pdf.splice(place..place + PAGE.len(), PAGE.replace("300", "301").into_bytes());
        let path = self.stage.path("forged.pdf");
        std::fs::write(&path, pdf).during("writing the forged PDF")?;
        contains(&self.pdfsig(&path, &[])?, "Signature Validation: Digest Mismatch.")?;
        Ok(words)
    }

    /// OpenSSL on the signed bytes and on who signed them: of the signature certificate `pdfsig` says "Unknown issue"
    /// when it may ask no OCSP responder; the login certificate, which has an extended usage, it trusts.
    fn trusts_signer(&self, path: &Path, pdf: &[u8], words: &str) -> Result<()> {
        self.pdfsig(path, &["-dump"])?;
        let dumped =
            self.stage.path(&format!("{}.sig0", path.file_name().unwrap_or_default().to_string_lossy()));
        let content = self.stage.write_parts("signed-bytes", &signed_parts(pdf, words)?)?;
        let mut verify = Command::new("openssl");
        verify.args(["cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any", "-in"]).arg(dumped);
        verify.arg("-content").arg(content).arg("-CAfile").arg(self.authority()).args(["-out", "/dev/null"]);
        output_of(&mut verify).map(drop)
    }

    /// What `pdfsig` says; nobody is asked over the network.
    fn pdfsig(&self, pdf: &Path, options: &[&str]) -> Result<String> {
        let database = format!("sql:{}", self.stage.path("nss").display());
        let mut pdfsig = Command::new("pdfsig");
        pdfsig.args(["-no-ocsp", "-nssdir", &database]).args(options).arg(pdf);
        // Here it writes what it dumps.
        output_of(pdfsig.current_dir(self.stage.path(".")))
    }
}

/// pyHanko where `cargo xtask test` installed it: beside the folder of the built programs.
pub(in crate::rig) fn pyhanko(programs: &Path) -> Result<PathBuf> {
    installed(programs, "bin/pyhanko")
}

/// The Python that finds its library.
pub(in crate::rig) fn python(programs: &Path) -> Result<PathBuf> {
    installed(programs, "bin/python3")
}

fn installed(programs: &Path, name: &str) -> Result<PathBuf> {
    let program = packages::pyhanko_folder(programs).join(name);
    let words = || format!("{} is missing: `cargo xtask test` installs it", program.display());
    expect(program.exists(), words)?;
    Ok(program)
}

/// The bytes of a PDF that are signed, by what `pdfsig` says of them.
pub(in crate::rig) fn signed_parts<'a>(pdf: &'a [u8], words: &str) -> Result<Vec<&'a [u8]>> {
    let ranges = words.lines().find_map(|line| line.trim().strip_prefix("- Signed Ranges: "));
    let ranges = ranges.unwrap_or_default().split("],").map(|range| signed_part(range, pdf));
    ranges.collect::<Option<_>>().ok_or_else(|| Error::Wrong(format!("which bytes are signed?\n{words}")))
}

/// The bytes of one range, `[FIRST - END]`.
fn signed_part<'a>(range: &str, pdf: &'a [u8]) -> Option<&'a [u8]> {
    let (first, end) = range.split_once(" - ")?;
    let number = |text: &str| text.trim_matches(['[', ']', ' ']).parse::<usize>().ok();
    pdf.get(number(first)?..number(end)?)
}

/// The page's size as it stands in the file.
pub(in crate::rig) const PAGE: &str = "[0 0 300 200]";

/// The smallest PDF: one empty page.
pub(in crate::rig) fn empty_pdf() -> Vec<u8> {
    let page = format!("<</Type/Page/Parent 2 0 R/MediaBox{PAGE}/Resources<<>>>>");
    let objects = ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", page.as_str()];
    let mut pdf = String::from("%PDF-1.7\n");
    let mut table = String::from("xref\n0 4\n0000000000 65535 f \n");
    for (number, object) in (1..).zip(objects) {
        table.push_str(&format!("{:010} 00000 n \n", pdf.len()));
        pdf.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let start = pdf.len();
    pdf.push_str(&format!("{table}trailer\n<</Size 4/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n"));
    pdf.into_bytes()
}
