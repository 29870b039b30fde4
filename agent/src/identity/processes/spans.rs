//! What the process table knows for the sake of spans: who has to be exported, and what there is to tell.

use std::sync::Arc;

use super::{Ancestor, Note, Noted, Notes, Process, ProcessTable};
use crate::events::ProcessId;

/// What is known of the span of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanState {
    /// It is not decided whether there will be one.
    #[default]
    Open,
    /// A span below it is exported, so that it has to be, too.
    Wanted,
    /// The end of the process was told, with a span or without.
    Told,
}

impl Process {
    /// Whether its end makes a span, as far as that is known of it.
    pub fn makes_span(&self) -> bool {
        self.executed_ns.is_some() && self.executable.is_some()
    }

    /// [`Process::ancestors`], to be kept.
    pub fn line_above(&self) -> Option<Arc<[Ancestor]>> {
        self.line.share_above()
    }
}

impl ProcessTable {
    /// Something happened to a process that its span is to tell of, which may have ended meanwhile. Where too many have notes, it is not remembered.
    pub fn note(&mut self, id: ProcessId, boot_ns: u64, what: Noted) {
        let has_room = self.noted < self.most_noted;
        let is_alive = self.processes.get(&id).is_some();
        let known = self.live_or_ended(id);
        let Some(known) = known.filter(|known| known.span != SpanState::Told) else {
            return;
        };
        match &mut known.notes {
            Some(notes) if notes.takes(&what) => notes.add(Note { boot_ns, what }),
            None if has_room => {
                let mut notes = Notes::default();
                notes.add(Note { boot_ns, what });
                known.notes = Some(Box::new(notes));
                self.noted += usize::from(is_alive);
            }
            Some(_) | None => {}
        }
    }

    /// The end of a process was told.
    pub fn span_told(&mut self, id: ProcessId) {
        if let Some(known) = self.live_or_ended(id) {
            known.span = SpanState::Told;
            // Live ones are never told of.
            known.notes = None;
        }
    }

    /// One is not alive any more.
    pub(super) fn forget_noted(&mut self, process: &Process) {
        self.noted -= usize::from(process.notes.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;
    use crate::identity::OwnerId;

    #[test]
    fn few_processes_have_notes() {
        let mut table = ProcessTable::new(16, 0, Arc::new(Counters::default()));
        let id = |pid| ProcessId { pid, start_ns: 1 };
        let parent = id(100);
        let listened = || Noted::Listened(([127, 0, 0, 1], 80).into());
        for pid in 1..=3 {
            table.forked(id(pid), parent, OwnerId(1));
            table.note(id(pid), 5, listened());
        }
        let has_notes = |table: &ProcessTable, pid| {
            table
                .get(id(pid))
                .is_some_and(|process| process.notes.is_some())
        };
        assert_eq!(
            [1, 2, 3].map(|pid| has_notes(&table, pid)),
            [true, true, false]
        );
        let ended = table.exited(id(1), 0).expect("known");
        assert!(ended.notes.is_some());
        table.note(id(3), 6, listened());
        assert!(has_notes(&table, 3));
        table.note(id(1), 7, Noted::Listened(([127, 0, 0, 1], 81).into()));
        table.span_told(id(1));
        let ended = table.ended(id(1)).expect("remembered");
        assert_eq!((ended.span, &ended.notes), (SpanState::Told, &None));
    }
}
