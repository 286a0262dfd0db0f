//! All that the manual lets a counter do with cards, and all that holders and others ask of the daemon with a secret.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use cns_secret::Secret;
use serde_json::Value;

use super::on_card;
use crate::Result;
use crate::error::{During, Error};
use crate::office::{self, CITIZEN, Holder};
use crate::peers;
use crate::rig::{CITIZEN_READER, expect, wrong_pin};
use crate::stage::{Stage, output_of, output_with_input, run_refused};

/// The minor, as the manufacturer's data say; invented.
pub(super) const MINOR: Holder = Holder {
    surname: "MELIS",
    name: "PAOLO",
    birth_date: "2012-05-05",
    sex: "M",
    codice_fiscale: "MLSPLA12E05B354C",
    id_card: "6200000000003454",
};

/// What stands on the papers at the counter.
const PAPERS: [&str; 27] = [
    "--confirm",
    "--identity",
    "match",
    "--document",
    "passport",
    "--document-number",
    "YA0000000",
    "--document-issuer",
    "Questura",
    "--document-expires",
    "2031-12-31",
    "--reader-request",
    "no",
    "--set",
    "surname=SERRA",
    "--set",
    "name=LUCA",
    "--set",
    "codice_fiscale=SRRLCU80A01B354L",
    "--set",
    "evidence=court-act",
    "--set",
    "reason=codes-compromised",
    "--set",
    "request=duplicate",
    "--set",
    "email=luca@example.it",
];

/// What a case needs beside the papers.
#[derive(Default)]
struct Case<'a> {
    applicant: Option<&'a str>,
    envelope: Option<&'a str>,
    signature: bool,
    /// What the holder types: the card's PIN, and the signature PIN where both are wanted.
    pins: &'a [&'a Secret],
}

/// How many envelopes are opened, and one that is not.
pub(super) const ENVELOPES: u8 = 10;

/// How many PINs are chosen otherwise.
pub(super) const CHOSEN: usize = 3;

/// How far it has come.
pub(super) struct Progress {
    /// Whose card is in the reader.
    holder: &'static Holder,
    /// Envelopes that are left.
    codes: Vec<String>,
    /// Envelopes that were opened.
    used: Vec<String>,
    /// The PIN of the card in the reader.
    pin: Option<Secret>,
    /// The PIN of its key for signatures, which stays when the card's own is changed.
    signature_pin: Option<Secret>,
    /// PINs that are set by others than envelopes.
    chosen: Vec<Secret>,
    /// What was done, in words.
    pub(super) done: Vec<String>,
}

impl Progress {
    /// Nothing was done yet; there are these envelopes, and these PINs for those who choose their own.
    pub(super) fn new(codes: Vec<String>, chosen: Vec<Secret>) -> Self {
        let (used, done) = (Vec::new(), Vec::new());
        Self { holder: &CITIZEN, codes, used, pin: None, signature_pin: None, chosen, done }
    }
}

/// The desk at which it is done.
pub(super) struct Desk<'a> {
    pub(super) stage: &'a Stage,
    pub(super) at: &'a mut Progress,
    /// What follows each thing that was done.
    pub(super) after: &'a dyn Fn(&str) -> Result<()>,
}

