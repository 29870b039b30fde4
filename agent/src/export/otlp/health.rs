//! What the log says of a receiver: each change between working and failing, and a reminder once a minute.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::outcome::{Accepted, SendError};
use crate::counters::Signal;

const REMINDER: Duration = Duration::from_mins(1);

/// The state of one signal's receiver.
#[derive(Debug)]
pub(super) struct Health {
    signal: Signal,
    /// Host and port alone: paths and queries may carry keys.
    receiver: String,
    failing_since: Option<Instant>,
    failures: Reminder,
    warnings: Reminder,
}

/// Lets one message a minute through.
#[derive(Debug, Default)]
struct Reminder {
    last: Option<Instant>,
    held_back: u64,
}

impl Health {
    pub(super) fn new(signal: Signal, receiver: String) -> Self {
        Self {
            signal,
            receiver,
            failing_since: None,
            failures: Reminder::default(),
            warnings: Reminder::default(),
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, error: &SendError) {
        let now = Instant::now();
        let changed = self.failing_since.is_none();
        let since = *self.failing_since.get_or_insert(now);
        if let Some(others) = self.failures.pass(now, changed) {
            warn!(
                signal = self.signal.as_str(),
                receiver = self.receiver,
                error.r#type = error.failure.as_str(),
                failing_seconds = (now - since).as_secs(),
                other_failures = others,
                "OTLP export fails: {}",
                error.detail
            );
        }
    }

    /// A request was accepted, in part at least.
    pub(super) fn succeeded(&mut self, accepted: &Accepted) {
        let now = Instant::now();
        if let Some(since) = self.failing_since.take() {
            let failed_seconds = (now - since).as_secs();
            info!(
                signal = self.signal.as_str(),
                receiver = self.receiver,
                failed_seconds,
                "OTLP export works again"
            );
        }
        let noteworthy = accepted.rejected > 0 || !accepted.message.is_empty();
        if noteworthy && let Some(others) = self.warnings.pass(now, false) {
            warn!(
                signal = self.signal.as_str(),
                receiver = self.receiver,
                rejected = accepted.rejected,
                other_warnings = others,
                "the OTLP receiver complains: {}",
                accepted.message
            );
        }
    }
}

impl Reminder {
    /// `Some` if a message may be written, with how many were held back since the last one.
    fn pass(&mut self, now: Instant, anyway: bool) -> Option<u64> {
        let due = self.last.is_none_or(|last| now - last >= REMINDER);
        if due || anyway {
            self.last = Some(now);
            Some(std::mem::take(&mut self.held_back))
        } else {
            self.held_back += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_a_minute_or_by_change() {
        let start = Instant::now();
        let mut reminder = Reminder::default();
        for (second, anyway, expected) in [
            (0, true, Some(0)),
            (1, false, None),
            (59, false, None),
            (60, false, Some(2)),
            (61, true, Some(0)),
            (119, false, None),
            (121, false, Some(1)),
        ] {
            let now = start + Duration::from_secs(second);
            assert_eq!(reminder.pass(now, anyway), expected, "at {second} s");
        }
    }
}
