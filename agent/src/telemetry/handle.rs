//! How exporters ask the pipeline, which owns the store, for a reading.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::snapshot::Snapshot;
use super::store::{Reading, SeriesId};

/// A request for one reading.
#[derive(Debug)]
pub struct ReadingRequest {
    /// Where it goes.
    pub reply: oneshot::Sender<Reading>,
    /// If it is for export, series of which the end was told: they need not be in it any more.
    pub told: Option<Vec<SeriesId>>,
}

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
        let reading = self.ask(None).await?;
        let ordered = spawn_blocking(move || Arc::new(reading.into_snapshot()));
        ordered.await.ok()
    }

    /// The same for export: series that ended are in it until they are among those `told`.
    pub async fn take_for_export(&self, told: Vec<SeriesId>) -> Option<Reading> {
        self.ask(Some(told)).await
    }

    async fn ask(&self, told: Option<Vec<SeriesId>>) -> Option<Reading> {
        let (reply, answer) = oneshot::channel();
        self.0.send(ReadingRequest { reply, told }).await.ok()?;
        answer.await.ok()
    }
}
