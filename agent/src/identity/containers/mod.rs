//! The lives of this node's containers: made, started, killed for memory, ended.
//!
//! It is here and not in `telemetry` because it is the process table's neighbour: fed by the same events, asked by the same
//! handles, bounded in the same way. What is told of it is made elsewhere.
//!
//! A container's main process is the first that executes a program in the container's cgroup though its parent is of another
//! owner: the runtime's shim. Sessions that enter later (`kubectl exec`) are not. Of a container older than the agent it is the
//! oldest process that was found in it; when it was started is not known, and that it started is not told.

mod history;
mod runtime;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

pub use self::history::{Before, CrashLoop, End, Histories, LoopSource, Which};
pub use self::runtime::is_runtimes_own;
use super::OwnerId;
use crate::aged_map::AgedMap;
use crate::counters::{Counters, Discard};
use crate::events::{Exec, ExitStatus, ProcessId};

/// How long after its cgroup was removed the end of a container's main process may still be told: rings are read one after
/// another.
const PATIENCE_NS: u64 = 2_000_000_000;

/// Lives of one container that are waited for at once.
const LIVES: usize = 32;

/// A container's main process executes its program for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// When, on the boot clock.
    pub at: u64,
    /// The process.
    pub process: ProcessId,
    /// The name its program was called by.
    pub executable: Arc<str>,
    /// When the container's cgroup was made.
    pub made_ns: u64,
}

/// A container has ended: its main process has, or nothing but the removal of its cgroup tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When, on the boot clock; if only the removal of its cgroup is known, then.
    pub at: u64,
    /// How its main process ended, if that is known.
    pub status: Option<ExitStatus>,
    /// Its main process, if that is known.
    pub process: Option<ProcessId>,
    /// The name its program was called by, likewise.
    pub executable: Option<Arc<str>>,
    /// For how long the main process ran, where its end was told and its beginning is known.
    pub ran_ns: Option<u64>,
    /// Processes in it that the kernel killed for lack of memory.
    pub oom_kills: u32,
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It started.
    Started(Started),
    /// It ended.
    Ended(Ended),
}

impl News {
    /// When, on the boot clock.
    pub fn at(&self) -> u64 {
        match self {
            Self::Started(started) => started.at,
            Self::Ended(ended) => ended.at,
        }
    }

    /// The program of the container's main process, if that is known.
    pub fn executable(&self) -> Option<&str> {
        match self {
            Self::Started(started) => Some(&started.executable),
            Self::Ended(ended) => ended.executable.as_deref(),
        }
    }
}

/// Ends of containers, and whose they are.
pub type Ends = Vec<(OwnerId, Ended)>;

/// Where the parent of a process is that executes a program in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Of another owner, or nobody knows.
    Elsewhere,
    /// In the container, and only forked: it may be the runtime that prepares it.
    Forked,
    /// In the container, where it executed a program.
    Executed,
}

/// One life of a container. A container that is started again under its id has another one.
#[derive(Clone, Debug)]
struct Run {
    owner: OwnerId,
    /// The outermost cgroup of it.
    cgroup: u64,
    /// When that was made; `None` if it is older than the agent.
    made_ns: Option<u64>,
    /// When it was heard of first.
    known_ns: u64,
    main: Option<Main>,
    /// Something else than the main process executed a program: the main process was missed.
    main_missed: bool,
    oom_kills: u32,
    removed_ns: u64,
    /// Its end was told.
    is_over: bool,
}

#[derive(Clone, Debug)]
struct Main {
    process: ProcessId,
    executable: Arc<str>,
    since_ns: u64,
}

impl Run {
    fn new(owner: OwnerId, cgroup: u64, made_ns: Option<u64>, known_ns: u64) -> Self {
        Self {
            owner,
            cgroup,
            made_ns,
            known_ns,
            main: None,
            main_missed: false,
            oom_kills: 0,
            removed_ns: 0,
            is_over: false,
        }
    }

    /// Whether nothing is to be told of it any more.
    fn is_due(&self, now: u64) -> bool {
        now.saturating_sub(self.removed_ns) >= PATIENCE_NS
    }

    /// Its end, if it ever ran as far as is known, and that was not told yet.
    fn end_by_removal(self) -> Option<(OwnerId, Ended)> {
        let ran = self.made_ns.is_none() || self.main.is_some() || self.main_missed;
        if self.is_over || !ran {
            return None;
        }
        let ended = Ended {
            at: self.removed_ns,
            status: None,
            process: self.main.as_ref().map(|main| main.process),
            executable: self.main.map(|main| main.executable),
            ran_ns: None,
            oom_kills: self.oom_kills,
        };
        Some((self.owner, ended))
    }
}

