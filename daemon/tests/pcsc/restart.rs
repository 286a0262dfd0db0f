//! A pcscd that is killed in the middle of work, with the card in.

use std::time::{Duration, Instant};

use cns_apdu::command::GetChallenge;
use cns_virtual_card::fault::Fault;
use cnsd::card::CardError;
use cnsd::reader::{ReaderSpec, Readers};

use super::plugged::WAIT;
use super::{Pcscd, alone, card_in, plug_in, sign_once, until};

#[test]
fn a_pcscd_killed_in_the_middle_of_work_is_told_and_come_back_to() {
    alone("restart::a_pcscd_killed_in_the_middle_of_work_is_told_and_come_back_to", restart());
}

async fn restart() {
    let mut daemon = Pcscd::start(&[]);
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    let (plugged, name) = plug_in(&readers).await;
    let mut insertion = readers.card(&name).unwrap().card.insertion;
    for _ in 0..3 {
        // In the middle: the card keeps the driver waiting. Others wait behind this job.
        plugged.with_card(|card| card.plan(1, Fault::Mute));
        let before = readers.traffic(&name).commands;
        let jobs: Vec<_> = (0..4)
            .map(|_| {
                let (readers, name) = (readers.clone(), name.clone());
                tokio::spawn(async move {
                    let job = readers.run(&name, None, |session| {
                        session.run(&GetChallenge { length: 8 })?;
                        session.run(&GetChallenge { length: 8 })
                    });
                    job.await
                })
            })
            .collect();
        let ends = Instant::now() + WAIT;
        while readers.traffic(&name).commands < before.saturating_add(2) {
            assert!(Instant::now() < ends, "no job began; pcscd: {:?}", daemon.0.try_wait());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(daemon);
        for (number, job) in jobs.into_iter().enumerate() {
            let error = job.await.unwrap().unwrap_err();
            let words = error.to_string();
            let fits = matches!(error, CardError::Reader(_) | CardError::ReaderGone | CardError::NoReader);
            assert!(fits && !words.contains("0x"), "job {number}: {words}");
        }
        until(&readers, "no reader", <[_]>::is_empty).await;
        daemon = Pcscd::start(&[]);
        until(&readers, "the card in a new pcscd", |readers| card_in(readers).is_some()).await;
        sign_once(&readers, &name).await.unwrap();
        let now = readers.card(&name).unwrap().card.insertion;
        assert!(now > insertion, "an insertion's number is never used again");
        insertion = now;
    }
    drop(daemon);
}
