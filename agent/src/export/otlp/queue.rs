//! Where finished items of one signal wait for their exporter.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crossbeam_queue::SegQueue;
use tokio::sync::Notify;

use super::grouped::Part;
use crate::counters::{Counters, Discard, ExportStats, Signal};
use crate::identity::Value;

/// The most items that are encoded together.
pub(super) const BATCH: usize = 512;

/// Something finished that is exported once, as spans and events are.
pub trait Finished: Send + Sync + 'static {
    /// Of which signal.
    const SIGNAL: Signal;
    /// What one counts as that had to make room.
    const NO_ROOM: Discard;

    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize;
    /// As it goes on the wire.
    fn encode(&self) -> Part;
}

/// A queue between the pipeline and the exporter, bounded by bytes. Clones share it.
#[derive(Debug)]
pub struct Queue<T>(Arc<Shared<T>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<T> {
    items: SegQueue<T>,
    /// Of all items in it.
    weight: AtomicUsize,
    limit: usize,
    /// Items taken from it that still wait.
    beyond: AtomicU64,
    filled: Notify,
    counters: Arc<Counters>,
    stats: Arc<ExportStats>,
}

impl<T: Finished> Queue<T> {
    /// For about `limit` bytes, one item at least.
    pub fn new(limit: usize, counters: Arc<Counters>, stats: Arc<ExportStats>) -> Self {
        Self(Arc::new(Shared {
            items: SegQueue::new(),
            weight: AtomicUsize::new(0),
            limit,
            beyond: AtomicU64::new(0),
            filled: Notify::new(),
            counters,
            stats,
        }))
    }

    /// Hands an item over. Never waits: if the queue is full its oldest items make room and are counted. For one caller at a
    /// time: two at once might both make room.
    pub fn push(&self, item: T) {
        let Shared {
            items,
            weight,
            limit,
            counters,
            filled,
            ..
        } = &*self.0;
        let more = item.weight();
        while weight.load(Ordering::Relaxed).saturating_add(more) > *limit && self.pop().is_some() {
            counters.discard(T::NO_ROOM, 1);
        }
        weight.fetch_add(more, Ordering::Relaxed);
        items.push(item);
        self.publish_length();
        if self.has_batch() {
            filled.notify_one();
        }
    }

    /// About how many bytes of memory what is in it takes.
    pub fn bytes(&self) -> usize {
        self.0.weight.load(Ordering::Relaxed)
    }

    /// Everything that is in it, for tests.
    pub fn take_all(&self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// Up to [`BATCH`] of the oldest items.
    pub(crate) fn take(&self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).take(BATCH).collect()
    }

    /// Returns once there is a whole batch.
    pub(super) async fn filled(&self) {
        // A notice may be about a batch already taken.
        while !self.has_batch() {
            self.0.filled.notified().await;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.items.len()
    }

    /// Whether a whole batch waits, or as much as there is room for.
    pub(super) fn has_batch(&self) -> bool {
        self.len() >= BATCH || self.0.weight.load(Ordering::Relaxed) >= self.0.limit / 2
    }

    /// So many items that were taken from it still wait.
    pub(super) fn wait_beyond(&self, items: u64) {
        self.0.beyond.store(items, Ordering::Relaxed);
        self.publish_length();
    }

    fn pop(&self) -> Option<T> {
        let item = self.0.items.pop()?;
        self.0.weight.fetch_sub(item.weight(), Ordering::Relaxed);
        Some(item)
    }

    fn publish_length(&self) {
        let length = self.len() as u64 + self.0.beyond.load(Ordering::Relaxed);
        self.0.stats.signal(T::SIGNAL).set_queue_length(length);
    }
}

/// About how many bytes of memory attributes take: texts are counted as if nobody shared them.
pub(super) fn attributes_weight(attributes: &[(&'static str, Value)]) -> usize {
    let text = |text: &str| size_of::<usize>() * 2 + text.len();
    let each = attributes.iter().map(|(_, value)| match value {
        Value::Str(one) => text(one),
        Value::List(texts) => texts.iter().map(|one| text(one)).sum(),
        Value::Static(_) | Value::Int(_) | Value::Bool(_) => 0,
    });
    size_of_val(attributes) + each.sum::<usize>()
}