/// Bounded table of containers. The oldest makes room and is counted: nothing more is told of it.
#[derive(Debug)]
pub struct Containers {
    living: AgedMap<OwnerId, Run>,
    /// Lives that are over, of each container the earliest first, in the order of their cgroups' removal: records about them may
    /// still come. Rings are read one after another: a container may have been made and removed several times before it is told
    /// what it did.
    ending: AgedMap<OwnerId, VecDeque<Run>>,
    /// Whether any process was ever told of. If none is, nothing is known of how containers live.
    hears_of_processes: bool,
    counters: Arc<Counters>,
}

impl Containers {
    /// Room for `capacity` containers.
    pub fn new(capacity: usize, counters: Arc<Counters>) -> Self {
        Self {
            living: AgedMap::new(capacity),
            ending: AgedMap::new(capacity),
            hears_of_processes: false,
            counters,
        }
    }

    /// A cgroup of a container was made: its own, or one in it.
    pub fn made(&mut self, owner: OwnerId, cgroup: u64, at: u64) {
        match self.living.get_mut(&owner) {
            // A scan was ahead of the record.
            Some(run) if run.cgroup == cgroup => {
                run.made_ns = Some(at);
                // Who was found there is told of from the beginning.
                run.main = None;
            }
            Some(run) if !run.is_over => {}
            _ => self.enter(Run::new(owner, cgroup, Some(at), at)),
        }
    }

    /// A cgroup of a container is there since nobody knows when.
    pub fn found(&mut self, owner: OwnerId, cgroup: u64, now: u64) {
        let mut ending = self.ending.get(&owner).into_iter().flatten();
        let is_over = ending.any(|run| run.cgroup == cgroup);
        if self.living.get(&owner).is_none() && !is_over {
            self.enter(Run::new(owner, cgroup, None, now));
        }
    }

    /// A cgroup of a container was removed. Returns ends of which no more can be known than that.
    pub fn removed(&mut self, owner: OwnerId, cgroup: u64, at: u64) -> Ends {
        if self.living.get(&owner).map(|run| run.cgroup) != Some(cgroup) {
            return Ends::new();
        }
        let Some(mut run) = self.living.remove(&owner) else {
            return Ends::new();
        };
        run.removed_ns = at;
        let mut lives = self.ending.remove(&owner).unwrap_or_default();
        let mut closed = Vec::new();
        while lives.len() >= LIVES || lives.front().is_some_and(|life| life.is_due(at)) {
            closed.extend(lives.pop_front());
        }
        lives.push_back(run);
        let evicted = self.ending.insert(owner, lives);
        closed.extend(evicted.into_iter().flat_map(|(_, lives)| lives));
        closed
            .into_iter()
            .filter_map(|run| self.end_of(run))
            .collect()
    }

    /// A scan that began at `started` found these cgroups and no others: containers that were known before are gone. Returns
    /// ends as [`Self::removed`] does.
    pub fn retain_scanned(&mut self, found: &HashSet<u64>, started: u64, now: u64) -> Ends {
        let is_gone = |run: &Run| run.known_ns < started && !found.contains(&run.cgroup);
        let living = self.living.iter().map(|(_, run)| run);
        let gone: Vec<(OwnerId, u64)> = living
            .filter(|run| is_gone(run))
            .map(|run| (run.owner, run.cgroup))
            .collect();
        gone.into_iter()
            .flat_map(|(owner, cgroup)| self.removed(owner, cgroup, now))
            .collect()
    }

    /// A process in a container was there already.
    pub fn process_found(
        &mut self,
        owner: OwnerId,
        process: ProcessId,
        parent: Parent,
        executable: impl FnOnce() -> Arc<str>,
    ) {
        self.hears_of_processes = true;
        let Some(run) = self.living.get_mut(&owner) else {
            return;
        };
        let (Some(started), None, Parent::Elsewhere) = (process.started_ns(), run.made_ns, parent)
        else {
            return;
        };
        if run.main.as_ref().is_none_or(|main| started < main.since_ns) {
            run.main = Some(Main {
                process,
                executable: executable(),
                since_ns: started,
            });
        }
    }

