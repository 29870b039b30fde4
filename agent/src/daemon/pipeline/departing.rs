//! Processes that ended, until all is known that there is to tell of them.

use crate::aged_map::AgedMap;
use crate::events::{Body, Event, Exit, ProcessId};
use crate::identity::{OwnerId, Process};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::store::Observed;

/// How long their parents are waited for: only when they have asked, the kernel adds everything up.
const PATIENCE_NS: u64 = 1_000_000_000;

/// A process that ended.
#[derive(Debug)]
pub(super) struct Departed {
    pub(super) owner: OwnerId,
    pub(super) boot_ns: u64,
    pub(super) unix_nano: u64,
    pub(super) cgroup_id: u64,
    pub(super) exit: Exit,
    /// What was known of it.
    pub(super) process: Option<Process>,
    /// Its event was told, but not its span.
    pub(super) has_event: bool,
    /// Where its end was counted.
    pub(super) observed: Vec<Observed>,
}

impl Departed {
    pub(super) fn occurrence<'a>(&'a self, event: &'a Event<'a>) -> Occurrence<'a> {
        Occurrence {
            event,
            unix_nano: self.unix_nano,
            owner: self.owner,
            process: self.process.as_ref(),
            backend: None,
            drop_reason: None,
        }
    }

    pub(super) fn event(&self) -> Event<'static> {
        Event {
            boot_ns: self.boot_ns,
            cgroup_id: self.cgroup_id,
            body: Body::Exit(self.exit.clone()),
        }
    }
}

/// Those that are waited with; of too many the oldest goes as it is.
#[derive(Debug)]
pub(super) struct Departing {
    processes: AgedMap<ProcessId, Departed>,
}

impl Departing {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            processes: AgedMap::new(capacity),
        }
    }

    /// One more; returns who has to go for it.
    pub(super) fn push(&mut self, departed: Departed) -> Option<Departed> {
        let evicted = self.processes.insert(departed.exit.process, departed);
        evicted.map(|(_, departed)| departed)
    }

    /// All is known of this process now.
    pub(super) fn take(&mut self, process: ProcessId) -> Option<Departed> {
        self.processes.remove(&process)
    }

    /// One that was waited with for long enough, if there is any; with no patience, any.
    pub(super) fn next_due(&mut self, now_ns: u64) -> Option<Departed> {
        let is_due = |departed: &Departed| departed.boot_ns.saturating_add(PATIENCE_NS) <= now_ns;
        let due = self.processes.pop_oldest_if(is_due);
        due.map(|(_, departed)| departed)
    }

    /// Whose they are.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.processes.iter().map(|(_, departed)| departed.owner)
    }
}
