//! What the publisher puts up and feeds read.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::log::Log;
use super::snapshot::Snapshot;
use super::stats::Stats;

/// Somebody wants a snapshot.
pub(super) type SnapshotRequest = oneshot::Sender<Weak<Snapshot>>;

/// How much is kept for clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoardLimits {
    /// Bytes of deltas: how far back a client can resume.
    pub(super) log_bytes: usize,
    /// Clients at once.
    pub(super) clients: u64,
}

impl Default for BoardLimits {
    fn default() -> Self {
        Self {
            // At a hundred changes a second it goes back about a quarter of an hour.
            log_bytes: 8 << 20,
            clients: 16_384,
        }
    }
}

/// The board. Its lock is held only to add a delta or to take handles of some.
#[derive(Debug)]
pub(super) struct Board {
    /// Of this process.
    pub(super) epoch: u64,
    /// How much is kept.
    pub(super) limits: BoardLimits,
    /// What was sent.
    pub(super) stats: Stats,
    log: Mutex<Log>,
    head: watch::Sender<u64>,
    ready: watch::Sender<bool>,
    wanted: mpsc::Sender<SnapshotRequest>,
}

impl Board {
    /// An empty board, and who wants a snapshot.
    pub(super) fn new(limits: BoardLimits) -> (Arc<Self>, mpsc::Receiver<SnapshotRequest>) {
        let (wanted, requests) = mpsc::channel(64);
        let board = Self {
            // 0 is what a client that never heard of one might send.
            epoch: fastrand::u64(1..),
            limits,
            stats: Stats::default(),
            log: Mutex::new(Log::new(limits.log_bytes)),
            head: watch::Sender::new(0),
            ready: watch::Sender::new(false),
            wanted,
        };
        (Arc::new(board), requests)
    }

    /// Adds the delta that `encode` makes for the version it is given.
    pub(super) fn publish(&self, encode: impl FnOnce(u64) -> Bytes) {
        let head = self.with_log(|log| {
            let delta = encode(log.head() + 1);
            log.push(delta);
            log.head()
        });
        self.head.send_replace(head);
    }

    /// The latest version.
    pub(super) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// Tells when there is a later version.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// As [`Log::after`].
    pub(super) fn after(&self, version: u64, up_to: usize) -> Option<Vec<Bytes>> {
        self.with_log(|log| log.after(version, up_to))
    }

    /// Whether a snapshot of that version is still good enough.
    pub(super) fn is_near(&self, version: u64) -> bool {
        self.with_log(|log| log.is_near(version))
    }

    /// Everything was listed once.
    pub(super) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Whether it was.
    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Tells when it was.
    pub(super) fn readiness(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Asks the publisher for a snapshot; `None` when that has ended.
    pub(super) async fn snapshot(&self) -> Option<Weak<Snapshot>> {
        let (reply, answer) = oneshot::channel();
        self.wanted.send(reply).await.ok()?;
        answer.await.ok()
    }

    fn with_log<T>(&self, use_it: impl FnOnce(&mut Log) -> T) -> T {
        // Nothing that holds the lock can leave the log half changed.
        use_it(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
