//! How many arguments are looked through for secrets.

use std::sync::Arc;

use super::bucket::{Bucket, SECOND};
use crate::counters::{Counters, Discard};
use crate::telemetry::live::LiveEvent;

/// Bytes a second, on average: between one and five percent of a processor's time, as they are made.
const BYTES_PER_SECOND: u64 = 256 << 10;

/// Lets events show their arguments, as long as that does not take too much time. As for
/// [`EventRates`](super::EventRates), time is that of the events.
#[derive(Debug)]
pub struct ArgumentRate {
    bucket: Bucket,
    counters: Arc<Counters>,
}

impl ArgumentRate {
    /// Nothing was shown yet.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            bucket: Bucket::full(0),
            counters,
        }
    }

    /// Has an event that somebody sees show its arguments, or say that there are some.
    pub fn show(&mut self, event: &mut LiveEvent) {
        let Some(arguments) = &event.arguments else {
            return;
        };
        let bytes = u64::try_from(arguments.to_search()).unwrap_or(u64::MAX);
        let cost = bytes.saturating_mul(SECOND) / BYTES_PER_SECOND;
        if self.bucket.take(event.time_unix_nano, cost) {
            event.show_arguments();
        } else {
            event.withhold_arguments();
            self.counters.discard(Discard::PolicyArgumentRate, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::arguments::{Arguments, Withheld};
    use crate::telemetry::live::Severity;

    const LARGE: usize = 4_096;

    /// How many of so many events show their arguments, the first `since` seconds after the epoch.
    fn shown(rate: &mut ArgumentRate, arguments: Arguments, events: u64, since: u64) -> u64 {
        (0..events)
            .filter(|number| {
                let mut event = LiveEvent {
                    time_unix_nano: since * SECOND + number,
                    name: "wellhead.process.exec",
                    severity: Severity::Info,
                    attributes: Vec::new(),
                    arguments: Withheld::new(&[b'x'; LARGE], arguments),
                };
                rate.show(&mut event);
                assert!(event.arguments.is_none());
                let [(key, _)] = &event.attributes[..] else {
                    panic!("{event:?}");
                };
                *key == "process.command_args"
            })
            .count() as u64
    }

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let counters = Arc::new(Counters::default());
        let mut rate = ArgumentRate::new(Arc::clone(&counters));
        let per_second = BYTES_PER_SECOND / LARGE as u64;
        let burst = 10 * per_second;
        assert_eq!(
            shown(&mut rate, Arguments::Redacted, burst + 50, 100),
            burst
        );
        assert_eq!(counters.discards(Discard::PolicyArgumentRate), 50);
        assert_eq!(
            shown(&mut rate, Arguments::Redacted, burst, 101),
            per_second
        );
    }

    #[test]
    fn what_is_not_searched_takes_no_time() {
        let mut rate = ArgumentRate::new(Arc::default());
        assert_eq!(shown(&mut rate, Arguments::Full, 100_000, 1), 100_000);
    }
}
