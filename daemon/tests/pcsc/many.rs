//! Sixteen readers of one pcscd at once: as many as it has at most.

use std::fmt::Write;
use std::path::Path;

use cns_virtual_card::vpcd::Endpoint;
use cnsd::reader::{ReaderSpec, Readers};

use super::{Pcscd, alone, soak, until};

/// vpcd's driver, as Debian installs it.
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";

/// Readers that one copy of the driver makes, at ports that follow each other.
const READERS_PER_COPY: usize = 2;

/// The first port; those of the usual configuration are not used.
const FIRST_PORT: u16 = 36_100;

#[test]
fn sixteen_readers_of_pcscd_serve_a_card_each_and_leave_nothing_behind() {
    alone("many::sixteen_readers_of_pcscd_serve_a_card_each_and_leave_nothing_behind", many());
}

async fn many() {
    let folder = tempfile::TempDir::new().unwrap();
    let ports = configure(folder.path());
    let _daemon = Pcscd::start(&["--config", folder.path().join("conf").to_str().unwrap()]);
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    until(&readers, "sixteen readers", |readers| readers.len() == soak::READERS).await;
    let endpoints: Vec<_> =
        ports.into_iter().map(|port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }).collect();
    // Cards that come and go within milliseconds are the long run's (`cargo xtask soak readers`) and those of cnsd's own
    // readers (`many_readers`): behind pcscd one is lost now and then, and it is not known yet by whom.
    soak::soak(&readers, &endpoints, 0).await;
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
