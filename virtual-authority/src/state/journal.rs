//! The journal's file: locked, caught up with, appended to.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{Event, State, StateError};

/// An open journal and what has been read of it.
pub(crate) struct Journal {
    file: File,
    read_to: u64,
    state: State,
}

impl Journal {
    /// Opens the journal at `path`, empty if there is none yet.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut journal = Self { file, read_to: 0, state: State::default() };
        drop(journal.lock()?);
        Ok(journal)
    }

    /// Waits for every other process to be done with the journal and reads what they wrote.
    pub(crate) fn lock(&mut self) -> Result<Locked<'_>, StateError> {
        flock(&self.file, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
        let locked = Locked { journal: self };
        locked.journal.catch_up()?;
        Ok(locked)
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
            self.state.apply(event).map_err(|fault| StateError::Damaged { offset, fault })?;
            rest = after.get(1..).unwrap_or_default();
            self.read_to = self.read_to.saturating_add(end as u64).saturating_add(1);
        }
        if !rest.is_empty() {
            // Nobody is writing, for the lock is ours: the writer of this line died before it answered.
            self.file.set_len(self.read_to)?;
        }
        Ok(())
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
            serde_json::to_writer(&mut lines, event).map_err(std::io::Error::from)?;
            lines.push(b'\n');
        }
        self.journal.file.write_all(&lines)?;
        self.journal.file.sync_data()?;
        self.journal.catch_up()
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
    use std::fs;

    use super::*;
    use crate::profile::Profile;
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
}
