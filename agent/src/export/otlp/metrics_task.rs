//! Sends a reading of the series store every interval.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, Instant};

use super::{
    delivery::{Delivery, Sender},
    metrics::MetricRequests,
    shutdown::Shutdown,
    size::MAX_REQUEST,
    transport::{Encoded, Transport},
};
use crate::{
    counters::{Counters, Discard, Signal},
    telemetry::{handle::SnapshotHandle, snapshot::Snapshot},
};

/// Exports metrics until shutdown.
pub(super) struct MetricsTask<T> {
    pub(super) sender: Sender<T>,
    pub(super) snapshots: SnapshotHandle,
    pub(super) interval: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) shutdown: Arc<Shutdown>,
}

impl<T: Transport> MetricsTask<T> {
    /// Returns whether the last reading, taken when shutdown was requested, was delivered as a whole.
    pub(super) async fn run(mut self) -> bool {
        let shutdown = Arc::clone(&self.shutdown);
        let mut next = Instant::now() + self.interval;
        loop {
            tokio::select! {
                biased;
                _ = shutdown.requested() => break,
                () = time::sleep_until(next) => {}
            }
            next = Instant::now() + self.interval;
            tokio::select! {
                biased;
                _ = shutdown.requested() => break,
                _ = self.export(next) => {}
            }
        }
        let deadline = shutdown.requested().await;
        time::timeout_at(deadline, self.export(deadline))
            .await
            .unwrap_or(false)
    }

    /// Takes a reading and sends all of it, retrying until `until`. What is not sent by then is dropped without loss:
    /// the next reading says all that this one does.
    async fn export(&mut self, until: Instant) -> bool {
        // The reading should be fresh when it is sent.
        if !self.sender.wait_for_turn(until).await {
            return false;
        }
        let Some(snapshot) = self.snapshots.take().await else {
            return false;
        };
        self.send(snapshot, until).await
    }

    async fn send(&mut self, snapshot: Arc<Snapshot>, until: Instant) -> bool {
        let mut requests = MetricRequests::new(snapshot, MAX_REQUEST);
        let mut complete = true;
        for request in requests.by_ref() {
            let request = Encoded {
                signal: Signal::Metrics,
                body: request.body,
                items: request.items,
            };
            match self.sender.deliver(&request, until).await {
                Delivery::Done => {}
                Delivery::Refused => complete = false,
                Delivery::GaveUp => return false,
            }
        }
        if requests.too_large() > 0 {
            self.counters
                .discard(Discard::ExportTooLarge, requests.too_large());
        }
        complete && requests.too_large() == 0
    }
}
