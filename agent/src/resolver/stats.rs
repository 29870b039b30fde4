//! What the resolver counts of its clients.

use std::sync::atomic::{AtomicU64, Ordering};

/// Atomics that feeds add to and metrics read.
#[derive(Debug, Default)]
pub(super) struct Stats {
    clients: AtomicU64,
    deltas: AtomicU64,
    snapshots: AtomicU64,
    bytes: AtomicU64,
}

/// A reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Clients there are.
    pub(super) clients: u64,
    /// Deltas sent, to all clients together.
    pub(super) deltas: u64,
    /// Snapshots begun.
    pub(super) snapshots: u64,
    /// Bytes of messages sent.
    pub(super) bytes: u64,
}

impl Stats {
    /// One more client, unless there are `most`.
    pub(super) fn enter(&self, most: u64) -> bool {
        let add = |clients| (clients < most).then_some(clients + 1);
        self.clients
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    /// A client that entered is gone.
    pub(super) fn leave(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// A delta is sent.
    pub(super) fn add_delta(&self) {
        self.deltas.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot is begun.
    pub(super) fn add_snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    /// A message is sent.
    pub(super) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Reads all.
    pub(super) fn read(&self) -> Counted {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            clients: value(&self.clients),
            deltas: value(&self.deltas),
            snapshots: value(&self.snapshots),
            bytes: value(&self.bytes),
        }
    }
}
