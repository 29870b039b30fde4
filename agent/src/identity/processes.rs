//! Which process is which program, and whose child: what an exit has to be told from.

mod adopt;
mod ended;
mod line;
mod notes;
mod spans;
#[cfg(test)]
mod tests;
mod used;

use std::collections::HashSet;
use std::sync::Arc;

use wellhead_common::record::Usage;

use self::adopt::{MOST_AWAITING, Orphan};
use self::ended::Ended;
pub use self::line::Ancestor;
use self::line::Line;
pub use self::notes::{Ends, Note, Noted, Notes};
pub use self::spans::SpanState;
use self::used::Used;
pub use self::used::{Grown, processor_time};
use super::{OwnerId, Program};
use crate::aged_map::AgedMap;
use crate::counters::{Counters, Discard};
use crate::events::{Body, Event, Exec, Found, ProcessId};
use crate::hash::HashMap;

/// One in this many may have notes.
const NOTED_SHARE: usize = 8;

/// What is known of a live process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The name its program was called by; `None` for a process older than the agent that has not
    /// executed anything since.
    pub executable: Option<Arc<str>>,
    /// Path of the file that it executed first, where it is known.
    pub path: Option<Arc<str>>,
    /// Whose it is.
    pub owner: OwnerId,
    /// Boot clock of its first `execve(2)` in this container or slice; `None` if it only forked. Of a process older than the agent: when it started.
    pub executed_ns: Option<u64>,
    /// The nearest ancestor in the same container or slice that executed a program.
    pub parent: Option<ProcessId>,
    /// The first process of its line in the same container or slice that executed a program:
    /// itself, if no ancestor is.
    pub root: ProcessId,
    /// What it might do when it last executed something, or was forked; `None` where that is not known.
    pub privileges: Option<Privileges>,
    /// Those that it got with the program that it executed last.
    pub gained: u64,
    /// The kernel chose it to be killed for lack of memory.
    pub oom_killed: bool,
    /// Bytes that its connections sent and received.
    pub network: (u64, u64),
    /// What is known already of its span.
    pub span: SpanState,
    /// What its span tells of, if there is anything.
    pub notes: Option<Box<Notes>>,
    line: Line,
    used: Used,
    /// Whose is what it uses: it may have been moved since it executed its program.
    used_by: OwnerId,
    /// Boot clock since when that is known.
    placed_ns: u64,
    /// Whether it was there when all were looked at.
    was_there: bool,
}

/// Memory that was told of a process under a name that it does not have any more.
#[derive(Clone, Debug)]
pub struct MemoryLeft {
    /// Whose it was.
    pub owner: OwnerId,
    /// The name its program was called by.
    pub executable: Option<Arc<str>>,
    /// How much.
    pub bytes: u64,
}

/// What a process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// Its real user id.
    pub real_uid: u32,
    /// Its capabilities, a bit each.
    pub permitted: u64,
}

impl Privileges {
    /// Capabilities that came with the execution of a program.
    fn gained(self, before: Option<Self>) -> u64 {
        let before = match before {
            // Execution changes no real user id: it gave up what root may do on its own.
            Some(before) if before.real_uid != self.real_uid && self.real_uid != 0 => 0,
            Some(before) => before.permitted,
            None => return 0,
        };
        self.permitted & !before
    }
}

impl Process {
    /// One of which nothing else is known.
    pub fn new(process: ProcessId, owner: OwnerId) -> Self {
        Self {
            executable: None,
            path: None,
            owner,
            executed_ns: None,
            parent: None,
            root: process,
            privileges: None,
            gained: 0,
            oom_killed: false,
            network: (0, 0),
            span: SpanState::Open,
            notes: None,
            line: Line::default(),
            used: Used::unknown(),
            used_by: owner,
            placed_ns: process.start_ns,
            was_there: false,
        }
    }

    /// What it has is not told under its name any more.
    fn leave(&mut self) -> MemoryLeft {
        MemoryLeft {
            owner: self.used_by,
            executable: self.executable.clone(),
            bytes: self.used.forget_memory(),
        }
    }

    /// Whose is what it uses.
    pub fn used_by(&self) -> OwnerId {
        self.used_by
    }

    /// Its ancestors in the same container or slice that executed a program, the nearest first; of long lines the nearest.
    pub fn ancestors(&self) -> &[Ancestor] {
        self.line.above()
    }
}

