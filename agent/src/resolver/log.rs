//! The latest deltas, encoded.

use std::collections::VecDeque;

use bytes::Bytes;

/// A log of bounded length; the oldest makes room.
#[derive(Debug)]
pub(super) struct Log {
    /// Version of the last delta ever.
    head: u64,
    /// The last of them.
    deltas: VecDeque<Bytes>,
    bytes: usize,
    max_bytes: usize,
}

impl Log {
    /// An empty log of at most so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            head: 0,
            deltas: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// The latest version.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Adds the delta with the next version.
    pub(super) fn push(&mut self, delta: Bytes) {
        self.head += 1;
        self.bytes += cost(&delta);
        self.deltas.push_back(delta);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.deltas.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest);
        }
    }

    /// The first deltas after `version`, up to some bytes but at least one; empty if there is none yet. `None` if the
    /// next one is not there any more, or `version` was never told.
    pub(super) fn after(&self, version: u64, up_to: usize) -> Option<Vec<Bytes>> {
        let behind = usize::try_from(self.head.checked_sub(version)?).ok()?;
        let from = self.deltas.len().checked_sub(behind)?;
        let mut bytes = 0;
        let fits = |delta: &&Bytes| {
            let first = bytes == 0;
            bytes += delta.len();
            first || bytes <= up_to
        };
        Some(
            self.deltas
                .range(from..)
                .take_while(fits)
                .cloned()
                .collect(),
        )
    }

    /// Whether all after `version` is there and no more than a quarter of what the log may hold.
    pub(super) fn is_near(&self, version: u64) -> bool {
        let Some(behind) = self.head.checked_sub(version) else {
            return false;
        };
        let from = usize::try_from(behind)
            .ok()
            .and_then(|behind| self.deltas.len().checked_sub(behind));
        from.is_some_and(|from| {
            let bytes: usize = self.deltas.range(from..).map(cost).sum();
            bytes <= self.max_bytes / 4
        })
    }
}

/// Bytes a delta takes, with its handle and what the allocator adds.
fn cost(delta: &Bytes) -> usize {
    delta.len() + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(max_bytes: usize, deltas: u8) -> Log {
        let mut log = Log::new(max_bytes);
        for delta in 1..=deltas {
            log.push(Bytes::from(vec![delta; 36]));
        }
        log
    }

    fn after(log: &Log, version: u64, up_to: usize) -> Option<Vec<u8>> {
        let deltas = log.after(version, up_to)?;
        Some(deltas.iter().map(|delta| delta[0]).collect())
    }

    #[test]
    fn the_latest_are_there() {
        let log = log(500, 7);
        assert_eq!(log.head(), 7);
        assert_eq!(after(&log, 7, 100), Some(vec![]));
        assert_eq!(after(&log, 6, 100), Some(vec![7]));
        assert_eq!(after(&log, 6, 0), Some(vec![7]));
        assert_eq!(after(&log, 2, 100), Some(vec![3, 4]));
        assert_eq!(after(&log, 2, 1_000), Some(vec![3, 4, 5, 6, 7]));
        for version in [0, 1, 8, u64::MAX] {
            assert_eq!(after(&log, version, 100), None, "{version}");
        }
    }

    #[test]
    fn near_is_what_little_follows() {
        let log = log(500, 7);
        let near = |version| log.is_near(version);
        assert!(near(7) && near(6));
        assert!(!near(5) && !near(1) && !near(8));
    }

    #[test]
    fn one_that_never_fits_leaves_nothing() {
        let mut log = log(500, 2);
        log.push(Bytes::from(vec![3; 1_000]));
        assert_eq!(
            (after(&log, 2, 100), after(&log, 3, 100)),
            (None, Some(vec![]))
        );
    }
}