impl Desk<'_> {
    /// Every case with the card of somebody of age.
    pub(super) fn adult(&mut self) -> Result<()> {
        self.codes("ward", None)?;
        self.codes("new-codes", Some("guardian"))?;
        self.codes("delegation", None)?;
        self.codes("new-codes", Some("delegate"))?;
        self.codes("standard", None)?;
        self.later_signature()?;
        self.renewal()?;
        self.module_signs(2)?;
        self.remove_signature()?;
        self.codes_with_signature()
    }

    /// Every case with a minor's card.
    pub(super) fn minor(&mut self) -> Result<()> {
        (self.at.holder, self.at.pin, self.at.signature_pin) = (&MINOR, None, None);
        self.codes("minor", None)?;
        self.codes("new-codes", Some("parent"))?;
        self.codes("emancipated-minor", None)?;
        self.module_signs(1)
    }

    /// What the holder and others ask for with a PIN, a PUK or a user code.
    pub(super) fn own_use(&mut self) -> Result<()> {
        self.user_code()?;
        self.own_puk()?;
        self.change()?;
        self.block_and_unblock()?;
        self.order()?;
        self.module_signs(2)
    }

    /// Suspension, reactivation and revocation, and what else the counter says that it can do: told by `counter cases`, so
    /// that no case is forgotten.
    pub(super) fn others(&mut self) -> Result<Vec<String>> {
        let listed = office::ctl(self.stage, &["counter", "cases"])?;
        let mut refused = Vec::new();
        for case in ["suspension", "reactivation", "other-region", "revocation"] {
            self.other(&listed, case, &mut refused)?;
        }
        for case in listed.as_array().into_iter().flatten() {
            let name = case.get("case").and_then(Value::as_str).unwrap_or_default();
            let was = |done: &String| done.split(',').next() == Some(name);
            expect(self.at.done.iter().chain(&refused).any(was), || {
                format!("the case {name} was forgotten")
            })?;
        }
        Ok(refused)
    }

    fn other(&mut self, listed: &Value, name: &str, refused: &mut Vec<String>) -> Result<()> {
        let is = |case: &&Value| case.get("case").and_then(Value::as_str) == Some(name);
        let case = listed.as_array().into_iter().flatten().find(is);
        if case.is_none_or(|case| case.get("refusal").is_some_and(|refusal| !refusal.is_null())) {
            let mut try_it = self.stage.program("cnsctl");
            try_it.args(["--json", "counter", "run", name, "--reader", CITIZEN_READER]);
            run_refused(&mut try_it, &[])?;
            refused.push(name.to_owned());
            return Ok(());
        }
        self.run(name, &Case { applicant: Some("holder"), ..Case::default() })
    }

    fn did(&mut self, what: &str) -> Result<()> {
        self.at.done.push(what.to_owned());
        (self.after)(what)
    }

    /// A case that gives the card an envelope's PIN.
    fn codes(&mut self, name: &str, applicant: Option<&str>) -> Result<()> {
        let code = self.take_envelope()?;
        self.run(name, &Case { applicant, envelope: Some(&code), ..Case::default() })?;
        self.at.pin = Some(office::open_envelope(self.stage, &code)?);
        Ok(())
    }

    fn codes_with_signature(&mut self) -> Result<()> {
        let code = self.take_envelope()?;
        let case =
            Case { applicant: Some("holder"), envelope: Some(&code), signature: true, ..Case::default() };
        self.run("new-codes", &case)?;
        self.at.pin = Some(office::open_envelope(self.stage, &code)?);
        self.at.signature_pin = Some(office::open_envelope(self.stage, &code)?);
        Ok(())
    }

    fn later_signature(&mut self) -> Result<()> {
        let pin = self.pin()?.duplicate()?;
        self.run("signature", &Case { signature: true, pins: &[&pin], ..Case::default() })
    }

    /// The signature PIN is the card's still (X1).
    fn renewal(&mut self) -> Result<()> {
        let pin = self.pin()?.duplicate()?;
        self.run("renewal", &Case { pins: &[&pin, &pin], ..Case::default() })
    }

    /// Runs a case of the manual to its end.
    fn run(&mut self, name: &str, case: &Case<'_>) -> Result<()> {
        let mut run = self.stage.program("cnsctl");
        run.args(["--json", "counter", "run", name, "--reader", CITIZEN_READER]).args(PAPERS);
        run.args(["--signature", if case.signature { "yes" } else { "no" }]);
        for (option, value) in [("--applicant", case.applicant), ("--envelope", case.envelope)] {
            run.args(value.into_iter().flat_map(|value| [option, value]));
        }
        if !case.pins.is_empty() {
            run.arg("--pin-stdin");
        }
        let pins: Vec<_> = case.pins.iter().map(|pin| pin.expose()).collect();
        let input = office::lines(&pins)?;
        let output = output_with_input(&mut run, input.expose())?;
        let last = office::parse(output.lines().last().unwrap_or_default())?;
        let state = last.pointer("/procedure/state").and_then(Value::as_str).unwrap_or_default();
        expect(state == "done", || format!("the procedure {name} ended as {state:?}:\n{output}"))?;
        let who = case.applicant.map(|who| format!(", {who}")).unwrap_or_default();
        self.did(&format!("{name}{who}"))
    }

    fn remove_signature(&mut self) -> Result<()> {
        let options = ["counter", "remove-signature", "--even-if-valid"];
        self.with_secrets(&options, &[self.pin()?]).map(drop)?;
        self.did("removal of the signature")
    }

    /// `cnsctl` with secrets on its standard input, on the citizen's card.
    fn with_secrets(&self, arguments: &[&str], secrets: &[&Secret]) -> Result<Vec<u8>> {
        let mut command = self.stage.program("cnsctl");
        command.args(["--json"]).args(arguments).args(["--pin-stdin", "--reader", CITIZEN_READER]);
        let secrets: Vec<_> = secrets.iter().map(|secret| secret.expose()).collect();
        output_with_input(&mut command, office::lines(&secrets)?.expose()).map(String::into_bytes)
    }

    fn module_signs(&mut self, keys: usize) -> Result<()> {
        let module = self.stage.module();
        let label = format!("{} {} - CNS login", self.at.holder.name, self.at.holder.surname);
        let slot = ["--token-label", &label];
        let listing = ["--token-label", &label, "--list-objects"];
        let listing = output_of(&mut peers::pkcs11_tool(self.stage, &module, &listing))?;
        let ids = peers::certificate_ids(&listing);
        expect(ids.len() == keys, || format!("the module lists {} certificates:\n{listing}", ids.len()))?;
        // The login, and where the key for signatures wants it, its own for the one signature.
        let pins = [self.pin()?, self.at.signature_pin.as_ref().unwrap_or(self.pin()?)];
        for id in ids {
            peers::sign(self.stage, &module, &id, &slot, &pins, "leaks")?;
        }
        self.did(&format!("signatures with the module, {keys} keys"))
    }

    /// A wrong user code and the right one, as a call centre asks (§6.2).
    fn user_code(&mut self) -> Result<()> {
        let right = self.at.used.last().cloned().unwrap_or_default();
        let wrong = self.at.codes.last().cloned().unwrap_or_default();
        for (envelope, matches) in [(wrong, false), (right, true)] {
            let code = office::user_code(self.stage, &envelope)?;
            let before = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"holder.verify_user_code","params":{{"codice_fiscale":"{}","user_code":""#,
                CITIZEN.codice_fiscale
            );
            let answer = ask(self.stage, &[before.as_bytes(), code.expose(), b"\"}}"])?;
            let told = answer.pointer("/result/matches").and_then(Value::as_bool);
            expect(told == Some(matches), || format!("a user code that should match ({matches}): {answer}"))?;
        }
        self.did("user code")
    }

    /// The holder's own way to the PUK (§6.3): sealed to the card, opened with the PIN.
    fn own_puk(&mut self) -> Result<()> {
        let file = self.stage.path("own-puk.cms");
        let path = file.display().to_string();
        self.with_secrets(&["puk", "get", "--output", &path], &[self.pin()?])?;
        let opened = self.with_secrets(&["puk", "open", &path], &[self.pin()?])?;
        let puk = self.card_puk()?;
        expect(opened.trim_ascii() == puk.expose(), || "the holder got another PUK".into())?;
        self.did("the holder's own PUK")
    }

    fn change(&mut self) -> Result<()> {
        let new = self.take_pin()?;
        self.with_secrets(&["pin", "change"], &[self.pin()?, &new])?;
        self.at.pin = Some(new);
        self.did("change of the PIN")
    }

    fn block_and_unblock(&mut self) -> Result<()> {
        let (wrong, new) = (wrong_pin(self.pin()?)?, self.take_pin()?);
        for _ in 0..3 {
            let mut verify = self.stage.program("cnsctl");
            verify.args(["--json", "pin", "verify", "--pin-stdin", "--confirm-last-try"]);
            verify.args(["--reader", CITIZEN_READER]);
            run_refused(&mut verify, office::lines(&[wrong.expose()])?.expose())?;
        }
        self.with_secrets(&["pin", "unblock"], &[&self.card_puk()?, &new])?;
        self.at.pin = Some(new);
        self.did("a blocked PIN and the holder's PUK")
    }

    /// A sealed order, made with `openssl` as docs/orders.md says.
    fn order(&mut self) -> Result<()> {
        let (stage, new, puk) = (self.stage, self.take_pin()?, self.card_puk()?);
        let before = format!(
            r#"{{"format":"cns-order","version":1,"number":"1","card":"{}","action":"set-pin","not_after":"2099-12-31T12:00:00Z","puk":""#,
            CITIZEN.id_card
        );
        let middle = b"\",\"pin\":\"";
        let content = [before.as_bytes(), puk.expose(), middle, new.expose(), b"\"}"];
        let content = stage.write_parts("order.json", &content)?;
        let certificate = output_of(stage.program("cnsctl").args(["order", "certificate"]))?;
        let recipient = stage.write("order.pem", &certificate)?;
        let (envelope, order) = (stage.path("order.env"), stage.path("order.cms"));
        let mut encrypt = Command::new("openssl");
        encrypt.args(["cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", "-in"]).arg(&content);
        output_of(encrypt.arg("-out").arg(&envelope).arg(recipient))?;
        let mut sign = Command::new("openssl");
        sign.args(["cms", "-sign", "-binary", "-nodetach", "-md", "sha256", "-outform", "DER", "-in"]);
        sign.arg(&envelope).arg("-out").arg(&order).arg("-signer").arg(stage.path("cms.pem"));
        output_of(sign.arg("-inkey").arg(stage.path("cms.key")))?;
        fs::remove_file(content).during("removing an order's content")?;
        let mut execute = stage.program("cnsctl");
        execute.args(["--json", "order", "execute", "--reader", CITIZEN_READER, "--receipt"]);
        let receipt = output_of(execute.arg(stage.path("receipt.cms")).arg(order))?;
        expect(receipt.contains("\"done\""), || format!("the order was not carried out: {receipt}"))?;
        self.at.pin = Some(new);
        self.did("a sealed order")
    }

    fn card_puk(&self) -> Result<Secret> {
        puk_of(self.stage, "citizen")
    }

    fn take_envelope(&mut self) -> Result<String> {
        let code = self.at.codes.pop().ok_or_else(|| Error::Wrong("no envelope is left".into()))?;
        self.at.used.push(code.clone());
        Ok(code)
    }

    fn take_pin(&mut self) -> Result<Secret> {
        self.at.chosen.pop().ok_or_else(|| Error::Wrong("no PIN is left".into()))
    }

    fn pin(&self) -> Result<&Secret> {
        self.at.pin.as_ref().ok_or_else(|| Error::Wrong("the card was not activated".into()))
    }
}

