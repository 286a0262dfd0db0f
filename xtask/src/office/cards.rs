//! The cards: the holders', the operator's, one of each generation, with their certificates.

use std::path::PathBuf;
use std::process::Command;

use cns_secret::Secret;
use serde_json::Value;

use super::{Authority, lines, parse, random_digits};
use crate::Result;
use crate::error::Error;
use crate::stage::{Stage, output_of, output_with_input, secret_output_of};

/// The citizen as the manufacturer's data say; invented.
pub(crate) const CITIZEN: Holder = Holder {
    surname: "MELIS",
    name: "GRAZIA",
    birth_date: "1980-01-01",
    sex: "F",
    codice_fiscale: "MLSGRZ80A41B354W",
    id_card: "6200000000001235",
};

/// The operator as their own card says; invented.
pub(crate) const OPERATOR_HOLDER: Holder = Holder {
    surname: "SERRA",
    name: "ANNA",
    birth_date: "1975-05-12",
    sex: "F",
    codice_fiscale: "SRRNNA75E52B354D",
    id_card: "6200000000002340",
};

/// A holder's data.
pub(crate) struct Holder {
    pub(crate) surname: &'static str,
    pub(crate) name: &'static str,
    pub(crate) birth_date: &'static str,
    pub(crate) sex: &'static str,
    pub(crate) codice_fiscale: &'static str,
    pub(crate) id_card: &'static str,
}

impl Holder {
    fn toml(&self) -> String {
        format!(
            "surname = \"{}\"\nname = \"{}\"\nbirth_date = \"{}\"\nsex = \"{}\"\ncodice_fiscale = \"{}\"\n\
             birth_place = \"B354\"\nresidence = \"B354\"\nissuer = \"6200\"\nissued = \"2026-01-15\"\n\
             expires = \"2032-01-14\"\nid_card = \"{}\"\n",
            self.surname, self.name, self.birth_date, self.sex, self.codice_fiscale, self.id_card
        )
    }
}

/// The operator's own card, active already.
pub(crate) struct OperatorCard {
    /// Its PIN, which the operator knows.
    pub(crate) pin: Secret,
    /// SHA-256 of its certificate, for the allow list.
    pub(crate) certificate_sha256: String,
}

