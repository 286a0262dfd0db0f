//! Readers with a keypad behind a pcscd of their own, and the person who types.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cns_virtual_card::VirtualCard;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_reader::{BEHAVIOUR, Behaviour, CARD, TYPED, WAITING};

use crate::private_pcscd::Pcscd;

/// How long the reader may take to ask for an entry.
const WAIT: Duration = Duration::from_secs(60);

/// One reader of pcscd with its folder.
#[derive(Clone)]
pub struct Pad {
    pub folder: PathBuf,
    pub name: String,
}

impl Pad {
    pub fn behaves(&self, behaviour: Behaviour) {
        fs::write(self.folder.join(BEHAVIOUR), behaviour.name()).unwrap();
    }

    /// What a person types as soon as the reader waits.
    pub fn types(&self, entries: &[&str]) {
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        let new = self.folder.join("typed.new");
        fs::write(&new, lines).unwrap();
        fs::rename(new, self.folder.join(TYPED)).unwrap();
    }

    pub fn plug(&self, card: VirtualCard) -> Plugged {
        plug(card, Endpoint::Unix(self.folder.join(CARD))).unwrap()
    }

    /// Waits until the reader waits for an entry.
    pub fn waits(&self) {
        let ends = Instant::now() + WAIT;
        while !self.folder.join(WAITING).exists() {
            assert!(Instant::now() < ends, "the reader waits for nobody");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A pcscd with one such reader for each name.
pub fn start(folder: &Path, names: &[&str]) -> (Pcscd, Vec<Pad>) {
    let driver = std::env::current_exe().unwrap().parent().unwrap().join("libcns_virtual_reader.so");
    assert!(driver.exists(), "{} was not built", driver.display());
    let conf = folder.join("conf");
    fs::create_dir_all(&conf).unwrap();
    let mut stanzas = String::new();
    let mut pads = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let place = folder.join(format!("reader-{number}"));
        fs::create_dir_all(&place).unwrap();
        writeln!(
            stanzas,
            "FRIENDLYNAME \"{name}\"\nDEVICENAME {}\nLIBPATH {}\nCHANNELID 0x{number:X}\n",
            place.display(),
            driver.display()
        )
        .unwrap();
        pads.push(Pad { folder: place, name: format!("{name} {number:02X} 00") });
    }
    fs::write(conf.join("readers"), stanzas).unwrap();
    (Pcscd::start(&["--config", conf.to_str().unwrap()]), pads)
}
