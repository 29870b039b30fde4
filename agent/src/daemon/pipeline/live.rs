//! Snapshots: what is there at start, and again and again what open connections carry.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::Span;

use crate::kernel::{AttachedPrograms, LiveIterators, ProcessUsage};
use crate::own_span::own_span;

/// Times a snapshot is taken up again because the ring had no room for all of it.
const ROUNDS: u32 = 16;

/// Takes snapshots, one at a time, in the background. What they find comes through the rings.
pub(super) struct Snapshots {
    iterators: Arc<LiveIterators>,
    due: Interval,
    running: Option<JoinHandle<io::Result<Vec<ProcessUsage>>>>,
    rounds: u32,
    /// Of the running snapshot.
    span: Span,
    /// Connections left out before the running round.
    deferred: u64,
    is_first: bool,
    /// The next begins with all processes there are.
    looks_for_processes: bool,
    /// Whether any round of the running snapshot broke off.
    broke_off: bool,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Running,
    /// Every open connection was told.
    Complete,
    /// Some could not be told.
    Incomplete,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A snapshot is due.
    Due,
    /// One has told what it could; once the rings are drained it may go on. With what processes used, if it asked.
    RoundDone(Vec<ProcessUsage>),
}

impl Snapshots {
    /// The first is due at once.
    pub(super) fn new(iterators: Arc<LiveIterators>, every: Duration) -> Self {
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            iterators,
            due,
            running: None,
            rounds: 0,
            span: Span::none(),
            deferred: 0,
            is_first: true,
            looks_for_processes: true,
            broke_off: false,
        }
    }

    /// Waits for what comes next.
    pub(super) async fn next(&mut self) -> Step {
        let Some(running) = &mut self.running else {
            self.due.tick().await;
            return Step::Due;
        };
        let result = running.await;
        self.running = None;
        self.broke_off |= !matches!(result, Ok(Ok(_)));
        let usage = match result {
            Ok(Ok(usage)) => usage,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a snapshot broke off");
                Vec::new()
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot died");
                Vec::new()
            }
        };
        Step::RoundDone(usage)
    }

    /// Begins a snapshot.
    pub(super) fn begin(&mut self, programs: &mut AttachedPrograms) {
        programs.begin_snapshot();
        self.rounds = 0;
        self.span = own_span!("wellhead.snapshot");
        self.broke_off = false;
        self.run_round(programs);
    }

    /// Has the next snapshot tell all processes once more.
    pub(super) fn look_for_processes(&mut self) {
        self.looks_for_processes = true;
    }

    /// Takes a snapshot up again that had to leave connections out, now that the rings are drained.
    pub(super) fn go_on(&mut self, programs: &AttachedPrograms) -> Progress {
        let left_out = programs.deferred() > self.deferred;
        if left_out && self.rounds < ROUNDS {
            self.run_round(programs);
            return Progress::Running;
        }
        self.span = Span::none();
        if left_out || self.broke_off || !self.iterators.tells_connections() {
            Progress::Incomplete
        } else {
            Progress::Complete
        }
    }

    fn run_round(&mut self, programs: &AttachedPrograms) {
        self.rounds += 1;
        self.deferred = programs.deferred();
        let iterators = Arc::clone(&self.iterators);
        let is_first = std::mem::take(&mut self.is_first);
        let looks_for_processes = std::mem::take(&mut self.looks_for_processes);
        let begins = self.rounds == 1;
        self.running = Some(spawn_blocking(move || {
            if looks_for_processes {
                iterators.tell_processes()?;
            }
            if is_first {
                iterators.learn_listeners()?;
            }
            let usage = if begins {
                iterators.usage()?
            } else {
                Vec::new()
            };
            iterators.tell_connections()?;
            Ok(usage)
        }));
    }
}
