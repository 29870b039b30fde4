//! Processes that ended, for as long as there may be something to tell of them.

use super::{Process, ProcessTable};
use crate::events::ProcessId;

/// How long all that ended are remembered: the kernel may try for two minutes to send what is left of their connections.
const REMEMBERED_NS: u64 = 300_000_000_000;

/// So many are remembered for longer: what they opened may be their children's.
const REMEMBERED: usize = 1_024;

/// A process that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: ProcessId,
    at_ns: u64,
    pub(super) process: Process,
}

impl ProcessTable {
    /// A process ended; returns what was known of it.
    pub fn exited(&mut self, id: ProcessId, boot_ns: u64) -> Option<Process> {
        self.forget_pid(id);
        let known = self.processes.remove(&id)?;
        self.forget_noted(&known);
        let ended = Ended {
            id,
            at_ns: boot_ns,
            process: known.clone(),
        };
        self.ended.insert(id.pid, ended);
        Some(known)
    }

    /// Forgets those that ended a while ago, and gives back the room that many took.
    pub fn expire(&mut self, now_ns: u64) {
        let is_over = |ended: &Ended| ended.at_ns.saturating_add(REMEMBERED_NS) <= now_ns;
        while self.ended.len() > REMEMBERED && self.ended.pop_oldest_if(is_over).is_some() {}
        self.ended.shrink();
        self.processes.shrink();
        self.newest_by_pid.shrink_to(2 * self.processes.len());
    }

    /// A process that is alive, or ended lately.
    pub fn live_or_ended(&mut self, id: ProcessId) -> Option<&mut Process> {
        if let Some(known) = self.processes.get_mut(&id) {
            return Some(known);
        }
        let ended = self.ended.get_mut(&id.pid)?;
        (ended.id == id).then_some(&mut ended.process)
    }

    /// A process that ended lately.
    pub fn ended(&self, id: ProcessId) -> Option<&Process> {
        let ended = self.ended.get(&id.pid)?;
        (ended.id == id).then_some(&ended.process)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counters::Counters;
    use crate::identity::OwnerId;

    #[test]
    fn of_many_that_ended_long_ago_most_are_forgotten() {
        const MANY: u32 = 4_096;
        let mut table = ProcessTable::new(MANY as usize, 1, Arc::new(Counters::default()));
        let id = |pid| ProcessId { pid, start_ns: 2 };
        for pid in 1..=MANY {
            table.forked(id(pid), id(u32::MAX), OwnerId(1));
            table.exited(id(pid), pid.into());
        }
        table.expire(REMEMBERED_NS + 10);
        assert_eq!(table.ended.len(), MANY as usize - 10);
        assert!(table.ended(id(10)).is_none() && table.ended(id(11)).is_some());
        table.expire(u64::MAX);
        assert_eq!(table.ended.len(), REMEMBERED);
        assert!(table.ended(id(MANY)).is_some());
    }
}
