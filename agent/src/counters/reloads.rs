//! What became of configurations that were read while the agent ran.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What reading the configuration again came to: `wellhead.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reload {
    /// What changed of it and can change while the agent runs is in effect.
    Applied,
    /// Nothing of it changed that can change while the agent runs.
    Unchanged,
    /// There is a mistake in it.
    Refused,
    /// Its file is not there, or is one that can only be read once.
    Unreadable,
}

impl Reload {
    /// All of them, in declaration order.
    pub const ALL: &'static [Self] = &[
        Self::Applied,
        Self::Unchanged,
        Self::Refused,
        Self::Unreadable,
    ];

    /// The value of `wellhead.outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether the configuration was one the agent could go by.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Applied | Self::Unchanged)
    }
}

/// How often the configuration was read again and what came of it.
#[derive(Debug, Default)]
pub struct Reloads {
    outcomes: [AtomicU64; Reload::ALL.len()],
    last_failed: AtomicBool,
    /// Nanoseconds since the Unix epoch; 0 for never.
    last_success: AtomicU64,
    waiting: Mutex<Vec<&'static str>>,
}

impl Reloads {
    /// It was read again, at this time on the wall clock.
    pub fn count(&self, outcome: Reload, now_unix_nano: u64) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.last_failed
            .store(!outcome.is_success(), Ordering::Relaxed);
        if outcome.is_success() {
            self.last_success.store(now_unix_nano, Ordering::Relaxed);
        }
    }

    /// These keys are others in the configuration than in effect, and wait for a restart.
    pub fn set_waiting(&self, keys: Vec<&'static str>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// How often that came of it.
    pub fn of(&self, outcome: Reload) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Whether the agent goes by what it read last, be it at its start.
    pub fn last_succeeded(&self) -> bool {
        !self.last_failed.load(Ordering::Relaxed)
    }

    /// When the configuration was read again with success, nanoseconds since the Unix epoch; `None` before the first time.
    pub fn last_success(&self) -> Option<u64> {
        let at = self.last_success.load(Ordering::Relaxed);
        (at > 0).then_some(at)
    }

    /// Keys that wait for a restart.
    pub fn waiting(&self) -> Vec<&'static str> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcome_and_the_last_success() {
        let reloads = Reloads::default();
        assert!(reloads.last_succeeded() && reloads.last_success().is_none());
        for (outcome, now, succeeded, success) in [
            (Reload::Refused, 1, false, None),
            (Reload::Applied, 2, true, Some(2)),
            (Reload::Unreadable, 3, false, Some(2)),
            (Reload::Refused, 4, false, Some(2)),
            (Reload::Unchanged, 5, true, Some(5)),
        ] {
            reloads.count(outcome, now);
            assert_eq!(reloads.last_succeeded(), succeeded, "{outcome:?}");
            assert_eq!(reloads.last_success(), success, "{outcome:?}");
        }
        let counts = Reload::ALL.iter().map(|outcome| reloads.of(*outcome));
        assert_eq!(counts.collect::<Vec<_>>(), [1, 1, 2, 1]);
    }
}
