//! Parents that are told of after their children: process ids start again from the beginning, and an agent that has just
//! begun is told of new processes before it has found the old ones.

use super::{Process, ProcessTable, Used};
use crate::events::ProcessId;

/// Processes whose parents are awaited. Of too many the oldest keeps the line that it has.
pub(super) const MOST_AWAITING: usize = 1_024;

/// What a process is that waits for its parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orphan {
    parent: ProcessId,
    /// It runs its parent's program, though that is not known yet.
    only_forked: bool,
}

impl ProcessTable {
    /// The parent of a process is not known: it may yet be told of.
    pub(super) fn await_parent(
        &mut self,
        parent: ProcessId,
        process: ProcessId,
        only_forked: bool,
    ) {
        if parent.started_ns().is_none() || self.processes.get(&parent).is_some() {
            return;
        }
        let orphan = Orphan {
            parent,
            only_forked,
        };
        let _given_up = self.orphans.insert(process, orphan);
    }

    /// A process was found: it may be somebody's parent.
    pub(super) fn adopt(&mut self, parent: ProcessId) {
        let children: Vec<ProcessId> = self
            .orphans
            .iter()
            .filter(|(_, orphan)| orphan.parent == parent)
            .map(|(child, _)| *child)
            .collect();
        for child in children {
            if let Some(orphan) = self.orphans.remove(&child) {
                self.adopt_one(child, orphan);
            }
        }
    }

    fn adopt_one(&mut self, id: ProcessId, orphan: Orphan) {
        let Some(owner) = self.processes.get(&id).map(|known| known.owner) else {
            return;
        };
        let adopted = self.child_of(orphan.parent, id, owner, Used::nothing());
        let Some(known) = self.processes.get_mut(&id) else {
            return;
        };
        // Otherwise its line goes no further, or it has begun one of its own elsewhere.
        if adopted.parent.is_none() || known.root != id {
            return;
        }
        let Process {
            parent, root, line, ..
        } = adopted;
        (known.parent, known.root, known.line) = (parent, root, line);
        // It counted as one that has executed something, for want of somebody whose program it runs.
        let stood_alone = orphan.only_forked && known.executed_ns == id.started_ns();
        if stood_alone {
            known.executed_ns = None;
        }
        let descendants: Vec<ProcessId> = self
            .processes
            .iter()
            .filter(|(_, process)| process.root == id)
            .map(|(one, _)| *one)
            .collect();
        for one in descendants {
            let Some(below) = self.processes.get_mut(&one) else {
                continue;
            };
            below.root = root;
            if stood_alone && below.parent == Some(id) {
                below.parent = parent;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counters::Counters;
    use crate::events::Found;
    use crate::identity::OwnerId;

    fn id(pid: u32) -> ProcessId {
        ProcessId {
            pid,
            start_ns: u64::from(pid) + 1,
        }
    }

    fn table() -> ProcessTable {
        ProcessTable::new(64, 0, Arc::new(Counters::default()))
    }

    fn find(table: &mut ProcessTable, pid: u32, parent: u32, only_forked: bool) {
        let found = Found {
            process: id(pid),
            parent: id(parent),
            comm: [0; 16],
            only_forked,
            real_uid: 0,
            permitted: 0,
        };
        table.found(&found, OwnerId(1), "p".into());
    }

    /// Parent, root, and whether it executed something, of these.
    fn lines(table: &ProcessTable, pids: &[u32]) -> Vec<(Option<u32>, u32, bool)> {
        let line = |pid: &u32| {
            let known = table.get(id(*pid)).expect("known");
            let parent = known.parent.map(|parent| parent.pid);
            (parent, known.root.pid, known.executed_ns.is_some())
        };
        pids.iter().map(line).collect()
    }

    #[test]
    fn the_order_in_which_processes_are_found_does_not_matter() {
        // 10 runs 20, which forks 30, which runs 40, which runs 50.
        let all = [
            (10, 1, false),
            (20, 10, false),
            (30, 20, true),
            (40, 30, false),
            (50, 40, false),
        ];
        let pids = all.map(|(pid, ..)| pid);
        let mut expected = table();
        for (pid, parent, only_forked) in all {
            find(&mut expected, pid, parent, only_forked);
        }
        let expected = lines(&expected, &pids);
        assert_eq!(expected[3], (Some(20), 10, true));
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let mut order = all;
            random.shuffle(&mut order);
            let mut table = table();
            for (pid, parent, only_forked) in order {
                find(&mut table, pid, parent, only_forked);
            }
            assert_eq!(lines(&table, &pids), expected, "{order:?}");
        }
    }

    #[test]
    fn a_new_process_may_be_told_of_before_its_parent_is_found() {
        let mut table = table();
        table.forked(id(20), id(10), OwnerId(1));
        table.forked(id(30), id(11), OwnerId(2));
        find(&mut table, 10, 1, false);
        find(&mut table, 11, 1, false);
        assert_eq!(lines(&table, &[20])[0], (Some(10), 10, false));
        // It is in another container.
        assert_eq!(lines(&table, &[30])[0], (None, 30, false));
    }
}
