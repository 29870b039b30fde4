//! Which process is which program, and whose child: what an exit has to be told from.

use std::sync::Arc;

use super::OwnerId;
use crate::aged_map::AgedMap;
use crate::counters::{Counters, Discard};
use crate::events::{Body, Event, ProcessId};
use crate::hash::HashMap;

/// One in this many of the processes remembered may be one that has ended.
const ENDED_SHARE: usize = 8;

/// What is known of a live process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The name its program was called by; `None` for a process older than the agent that has not
    /// executed anything since.
    pub executable: Option<Arc<str>>,
    /// Path given to its first `execve(2)`.
    pub path: Option<Arc<str>>,
    /// Whose it is.
    pub owner: OwnerId,
    /// Boot clock of its first `execve(2)`; `None` if it only forked.
    pub executed_ns: Option<u64>,
    /// The nearest ancestor in the same container or slice that executed a program.
    pub parent: Option<ProcessId>,
    /// The first process of its line in the same container or slice that executed a program:
    /// itself, if no ancestor is.
    pub root: ProcessId,
}

/// Live processes seen since the agent started. Bounded: the oldest entry makes room and is counted.
#[derive(Debug)]
pub struct ProcessTable {
    processes: AgedMap<ProcessId, Process>,
    newest_by_pid: HashMap<u32, ProcessId>,
    /// By process id, those that ended lately: their last connections end after them.
    ended: AgedMap<u32, (ProcessId, Process)>,
    counters: Arc<Counters>,
}

impl ProcessTable {
    /// An empty table for at most `capacity` processes.
    pub fn new(capacity: usize, counters: Arc<Counters>) -> Self {
        Self {
            processes: AgedMap::new(capacity),
            newest_by_pid: HashMap::default(),
            ended: AgedMap::new(capacity / ENDED_SHARE),
            counters,
        }
    }

    /// A process was forked. It runs its parent's program until it executes another.
    pub fn forked(&mut self, child: ProcessId, parent: ProcessId, owner: OwnerId) {
        let (executable, path, line) = match self.processes.get(&parent) {
            Some(known) => (
                known.executable.clone(),
                known.path.clone(),
                line_of_child(parent, known, owner),
            ),
            None => (None, None, None),
        };
        let (parent, root) = line.map_or((None, child), |(parent, root)| (Some(parent), root));
        self.insert(
            child,
            Process {
                executable,
                path,
                owner,
                executed_ns: None,
                parent,
                root,
            },
        );
    }

    /// A process was there already, under this name.
    pub fn found(&mut self, process: ProcessId, owner: OwnerId, executable: Arc<str>) {
        if self.processes.get(&process).is_some() {
            return;
        }
        self.insert(
            process,
            Process {
                executable: Some(executable),
                path: None,
                owner,
                executed_ns: None,
                parent: None,
                root: process,
            },
        );
    }

    /// A process executes a program.
    pub fn executed(
        &mut self,
        process: ProcessId,
        boot_ns: u64,
        owner: OwnerId,
        executable: Arc<str>,
        path: Arc<str>,
    ) {
        if let Some(known) = self.processes.get_mut(&process) {
            if known.owner != owner {
                // Container runtimes fork first and enter the container's cgroup afterwards.
                known.owner = owner;
                known.parent = None;
                known.root = process;
            }
            known.executed_ns.get_or_insert(boot_ns);
            known.executable = Some(executable);
            known.path = Some(path);
            return;
        }
        self.insert(
            process,
            Process {
                executable: Some(executable),
                path: Some(path),
                owner,
                executed_ns: Some(boot_ns),
                parent: None,
                root: process,
            },
        );
    }

    /// A process ended; returns what was known of it.
    pub fn exited(&mut self, process: ProcessId) -> Option<Process> {
        self.forget_pid(process);
        let known = self.processes.remove(&process)?;
        self.ended.insert(process.pid, (process, known.clone()));
        Some(known)
    }

    /// A live process.
    pub fn get(&self, process: ProcessId) -> Option<&Process> {
        self.processes.get(&process)
    }

    /// The process that has this process id now, or had it last.
    pub fn by_pid(&self, pid: u32) -> Option<(ProcessId, &Process)> {
        let live = self
            .newest_by_pid
            .get(&pid)
            .and_then(|id| Some((*id, self.processes.get(id)?)));
        live.or_else(|| {
            let (id, process) = self.ended.get(&pid)?;
            Some((*id, process))
        })
    }

    /// The process that an event names by its process id alone: an OOM victim, or who connected or listened. One that began
    /// after the connection did is another, which got the same id.
    pub fn named_by(&self, event: &Event<'_>) -> Option<(ProcessId, &Process)> {
        let connection = match &event.body {
            Body::OomKill(kill) => return self.by_pid(kill.pid),
            Body::TcpOpen(connection) => connection,
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => &end.connection,
            _ => return None,
        };
        let found = self.by_pid(connection.owner?.pid)?;
        let is_newer = match (found.0.started_ns(), connection.started_ns) {
            (Some(process), Some(connection)) => process > connection,
            _ => false,
        };
        (!is_newer).then_some(found)
    }

    /// Whose processes are held; an owner may come several times.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        let live = self.processes.iter().map(|(_, process)| process.owner);
        live.chain(self.ended.iter().map(|(_, (_, process))| process.owner))
    }

    /// Processes held.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.processes.len() == 0
    }

    fn insert(&mut self, id: ProcessId, process: Process) {
        self.newest_by_pid.insert(id.pid, id);
        if let Some((evicted, _)) = self.processes.insert(id, process) {
            self.counters.discard(Discard::IdentityTableFull, 1);
            self.forget_pid(evicted);
        }
    }

    fn forget_pid(&mut self, id: ProcessId) {
        if self.newest_by_pid.get(&id.pid) == Some(&id) {
            self.newest_by_pid.remove(&id.pid);
        }
    }
}

