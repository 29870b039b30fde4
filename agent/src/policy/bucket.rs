//! What is allowed over time.

pub(super) const SECOND: u64 = 1_000_000_000;

/// What may come at once, if nothing did for a while: as much as otherwise in so many nanoseconds.
pub(super) const BURST: u64 = 10 * SECOND;

/// An event that is older than others by so many nanoseconds, or less, was late: some wait half a minute for their pod. Of one that is
/// older still the clock was set back.
const LATE: u64 = 40 * SECOND;

/// A token bucket, which holds time: each event takes what it takes for the next one to be allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    credit: u64,
    /// The latest event's time.
    at: u64,
}

impl Bucket {
    /// With all that it can hold.
    pub(super) const fn full(now: u64) -> Self {
        Self {
            credit: BURST,
            at: now,
        }
    }

    /// Takes so many nanoseconds, if there are as many at that time.
    pub(super) fn take(&mut self, now: u64, cost: u64) -> bool {
        let passed = now.saturating_sub(self.at);
        self.credit = self.credit.saturating_add(passed).min(BURST);
        let was_set_back = self.at.saturating_sub(now) > LATE;
        self.at = if was_set_back { now } else { now.max(self.at) };
        let left = self.credit.checked_sub(cost);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }
}