/// Live processes seen since the agent started, and as many that ended: of a burst of short ones the kernel tells only a while later what
/// they used. Bounded: the oldest entry makes room and is counted.
#[derive(Debug)]
pub struct ProcessTable {
    processes: AgedMap<ProcessId, Process>,
    newest_by_pid: HashMap<u32, ProcessId>,
    /// By process id, those that ended lately: their last connections end after them.
    ended: AgedMap<u32, Ended>,
    /// Boot clock when it began: who started before that used something before.
    since_ns: u64,
    /// Processes whose parent is not known.
    orphans: AgedMap<ProcessId, Orphan>,
    /// Live processes with notes.
    noted: usize,
    /// How many there may be.
    most_noted: usize,
    /// Memory that was told of the one that made room last.
    made_room: Option<MemoryLeft>,
    /// Some that made room may be alive.
    misses_some: bool,
    counters: Arc<Counters>,
}

impl ProcessTable {
    /// An empty table for at most `capacity` processes, at this time on the boot clock.
    pub fn new(capacity: usize, since_ns: u64, counters: Arc<Counters>) -> Self {
        Self {
            processes: AgedMap::new(capacity),
            newest_by_pid: HashMap::default(),
            ended: AgedMap::new(capacity),
            since_ns,
            orphans: AgedMap::new(MOST_AWAITING),
            noted: 0,
            most_noted: capacity / NOTED_SHARE,
            made_room: None,
            misses_some: false,
            counters,
        }
    }

    /// A process was forked. It runs its parent's program until it executes another.
    pub fn forked(&mut self, child: ProcessId, parent: ProcessId, owner: OwnerId) {
        let process = self.child_of(parent, child, owner, Used::nothing());
        self.insert(child, process);
        self.await_parent(parent, child, false);
    }

    /// A process was there already.
    pub fn found(&mut self, found: &Found, owner: OwnerId, name: Arc<str>) {
        let id = found.process;
        if self.processes.get(&id).is_some() {
            return;
        }
        let child = self.child_of(found.parent, id, owner, Used::unknown());
        let executed_ns = (!found.only_forked || child.parent.is_none()).then_some(id.start_ns);
        let process = Process {
            executable: Some(name),
            path: None,
            executed_ns: executed_ns.filter(|start| *start != 0),
            privileges: Some(Privileges {
                real_uid: found.real_uid,
                permitted: found.permitted,
            }),
            ..child
        };
        self.insert(id, process);
        self.await_parent(found.parent, id, found.only_forked);
        self.adopt(id);
    }

    /// A process executes a program, or a container runtime does to prepare the container: nobody descends from that, and who is in
    /// the container begins with the program that follows. Returns the memory it had as what it was before, if that was told.
    pub fn executed(
        &mut self,
        exec: &Exec<'_>,
        boot_ns: u64,
        owner: OwnerId,
        program: Program,
        by_runtime: bool,
    ) -> Option<MemoryLeft> {
        let id = exec.process;
        if self.processes.get(&id).is_none() {
            // Nobody told that it was forked: it is older than the agent, or that was lost.
            let used = if id.start_ns > self.since_ns {
                Used::nothing()
            } else {
                Used::unknown()
            };
            let process = self.child_of(exec.parent, id, owner, used);
            self.insert(id, process);
            self.await_parent(exec.parent, id, false);
        }
        let known = self.processes.get_mut(&id)?;
        let left = known.leave();
        (known.used_by, known.placed_ns) = (owner, boot_ns);
        if known.owner != owner {
            // Container runtimes fork first and enter the container's cgroup afterwards.
            known.owner = owner;
            known.executed_ns = None;
            known.parent = None;
            known.root = id;
            known.line = Line::default();
        }
        // What was executed in the container before is no runtime.
        let is_preparing = by_runtime && known.executed_ns.is_none() && known.parent.is_none();
        if !is_preparing {
            known.executed_ns.get_or_insert(boot_ns);
        }
        known.executable = Some(program.name);
        known.path = Some(program.path);
        known.line.forget_own();
        let privileges = Privileges {
            real_uid: exec.real_uid,
            permitted: exec.permitted,
        };
        known.gained = privileges.gained(known.privileges);
        known.privileges = Some(privileges);
        (left.bytes > 0).then_some(left)
    }

