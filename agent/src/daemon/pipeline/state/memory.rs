//! Staying within the memory budget.

use std::time::Duration;

use super::super::pressure::{Change, Step};
use super::super::source::Source;
use super::State;
use crate::counters::Discard;
use crate::memory;

/// Seconds between two warnings of the same kind.
const WARNING_SECONDS: u32 = 60;

/// How long a series may be idle while memory is short.
const SHORT_IDLE: Duration = Duration::from_mins(1);

impl<S: Source> State<S> {
    /// Looks at what the process takes of its budget, and gives something up or takes it back.
    pub(in super::super) fn mind_memory(&mut self) {
        self.unminded = 0;
        let Some(change) = self.pressure.look(self.store.len()) else {
            return;
        };
        let (resident, budget) = (self.pressure.resident(), self.settings.live.budget.total);
        match change {
            Change::Taken(step) => {
                let (step, means) = (step.as_str(), step.says());
                tracing::warn!(
                    step,
                    resident,
                    budget,
                    means,
                    "memory is short: something is given up to stay within memory_budget"
                );
                memory::release_freed();
            }
            Change::TakenBack(step) => {
                let step = step.as_str();
                tracing::info!(step, resident, budget, "memory is no longer as short");
            }
        }
        let steps = self.pressure.steps();
        self.counters.set_memory_steps(steps as u64);
        self.store
            .admit_new_series(!self.pressure.gives_up(Step::Series));
    }

    /// Once a minute while it goes on: series beyond the limit are easily overlooked among many.
    pub(super) fn warn_of_overflow(&mut self) {
        if !self.seconds.is_multiple_of(WARNING_SECONDS) {
            return;
        }
        let overflowed = self.counters.discards(Discard::StoreSeriesLimit);
        if overflowed > self.overflowed {
            tracing::warn!(
                measurements = overflowed - self.overflowed,
                series = self.store.limit(),
                "series_limit, or series_limit_per_metric, is reached: what is new is counted in overflow series"
            );
        }
        self.overflowed = overflowed;
    }

    /// Once a second, while memory is short.
    pub(super) fn save_memory(&mut self) {
        if self.pressure.gives_up(Step::Idle) {
            self.expire();
        } else if self.pressure.gives_up(Step::Trim) {
            memory::release_freed();
        }
    }

    /// How long a series may be idle.
    pub(super) fn idle_timeout(&self) -> Duration {
        let usual = self.settings.live.series_idle_timeout;
        if self.pressure.gives_up(Step::Idle) {
            usual.min(SHORT_IDLE)
        } else {
            usual
        }
    }

    /// Whether so many events and spans are left out because memory is short.
    pub(super) fn gives_up_details(&self, items: usize) -> bool {
        let gives_up = self.pressure.gives_up(Step::Details);
        if gives_up {
            self.counters.discard(Discard::PolicyMemory, items as u64);
        }
        gives_up
    }
}
