//! How exporters ask the pipeline, which owns the store, for a reading.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::snapshot::Snapshot;
use super::store::Reading;

/// A request for one reading.
pub type ReadingRequest = oneshot::Sender<Reading>;

/// Cloneable handle that reads the series store through its owner.
#[derive(Clone, Debug)]
pub struct SnapshotHandle(mpsc::Sender<ReadingRequest>);

impl SnapshotHandle {
    /// A handle and the receiving end its owner serves.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<ReadingRequest>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }

    /// Reads the store now; `None` once its owner has stopped. The owner copies what it has; that is put in order here, on
    /// a thread that may take its time.
    pub async fn take(&self) -> Option<Arc<Snapshot>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        let reading = answer.await.ok()?;
        let ordered = spawn_blocking(move || Arc::new(reading.into_snapshot()));
        ordered.await.ok()
    }
}
