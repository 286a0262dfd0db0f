//! A counter's office on a stage: the certifier, the manufacturer's and the printer's deliveries, the daemon, the
//! cards. The demo and the tests on real parts share it.

use std::path::{Path, PathBuf};
use std::process::Command;

use cns_secret::Secret;
use serde_json::Value;

use crate::Result;
use crate::error::{During, Error};
use crate::stage::{Stage, output_of, output_with_input, secret_output_of};

/// The operator's identifier in the registry.
pub(crate) const OPERATOR: &str = "op1";

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

/// The certifier at work.
pub(crate) struct Authority {
    /// `host:port` of its HTTP server.
    pub(crate) address: String,
    /// Its certificate, PEM.
    pub(crate) certificate: PathBuf,
}

/// Starts the certifier.
pub(crate) fn start_authority(stage: &mut Stage) -> Result<Authority> {
    let secret = random_hex(24)?;
    let secret_file = stage.write("cmp.secret", &secret)?;
    let folder = stage.path("authority");
    output_of(
        stage.program("cns-authority").arg("init").arg(&folder).arg("--cmp-secret-file").arg(&secret_file),
    )?;
    let port_file = stage.path("authority.address");
    let mut serve = stage.program("cns-authority");
    serve.arg("serve").arg(&folder).args(["--listen", "127.0.0.1:0"]).arg("--port-file").arg(&port_file);
    stage.start("cns-authority", &mut serve)?;
    let address = stage.wait_for("the certifier's start", 20, |_| {
        Ok(std::fs::read_to_string(&port_file).ok().map(|t| t.trim().to_owned()).filter(|t| t.contains(':')))
    })?;
    Ok(Authority { address, certificate: folder.join("ca.pem") })
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

/// Where the daemon finds its cards.
pub(crate) struct Readers {
    /// The `readers` line of the configuration.
    pub(crate) configured: Vec<String>,
    /// The reader for the citizen's card.
    pub(crate) citizen: String,
    /// The reader for the operator's card.
    pub(crate) operator: String,
}

/// Writes the daemon's configuration.
pub(crate) fn configure(
    stage: &Stage,
    authority: &Authority,
    card: &OperatorCard,
    readers: &Readers,
    log: &str,
) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let access: String = ["user", "counter", "custodian", "auditor", "admin"]
        .iter()
        .map(|role| format!("[[access]]\nrole = \"{role}\"\nusers = [\"{user}\"]\n\n"))
        .collect();
    let list: Vec<String> = readers.configured.iter().map(|reader| format!("\"{reader}\"")).collect();
    let anchors = authority.certificate.display();
    let config = format!(
        "readers = [{}]\nlog = \"{log}\"\n\n{access}[custody]\ndatabase = \"sqlite:custody.db\"\nkey_file = \"custody.key\"\n\n\
         [authority]\nurl = \"http://{}/pkix/signature\"\nreference = \"cnsd\"\nsecret_file = \"{}\"\n\
         trust_anchors = \"{anchors}\"\n\n[operators]\ntrust_anchors = \"{anchors}\"\ncrl = \"{}\"\n\n\
         [[operator]]\nid = \"{OPERATOR}\"\nname = \"Anna Serra\"\ncertificate_sha256 = \"{}\"\n\
         counter = \"ASL Cagliari, sportello 1\"\ncounter_kind = \"health-authority\"\n",
        list.join(", "),
        authority.address,
        stage.path("cmp.secret").display(),
        stage.path("authority/crl.der").display(),
        card.certificate_sha256,
    );
    stage.write("cnsd.toml", &config).map(|_| ())
}

/// Writes the configuration of a daemon that only serves cards: pcscd's readers, everybody's roles for this user.
pub(crate) fn configure_plain(stage: &Stage) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let config = format!("readers = [\"pcsc\"]\n\n[[access]]\nrole = \"user\"\nusers = [\"{user}\"]\n");
    stage.write("cnsd.toml", &config).map(drop)
}

/// Adds to the configuration that was written before.
pub(crate) fn configure_more(stage: &Stage, more: &str) -> Result<()> {
    let before =
        std::fs::read_to_string(stage.path("cnsd.toml")).during("reading the daemon's configuration")?;
    stage.write("cnsd.toml", &format!("{before}{more}")).map(drop)
}

