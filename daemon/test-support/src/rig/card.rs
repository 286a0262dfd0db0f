//! The card at the counter: it is read, goes, comes back, and is asked what it takes.

use std::fs;
use std::time::Duration;

use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_card::{VirtualCard, sample};
use cnsd::card::{CardError, CardSession, LastTry, sign};

use super::{Rig, WAIT, copy, secret};

impl Rig {
    /// Waits until the card was read.
    pub async fn card_is_back(&self) {
        let ends = tokio::time::Instant::now() + WAIT;
        while self.rooms().readers.find_card(sample::ID_CARD).is_none() {
            assert!(tokio::time::Instant::now() < ends, "the card is not read");
            let change = self.rooms().readers.list().change;
            self.rooms().readers.wait(change, Duration::from_millis(500)).await;
        }
    }

    /// Keeps the card as it is, to be put back later.
    pub fn keep_card(&self) {
        self.card
            .with_card(|_| copy(&self.folder.path().join("card"), &self.folder.path().join("kept")))
            .unwrap();
    }

    /// Puts the kept card into the reader.
    pub async fn kept_card_again(&mut self) {
        self.card.pull_out();
        self.card_is_gone().await;
        fs::remove_dir_all(self.folder.path().join("card")).unwrap();
        copy(&self.folder.path().join("kept"), &self.folder.path().join("card")).unwrap();
        let chip = VirtualCard::open(&self.folder.path().join("card")).unwrap();
        self.card = plug(chip, Endpoint::Unix(self.folder.path().join("card.sock"))).unwrap();
        self.card_is_back().await;
    }

    /// Waits until the daemon has seen that the card is gone.
    pub async fn card_is_gone(&self) {
        let ends = tokio::time::Instant::now() + WAIT;
        while self.rooms().readers.find_card(sample::ID_CARD).is_some() {
            assert!(tokio::time::Instant::now() < ends, "the card is not seen to be gone");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A signature with the signature area's key.
    pub async fn sign_with_area(&self, pin: &[u8]) -> Result<Vec<u8>, CardError> {
        let pin = secret(pin);
        let job = move |session: &mut CardSession<'_>| {
            let data = [0x42; 20];
            sign::sign(session, KeyUse::Signature, &pin, LastTry::Ask, &Mechanism::RsaPkcs1, &data)
        };
        self.rooms().readers.run(&self.reader, None, job).await
    }

    /// Puts a pulled card in again.
    pub async fn put_in(&self) {
        self.card_is_gone().await;
        // The daemon may see the card go before the card's own thread has put it down.
        while self.card.is_connected() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.card.put_in();
        self.card_is_back().await;
    }

    /// Whether the chip takes this PIN. A wrong one costs a try.
    pub fn takes_pin(&self, pin: &[u8]) -> bool {
        takes_pin(&self.card, pin)
    }
}

/// Whether the chip takes this PIN, also when it is out of the reader. A wrong one costs a try.
pub fn takes_pin(card: &Plugged, pin: &[u8]) -> bool {
    let mut command = vec![0x00, 0x20, 0x00, 0x90, 0x08];
    command.extend_from_slice(pin);
    command.resize(13, 0xFF);
    card.with_card(|card| {
        card.card().power_on();
        let answer = card.card().transmit(&command);
        card.reset();
        answer == [0x90, 0x00]
    })
}
