//! Finished spans as export requests of bounded size, grouped by resource.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status},
};
use prost::Message as _;

use super::{
    common::{self, SCHEMA_URL},
    size::{Budget, Fit, nested},
};
use crate::{
    identity::Resource,
    telemetry::span::{self as finished, FinishedSpan, SpanKind},
};

/// Spans as requests.
#[derive(Debug, Default)]
pub(super) struct SpanRequests {
    /// Each with at least one span.
    pub(super) requests: Vec<ExportTraceServiceRequest>,
    /// Spans left out because each alone is larger than a request may be.
    pub(super) too_large: u64,
}

/// Turns a batch into as few requests of at most `limit` bytes as its order within resources allows.
pub(super) fn span_requests(batch: &[FinishedSpan], limit: usize) -> SpanRequests {
    let mut result = SpanRequests::default();
    let mut request = ExportTraceServiceRequest::default();
    let mut budget = Budget::new(limit);
    for (resource, spans) in by_resource(batch) {
        let empty = envelope(resource);
        let envelope_bytes = nested(nested(empty.encoded_len()));
        let mut open = false;
        for span in spans {
            let span = convert(span);
            let span_bytes = nested(span.encoded_len());
            let mut fit = budget.reserve(span_bytes + if open { 0 } else { envelope_bytes });
            if fit == Fit::Later {
                result.requests.push(std::mem::take(&mut request));
                budget = Budget::new(limit);
                open = false;
                fit = budget.reserve(span_bytes + envelope_bytes);
            }
            if fit != Fit::Yes {
                result.too_large += 1;
                continue;
            }
            if !open {
                request.resource_spans.push(empty.clone());
                open = true;
            }
            if let Some(scope) = request
                .resource_spans
                .last_mut()
                .and_then(|r| r.scope_spans.last_mut())
            {
                scope.spans.push(span);
            }
        }
    }
    if !request.resource_spans.is_empty() {
        result.requests.push(request);
    }
    result
}

/// Spans in a request.
pub(super) fn count(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}

/// Groups a batch in order of first appearance. Resources are few and mostly shared, so a search beats a table.
fn by_resource(batch: &[FinishedSpan]) -> Vec<(&Resource, Vec<&finished::Span>)> {
    let mut groups: Vec<(&Arc<Resource>, Vec<&finished::Span>)> = Vec::new();
    for FinishedSpan { resource, span } in batch {
        let same = |group: &&mut (&Arc<Resource>, _)| {
            Arc::ptr_eq(group.0, resource) || group.0 == resource
        };
        match groups.iter_mut().find(same) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((resource, vec![span])),
        }
    }
    groups
        .into_iter()
        .map(|(resource, spans)| (resource.as_ref(), spans))
        .collect()
}

fn envelope(resource: &Resource) -> ResourceSpans {
    ResourceSpans {
        resource: Some(common::resource(resource)),
        scope_spans: vec![ScopeSpans {
            scope: Some(common::scope()),
            spans: Vec::new(),
            schema_url: SCHEMA_URL.to_owned(),
        }],
        schema_url: SCHEMA_URL.to_owned(),
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
