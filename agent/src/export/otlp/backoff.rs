//! How long to wait after failures in a row.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(30);

/// Exponential backoff with jitter: 1 s, 2 s, … 30 s, each between half and one and a half times as long.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; `random` is from [0, 1).
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let base = FIRST
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LAST);
        self.failures = self.failures.saturating_add(1);
        base.mul_f64(0.5 + random)
    }

    /// After a success.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let seconds: Vec<_> = (0..7).map(|_| backoff.next(0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        for _ in 0..100 {
            assert_eq!(backoff.next(0.5).as_secs(), 30);
        }
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(500));
        assert_eq!(backoff.next(0.999).as_millis(), 2998);
    }
}