/// The PUK of a card.
pub(super) fn puk_of(stage: &Stage, who: &str) -> Result<Secret> {
    let secrets = on_card(&stage.path(&format!("{who}-card")))?;
    let puk = secrets.into_iter().find(|(name, _)| name.ends_with("card's PUK"));
    puk.map(|(_, puk)| puk).ok_or_else(|| Error::Wrong("the card has no PUK".into()))
}

/// Sends a request to the daemon on a connection of its own; the answer.
pub(super) fn ask(stage: &Stage, parts: &[&[u8]]) -> Result<Value> {
    let what = "asking the daemon";
    let mut socket = UnixStream::connect(stage.path("tap.sock")).during(what)?;
    let length: usize = parts.iter().map(|part| part.len()).sum();
    write!(socket, "Content-Length: {length}\r\n\r\n").during(what)?;
    for part in parts {
        socket.write_all(part).during(what)?;
    }
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        let mut piece = [0; 1024];
        let length = socket.read(&mut piece).during(what)?;
        if length == 0 {
            return Err(Error::Wrong("the daemon hung up".into()));
        }
        answer.extend(piece.get(..length).unwrap_or_default());
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    office::parse(answer.split_once("\r\n\r\n").unwrap_or_default().1)
}

/// Whether this is a whole frame.
fn is_whole(frame: &[u8]) -> bool {
    let text = String::from_utf8_lossy(frame);
    let parts = text.split_once("\r\n\r\n");
    let length = parts.and_then(|(header, _)| header.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    parts.is_some_and(|(_, body)| length.is_some_and(|length| body.len() >= length))
}

/// Makes the CMS system's key and certificate, `cms.key` and `cms.pem`; the configuration that names it.
pub(super) fn cms_system(stage: &Stage) -> Result<String> {
    let (key, certificate) = (stage.path("cms.key"), stage.path("cms.pem"));
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=CMS system CA"]);
    output_of(make.arg("-keyout").arg(stage.path("cms-ca.key")).arg("-out").arg(stage.path("cms-ca.pem")))?;
    let mut request = Command::new("openssl");
    request.args(["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=CMS system", "-keyout"]).arg(key);
    output_of(request.arg("-out").arg(stage.path("cms.csr")))?;
    let extensions = stage.write("cms.ext", "keyUsage=critical,digitalSignature\n")?;
    let mut certify = Command::new("openssl");
    certify.args(["x509", "-req", "-days", "2", "-in"]).arg(stage.path("cms.csr")).arg("-CA");
    certify.arg(stage.path("cms-ca.pem")).arg("-CAkey").arg(stage.path("cms-ca.key")).arg("-extfile");
    output_of(certify.arg(extensions).arg("-out").arg(&certificate))?;
    let digest = fingerprint(&certificate)?;
    Ok(format!(
        "\n[orders]\ntrust_anchors = {:?}\n[[orders.signer]]\nname = \"cms\"\ncertificate_sha256 = \"{digest}\"\n",
        stage.path("cms-ca.pem")
    ))
}

fn fingerprint(certificate: &Path) -> Result<String> {
    let mut print = Command::new("openssl");
    let said = output_of(print.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(certificate))?;
    Ok(said.trim().rsplit('=').next().unwrap_or_default().replace(':', ""))
}
