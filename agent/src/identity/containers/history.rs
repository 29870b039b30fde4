//! What the runs of one container have to do with each other: how the one before ended, and whether it ends over and over.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::aged_map::AgedMap;
use crate::counters::{Counters, Discard};
use crate::events::ExitStatus;

const SECOND: u64 = 1_000_000_000;

/// So many bad ends
const LOOP_ENDS: usize = 3;
/// within this time are a loop; a run that lasts so long is a good one, and a loop that nothing tells of for so long is over.
const LOOP_NS: u64 = 600 * SECOND;

/// Bad ends kept of one container: kubelet waits longer and longer between two of them.
const MOST_ENDS: usize = 32;

/// How long a container is remembered of which nothing happens: longer than kubelet ever waits.
const MEMORY_NS: u64 = 1_800 * SECOND;

/// Which container, whatever run of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one of this name in the pod with this UID.
    OfPod {
        /// `metadata.uid`.
        uid: Arc<str>,
        /// Its name there.
        name: Arc<str>,
    },
    /// The one with this id, which it keeps where it is started again by hand, or by Docker.
    Alone(Arc<str>),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When, on the boot clock.
    pub at: u64,
    /// How its main process ended, if that is known.
    pub status: Option<ExitStatus>,
    /// Whether a kill for memory hit it.
    pub oom_killed: bool,
    /// How long it lasted, if that is known.
    pub ran_ns: Option<u64>,
}

impl End {
    fn is_bad(&self) -> bool {
        self.status.is_some_and(ExitStatus::is_failure) || self.oom_killed
    }
}

/// What came before a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// How the run before ended.
    pub end: Option<End>,
    /// How long ago that was.
    pub downtime_ns: Option<u64>,
    /// Starts after an end, as far as they were seen, this one included.
    pub restarts: u32,
}

/// What tells of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopSource {
    /// Ends that were seen.
    Observed,
    /// The pod's status.
    Status,
}

/// A container ends over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashLoop {
    /// What tells of it.
    pub source: LoopSource,
    /// Bad ends seen within ten minutes.
    pub bad_ends: usize,
    /// The last end that was seen.
    pub last: Option<End>,
}

#[derive(Debug, Default)]
struct History {
    end: Option<End>,
    restarts: u32,
    /// When it ended badly, within ten minutes.
    bad: VecDeque<u64>,
    running_since: Option<u64>,
    /// The loop was told.
    in_loop: bool,
    status_says: bool,
    /// When something told of a loop last.
    sign: u64,
    touched: u64,
}

impl History {
    /// Forgets what is over by now.
    fn settle(&mut self, now: u64) {
        let is_past = |since: u64| now.saturating_sub(since) >= LOOP_NS;
        while self.bad.front().is_some_and(|at| is_past(*at)) {
            self.bad.pop_front();
        }
        let runs_well = self.running_since.is_some_and(is_past);
        if runs_well || (!self.status_says && is_past(self.sign)) {
            self.calm();
        }
    }

    fn calm(&mut self) {
        self.bad.clear();
        self.in_loop = false;
    }

    fn begin_loop(&mut self, source: LoopSource) -> Option<CrashLoop> {
        let is_new = !std::mem::replace(&mut self.in_loop, true);
        is_new.then_some(CrashLoop {
            source,
            bad_ends: self.bad.len(),
            last: self.end,
        })
    }
}

/// Histories of the containers that ended of late. Bounded: the one of which nothing was heard for longest makes room and is counted.
#[derive(Debug)]
pub struct Histories {
    /// In the order in which something happened to them.
    known: AgedMap<Which, History>,
    counters: Arc<Counters>,
}

impl Histories {
    /// Room for `capacity` containers.
    pub fn new(capacity: usize, counters: Arc<Counters>) -> Self {
        Self {
            known: AgedMap::new(capacity),
            counters,
        }
    }

    /// A container started.
    pub fn started(&mut self, which: &Which, at: u64) -> Before {
        let Some(mut history) = self.known.remove(which) else {
            return Before::default();
        };
        history.settle(at);
        history.running_since = Some(at);
        history.restarts = history.restarts.saturating_add(1);
        let before = Before {
            end: history.end,
            downtime_ns: history.end.map(|end| at.saturating_sub(end.at)),
            restarts: history.restarts,
        };
        self.keep(which, history, at);
        before
    }

    /// A container ended. A loop if that makes one.
    pub fn ended(&mut self, which: &Which, end: End) -> Option<CrashLoop> {
        let mut history = self.known.remove(which).unwrap_or_default();
        history.settle(end.at);
        if end.ran_ns.is_some_and(|ran| ran >= LOOP_NS) {
            history.calm();
        }
        history.end = Some(end);
        history.running_since = None;
        let mut found = None;
        if end.is_bad() {
            if history.bad.len() >= MOST_ENDS {
                history.bad.pop_front();
            }
            history.bad.push_back(end.at);
            history.sign = end.at;
            if history.bad.len() >= LOOP_ENDS {
                found = history.begin_loop(LoopSource::Observed);
            }
        }
        self.keep(which, history, end.at);
        found
    }

    /// The pod's status says whether the container is in a loop, and since when it runs, if it does. A loop if nothing told of
    /// it before.
    pub fn status(
        &mut self,
        which: &Which,
        (says_loop, running_since): (bool, Option<u64>),
        now: u64,
    ) -> Option<CrashLoop> {
        let mut history = match self.known.remove(which) {
            Some(history) => history,
            None if says_loop => History::default(),
            None => return None,
        };
        history.running_since = running_since;
        history.settle(now);
        if says_loop || history.status_says {
            history.sign = now;
        }
        history.status_says = says_loop;
        let found = says_loop.then(|| history.begin_loop(LoopSource::Status));
        self.keep(which, history, now);
        found.flatten()
    }

    /// A pod is gone: its containers do not start again.
    pub fn pod_gone(&mut self, pod: &str) {
        let is_of = |which: &&Which| matches!(which, Which::OfPod { uid, .. } if **uid == *pod);
        let known = self.known.iter().map(|(which, _)| which);
        let gone: Vec<Which> = known.filter(is_of).cloned().collect();
        for which in gone {
            self.known.remove(&which);
        }
    }

    /// Forgets containers of which nothing was heard for long.
    pub fn expire(&mut self, now: u64) {
        let is_old = |history: &History| now.saturating_sub(history.touched) >= MEMORY_NS;
        while self.known.pop_oldest_if(is_old).is_some() {}
    }

    fn keep(&mut self, which: &Which, mut history: History, now: u64) {
        history.touched = now;
        if self.known.insert(which.clone(), history).is_some() {
            self.counters.discard(Discard::IdentityTableFull, 1);
        }
    }
}

#[cfg(test)]
mod tests;
