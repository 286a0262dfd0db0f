//! The journal's file: locked, caught up with, appended to, and replaced when it has grown long.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{Event, State, StateError};
use crate::authority::now;

/// What a journal may grow by, in bytes, beside the length of the snapshot that it begins with, before it is replaced: so
/// rewriting it costs no more than writing it did.
const GROWTH: u64 = 1024 * 1024;

/// An open journal and what has been read of it.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    read_to: u64,
    /// The length of the file from which its growth counts.
    grown_from: u64,
    state: State,
}

/// What was just done of replacing a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Created,
    Written,
    Flushed,
    Renamed,
}

impl Journal {
    /// Opens the journal at `path`, empty if there is none yet.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let mut journal = Self::unread(path)?;
        journal.lock()?.replace_if_long();
        Ok(journal)
    }

    fn unread(path: &Path) -> Result<Self, StateError> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, read_to: 0, grown_from: 0, state: State::default() })
    }

    /// Waits for every other process to be done with the journal and reads what they wrote.
    pub(crate) fn lock(&mut self) -> Result<Locked<'_>, StateError> {
        flock(&self.file, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        while !self.is_in_place()? {
            // Another process has replaced it.
            *self = Self::unread(&self.path)?;
            flock(&self.file, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        }
        let locked = Locked { journal: self };
        locked.journal.catch_up()?;
        Ok(locked)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let (open, named) = (self.file.metadata()?, fs::metadata(&self.path)?);
        Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
    }

    fn catch_up(&mut self) -> Result<(), StateError> {
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(self.read_to))?;
        self.file.read_to_end(&mut text)?;
        let mut rest = text.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            let offset = self.read_to;
            let event = serde_json::from_slice(line)
                .map_err(|error| StateError::Damaged { offset, fault: error.to_string() })?;
            let is_snapshot = matches!(event, Event::Snapshot { .. });
            self.state.take_in(event).map_err(|fault| StateError::Damaged { offset, fault })?;
            rest = after.get(1..).unwrap_or_default();
            self.read_to = self.read_to.saturating_add(end as u64).saturating_add(1);
            if is_snapshot {
                self.grown_from = self.read_to;
            }
        }
        if !rest.is_empty() {
            // Nobody is writing, for the lock is ours: the writer of this line died before it answered.
            self.file.set_len(self.read_to)?;
        }
        Ok(())
    }

    /// Puts a journal that says the same in one line in the place of this one, which is locked: after a kill at any moment
    /// one of the two is there, whole. `done` is told of each step, and ends the work as a kill would.
    fn replace(&mut self, done: impl FnMut(Step) -> io::Result<()>) -> Result<(), StateError> {
        self.state.forget_old(now());
        let snapshot = Event::Snapshot { state: Box::new(std::mem::take(&mut self.state)) };
        let written = self.write_anew(&snapshot, done);
        if let Event::Snapshot { state } = snapshot {
            self.state = *state;
        }
        let file = written?;
        self.read_to = file.metadata()?.len();
        self.grown_from = self.read_to;
        self.file = file;
        Ok(())
    }

    fn write_anew(
        &self,
        snapshot: &Event,
        mut done: impl FnMut(Step) -> io::Result<()>,
    ) -> Result<File, StateError> {
        let path = self.path.with_extension("new");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            // What a kill left.
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
        let before = self.file.metadata()?;
        fchown(&file, Some(before.uid()), Some(before.gid()))?;
        file.set_permissions(before.permissions())?;
        done(Step::Created)?;
        // Whoever finds it in the journal's place waits until it is given free.
        flock(&file, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        let mut line = BufWriter::new(&file);
        serde_json::to_writer(&mut line, snapshot).map_err(io::Error::from)?;
        line.write_all(b"\n")?;
        line.flush()?;
        drop(line);
        done(Step::Written)?;
        file.sync_all()?;
        done(Step::Flushed)?;
        fs::rename(&path, &self.path)?;
        done(Step::Renamed)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }
}

/// The journal while no other process may touch it.
pub(crate) struct Locked<'j> {
    journal: &'j mut Journal,
}

