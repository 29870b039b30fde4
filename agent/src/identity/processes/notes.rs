//! What a process went through that its span tells of.

use std::net::SocketAddr;

use crate::events::OomKill;

/// Failed attempts of one process that are remembered one by one.
const MOST_FAILURES: usize = 24;

/// Something that happened to a process while it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When, on the boot clock.
    pub boot_ns: u64,
    /// What.
    pub what: Noted,
}

/// What happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It began to listen here.
    Listened(SocketAddr),
    /// A connection was opened to it.
    Accepted(Ends),
    /// A connection that it opened reached ESTABLISHED.
    Connected(Ends),
    /// An attempt of its to open a connection failed, in this way.
    Failed(Ends, &'static str),
    /// It was chosen to be killed for lack of memory.
    OomKilled(OomKill),
}

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// This end.
    pub local: SocketAddr,
    /// The other.
    pub remote: SocketAddr,
}

/// The notes on one process: of all but failures the first of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    notes: Vec<Note>,
    left_out: u32,
}

impl Notes {
    /// Whether a note would change anything: the first of its kind, or any failure, which is counted at least.
    pub(super) fn takes(&self, what: &Noted) -> bool {
        matches!(what, Noted::Failed(..)) || !self.has_like(what)
    }

    /// Adds a note that is taken, or counts it where there are too many.
    pub(super) fn add(&mut self, note: Note) {
        let is_failure = |note: &&Note| matches!(note.what, Noted::Failed(..));
        let is_beyond =
            is_failure(&&note) && self.notes.iter().filter(is_failure).count() >= MOST_FAILURES;
        if is_beyond {
            self.left_out = self.left_out.saturating_add(1);
        } else {
            self.notes.push(note);
        }
    }

    /// All of them, in the order in which they were told.
    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }

    /// Failures that there was no room for.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// Whether it was chosen to be killed for lack of memory.
    pub fn is_oom_killed(&self) -> bool {
        let is_kill = |note: &Note| matches!(note.what, Noted::OomKilled(_));
        self.notes.iter().any(is_kill)
    }

    fn has_like(&self, what: &Noted) -> bool {
        let kind = std::mem::discriminant(what);
        self.notes
            .iter()
            .any(|note| std::mem::discriminant(&note.what) == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        Ends {
            local: ([127, 0, 0, 1], 1).into(),
            remote: ([127, 0, 0, 1], 2).into(),
        }
    }

    fn add(notes: &mut Notes, boot_ns: u64, what: Noted) {
        if notes.takes(&what) {
            notes.add(Note { boot_ns, what });
        }
    }

    #[test]
    fn the_first_of_a_kind_is_remembered() {
        let mut notes = Notes::default();
        for boot_ns in 1..4 {
            add(&mut notes, boot_ns, Noted::Listened(ends().local));
            add(&mut notes, boot_ns, Noted::Accepted(ends()));
        }
        let times: Vec<_> = notes.iter().map(|note| note.boot_ns).collect();
        assert_eq!(times, [1, 1]);
        assert!(!notes.is_oom_killed());
    }

    #[test]
    fn failures_beyond_the_bound_are_counted() {
        let mut notes = Notes::default();
        for boot_ns in 0..100 {
            add(&mut notes, boot_ns, Noted::Failed(ends(), "timed_out"));
        }
        assert_eq!(notes.iter().count(), MOST_FAILURES);
        assert_eq!(notes.left_out(), 100 - 24);
    }
}