    /// A process executes a program in a container.
    pub fn executed(
        &mut self,
        (owner, at): (OwnerId, u64),
        exec: &Exec<'_>,
        parent: impl FnOnce() -> Parent,
        executable: impl FnOnce() -> Arc<str>,
    ) -> Option<Started> {
        self.hears_of_processes = true;
        let run = self.run_at(owner, at)?;
        if let Some(main) = &mut run.main {
            // Itself, too, as busybox's shell does for other commands.
            if main.process == exec.process {
                main.executable = executable();
            }
            return None;
        }
        // It is not known which of those that enter an older container is its main process.
        let made_ns = run.made_ns?;
        if run.is_over || run.main_missed || is_runtimes_own(exec) {
            return None;
        }
        match parent() {
            Parent::Elsewhere => {}
            // A hook of the runtime's.
            Parent::Forked => return None,
            Parent::Executed => {
                run.main_missed = true;
                return None;
            }
        }
        let executable = executable();
        run.main = Some(Main {
            process: exec.process,
            executable: Arc::clone(&executable),
            since_ns: at,
        });
        Some(Started {
            at,
            process: exec.process,
            executable,
            made_ns,
        })
    }

    /// A process ended; the container's end if it was its main process.
    pub fn exited(
        &mut self,
        (owner, at): (OwnerId, u64),
        process: ProcessId,
        status: ExitStatus,
    ) -> Option<Ended> {
        self.hears_of_processes = true;
        let is_of = |run: &Run| run.main.as_ref().map(|main| main.process) == Some(process);
        let living = self.living.get_mut(&owner).filter(|run| is_of(run));
        let run = living.or_else(|| {
            let ending = self.ending.get_mut(&owner)?;
            ending.iter_mut().rfind(|run| is_of(run))
        })?;
        if std::mem::replace(&mut run.is_over, true) {
            return None;
        }
        let main = run.main.as_ref()?;
        Some(Ended {
            at,
            status: Some(status),
            process: Some(process),
            executable: Some(Arc::clone(&main.executable)),
            ran_ns: Some(at.saturating_sub(main.since_ns)),
            oom_kills: run.oom_kills,
        })
    }

    /// The kernel killed a process in a container for lack of memory.
    pub fn oom_killed(&mut self, owner: OwnerId, at: u64) {
        if let Some(run) = self.run_at(owner, at) {
            run.oom_kills = run.oom_kills.saturating_add(1);
        }
    }

    /// How many of the container's processes were killed so, in the life that it led at a time. Some are told of only after
    /// its main process has ended.
    pub fn oom_kills(&mut self, owner: OwnerId, at: u64) -> u32 {
        self.run_at(owner, at).map_or(0, |run| run.oom_kills)
    }

    /// Ends that nothing but the removal of cgroups tells of, up to now. `still_waits` says whose records are still to be
    /// handled; with `at_once` nobody is waited for.
    pub fn take_overdue(
        &mut self,
        (now, at_once): (u64, bool),
        still_waits: impl Fn(OwnerId) -> bool,
    ) -> Ends {
        let is_due = |lives: &VecDeque<Run>| {
            let is_over = |last: &Run| last.is_due(now) && !still_waits(last.owner);
            at_once || lives.back().is_none_or(is_over)
        };
        let mut ends = Ends::new();
        while let Some((_, lives)) = self.ending.pop_oldest_if(is_due) {
            ends.extend(lives.into_iter().filter_map(|run| self.end_of(run)));
        }
        ends
    }

    /// Whose containers are held.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        let living = self.living.iter().map(|(owner, _)| *owner);
        living.chain(self.ending.iter().map(|(owner, _)| *owner))
    }

    /// The life that a container led at a time.
    fn run_at(&mut self, owner: OwnerId, at: u64) -> Option<&mut Run> {
        let is_earlier = |run: &Run| run.made_ns.is_some_and(|made| at < made);
        match self.living.get_mut(&owner) {
            Some(run) if !is_earlier(run) => Some(run),
            _ => {
                let lives = self.ending.get_mut(&owner)?;
                let found = lives.iter().rposition(|run| !is_earlier(run));
                lives.get_mut(found.unwrap_or(0))
            }
        }
    }

    fn enter(&mut self, run: Run) {
        if self.living.insert(run.owner, run).is_some() {
            self.counters.discard(Discard::IdentityTableFull, 1);
        }
    }

    /// The end of a life of which no more is to come.
    fn end_of(&self, run: Run) -> Option<(OwnerId, Ended)> {
        run.end_by_removal().filter(|_| self.hears_of_processes)
    }
}
