//! What goes wrong in one step, and how it goes on past it.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, iter};

use cns_protocol::counter::{Procedure, Step};
use cns_virtual_authority::{Fault as AuthorityFault, FaultKind};
use cns_virtual_card::fault::{Fault, Trigger};
use cnsd::procedure::ProcedureError;
use cnsd::procedure::status::StatusError;

use super::{Walk, is_outside, is_told, works};
use crate::national_peer::Mood;
use crate::rig::Rig;

/// RESET RETRY COUNTER.
const RESET: u8 = 0x2C;
/// Long enough for a folder to be copied meanwhile.
const SLOW: Duration = Duration::from_millis(400);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Pulled,
    Chip6F00,
    Database,
    PowerCut,
    DiskFull,
}

impl Walk<'_> {
    /// One step with a trouble in it, and on past it. Whether the trouble was felt.
    pub(super) async fn step(&mut self, procedure: &Procedure, trouble: Trouble) -> (Procedure, bool) {
        let step = procedure.next.clone().unwrap();
        match trouble {
            // The card is not worked on: here it is the national system that does not answer, or has no time.
            Trouble::Pulled if is_outside(&step) => self.silence(procedure, &step, Mood::Silent).await,
            Trouble::Chip6F00 if is_outside(&step) => self.silence(procedure, &step, Mood::Busy).await,
            // Nor here: the card is away, or the authority's answer is lost.
            Trouble::Pulled if is_told(&step) => self.away(procedure, &step).await,
            Trouble::Chip6F00 if is_told(&step) => self.unheard(procedure, &step).await,
            Trouble::Pulled | Trouble::Chip6F00 => self.card_trouble(procedure, &step, trouble).await,
            Trouble::Database => self.database_trouble(procedure, &step).await,
            Trouble::PowerCut => self.power_cut(procedure, &step).await,
            Trouble::DiskFull => self.full_disk(procedure, &step).await,
        }
    }

    /// At the command that sets the PIN, in the middle of the signature work, or at the first command of all.
    fn trigger(&self, step: &Step) -> Trigger {
        match step.paragraph.as_str() {
            "§9.3.2-7" => Trigger::Instruction { ins: RESET, after: 0 },
            "§9.1.3" => Trigger::After(self.signature_commands / 2),
            _ => Trigger::After(0),
        }
    }

    /// What the national system does with the next request.
    fn outside(&self, mood: Mood) {
        self.rig.peer.as_ref().unwrap().lock().unwrap().moods = vec![mood];
    }

    async fn silence(&mut self, procedure: &Procedure, step: &Step, mood: Mood) -> (Procedure, bool) {
        self.outside(mood);
        let waits = self.answer(procedure, step).await.unwrap_err();
        assert!(matches!(waits, ProcedureError::NationalWaits(_)), "{waits:?}");
        self.rig.rooms().procedures.settle().await.unwrap();
        (self.insist(procedure, step).await, true)
    }

    /// The operator answers while the card is out of the reader.
    async fn away(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        if self.rig.card.is_connected() {
            self.rig.card.pull_out();
            self.rig.card_is_gone().await;
        }
        let away = self.answer(procedure, step).await.unwrap_err();
        assert!(matches!(away, ProcedureError::CardElsewhere), "{away:?}");
        (self.insist(procedure, step).await, true)
    }

    /// The authority has done it for the first certificate, and its answer is lost as often as it is sent.
    async fn unheard(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        if !self.rig.card.is_connected() {
            self.rig.put_in().await;
        }
        self.misbehaves(3).await;
        let unheard = self.answer(procedure, step).await.unwrap_err();
        assert!(matches!(unheard, ProcedureError::Status(StatusError::Failed(_))), "{unheard:?}");
        (self.insist(procedure, step).await, true)
    }

    /// Loses so many of the authority's answers.
    async fn misbehaves(&mut self, times: u64) {
        self.rig.authority_misbehaves(AuthorityFault::times(FaultKind::LoseAnswer, times)).await;
    }

    /// The authority has done it for the first certificate, and the power fails before its answer is there.
    async fn cut_while_telling(&mut self, procedure: &Procedure, step: &Step, kept: &Path) {
        self.misbehaves(1).await;
        let done =
            |rig: &Rig| rig.certifier.list().unwrap().into_iter().map(|one| one.status).collect::<Vec<_>>();
        let before = done(self.rig);
        let cut = async {
            let ends = Instant::now() + Duration::from_secs(30);
            while done(self.rig) == before && Instant::now() < ends {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.rig.keep(kept).await;
        };
        let (answer, ()) = tokio::join!(self.answer(procedure, step), cut);
        answer.unwrap();
    }

    async fn card_trouble(
        &mut self,
        procedure: &Procedure,
        step: &Step,
        trouble: Trouble,
    ) -> (Procedure, bool) {
        let works = works(step);
        if works && !self.rig.card.is_connected() {
            self.rig.put_in().await;
        }
        if works || trouble == Trouble::Chip6F00 {
            let fault = if trouble == Trouble::Pulled { Fault::PullOutAfter } else { Fault::Status(0x6F00) };
            let trigger = self.trigger(step);
            self.rig.card.with_card(|card| card.plan_at(trigger, fault));
        } else if self.rig.card.is_connected() {
            // It stays out for all steps until the card is worked on again.
            self.rig.card.pull_out();
            self.rig.card_is_gone().await;
        }
        let answer = self.answer(procedure, step).await;
        self.rig.card.with_card(|card| card.clear_plan());
        if works && self.rig.card.with_card(|card| card.is_out()) {
            self.rig.put_in().await;
        }
        match answer {
            Ok(done) => (done, false),
            Err(_) => {
                self.rig.rooms().procedures.settle().await.unwrap();
                (self.insist(procedure, step).await, true)
            }
        }
    }

    /// The n-th write of the step and all after it are refused, for every n that there is.
    async fn database_trouble(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        // What fails after the card's work is settled at once, and no later write of the step is come to: each course
        // fails at another one.
        let second = if works(step) { 2 + self.number % 3 } else { 2 };
        for write in iter::once(1).chain(second..) {
            refuse_writes(self.rig, Some(write)).await;
            let answer = self.answer(procedure, step).await;
            refuse_writes(self.rig, None).await;
            self.is_resumable(procedure).await;
            match answer {
                // Also what comes after the answer, such as the end of the procedure, was written.
                Ok(done) => return (self.settled(done).await, write > 1),
                Err(error) => {
                    assert!(!matches!(error, ProcedureError::Over(_)), "{step:?}: {error:?}");
                    self.rig.rooms().procedures.settle().await.unwrap();
                    let now = self.rig.show(procedure).await;
                    if now.next.as_ref() != Some(step) {
                        return (self.settled(now).await, true);
                    }
                }
            }
        }
        unreachable!("some number of writes is enough")
    }

    async fn settled(&self, procedure: Procedure) -> Procedure {
        self.rig.rooms().procedures.settle().await.unwrap();
        self.rig.show(&procedure).await
    }

    /// The card has done its work, and the power fails before anybody wrote that down; where the card is not worked
    /// on, before the answer was.
    async fn power_cut(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        let works = works(step);
        let kept = self.rig.folder.path().join("power-cut");
        if is_outside(step) {
            self.cut_while_asking(procedure, step, &kept).await;
        } else if is_told(step) {
            self.cut_while_telling(procedure, step, &kept).await;
        } else if works {
            let trigger = match self.trigger(step) {
                Trigger::After(_) => Trigger::After(self.signature_commands - 4),
                at @ Trigger::Instruction { .. } => at,
            };
            self.rig.card.with_card(|card| card.plan_at(trigger, Fault::Slow(SLOW)));
            let cut = async {
                let ends = Instant::now() + Duration::from_secs(30);
                while self.rig.card.with_card(|card| card.pending()) > 0 && Instant::now() < ends {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                self.rig.keep(&kept).await;
            };
            let (_, ()) = tokio::join!(self.answer(procedure, step), cut);
            self.rig.card.with_card(|card| card.clear_plan());
        } else {
            self.rig.keep(&kept).await;
            self.answer(procedure, step).await.unwrap();
        }
        self.rig.restart_from(&kept).await;
        self.rig.card_is_back().await;
        self.rig.rooms().procedures.settle().await.unwrap();
        (self.insist(procedure, step).await, works)
    }

    /// The national system has the request, and the power fails before its answer is there.
    async fn cut_while_asking(&self, procedure: &Procedure, step: &Step, kept: &Path) {
        self.outside(Mood::Slow(SLOW));
        let peer = self.rig.peer.as_ref().unwrap();
        let before = peer.lock().unwrap().posted.len();
        let cut = async {
            let ends = Instant::now() + Duration::from_secs(30);
            while peer.lock().unwrap().posted.len() == before && Instant::now() < ends {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.rig.keep(kept).await;
        };
        let (answer, ()) = tokio::join!(self.answer(procedure, step), cut);
        answer.unwrap();
    }

    /// Not a byte is left for database and audit log. A daemon that ran into that is restarted too, as whoever finds the disk
    /// full may do.
    async fn full_disk(&mut self, procedure: &Procedure, step: &Step) -> (Procedure, bool) {
        let filler = self.rig.folder.path().join("state").join("filler");
        fill(&filler);
        let answer = self.answer(procedure, step).await;
        fs::remove_file(&filler).unwrap();
        match answer {
            Ok(done) => (done, false),
            Err(_) => {
                self.rig.restart().await;
                self.rig.card_is_back().await;
                self.rig.rooms().procedures.settle().await.unwrap();
                (self.insist(procedure, step).await, true)
            }
        }
    }
}

/// Refuses the n-th write from now on and all after it; or none any more.
async fn refuse_writes(rig: &Rig, from: Option<usize>) {
    let tables = [
        ("procedures", "UPDATE"),
        ("envelope", "UPDATE"),
        ("puk", "INSERT"),
        ("national_request", "INSERT"),
        ("national_request", "UPDATE"),
        ("card_certificate", "INSERT"),
        ("card_certificate", "UPDATE"),
        ("standing_request", "INSERT"),
        ("standing_change", "INSERT"),
        ("standing_change", "UPDATE"),
    ];
    let mut statements = vec!["CREATE TABLE IF NOT EXISTS trouble (left_over BIGINT)".to_owned()];
    statements.push("DELETE FROM trouble".to_owned());
    for (table, act) in tables {
        statements.push(format!("DROP TRIGGER IF EXISTS trouble_{table}_{act}"));
        if from.is_some() {
            statements.push(format!(
                "CREATE TRIGGER trouble_{table}_{act} BEFORE {act} ON {table} BEGIN \
                 UPDATE trouble SET left_over = left_over - 1; \
                 SELECT RAISE(ABORT, 'trouble') WHERE (SELECT left_over FROM trouble) <= 0; END"
            ));
        }
    }
    if let Some(from) = from {
        statements.push(format!("INSERT INTO trouble VALUES ({from})"));
    }
    for statement in statements {
        sqlx::query(&statement).execute(rig.rooms().database.pool()).await.unwrap();
    }
}

/// Takes all that is left of a file system.
fn fill(filler: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(filler).unwrap();
    for block in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![0; block]).is_ok() {}
    }
}
