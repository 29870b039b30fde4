//! Processes that ended, until all is known that there is to tell of them.

use crate::aged_map::AgedMap;
use crate::events::{Body, Event, Exit, ProcessId};
use crate::identity::{OwnerId, Process};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::store::Observed;

/// How long their parents are waited for: only when they have asked, the kernel adds everything up.
const PATIENCE_NS: u64 = 1_000_000_000;

/// How long the first look at all processes is waited for: what an earlier agent left unread is older than that, and its parents are
/// known only then.
const FIRST_LOOK_NS: u64 = 10_000_000_000;

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
    /// Until then, everybody waits.
    not_before_ns: u64,
}

impl Departing {
    /// At this time on the boot clock, nobody has looked at all processes yet.
    pub(super) fn new(capacity: usize, now_ns: u64) -> Self {
        Self {
            processes: AgedMap::new(capacity),
            not_before_ns: now_ns.saturating_add(FIRST_LOOK_NS),
        }
    }

    /// Who was there already is known.
    pub(super) fn elders_are_known(&mut self) {
        self.not_before_ns = 0;
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
        let not_before = self.not_before_ns;
        let is_due = |departed: &Departed| {
            departed.boot_ns.saturating_add(PATIENCE_NS).max(not_before) <= now_ns
        };
        let due = self.processes.pop_oldest_if(is_due);
        due.map(|(_, departed)| departed)
    }

    /// Whose they are.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.processes.iter().map(|(_, departed)| departed.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ExitStatus;

    fn departed(pid: u32, boot_ns: u64) -> Departed {
        Departed {
            owner: OwnerId::NODE,
            boot_ns,
            unix_nano: 0,
            cgroup_id: 0,
            exit: Exit {
                process: ProcessId { pid, start_ns: 1 },
                parent_pid: 1,
                uid: 0,
                comm: [0; 16],
                status: ExitStatus::Code(0),
                dumped_core: false,
                usage: wellhead_common::record::Usage::default(),
                signals: wellhead_common::maps::Signals::default(),
            },
            process: None,
            has_event: false,
            observed: Vec::new(),
        }
    }

    #[test]
    fn nobody_goes_before_elders_are_known_but_not_for_ever() {
        const BEGAN: u64 = 100 * PATIENCE_NS;
        let waits = |departing: &mut Departing, now| departing.next_due(now).is_none();
        let mut departing = Departing::new(8, BEGAN);
        for pid in 1..=3 {
            departing.push(departed(pid, 5));
        }
        assert!(waits(&mut departing, BEGAN + PATIENCE_NS));
        assert!(!waits(&mut departing, BEGAN + FIRST_LOOK_NS));
        departing.elders_are_known();
        assert!(!waits(&mut departing, BEGAN + PATIENCE_NS));
        departing.push(departed(4, BEGAN));
        assert!(!waits(&mut departing, BEGAN + PATIENCE_NS - 1), "the third");
        assert!(waits(&mut departing, BEGAN + PATIENCE_NS - 1));
        assert!(!waits(&mut departing, u64::MAX));
    }
}
