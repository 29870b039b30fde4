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
use crate::telemetry::span::{self as finished, FinishedSpan, SpanKind};

impl Finished for FinishedSpan {
    const SIGNAL: Signal = Signal::Traces;
    const NO_ROOM: Discard = Discard::QueueSpansFull;

    fn weight(&self) -> usize {
        size_of::<Self>() + attributes_weight(&self.span.attributes)
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
        parent_span_id: span
            .parent_span_id
            .map(|id| id.to_vec())
            .unwrap_or_default(),
        name: span.name.as_ref().to_owned(),
        kind: kind(span.kind) as i32,
        start_time_unix_nano: span.start_unix_nano,
        end_time_unix_nano: span.end_unix_nano,
        attributes,
        // The error's type says it all; a description would repeat it.
        status: span.error.is_some().then(|| Status {
            code: status::StatusCode::Error as i32,
            ..Status::default()
        }),
        ..Span::default()
    }
}

const fn kind(kind: SpanKind) -> span::SpanKind {
    match kind {
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Server => span::SpanKind::Server,
    }
}