/// Parent and root of a child, if the parent's line goes on in it.
fn line_of_child(
    id: ProcessId,
    parent: &Process,
    owner: OwnerId,
) -> Option<(ProcessId, ProcessId)> {
    if parent.owner != owner {
        return None;
    }
    if parent.executed_ns.is_some() {
        return Some((id, parent.root));
    }
    // A parent that only forked stands for the ancestor whose program it runs.
    Some((parent.parent?, parent.root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Connection, Role, SocketOwner};

    const HOST: OwnerId = OwnerId(1);
    const CONTAINER: OwnerId = OwnerId(2);

    fn id(pid: u32) -> ProcessId {
        ProcessId {
            pid,
            start_ns: u64::from(pid) * 10,
        }
    }

    fn table(capacity: usize) -> (ProcessTable, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (ProcessTable::new(capacity, Arc::clone(&counters)), counters)
    }

    #[test]
    fn a_forked_process_runs_its_parents_program() {
        let (mut table, _) = table(8);
        table.executed(id(1), 5, HOST, "sh".into(), "/bin/sh".into());
        table.forked(id(2), id(1), HOST);
        let child = table.exited(id(2)).expect("known");
        assert_eq!(child.executable.as_deref(), Some("sh"));
        assert_eq!(child.executed_ns, None);
        assert_eq!(table.get(id(2)), None);
        // Its last connections may end after it.
        assert_eq!(table.by_pid(2), Some((id(2), &child)));
    }

    #[test]
    fn lines_skip_processes_that_only_forked() {
        let (mut table, _) = table(8);
        table.executed(id(1), 5, HOST, "sh".into(), "/bin/sh".into());
        table.forked(id(2), id(1), HOST);
        table.forked(id(3), id(2), HOST);
        table.executed(id(3), 9, HOST, "ls".into(), "/bin/ls".into());
        let child = table.get(id(3)).expect("known");
        assert_eq!((child.parent, child.root), (Some(id(1)), id(1)));
    }

    #[test]
    fn a_line_starts_anew_in_a_container() {
        let (mut table, _) = table(8);
        table.executed(id(1), 5, HOST, "shim".into(), "/bin/shim".into());
        table.forked(id(2), id(1), HOST);
        table.executed(id(2), 9, CONTAINER, "app".into(), "/app".into());
        table.forked(id(3), id(2), CONTAINER);
        let first = table.get(id(2)).expect("known");
        assert_eq!((first.parent, first.root), (None, id(2)));
        let second = table.get(id(3)).expect("known");
        assert_eq!((second.parent, second.root), (Some(id(2)), id(2)));
    }

    #[test]
    fn process_ids_are_reused_and_start_times_are_not() {
        let (mut table, _) = table(8);
        let (old, new) = (
            ProcessId {
                pid: 7,
                start_ns: 1,
            },
            ProcessId {
                pid: 7,
                start_ns: 2,
            },
        );
        table.executed(old, 1, HOST, "old".into(), "old".into());
        table.executed(new, 2, HOST, "new".into(), "new".into());
        assert_eq!(
            table.exited(old).and_then(|old| old.executable).as_deref(),
            Some("old")
        );
        let (found, process) = table.by_pid(7).expect("alive");
        assert_eq!((found, process.executable.as_deref()), (new, Some("new")));
    }

    #[test]
    fn the_oldest_makes_room_and_is_counted() {
        let (mut table, counters) = table(2);
        for pid in 1..=3 {
            table.executed(id(pid), 1, HOST, "x".into(), "x".into());
        }
        assert_eq!(table.get(id(1)), None);
        assert!(table.by_pid(1).is_none());
        assert_eq!(table.len(), 2);
        assert_eq!(counters.discards(Discard::IdentityTableFull), 1);
    }

    #[test]
    fn who_connected_is_no_process_that_began_later() {
        let (mut table, _) = table(8);
        table.executed(id(7), 70, HOST, "curl".into(), "/bin/curl".into());
        let check = |pid: Option<u32>, started_ns: Option<u64>, expected: Option<&str>| {
            let comm = *b"resolver\0\0\0\0\0\0\0\0";
            let event = Event {
                boot_ns: 200,
                cgroup_id: 1,
                body: Body::TcpOpen(Connection {
                    socket_id: 1,
                    netns: 1,
                    local: ([127, 0, 0, 1], 40_000).into(),
                    remote: ([127, 0, 0, 1], 80).into(),
                    role: Some(Role::Source),
                    owner: pid.map(|pid| SocketOwner { pid, comm }),
                    started_ns,
                    established_ns: None,
                    older_than_agent: false,
                    unmet: false,
                    open_lost: false,
                    shut_down: false,
                }),
            };
            let found = table.named_by(&event).map(|(_, process)| process);
            let name = found.and_then(|process| process.executable.as_deref());
            assert_eq!(name, expected, "{pid:?} {started_ns:?}");
        };
        check(Some(7), Some(100), Some("curl"));
        check(Some(7), Some(70), Some("curl"));
        check(Some(7), Some(69), None);
        check(Some(7), None, Some("curl"));
        check(Some(8), Some(100), None);
        check(None, Some(100), None);
    }
}
