//! Finished spans on their way to the exporter.

use std::sync::Arc;

use crate::identity::{Resource, Value};

/// The most events a span may have, and the most links: OpenTelemetry's own limits are 128.
const MOST_EVENTS: usize = 32;
const MOST_LINKS: usize = 8;

/// What happened while a span lasted.
pub type SpanEvents = Bounded<SpanEvent, MOST_EVENTS>;

/// Spans that one has to do with.
pub type SpanLinks = Bounded<SpanLink, MOST_LINKS>;

/// A finished span together with the resource that produced it.
#[derive(Clone, Debug)]
pub struct FinishedSpan {
    /// Who produced it.
    pub resource: Arc<Resource>,
    /// What happened.
    pub span: Span,
}

/// A finished span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// Never all zero.
    pub span_id: [u8; 8],
    /// The parent's span id; `None` for a root.
    pub parent_span_id: Option<[u8; 8]>,
    /// How it was sampled, as `tracestate` says it; `None` where nothing is said.
    pub trace_state: Option<Arc<str>>,
    /// Low-cardinality name.
    pub name: Arc<str>,
    /// Which side of which relation it is.
    pub kind: SpanKind,
    /// Wall time, nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// Wall time, not before the start.
    pub end_unix_nano: u64,
    /// Keys unique.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it ended badly, and in what way.
    pub error: Option<Arc<str>>,
    /// What happened meanwhile.
    pub events: SpanEvents,
    /// Other spans that have to do with it.
    pub links: SpanLinks,
}

/// Something that happened while a span lasted.
#[derive(Clone, Debug)]
pub struct SpanEvent {
    /// Low-cardinality name.
    pub name: &'static str,
    /// Wall time, nanoseconds since the Unix epoch.
    pub unix_nano: u64,
    /// Keys unique.
    pub attributes: Vec<(&'static str, Value)>,
}

/// Another span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanLink {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Itself.
    pub span_id: [u8; 8],
}

/// The first so many of something; the rest is only counted.
#[derive(Clone, Debug)]
pub struct Bounded<T, const MOST: usize> {
    items: Vec<T>,
    dropped: u32,
}

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            dropped: 0,
        }
    }
}

impl<T, const MOST: usize> Bounded<T, MOST> {
    /// One more.
    pub fn push(&mut self, item: T) {
        if self.items.len() < MOST {
            self.items.push(item);
        } else {
            self.drop_more(1);
        }
    }

    /// So many were left out already.
    pub fn drop_more(&mut self, items: u32) {
        self.dropped = self.dropped.saturating_add(items);
    }

    /// Those there was room for.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// How many there was no room for.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Puts them into an order.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K) {
        self.items.sort_by_key(key);
    }
}

/// The kinds of spans Wellhead makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Inside one process.
    Internal,
    /// It opened the connection.
    Client,
    /// It accepted the connection.
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut few = Bounded::<u8, 2>::default();
        for item in [3, 1, 2] {
            few.push(item);
        }
        few.drop_more(4);
        few.sort_by_key(|item| *item);
        assert_eq!((few.items(), few.dropped()), (&[1, 3][..], 5));
    }
}
