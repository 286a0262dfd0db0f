//! `cargo xtask bench import`: how fast deliveries of cards and envelopes get into custody, in how much memory, and how long
//! a look-up takes with ten thousand, a hundred thousand and a million of each.
//!
//! The files are made with `openssl cms -stream` as a manufacturer makes them, and imported with `cnsctl`.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{During, Error};
use crate::report;
use crate::stage::{Stage, output_of};
use crate::{Result, office};

/// Look-ups of which the median and the slowest of a hundred are told.
const LOOKUPS: usize = 2000;
/// The largest answer that is read.
const MAXIMUM_ANSWER: usize = 1 << 20;

/// What is imported in one file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cards,
    Envelopes,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Cards => "cards",
            Self::Envelopes => "envelopes",
        }
    }

    /// The line of number `number`; its data are invented.
    fn line(self, number: u64) -> String {
        // Spread over all numbers, as a printer's random codes are; the factor has none in common with 10^8.
        let spread = number.wrapping_mul(76_543_217) % 100_000_000;
        match self {
            Self::Cards => {
                format!(
                    r#"{{"id_card":"6{spread:015}","codice_fiscale":"RSSMRA80A01H501U","puk":"{spread:08}"}}"#
                )
            }
            Self::Envelopes => {
                let code = code(spread);
                format!(
                    r#"{{"code":"{code}","pin":"{:08}","user_code":"{number:010}"}}"#,
                    99_999_999 - spread
                )
            }
        }
    }
}

/// The outside code with its check digits (ISO/IEC 7064, MOD 97-10).
fn code(number: u64) -> String {
    format!("{number:08}{:02}", 98 - number * 100 % 97)
}

/// A database to measure with.
struct Database {
    name: &'static str,
    url: String,
    /// The private cluster, where there is one.
    cluster: Option<PathBuf>,
}

/// Measures with SQLite, and with a private PostgreSQL where `initdb` is there.
pub(super) fn run(programs: &Path, million: u64) -> Result<()> {
    measure(programs, &Database { name: "SQLite", url: "sqlite:custody.db".into(), cluster: None }, million)?;
    let folder =
        tempfile::Builder::new().prefix("cns-pg-").tempdir().during("making a folder for PostgreSQL")?;
    let Some(database) = start_postgresql(folder.path())? else {
        tell("PostgreSQL", "left out: it is not installed, or this is not root");
        return Ok(());
    };
    let outcome = measure(programs, &database, million);
    if let Some(cluster) = &database.cluster {
        output_of(postgres("pg_ctl").args(["-w", "-m", "fast", "stop", "-D"]).arg(cluster))?;
    }
    outcome
}

fn measure(programs: &Path, database: &Database, million: u64) -> Result<()> {
    let mut stage = Stage::new(programs)?;
    let user = rustix::process::geteuid().as_raw();
    let config = format!(
        "readers = []\n\n[limits]\nrequest_seconds = 3600\n\n[custody]\ndatabase = \"{}\"\n\n\
         [[access]]\nrole = \"user\"\nusers = [\"{user}\"]\n\n[[access]]\nrole = \"custodian\"\nusers = [\"{user}\"]\n",
        database.url
    );
    stage.write("cnsd.toml", &config)?;
    let daemon = office::start_daemon(&mut stage)?;
    office::fetch_import_certificate(&stage)?;
    let memory_before = memory(daemon)?;
    let (mut rows, mut taken) = (0, Duration::ZERO);
    let mut from = 0;
    for to in [million / 100, million / 10, million] {
        for kind in [Kind::Cards, Kind::Envelopes] {
            let time = import(&stage, kind, from, to)?;
            rows += to - from;
            taken += time;
            tell(
                database.name,
                &format!(
                    "{} {} more in {:.1} s: {} rows/s",
                    to - from,
                    kind.name(),
                    time.as_secs_f64(),
                    per_second(to - from, time)
                ),
            );
        }
        let (median, slow) = look_up(&stage, to)?;
        let stock = time_of(&stage, "custody.stock", &json!({}))?;
        tell(
            database.name,
            &format!(
                "with {to} cards and {to} envelopes: look-up {} µs (99 of 100 within {} µs), stock report {} ms",
                median.as_micros(),
                slow.as_micros(),
                stock.as_millis()
            ),
        );
        from = to;
    }
    tell(
        database.name,
        &format!("{rows} rows in {:.1} s: {} rows/s", taken.as_secs_f64(), per_second(rows, taken)),
    );
    let peak = memory(daemon)?;
    tell(database.name, &format!("memory of cnsd: {memory_before} KiB before, {peak} KiB at most"));
    stage.finish()
}

fn tell(database: &str, text: &str) {
    report::line(&format!("{database}: {text}"));
}

fn per_second(rows: u64, time: Duration) -> u128 {
    u128::from(rows) * 1000 / time.as_millis().max(1)
}

