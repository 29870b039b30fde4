//! Where finished spans wait.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use crate::{
    counters::{Counters, Discard, ExportStats, Signal},
    telemetry::span::FinishedSpan,
};

/// The most spans that are sent together.
pub(super) const BATCH: usize = 512;

/// A bounded queue of spans between the pipeline and the exporter. Clones share it.
#[derive(Clone, Debug)]
pub struct SpanQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spans: ArrayQueue<FinishedSpan>,
    /// Spans that make a batch, so that waiting longer is of no use.
    enough: usize,
    filled: Notify,
    counters: Arc<Counters>,
    stats: Arc<ExportStats>,
}

impl SpanQueue {
    /// For at most `capacity` spans, one at least.
    pub(super) fn new(capacity: usize, counters: Arc<Counters>, stats: Arc<ExportStats>) -> Self {
        let capacity = capacity.max(1);
        Self(Arc::new(Shared {
            spans: ArrayQueue::new(capacity),
            enough: capacity.min(BATCH),
            filled: Notify::new(),
            counters,
            stats,
        }))
    }

    /// Hands a span over. Never waits: if the queue is full its oldest span makes room and is counted.
    pub fn push(&self, span: FinishedSpan) {
        if self.0.spans.force_push(span).is_some() {
            self.0.counters.discard(Discard::QueueSpansFull, 1);
        }
        self.publish_length();
        if self.has_batch() {
            self.0.filled.notify_one();
        }
    }

    /// Up to [`BATCH`] of the oldest spans.
    pub(super) fn take(&self) -> Vec<FinishedSpan> {
        let batch = std::iter::from_fn(|| self.0.spans.pop())
            .take(BATCH)
            .collect();
        self.publish_length();
        batch
    }

    /// Returns once there is a whole batch.
    pub(super) async fn filled(&self) {
        // A notice may be about a batch already taken.
        while !self.has_batch() {
            self.0.filled.notified().await;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.spans.len()
    }

    /// Whether a whole batch waits.
    pub(super) fn has_batch(&self) -> bool {
        self.len() >= self.0.enough
    }

    fn publish_length(&self) {
        self.0
            .stats
            .signal(Signal::Traces)
            .set_queue_length(self.len() as u64);
    }
}