impl Locked<'_> {
    /// What the journal says.
    pub(crate) fn state(&self) -> &State {
        &self.journal.state
    }

    /// Writes `events` down for good, all of them in one piece, and takes them in.
    pub(crate) fn append(&mut self, events: &[Event]) -> Result<(), StateError> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event).map_err(io::Error::from)?;
            lines.push(b'\n');
        }
        self.journal.file.write_all(&lines)?;
        self.journal.file.sync_data()?;
        self.journal.catch_up()?;
        self.replace_if_long();
        Ok(())
    }

    /// What cannot be replaced goes on growing, and is tried again when it has grown as much again.
    fn replace_if_long(&mut self) {
        let journal = &mut *self.journal;
        if journal.read_to <= journal.grown_from.saturating_mul(2).saturating_add(GROWTH) {
            return;
        }
        let before = journal.read_to;
        match journal.replace(|_| Ok(())) {
            Ok(()) => tracing::info!(before, after = journal.read_to, "the journal was shortened"),
            Err(error) => {
                tracing::warn!(%error, "the journal could not be shortened");
                journal.grown_from = before;
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Err(error) = flock(&self.journal.file, FlockOperation::Unlock) {
            tracing::error!(%error, "the journal could not be unlocked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use crate::state::{Change, Deferral, REMEMBERED};
    use crate::status::{Reason, Status};

    fn issued(serial: &str) -> Event {
        Event::Issued {
            serial: serial.to_owned(),
            profile: Profile::Authentication,
            subject: "CN=prova".to_owned(),
            identity: format!("identity of {serial}"),
            not_before: 1,
            not_after: 2,
            unconfirmed: true,
            certificate: "3000".to_owned(),
        }
    }

    #[test]
    fn a_line_cut_short_by_a_kill_is_dropped_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::open(&path).unwrap();
        journal.lock().unwrap().append(&[issued("01"), issued("02")]).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in first_line..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let mut locked = journal.lock().unwrap();
            assert_eq!(locked.state().records().count(), 1);
            locked.append(&[issued("03")]).unwrap();
            let serials: Vec<_> = locked.state().records().map(|record| record.serial.clone()).collect();
            assert_eq!(serials, ["01", "03"]);
        }
    }

    #[test]
    fn two_processes_see_each_other_s_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut server = Journal::open(&path).unwrap();
        let mut command = Journal::open(&path).unwrap();
        server.lock().unwrap().append(&[issued("01")]).unwrap();
        let changed = Event::Changed { serial: "01".to_owned(), reason: Reason::KeyCompromise, at: 9 };
        command.lock().unwrap().append(&[changed]).unwrap();
        let locked = server.lock().unwrap();
        let status = locked.state().record("01").unwrap().status;
        assert_eq!(status, Status::Revoked { since: 9, reason: Reason::KeyCompromise });
    }

    #[test]
    fn a_damaged_line_is_told_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        fs::write(&path, b"{\"event\":\"confirmed\",\"serial\":\"01\",\"at\":1}\n").unwrap();
        assert!(matches!(Journal::open(&path), Err(StateError::Damaged { offset: 0, .. })));
        fs::write(&path, b"garbage\n").unwrap();
        assert!(matches!(Journal::open(&path), Err(StateError::Damaged { offset: 0, .. })));
    }

    /// A journal with all that there can be in one, as it says it.
    fn eventful(path: &Path) -> Journal {
        let mut journal = Journal::open(path).unwrap();
        let at = now();
        let change = |serial: &str, reason| Change { serial: serial.to_owned(), reason };
        let deferral = Deferral {
            profile: Profile::Named("prova".to_owned()),
            body: "3000".to_owned(),
            implicit_confirm: true,
            until: at,
        };
        let delivered = |serial: &str, transaction: &str, at| Event::Delivered {
            serial: serial.to_owned(),
            transaction: transaction.to_owned(),
            request: "request".to_owned(),
            nonce: "nonce".to_owned(),
            at,
        };
        let events = [
            issued("01"),
            issued("02"),
            issued("03"),
            Event::Published { number: 1, at },
            delivered("01", "old", at - REMEMBERED),
            delivered("02", "new", at - REMEMBERED + 60),
            Event::Confirmed { serial: "02".to_owned(), at },
            Event::Deferred { transaction: "waits".to_owned(), deferral },
            Event::Changed { serial: "01".to_owned(), reason: Reason::KeyCompromise, at },
            Event::Published { number: 2, at },
            Event::Revoked {
                transaction: "revoked".to_owned(),
                request: "request".to_owned(),
                changes: vec![change("02", Reason::CertificateHold)],
                answer: "3000".to_owned(),
                at,
            },
        ];
        journal.lock().unwrap().append(&events).unwrap();
        journal
    }

    /// What a journal says when it is opened anew.
    fn said(path: &Path) -> State {
        Journal::open(path).unwrap().state
    }

    #[test]
    fn a_snapshot_says_what_the_journal_said_and_goes_on_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = eventful(&path);
        let mut expected = journal.state.clone();
        assert!(expected.knows("old") && expected.is_change_untold());
        expected.forget_old(now());
        assert!(!expected.knows("old") && ["new", "waits", "revoked"].iter().all(|one| expected.knows(one)));
        let mut locked = journal.lock().unwrap();
        locked.journal.replace(|_| Ok(())).unwrap();
        assert_eq!((locked.state(), &said_unlocked(&path)), (&expected, &expected));
        // It is appended to as the one before was.
        locked.append(&[issued("04"), Event::Published { number: 3, at: now() }]).unwrap();
        for event in [issued("04"), Event::Published { number: 3, at: now() }] {
            expected.apply(event).unwrap();
        }
        drop(locked);
        assert_eq!(said(&path).records, expected.records);
        assert_eq!(said(&path).crl_number(), 3);
        assert!(!said(&path).is_change_untold());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    }

    /// What stands in the file, without waiting for whoever has it locked.
    fn said_unlocked(path: &Path) -> State {
        let mut state = State::default();
        for line in fs::read_to_string(path).unwrap().lines() {
            state.take_in(serde_json::from_str(line).unwrap()).unwrap();
        }
        state
    }

    #[test]
    fn killed_at_any_step_of_its_replacement_the_journal_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let new = folder.path().join("journal.new");
        let mut expected = eventful(&path).state;
        expected.forget_old(now());
        let before = fs::read(&path).unwrap();
        for last in [Step::Created, Step::Written, Step::Flushed, Step::Renamed] {
            fs::write(&path, &before).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let mut steps = Vec::new();
            let killed = |step| {
                steps.push(step);
                if step == last { Err(io::Error::other("killed")) } else { Ok(()) }
            };
            let locked = journal.lock().unwrap();
            assert!(locked.journal.replace(killed).is_err());
            drop(locked);
            assert_eq!(steps.last(), Some(&last));
            let renamed = last == Step::Renamed;
            assert_eq!(new.exists(), !renamed);
            assert_eq!(fs::read(&path).unwrap() == before, !renamed);
            // A write is torn anywhere.
            let whole = if renamed { Vec::new() } else { fs::read(&new).unwrap() };
            for length in 0..=whole.len() {
                if !renamed {
                    fs::write(&new, &whole[..length]).unwrap();
                }
                let mut state = said(&path);
                state.forget_old(now());
                assert_eq!(state, expected, "{last:?}, {length} bytes of the new one");
            }
            // The process that did not die goes on, and the next attempt is not kept up by what is left.
            let locked = journal.lock().unwrap();
            assert_eq!(locked.state(), &expected);
            locked.journal.replace(|_| Ok(())).unwrap();
            drop(locked);
            assert_eq!(said(&path), expected);
            assert!(!new.exists());
        }
    }

    #[test]
    fn a_journal_that_grows_is_replaced_under_the_eyes_of_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut server = Journal::open(&path).unwrap();
        let mut command = Journal::open(&path).unwrap();
        server.lock().unwrap().append(&[issued("01")]).unwrap();
        drop(command.lock().unwrap());
        let mut longest = 0;
        for round in 0..30 {
            let turn = |reason| Event::Changed { serial: "01".to_owned(), reason, at: 9 };
            let suspended = [turn(Reason::CertificateHold), turn(Reason::RemoveFromCrl)];
            let many: Vec<_> = suspended.iter().cycle().take(2000).cloned().collect();
            let writer = if round % 2 == 0 { &mut server } else { &mut command };
            writer.lock().unwrap().append(&many).unwrap();
            longest = longest.max(fs::metadata(&path).unwrap().len());
        }
        let lines = 1 + 30 * 2000;
        println!("{lines} events, never more than {longest} bytes");
        assert!(longest < 2 * GROWTH, "{longest}");
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        drop(server.lock().unwrap());
        drop(command.lock().unwrap());
        assert_eq!(server.state, command.state);
        assert_eq!((server.state.events, server.state.last_change), (lines, lines));
        assert_eq!(server.state, said(&path));
    }

    #[test]
    fn a_snapshot_in_the_middle_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = eventful(&path);
        journal.lock().unwrap().journal.replace(|_| Ok(())).unwrap();
        let line = fs::read(&path).unwrap();
        fs::write(&path, line.repeat(2)).unwrap();
        let offset = u64::try_from(line.len()).unwrap();
        assert!(matches!(Journal::open(&path), Err(StateError::Damaged { offset: at, .. }) if at == offset));
    }
}
