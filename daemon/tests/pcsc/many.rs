//! Sixteen readers of one pcscd at once: as many as it has at most.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cns_virtual_card::vpcd::Endpoint;
use cnsd::reader::{ReaderSpec, Readers};
use pcsc::{Context, ReaderState, Scope, State};

use super::{Pcscd, alone, soak, until};

/// vpcd's driver, as Debian installs it.
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";

/// Readers that one copy of the driver makes, at ports that follow each other.
const READERS_PER_COPY: usize = 2;

/// The first port; those of the usual configuration are not used.
const FIRST_PORT: u16 = 36_100;

/// How long cards come and go where nothing else is asked for.
const STORM: Duration = Duration::from_secs(18);

const TEST: &str = "many::sixteen_readers_of_pcscd_serve_a_card_each_and_leave_nothing_behind";

/// Set in the process that tells what pcscd says.
const WITNESS: &str = "CNSD_TEST_WITNESS";

#[test]
fn sixteen_readers_of_pcscd_serve_a_card_each_and_leave_nothing_behind() {
    alone(TEST, many());
}

async fn many() {
    if std::env::var_os(WITNESS).is_some() {
        return tell_what_pcscd_says();
    }
    let folder = tempfile::TempDir::new().unwrap();
    let ports = configure(folder.path());
    let _daemon = Pcscd::start(&["--config", folder.path().join("conf").to_str().unwrap()]);
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    until(&readers, "sixteen readers", |readers| readers.len() == soak::READERS).await;
    let endpoints: Vec<_> =
        ports.into_iter().map(|port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }).collect();
    soak::soak(&readers, &endpoints, soak::Length::Time(STORM), Some(witness)).await;
}

/// What pcscd says, asked by a process of its own: libpcsclite has one table of reader states for a whole process.
fn witness() -> BTreeMap<String, bool> {
    let mut program = Command::new(std::env::current_exe().unwrap());
    let output = program.args(["--exact", TEST, "--nocapture"]).env(WITNESS, "1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().filter_map(|line| line.strip_prefix(WITNESS)?.split_once('='));
    words.map(|(present, name)| (name.to_owned(), present == " card ")).collect()
}

/// The other process.
fn tell_what_pcscd_says() {
    let context = Context::establish(Scope::System).unwrap();
    let names = context.list_readers_owned().unwrap();
    let mut states: Vec<_> = names.into_iter().map(|name| ReaderState::new(name, State::UNAWARE)).collect();
    context.get_status_change(Duration::ZERO, &mut states).unwrap();
    for state in states {
        let word = if state.event_state().contains(State::PRESENT) { "card" } else { "none" };
        println!("\n{WITNESS} {word} ={}", state.name().to_str().unwrap());
    }
}

/// Writes pcscd's configuration: one driver copy for every two readers, since copies under one path share their
/// state. Gives the ports.
fn configure(folder: &Path) -> Vec<u16> {
    let conf = folder.join("conf");
    std::fs::create_dir(&conf).unwrap();
    let mut stanzas = String::new();
    let mut ports = Vec::new();
    for copy in 0..soak::READERS / READERS_PER_COPY {
        let library = folder.join(format!("libifdvpcd-{copy}.so"));
        std::fs::copy(DRIVER, &library).unwrap();
        let port = FIRST_PORT + u16::try_from(copy * READERS_PER_COPY).unwrap();
        writeln!(
            stanzas,
            "FRIENDLYNAME \"Soak {copy}\"\nDEVICENAME /dev/null:0x{port:X}\nLIBPATH {}\nCHANNELID 0x{port:X}\n",
            library.display()
        )
        .unwrap();
        ports.extend(port..port + u16::try_from(READERS_PER_COPY).unwrap());
    }
    std::fs::write(conf.join("vpcd"), stanzas).unwrap();
    ports
}
