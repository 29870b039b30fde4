//! Sends spans in batches.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use tokio::time::{self, Instant};

use super::{
    delivery::{Delivery, Sender},
    queue::SpanQueue,
    shutdown::Shutdown,
    size::MAX_REQUEST,
    spans,
    transport::{Encoded, Transport},
};
use crate::{
    counters::{Counters, Discard, Signal},
    telemetry::span::FinishedSpan,
};

/// How long a batch is tried. Meanwhile new spans wait, and push out their oldest.
const MAX_AGE: Duration = Duration::from_mins(5);

/// Exports spans until shutdown.
pub(super) struct SpansTask<T> {
    pub(super) sender: Sender<T>,
    pub(super) queue: SpanQueue,
    pub(super) interval: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) shutdown: Arc<Shutdown>,
    /// Spans taken from the queue whose end is not known yet.
    pub(super) in_flight: u64,
}

impl<T: Transport> SpansTask<T> {
    /// Returns whether every span that was queued when shutdown was requested has been delivered.
    pub(super) async fn run(mut self) -> bool {
        let shutdown = Arc::clone(&self.shutdown);
        let complete = tokio::select! {
            biased;
            () = shutdown.expired() => false,
            complete = self.work() => complete,
        };
        let lost = self.in_flight + self.queue.len() as u64;
        if lost > 0 {
            self.counters.discard(Discard::ExportFailed, lost);
        }
        complete
    }

    async fn work(&mut self) -> bool {
        let shutdown = Arc::clone(&self.shutdown);
        while !shutdown.is_requested() {
            tokio::select! {
                biased;
                _ = shutdown.requested() => {}
                () = self.queue.filled() => {}
                () = time::sleep(self.interval) => {}
            }
            // A part of a batch left over has only just begun to wait.
            loop {
                self.export_batch().await;
                if !self.queue.has_batch() {
                    break;
                }
            }
        }
        let mut complete = true;
        while self.queue.len() > 0 {
            complete &= self.export_batch().await;
        }
        complete
    }

    /// Sends the oldest spans; `false` if any of them was lost.
    async fn export_batch(&mut self) -> bool {
        let batch = self.queue.take();
        let until = Instant::now() + MAX_AGE;
        self.in_flight = batch.len() as u64;
        let (requests, mut complete) = self.encode(&batch);
        drop(batch);
        for request in requests {
            match self.sender.deliver(&request, until).await {
                Delivery::Done => {}
                Delivery::Refused => complete = false,
                Delivery::GaveUp => {
                    complete = false;
                    self.counters.discard(Discard::ExportFailed, request.items);
                }
            }
            self.in_flight -= request.items;
        }
        complete
    }

    fn encode(&mut self, batch: &[FinishedSpan]) -> (Vec<Encoded>, bool) {
        let converted = spans::span_requests(batch, MAX_REQUEST);
        if converted.too_large > 0 {
            self.counters
                .discard(Discard::ExportTooLarge, converted.too_large);
            self.in_flight -= converted.too_large;
        }
        let encode = |request| Encoded {
            signal: Signal::Traces,
            items: spans::count(&request),
            body: request.encode_to_vec().into(),
        };
        (
            converted.requests.into_iter().map(encode).collect(),
            converted.too_large == 0,
        )
    }
}
