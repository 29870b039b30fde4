//! The task that owns the table: takes updates in, and puts up what is new.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::board::{Board, BoardLimits, SnapshotRequest};
use super::snapshot::{Snapshot, encoded};
use super::table::{News, Table};
use crate::identity::cluster::ClusterUpdate;
use crate::identity::remote::BatchWriter;
use crate::identity::remote::protocol::{BATCH_BYTES, Batch, Body, Delta};
use crate::memory;

/// How long changes are gathered: for each delta every client costs a send.
const GATHER: Duration = Duration::from_millis(500);

/// Updates taken at once.
const UPDATES: usize = 1_024;

/// Snapshots kept: one to begin with, and one that slow clients are still being sent.
const SNAPSHOTS: usize = 2;

/// The publisher, ready to run.
#[derive(Debug)]
pub(super) struct Publisher {
    board: Arc<Board>,
    updates: mpsc::Receiver<ClusterUpdate>,
    requests: mpsc::Receiver<SnapshotRequest>,
    table: Table,
    changes: BatchWriter,
    /// When what was gathered goes out.
    due: Option<Instant>,
    snapshots: VecDeque<Arc<Snapshot>>,
}

impl Publisher {
    /// A publisher of what `updates` tell, and its board.
    pub(super) fn new(
        updates: mpsc::Receiver<ClusterUpdate>,
        limits: BoardLimits,
    ) -> (Self, Arc<Board>) {
        let (board, requests) = Board::new(limits);
        let publisher = Self {
            board: Arc::clone(&board),
            updates,
            requests,
            table: Table::default(),
            changes: BatchWriter::default(),
            due: None,
            snapshots: VecDeque::new(),
        };
        (publisher, board)
    }

    /// Runs until `stop`, or until nobody updates any more.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut updates = Vec::with_capacity(UPDATES);
        loop {
            let due = self.due;
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wait => self.flush(),
                Some(request) = self.requests.recv() => {
                    // Whoever asked may have gone.
                    drop(request.send(Arc::downgrade(&self.snapshot())));
                }
                count = self.updates.recv_many(&mut updates, UPDATES) => {
                    if count == 0 {
                        return;
                    }
                    for update in updates.drain(..) {
                        self.take(update);
                    }
                }
            }
        }
    }

    fn take(&mut self, update: ClusterUpdate) {
        let is_list = matches!(update, ClusterUpdate::Restarted { .. });
        let Self {
            board,
            table,
            changes,
            due,
            ..
        } = self;
        let ready = board.is_ready();
        table.apply(update, |news| {
            // Nobody was told anything yet.
            if !ready {
                return;
            }
            match news {
                News::Applied(told) => changes.applied(&told),
                News::Gone(kind, uid) => changes.gone(kind, uid),
            }
            due.get_or_insert_with(|| Instant::now() + GATHER);
            if changes.bytes() >= BATCH_BYTES {
                publish(board, changes.take());
            }
        });
        if !ready && table.is_complete() {
            let objects = table.len();
            tracing::info!(objects, "everything is listed");
            self.board.set_ready();
        }
        if is_list {
            // The list as it came was large.
            memory::release_freed();
        }
    }

    fn flush(&mut self) {
        self.due = None;
        publish(&self.board, self.changes.take());
    }

    /// The latest snapshot, or a new one if too much has happened since.
    fn snapshot(&mut self) -> Arc<Snapshot> {
        // What is in the table is in the snapshot, so it must not come again as the next delta.
        self.flush();
        if let Some(latest) = self.snapshots.back()
            && self.board.is_near(latest.version)
        {
            return Arc::clone(latest);
        }
        while self.snapshots.len() >= SNAPSHOTS {
            self.snapshots.pop_front();
        }
        let (epoch, version) = (self.board.epoch, self.board.head());
        let new = Arc::new(Snapshot::of(&self.table, epoch, version));
        // Putting everything in order took as much again.
        memory::release_freed();
        self.snapshots.push_back(Arc::clone(&new));
        new
    }
}

fn publish(board: &Board, changes: Option<Batch>) {
    if let Some(changes) = changes {
        board.publish(|version| {
            encoded(Body::Delta(Delta {
                version,
                changes: Some(changes),
            }))
        });
    }
}
