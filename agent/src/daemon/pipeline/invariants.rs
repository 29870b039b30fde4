//! The agent checks itself: what it says of connections against what else is known of them.

use std::collections::{HashMap, HashSet};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::kernel::{
    ConnectionTable, LiveTcp, NAMESPACES, NamespaceError, TcpCounts, live_tcp_connections,
};
use crate::telemetry::aggregate::Aggregator;
use crate::telemetry::catalogue::{Invariant, Metric};
use crate::telemetry::store::Store;

/// Counts the kernel's connections in the background, one count at a time.
#[derive(Debug, Default)]
pub(super) struct KernelCount {
    running: Option<JoinHandle<Result<LiveTcp, NamespaceError>>>,
}

impl KernelCount {
    /// Starts one, and has those of `table` looked for whose sockets are gone; says whether none was running.
    pub(super) fn start(&mut self, table: Option<ConnectionTable>) -> bool {
        if self.running.is_some() {
            return false;
        }
        self.running = Some(spawn_blocking(move || {
            live_tcp_connections(NAMESPACES, table.as_ref())
        }));
        true
    }

    /// Waits for the running count; forever, if none runs. `None` if it came to nothing.
    pub(super) async fn done(&mut self) -> Option<LiveTcp> {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let result = running.await;
        self.running = None;
        match result {
            Ok(Ok(counted)) => Some(counted),
            Ok(Err(error)) => {
                tracing::debug!(%error, "active connections cannot be checked");
                None
            }
            Err(error) => {
                tracing::error!(%error, "the check of active connections died");
                None
            }
        }
    }
}

/// What came of the checks.
#[derive(Debug, Default)]
pub(super) struct Invariants {
    /// Active connections less those the kernel counts, by network namespace: as it was when it was quiet there last.
    against_kernel: HashMap<u64, i64>,
    /// Records lost when the count began.
    lost: u64,
}

impl Invariants {
    /// A count begins.
    pub(super) fn begin(&mut self, aggregator: &mut Aggregator, lost: u64) {
        aggregator.watch_namespaces();
        self.lost = lost;
    }

    /// A count is done, and everything is read that happened meanwhile. `waiting`: somebody is not counted yet.
    pub(super) fn compare(
        &mut self,
        aggregator: &mut Aggregator,
        counted: Option<&LiveTcp>,
        lost: u64,
        waiting: bool,
    ) {
        let changed = aggregator.take_changed_namespaces();
        let Some(counted) = counted else { return };
        if waiting || lost != self.lost {
            return;
        }
        let open = aggregator.open_by_namespace();
        let counts = counted.namespaces.iter().map(|(netns, counts)| {
            let counts = counts.as_ref().inspect_err(|error| {
                tracing::debug!(netns, %error, "active connections are not checked");
            });
            (*netns, counts.ok().map(TcpCounts::live))
        });
        self.take(counts, &open, &changed);
    }

    /// Takes the kernel's counts, `None` where it could not be asked.
    fn take(
        &mut self,
        counts: impl Iterator<Item = (u64, Option<u64>)>,
        open: &HashMap<u32, usize>,
        changed: &HashSet<u32>,
    ) {
        let before = std::mem::take(&mut self.against_kernel);
        for (netns, count) in counts {
            let Some(count) = count else { continue };
            // Programs see the number as it is in the kernel, where it has 32 bits.
            let Ok(key) = u32::try_from(netns) else {
                continue;
            };
            let drift = if changed.contains(&key) {
                before.get(&netns).copied()
            } else {
                let ours = open.get(&key).copied().unwrap_or_default();
                Some(signed(ours as u64) - signed(count))
            };
            if let Some(drift) = drift {
                self.against_kernel.insert(netns, drift);
            }
        }
    }

    fn total(&self) -> Option<i64> {
        (!self.against_kernel.is_empty()).then(|| self.against_kernel.values().sum())
    }

    /// Every check's result that is known.
    pub(super) fn all(&self, aggregator: &Aggregator, store: &Store) -> Vec<(Invariant, i64)> {
        let active = signed(aggregator.open_connections().len() as u64);
        let shown = store.sum(Metric::TcpConnectionsActive);
        let mut all = vec![
            (Invariant::TcpBalance, aggregator.imbalance()),
            (Invariant::TcpActiveSeries, shown - active),
        ];
        all.extend(
            self.total()
                .map(|drift| (Invariant::TcpActiveKernel, drift)),
        );
        all
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the kernel's counts with these open here, and these namespaces changed.
    fn take(
        invariants: &mut Invariants,
        counts: &[(u64, Option<u64>)],
        open: &[(u32, usize)],
        changed: &[u32],
    ) -> Option<i64> {
        let open = open.iter().copied().collect();
        let changed = changed.iter().copied().collect();
        invariants.take(counts.iter().copied(), &open, &changed);
        invariants.total()
    }

    #[test]
    fn each_namespace_counts_when_it_is_quiet() {
        let mut all = Invariants::default();
        assert_eq!(all.total(), None);
        // Nothing is known of a namespace that was never quiet.
        let counts = [(1, Some(5)), (2, Some(7))];
        assert_eq!(take(&mut all, &counts, &[(1, 5)], &[1, 2]), None);
        assert_eq!(take(&mut all, &counts, &[(1, 5), (2, 6)], &[1]), Some(-1));
        assert_eq!(take(&mut all, &counts, &[(1, 8), (2, 7)], &[2]), Some(2));
        assert_eq!(take(&mut all, &counts, &[(1, 5), (2, 7)], &[]), Some(0));
    }

    #[test]
    fn a_namespace_that_cannot_be_entered_is_left_out_on_both_sides() {
        let mut all = Invariants::default();
        let counts = [(1, Some(5)), (2, None)];
        assert_eq!(take(&mut all, &counts, &[(1, 5), (2, 9)], &[]), Some(0));
        assert_eq!(take(&mut all, &[(2, None)], &[(2, 9)], &[]), None);
    }

    #[test]
    fn a_namespace_that_is_gone_is_forgotten() {
        let mut all = Invariants::default();
        let counts = [(1, Some(5)), (2, Some(7))];
        assert_eq!(take(&mut all, &counts, &[(1, 5)], &[]), Some(-7));
        assert_eq!(take(&mut all, &[(1, Some(5))], &[], &[]), Some(-5));
    }
}