/// The daemon, to be started on the stage's state and socket.
pub(crate) fn daemon(stage: &Stage) -> Command {
    let mut daemon = stage.program("cnsd");
    daemon.arg("--config").arg(stage.path("cnsd.toml")).arg("--state").arg(stage.path("state"));
    daemon.arg("--socket").arg(stage.path("cnsd.sock"));
    daemon
}

/// Starts the daemon and waits until it answers; its process id.
pub(crate) fn start_daemon(stage: &mut Stage) -> Result<u32> {
    let mut daemon = daemon(stage);
    start_daemon_as(stage, &mut daemon)
}

/// The same by a command that becomes [`daemon`].
pub(crate) fn start_daemon_as(stage: &mut Stage, command: &mut Command) -> Result<u32> {
    let id = stage.start("cnsd", command)?;
    stage.wait_for("cnsd's first answer", 30, |stage| Ok(ctl(stage, &["status"]).ok()))?;
    Ok(id)
}

/// Brings the card's PUK and a batch of envelopes into custody and assigns the envelopes; their outside codes.
pub(crate) fn fill_custody(stage: &Stage, envelopes: u8) -> Result<Vec<String>> {
    let mut print = stage.program("cns-card");
    print
        .args(["envelopes", "--count", &envelopes.to_string(), "--pin-digits", "8", "--seal-to"])
        .arg(stage.path("import.pem"));
    print.arg("--out").arg(stage.path("envelopes.cms")).arg("--letters").arg(stage.path("letters"));
    output_of(&mut print)?;
    for file in ["citizen-puk.cms", "envelopes.cms"] {
        output_of(stage.program("cnsctl").args(["custody", "import"]).arg(stage.path(file)))?;
    }
    let codes = letters(stage)?;
    let mut assign = stage.program("cnsctl");
    output_of(assign.args(["custody", "assign", "--operator", OPERATOR]).args(&codes))?;
    Ok(codes)
}

/// The outside codes of all envelopes that were printed.
pub(crate) fn letters(stage: &Stage) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    for entry in std::fs::read_dir(stage.path("letters")).during("reading the letters' folder")? {
        let path = entry.during("reading the letters' folder")?.path();
        codes.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    codes.sort();
    Ok(codes)
}

/// Writes the daemon's import certificate to `import.pem`.
pub(crate) fn fetch_import_certificate(stage: &Stage) -> Result<()> {
    let pem = output_of(stage.program("cnsctl").args(["custody", "import-certificate"]))?;
    stage.write("import.pem", &pem).map(|_| ())
}

/// Plugs a card into one of the daemon's own readers, and waits until its contents are known.
pub(crate) fn plug(stage: &mut Stage, who: &str, socket: &Path) -> Result<()> {
    let mut card = stage.program("cns-card");
    card.arg("vpcd").arg(stage.path(&format!("{who}-card"))).arg("--path").arg(socket);
    stage.start(who, &mut card)?;
    let reader = format!("vpcd:{}", socket.display());
    wait_for_card(stage, &reader)
}

/// Waits until the daemon knows the card in a reader.
pub(crate) fn wait_for_card(stage: &mut Stage, reader: &str) -> Result<()> {
    stage.wait_for(&format!("the recognition of the card in {reader}"), 30, |stage| {
        let state = reader_entry(stage, reader)?.and_then(|entry| entry.get("state").cloned());
        Ok(state.filter(|state| state.get("card").is_some()).map(|_| ()))
    })
}

/// Waits until the daemon sees an empty reader.
pub(crate) fn wait_for_removal(stage: &mut Stage, reader: &str) -> Result<()> {
    stage.wait_for("the card's removal", 10, |stage| {
        let state = reader_entry(stage, reader)?.and_then(|entry| entry.get("state").cloned());
        Ok(state.filter(|state| state == "empty").map(drop))
    })
}

/// Opens the operator session.
pub(crate) fn operator_login(stage: &Stage, readers: &Readers, card: &OperatorCard) -> Result<Value> {
    let mut login = stage.program("cnsctl");
    login.args(["--json", "operator", "login", "--pin-stdin", "--reader", &readers.operator]);
    parse(&output_with_input(&mut login, card.pin.expose())?)
}

