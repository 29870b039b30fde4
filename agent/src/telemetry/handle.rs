//! How exporters ask the pipeline, which owns the store, for a reading.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::snapshot::Snapshot;

/// A request for one snapshot.
pub type SnapshotRequest = oneshot::Sender<Arc<Snapshot>>;

/// Cloneable handle that reads the series store through its owner.
#[derive(Clone, Debug)]
pub struct SnapshotHandle(mpsc::Sender<SnapshotRequest>);

impl SnapshotHandle {
    /// A handle and the receiving end its owner serves.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<SnapshotRequest>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }

    /// Reads the store now; `None` once its owner has stopped.
    pub async fn take(&self) -> Option<Arc<Snapshot>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        answer.await.ok()
    }
}
