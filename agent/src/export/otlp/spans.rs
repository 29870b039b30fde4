//! Finished spans on the wire.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::{Span, Status, span, status};
use prost::Message as _;

use super::{
    common,
    grouped::Part,
    queue::{Finished, attributes_weight},
};
use crate::counters::{Discard, Signal};
use crate::telemetry::span::{self as finished, FinishedSpan, SpanEvent, SpanKind, SpanLink};

/// Flags of W3C's trace context: the span is sampled, and the last 56 bits of its trace id are random (level 2).
const SAMPLED: u32 = 1;
const RANDOM_TRACE_ID: u32 = 1 << 1;

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`, without the bit that says so: no parent is remote.
const PARENT_IS_LOCAL: u32 = 1 << 8;

const FLAGS: u32 = SAMPLED | RANDOM_TRACE_ID | PARENT_IS_LOCAL;

impl Finished for FinishedSpan {
    const SIGNAL: Signal = Signal::Traces;
    const NO_ROOM: Discard = Discard::QueueSpansFull;

    fn weight(&self) -> usize {
        let events = self.span.events.items().iter();
        let events =
            events.map(|event| size_of::<SpanEvent>() + attributes_weight(&event.attributes));
        size_of::<Self>()
            + attributes_weight(&self.span.attributes)
            + events.sum::<usize>()
            + size_of_val(self.span.links.items())
    }

    fn encode(&self) -> Part {
        Part {
            resource: Arc::clone(&self.resource),
            body: convert(&self.span).encode_to_vec(),
        }
    }
}

fn convert(span: &finished::Span) -> Span {
    let mut attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|(key, value)| common::attribute(key, value))
        .collect();
    if let Some(error) = &span.error
        && !span.attributes.iter().any(|(key, _)| *key == "error.type")
    {
        attributes.push(common::attribute(
            "error.type",
            &crate::identity::Value::Str(Arc::clone(error)),
        ));
    }
    Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        trace_state: span.trace_state.as_deref().unwrap_or_default().to_owned(),
        flags: FLAGS,
        parent_span_id: span
            .parent_span_id
            .map(|id| id.to_vec())
            .unwrap_or_default(),
        name: span.name.as_ref().to_owned(),
        kind: kind(span.kind) as i32,
        start_time_unix_nano: span.start_unix_nano,
        end_time_unix_nano: span.end_unix_nano,
        attributes,
        events: span.events.items().iter().map(event).collect(),
        dropped_events_count: span.events.dropped(),
        links: span.links.items().iter().map(link).collect(),
        dropped_links_count: span.links.dropped(),
        // The error's type says it all; a description would repeat it.
        status: span.error.is_some().then(|| Status {
            code: status::StatusCode::Error as i32,
            ..Status::default()
        }),
        ..Span::default()
    }
}

fn event(event: &SpanEvent) -> span::Event {
    let attributes = event.attributes.iter();
    span::Event {
        time_unix_nano: event.unix_nano,
        name: event.name.to_owned(),
        attributes: attributes
            .map(|(key, value)| common::attribute(key, value))
            .collect(),
        dropped_attributes_count: 0,
    }
}

fn link(link: &SpanLink) -> span::Link {
    span::Link {
        trace_id: link.trace_id.to_vec(),
        span_id: link.span_id.to_vec(),
        flags: FLAGS,
        ..span::Link::default()
    }
}

const fn kind(kind: SpanKind) -> span::SpanKind {
    match kind {
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Server => span::SpanKind::Server,
    }
}
