//! A counter's office on a stage: the certifier, the manufacturer's and the printer's deliveries, the daemon, the
//! cards. The demo and the tests on real parts share it.

mod cards;

use std::path::{Path, PathBuf};
use std::process::Command;

use cns_secret::Secret;
use serde_json::Value;

pub(crate) use self::cards::{
    CITIZEN, Generation, Holder, OperatorCard, OwnCard, generations, make_citizen_card, make_delivered_card,
    make_operator_card, make_own_card, make_plain_card,
};
use crate::Result;
use crate::error::{During, Error};
use crate::stage::{Stage, output_of, output_with_input};

/// The operator's identifier in the registry.
pub(crate) const OPERATOR: &str = "op1";

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