/// Makes the operator's card with a PIN of so many digits.
pub(crate) fn make_operator_card(
    stage: &Stage,
    authority: &Authority,
    pin_digits: usize,
) -> Result<OperatorCard> {
    let pin = random_digits(pin_digits)?;
    let holder = stage.write("operator.toml", &OPERATOR_HOLDER.toml())?;
    let mut create = stage.program("cns-card");
    create.arg("create").arg(stage.path("operator-card")).arg("--holder").arg(holder);
    create.arg("--request").arg(stage.path("operator.csr")).arg("--pin-from-stdin");
    output_with_input(&mut create, lines(&[pin.expose()])?.expose())?;
    let certificate = enrol_authentication(stage, authority, "operator")?;
    let fingerprint = output_of(
        Command::new("openssl")
            .args(["x509", "-inform", "DER", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(certificate),
    )?;
    let hex = fingerprint.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
    Ok(OperatorCard { pin, certificate_sha256: hex })
}

/// Makes the citizen's card as the manufacturer delivers it: nobody knows its PIN, custody alone gets its PUK.
pub(crate) fn make_citizen_card(stage: &Stage, authority: &Authority) -> Result<()> {
    make_delivered_card(stage, authority, "citizen", &CITIZEN)
}

/// The same for any holder, in the folder `WHO-card`; custody's file is `WHO-puk.cms`.
pub(crate) fn make_delivered_card(
    stage: &Stage,
    authority: &Authority,
    who: &str,
    holder: &Holder,
) -> Result<()> {
    let path = |suffix: &str| stage.path(&format!("{who}{suffix}"));
    let holder = stage.write(&format!("{who}.toml"), &holder.toml())?;
    let mut create = stage.program("cns-card");
    create.arg("create").arg(path("-card")).arg("--holder").arg(holder);
    create.arg("--request").arg(path(".csr"));
    create.arg("--seal-to").arg(stage.path("import.pem")).arg("--sealed-puk").arg(path("-puk.cms"));
    output_of(&mut create)?;
    enrol_authentication(stage, authority, who).map(|_| ())
}

/// A generation of chip, as `cns-card` tells of it.
pub(crate) struct Generation {
    pub(crate) name: String,
    is_cns: bool,
    /// Whether it can be made with a second key, for signatures.
    takes_signature_key: bool,
    /// Whether that key has a PIN of its own.
    has_signature_pin: bool,
}

impl Generation {
    /// Whether `cnsd` uses such a card. The keys of ChipDoc are behind PACE, whose password is the vendor's secret.
    pub(crate) fn is_served(&self) -> bool {
        self.is_cns && self.name != "chipdoc"
    }
}

/// The generations that `cns-card` makes.
pub(crate) fn generations(stage: &Stage) -> Result<Vec<Generation>> {
    let list = parse(&output_of(stage.program("cns-card").args(["generations", "--json"]))?)?;
    let is = |entry: &Value, name: &str| entry.get(name) == Some(&Value::Bool(true));
    let entries = list.as_array().into_iter().flatten();
    Ok(entries
        .map(|entry| Generation {
            name: entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            is_cns: is(entry, "is_cns"),
            takes_signature_key: is(entry, "takes_signature_key"),
            has_signature_pin: is(entry, "has_signature_pin"),
        })
        .collect())
}

/// A card of some generation that its holder knows PIN and PUK of.
pub(crate) struct OwnCard {
    pub(crate) pin: Secret,
    pub(crate) puk: Secret,
    /// The PIN of the signature key, where that has one of its own.
    pub(crate) signature_pin: Option<Secret>,
}

/// What a login certificate of a TS-CNS holds beside name and key (`cns-card` §10.1).
const LOGIN_EXTENSIONS: &str = "keyUsage = critical, digitalSignature, keyEncipherment\n\
    extendedKeyUsage = clientAuth, emailProtection\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n\
    certificatePolicies = 1.3.76.16.2.1, @notice\ncrlDistributionPoints = URI:http://ca.invalid/cns/crl.der\n\
    authorityInfoAccess = OCSP;URI:http://ca.invalid/cns/ocsp\n[notice]\npolicyIdentifier = 1.3.76.16.2.2\n\
    CPS.1 = http://ca.invalid/cns/cps.pdf\n";

/// What a signature certificate holds beside name and key (`cns-card` §10.2).
const SIGNATURE_EXTENSIONS: &str = "keyUsage = critical, nonRepudiation\nsubjectKeyIdentifier = hash\n\
    authorityKeyIdentifier = keyid\ncertificatePolicies = 1.3.76.16.6\n\
    crlDistributionPoints = URI:http://ca.invalid/firma/crl.der\n\
    authorityInfoAccess = OCSP;URI:http://ca.invalid/firma/ocsp\n";

/// Makes a card of `generation` for the citizen, in the folder `NAME-card`, with both keys where the generation takes
/// two. OpenSSL certifies it: the certifier gives no certificate to the short keys of the oldest cards.
pub(crate) fn make_own_card(stage: &Stage, generation: &Generation) -> Result<OwnCard> {
    let name = &generation.name;
    let pin = random_digits(6)?;
    let signature_pin = if generation.has_signature_pin { Some(random_digits(7)?) } else { None };
    let path = |suffix: &str| stage.path(&format!("{name}{suffix}"));
    let holder = stage.write(&format!("{name}.toml"), &CITIZEN.toml())?;
    let mut own = Command::new("openssl");
    own.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    own.args(["-subj", "/C=IT/O=Prova/CN=CA di prova", "-keyout"]).arg(path(".key"));
    output_of(own.arg("-out").arg(path("-ca.pem")))?;
    let mut create = stage.program("cns-card");
    create.arg("create").arg(path("-card")).arg("--holder").arg(holder).arg("--request").arg(path(".csr"));
    create.args(["--generation", name, "--pin-from-stdin", "--seal-to"]).arg(path("-ca.pem"));
    create.arg("--sealed-puk").arg(path("-puk.cms"));
    if generation.takes_signature_key {
        create.arg("--signature-request").arg(path("-signature.csr"));
    }
    let pins: Vec<&[u8]> =
        [Some(&pin), signature_pin.as_ref()].into_iter().flatten().map(Secret::expose).collect();
    output_with_input(&mut create, lines(&pins)?.expose())?;
    certify(stage, name, "", LOGIN_EXTENSIONS, &[])?;
    if generation.takes_signature_key {
        certify(stage, name, "-signature", SIGNATURE_EXTENSIONS, &["--signature"])?;
    }
    let mut open = Command::new("openssl");
    open.args(["cms", "-decrypt", "-inform", "DER", "-in"])
        .arg(path("-puk.cms"))
        .arg("-inkey")
        .arg(path(".key"));
    let letter = secret_output_of(&mut open)?;
    let puk = letter.expose().split(|byte| *byte == b'"').skip_while(|part| *part != b"puk").nth(2);
    let puk = puk.ok_or_else(|| Error::Wrong("the sealed file names no PUK".into()))?;
    Ok(OwnCard { pin, puk: Secret::copy_from(puk)?, signature_pin })
}

/// Makes a card that nobody certifies, in the folder `NAME-card`, with these further options of `cns-card create`.
pub(crate) fn make_plain_card(stage: &Stage, name: &str, options: &[&str]) -> Result<()> {
    let holder = stage.write(&format!("{name}.toml"), &CITIZEN.toml())?;
    let mut create = stage.program("cns-card");
    create.arg("create").arg(stage.path(&format!("{name}-card"))).arg("--holder").arg(holder);
    create.arg("--request").arg(stage.path(&format!("{name}.csr"))).args(["--generation", name]);
    output_of(create.args(options)).map(drop)
}

/// Certifies the request `NAME+which.csr` and loads the certificate.
fn certify(stage: &Stage, name: &str, which: &str, extensions: &str, load: &[&str]) -> Result<()> {
    let path = |suffix: &str| stage.path(&format!("{name}{suffix}"));
    let certificate = path(&format!("{which}.der"));
    let extensions = stage.write(&format!("{name}{which}-extensions.cnf"), extensions)?;
    let mut certify = Command::new("openssl");
    certify.args(["x509", "-req", "-inform", "DER", "-days", "30", "-outform", "DER", "-in"]);
    certify
        .arg(path(&format!("{which}.csr")))
        .arg("-CA")
        .arg(path("-ca.pem"))
        .arg("-CAkey")
        .arg(path(".key"));
    output_of(certify.arg("-extfile").arg(extensions).arg("-out").arg(&certificate))?;
    output_of(stage.program("cns-card").arg("load").arg(path("-card")).arg(certificate).args(load)).map(drop)
}

/// Gets the authentication certificate with `openssl cmp`, and loads it into the card.
fn enrol_authentication(stage: &Stage, authority: &Authority, who: &str) -> Result<PathBuf> {
    let pem = stage.path(&format!("{who}.pem"));
    let der = stage.path(&format!("{who}.der"));
    let mut cmp = Command::new("openssl");
    cmp.args(["cmp", "-cmd", "p10cr", "-server", &authority.address, "-path", "pkix/authentication"]);
    cmp.args(["-ref", "cnsd", "-secret"]).arg(format!("file:{}", stage.path("cmp.secret").display()));
    cmp.arg("-csr").arg(stage.path(&format!("{who}.csr"))).arg("-certout").arg(&pem);
    output_of(&mut cmp)?;
    output_of(
        Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(&pem).arg("-out").arg(&der),
    )?;
    output_of(stage.program("cns-card").arg("load").arg(stage.path(&format!("{who}-card"))).arg(&der))?;
    Ok(der)
}
