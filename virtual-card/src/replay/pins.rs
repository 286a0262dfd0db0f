//! Which PINs had been accepted before something was recorded, and which were presented since the reset.

use std::collections::BTreeSet;

/// A PIN: the application in which it was presented, and the P2 that named it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) application: Option<Vec<u8>>,
    pub(super) p2: u8,
}

/// What must have been presented: the first so many PINs that its session accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    session: usize,
    count: usize,
}

impl Needs {
    pub(super) const fn is_none(self) -> bool {
        self.count == 0
    }
}

/// The PINs that each session of a trace accepted, in their order, without repetitions.
#[derive(Default)]
pub(super) struct Accepted(Vec<Vec<Reference>>);

impl Accepted {
    pub(super) fn begin_session(&mut self) {
        self.0.push(Vec::new());
    }

    /// A PIN was accepted in the session that began last.
    pub(super) fn accept(&mut self, reference: Reference) {
        if let Some(session) = self.0.last_mut()
            && !session.contains(&reference)
        {
            session.push(reference);
        }
    }

    /// What was accepted so far in the session that began last.
    pub(super) fn needs(&self) -> Needs {
        Needs {
            session: self.0.len().saturating_sub(1),
            count: self.0.last().map(Vec::len).unwrap_or_default(),
        }
    }

    /// Whether a PIN is one of those needed.
    pub(super) fn is_needed(&self, needs: Needs, reference: &Reference) -> bool {
        let needed = self.0.get(needs.session).and_then(|session| session.get(..needs.count));
        needed.is_some_and(|needed| needed.contains(reference))
    }
}

/// The PINs that were presented since the reset.
#[derive(Default)]
pub(super) struct Presented {
    references: BTreeSet<Reference>,
    /// By session, how many of its first PINs are among them.
    open: Vec<usize>,
}

impl Presented {
    pub(super) fn present(&mut self, accepted: &Accepted, reference: Reference) {
        if !self.references.insert(reference) {
            return;
        }
        self.open.resize(accepted.0.len(), 0);
        for (open, session) in self.open.iter_mut().zip(&accepted.0) {
            let more = session.iter().skip(*open);
            *open += more.take_while(|reference| self.references.contains(*reference)).count();
        }
    }

    pub(super) fn contains(&self, reference: &Reference) -> bool {
        self.references.contains(reference)
    }

    /// Whether all PINs that are needed were presented.
    pub(super) fn satisfies(&self, needs: Needs) -> bool {
        needs.count <= self.open.get(needs.session).copied().unwrap_or_default()
    }
}