/// Makes a file of the lines from one number to another, and imports it; how long `cnsctl` takes from start to end.
fn import(stage: &Stage, kind: Kind, from: u64, to: u64) -> Result<Duration> {
    let (plain, sealed) = (stage.path("delivery.jsonl"), stage.path("delivery.cms"));
    let mut file = BufWriter::new(File::create(&plain).during("making a delivery")?);
    let header = format!("{{\"format\":\"cns-import\",\"version\":1,\"kind\":\"{}\"}}\n", kind.name());
    file.write_all(header.as_bytes()).during("making a delivery")?;
    for number in from..to {
        writeln!(file, "{}", kind.line(number)).during("making a delivery")?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error).during("making a delivery")?;
    let mut seal = Command::new("openssl");
    seal.args(["cms", "-encrypt", "-binary", "-stream", "-aes256", "-outform", "DER", "-in"]).arg(&plain);
    output_of(seal.arg("-out").arg(&sealed).arg(stage.path("import.pem")))?;
    fs::remove_file(&plain).during("removing a delivery")?;
    let begun = Instant::now();
    let answer = output_of(stage.program("cnsctl").args(["--json", "custody", "import"]).arg(&sealed))?;
    let time = begun.elapsed();
    let count = office::parse(&answer)?.get(kind.name()).and_then(Value::as_u64);
    if count == Some(to - from) {
        Ok(time)
    } else {
        Err(Error::Wrong(format!("not all was taken in: {answer}")))
    }
}

/// The time of look-ups of envelopes spread over all, each a request on one connection: the median, and what 99 of 100 are
/// within.
fn look_up(stage: &Stage, count: u64) -> Result<(Duration, Duration)> {
    let mut socket = UnixStream::connect(stage.path("cnsd.sock")).during("connecting to cnsd")?;
    let mut times = Vec::with_capacity(LOOKUPS);
    for place in 0..LOOKUPS as u64 {
        let number = place * (count / LOOKUPS as u64).max(1) % count;
        let code = code(number.wrapping_mul(76_543_217) % 100_000_000);
        let begun = Instant::now();
        let answer = call(&mut socket, "custody.show_envelope", &json!({ "code": code }))?;
        times.push(begun.elapsed());
        if answer.get("state").and_then(Value::as_str) != Some("available") {
            return Err(Error::Wrong(format!("envelope {code} is not there: {answer}")));
        }
    }
    times.sort();
    let at = |part: usize| times.get(part).copied().unwrap_or_default();
    Ok((at(LOOKUPS / 2), at(LOOKUPS * 99 / 100)))
}

fn time_of(stage: &Stage, method: &str, params: &Value) -> Result<Duration> {
    let mut socket = UnixStream::connect(stage.path("cnsd.sock")).during("connecting to cnsd")?;
    let begun = Instant::now();
    call(&mut socket, method, params)?;
    Ok(begun.elapsed())
}

fn call(socket: &mut UnixStream, method: &str, params: &Value) -> Result<Value> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    write!(socket, "Content-Length: {}\r\n\r\n{body}", body.len()).during("asking cnsd")?;
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") && header.len() < 256 {
        let mut byte = [0];
        socket.read_exact(&mut byte).during("reading cnsd's answer")?;
        header.extend(byte);
    }
    let header = String::from_utf8_lossy(&header).into_owned();
    let length = header.trim().rsplit(' ').next().and_then(|digits| digits.parse::<usize>().ok());
    let length = length.filter(|length| *length <= MAXIMUM_ANSWER);
    let mut answer = vec![0; length.ok_or_else(|| Error::Wrong(format!("no length in {header:?}")))?];
    socket.read_exact(&mut answer).during("reading cnsd's answer")?;
    let answer = office::parse(&String::from_utf8_lossy(&answer))?;
    answer.get("result").cloned().ok_or_else(|| Error::Wrong(format!("{method}: {answer}")))
}

/// The most memory that a process had so far, in KiB.
fn memory(process: u32) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{process}/status")).during("reading the memory of cnsd")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = peak.and_then(|text| text.trim().split(' ').next()).and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Error::Wrong("the system does not tell the memory of cnsd".into()))
}

/// A private cluster of PostgreSQL in `folder`, which listens at a Unix socket there. It does not run as root, so only root
/// can start it as its own user here.
fn start_postgresql(folder: &Path) -> Result<Option<Database>> {
    let installed = Command::new("runuser")
        .args(["-u", "postgres", "--", "sh", "-c", "command -v initdb pg_ctl"])
        .output();
    if !rustix::process::geteuid().is_root() || !installed.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    output_of(Command::new("chown").arg("postgres").arg(folder))?;
    let cluster = folder.join("cluster");
    output_of(
        postgres("initdb")
            .args(["-A", "trust", "-U", "root", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&cluster),
    )?;
    let options = format!("-k {} -c listen_addresses=''", folder.display());
    let log = folder.join("postgresql.log");
    output_of(
        postgres("pg_ctl").args(["-w", "-o", &options, "-l"]).arg(log).arg("-D").arg(&cluster).arg("start"),
    )?;
    output_of(Command::new("createdb").arg("-h").arg(folder).args(["-U", "root", "cns"]))?;
    let url = format!("postgresql:///cns?host={}", folder.display());
    Ok(Some(Database { name: "PostgreSQL", url, cluster: Some(cluster) }))
}

/// A program of PostgreSQL as its own user.
fn postgres(program: &str) -> Command {
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]).current_dir("/");
    command
}