    /// A process was in this container or slice then: it may have been moved there. Returns the memory it had in the one before, if
    /// that was told.
    pub fn seen_in(&mut self, id: ProcessId, owner: OwnerId, boot_ns: u64) -> Option<MemoryLeft> {
        let known = self.live_or_ended(id)?;
        if known.used_by == owner || boot_ns <= known.placed_ns {
            return None;
        }
        let left = known.leave();
        (known.used_by, known.placed_ns) = (owner, boot_ns);
        (left.bytes > 0).then_some(left)
    }

    /// A process used so much until now; returns what is new of it, and whose it is.
    pub fn used(
        &mut self,
        id: ProcessId,
        usage: &Usage,
        resident: u64,
    ) -> Option<(Grown, &Process)> {
        let known = self.live_or_ended(id)?;
        let grown = known.used.grow(usage, resident);
        Some((grown, known))
    }

    /// Live processes that were there when all were looked at before, and are not now. Nobody told of their end.
    pub fn gone(&mut self, there: &[ProcessId]) -> Vec<ProcessId> {
        let mut gone: HashSet<ProcessId> = self
            .processes
            .iter()
            .filter(|(_, known)| known.was_there)
            .map(|(id, _)| *id)
            .collect();
        for id in there {
            if !gone.remove(id)
                && let Some(known) = self.processes.get_mut(id)
            {
                known.was_there = true;
            }
        }
        gone.into_iter().collect()
    }

    /// The kernel kills the process that has this process id for lack of memory.
    pub fn oom_killed(&mut self, pid: u32) {
        let id = self.by_pid(pid).map(|(id, _)| id);
        if let Some(known) = id.and_then(|id| self.live_or_ended(id)) {
            known.oom_killed = true;
        }
    }

    /// A connection of a process carried so many more bytes.
    pub fn carried(&mut self, id: ProcessId, (sent, received): (u64, u64)) {
        if let Some(known) = self.live_or_ended(id) {
            known.network.0 = known.network.0.saturating_add(sent);
            known.network.1 = known.network.1.saturating_add(received);
        }
    }

    /// A child of this process, as it is when it is forked.
    fn child_of(
        &mut self,
        parent: ProcessId,
        child: ProcessId,
        owner: OwnerId,
        used: Used,
    ) -> Process {
        let unknown = Process {
            used,
            ..Process::new(child, owner)
        };
        let Some(known) = self.processes.get_mut(&parent) else {
            return unknown;
        };
        let inherited = Process {
            executable: known.executable.clone(),
            path: known.path.clone(),
            privileges: known.privileges,
            ..unknown
        };
        let Some((above, root)) = line_of_child(parent, known, owner) else {
            return inherited;
        };
        let own = (above == parent).then(|| known.executable.clone());
        Process {
            parent: Some(above),
            root,
            line: known.line.of_child(parent, own.flatten().as_ref()),
            ..inherited
        }
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
            let ended = self.ended.get(&pid)?;
            Some((ended.id, &ended.process))
        })
    }

    /// The process that an event names by its process id alone: an OOM victim, or who connected or listened. One that began
    /// after the connection did is another, which got the same id.
    pub fn named_by(&self, event: &Event<'_>) -> Option<(ProcessId, &Process)> {
        let connection = match &event.body {
            Body::OomKill(kill) => return self.by_pid(kill.pid),
            Body::TcpListen(listener) => return self.by_pid(listener.owner?.pid),
            Body::TcpOpen(connection) => connection,
            Body::TcpClose(end) | Body::TcpConnectFailed(end) | Body::TcpSnapshot(end) => {
                &end.connection
            }
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
        let live = self.processes.iter().map(|(_, process)| process);
        let all = live.chain(self.ended.iter().map(|(_, ended)| &ended.process));
        all.flat_map(|process| [process.owner, process.used_by])
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
        if let Some((evicted, mut known)) = self.processes.insert(id, process) {
            self.forget_noted(&known);
            self.counters.discard(Discard::IdentityTableFull, 1);
            self.forget_pid(evicted);
            self.misses_some = true;
            self.made_room = Some(known.leave());
        }
    }

    /// Memory that was told of a process that had to make room for the one of the last event: nobody tells any more when it is given
    /// back.
    pub fn take_made_room(&mut self) -> Option<MemoryLeft> {
        self.made_room.take().filter(|left| left.bytes > 0)
    }

    /// So many processes are alive and not known. Whether to look for those that had to make room: not if they were to do so again.
    pub fn wants_to_look(&mut self, unknown: usize) -> bool {
        if unknown == 0 {
            self.misses_some = false;
        }
        self.misses_some && self.processes.len() + unknown <= self.processes.capacity()
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