/// The PIN inside an envelope, as its holder reads it after opening the letter.
pub(crate) fn open_envelope(stage: &Stage, code: &str) -> Result<Secret> {
    in_letter(stage, code, b"PIN: ")
}

/// The user code inside an envelope (§6.1.2).
pub(crate) fn user_code(stage: &Stage, code: &str) -> Result<Secret> {
    in_letter(stage, code, b"User code: ")
}

fn in_letter(stage: &Stage, code: &str, label: &[u8]) -> Result<Secret> {
    use std::io::Read;
    let path = stage.path("letters").join(format!("{code}.txt"));
    let mut file = std::fs::File::open(&path).during("opening the envelope")?;
    let length = usize::try_from(file.metadata().during("opening the envelope")?.len()).unwrap_or(0);
    let mut letter = Secret::zeroed(length)?;
    file.read_exact(letter.expose_mut()).during("reading the letter")?;
    let value = letter.expose().split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(label));
    let value = value.ok_or_else(|| Error::Wrong("the letter lacks a line".into()))?;
    Ok(Secret::copy_from(value.trim_ascii())?)
}

/// Calls `cnsctl --json`.
pub(crate) fn ctl(stage: &Stage, arguments: &[&str]) -> Result<Value> {
    parse(&output_of(stage.program("cnsctl").arg("--json").args(arguments))?)
}

/// Reads JSON.
pub(crate) fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::Wrong(format!("this is not JSON ({error}): {text}")))
}

/// What the daemon knows of one reader.
pub(crate) fn reader_entry(stage: &Stage, reader: &str) -> Result<Option<Value>> {
    let readers = ctl(stage, &["reader", "list"])?;
    let entries = readers.get("readers").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(entries.into_iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(reader)))
}

/// APDUs and bytes that have passed through a reader.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) commands: u64,
    pub(crate) bytes: u64,
    /// How often the card's contents were read.
    pub(crate) reads: u64,
}

impl Traffic {
    /// The counters as they are now.
    pub(crate) fn now(stage: &Stage, reader: &str) -> Result<Self> {
        let entry =
            reader_entry(stage, reader)?.ok_or_else(|| Error::Wrong(format!("no reader {reader}")))?;
        let number = |pointer| entry.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        Ok(Self {
            commands: number("/traffic/commands"),
            bytes: number("/traffic/bytes_sent") + number("/traffic/bytes_received"),
            reads: number("/contents_reads"),
        })
    }

    /// What has passed since.
    pub(crate) fn since(stage: &Stage, reader: &str, before: Self) -> Result<Self> {
        let now = Self::now(stage, reader)?;
        Ok(Self {
            commands: now.commands.saturating_sub(before.commands),
            bytes: now.bytes.saturating_sub(before.bytes),
            reads: now.reads.saturating_sub(before.reads),
        })
    }
}

impl std::fmt::Display for Traffic {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} APDUs, {} bytes", self.commands, self.bytes)
    }
}

/// Secrets as lines for a program's standard input.
pub(crate) fn lines(secrets: &[&[u8]]) -> Result<Secret> {
    let mut text = Secret::zeroed(secrets.iter().map(|secret| secret.len() + 1).sum())?;
    let mut rest = text.expose_mut();
    for secret in secrets {
        let (line, after) = rest.split_at_mut(secret.len() + 1);
        if let Some((end, digits)) = line.split_last_mut() {
            digits.copy_from_slice(secret);
            *end = b'\n';
        }
        rest = after;
    }
    Ok(text)
}

fn random_hex(bytes: usize) -> Result<String> {
    Ok(random(bytes)?.expose().iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn random_digits(count: usize) -> Result<Secret> {
    let mut digits = random(count)?;
    for digit in digits.expose_mut() {
        // 256 is no multiple of 10: a slight bias in the PIN of an invented operator's card does no harm.
        *digit = b'0' + *digit % 10;
    }
    Ok(digits)
}

fn random(count: usize) -> Result<Secret> {
    use std::io::Read;
    let mut bytes = Secret::zeroed(count)?;
    let mut source = std::fs::File::open("/dev/urandom").during("opening /dev/urandom")?;
    source.read_exact(bytes.expose_mut()).during("reading /dev/urandom")?;
    Ok(bytes)
}
