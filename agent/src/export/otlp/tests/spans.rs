//! Spans and log records on the wire: their shape, and that cutting batches up loses nothing.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value},
    logs::v1::SeverityNumber,
    trace::v1::{Span, span, status},
};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::{
    super::{common::SCHEMA_URL, grouped, queue::Finished as _},
    support,
};
use crate::{
    identity::Value,
    telemetry::{
        live::Severity,
        span::{FinishedSpan, SpanEvent, SpanKind, SpanLink},
    },
};

/// What a receiver reads.
#[derive(Debug)]
struct Received {
    requests: Vec<ExportTraceServiceRequest>,
    too_large: u64,
}

fn span_requests(batch: &[FinishedSpan], limit: usize) -> Received {
    let parts: Vec<_> = batch.iter().map(FinishedSpan::encode).collect();
    let grouped = grouped::requests(&parts, limit);
    let read = |request: &grouped::Request| {
        let message = ExportTraceServiceRequest::decode(request.body.clone()).unwrap();
        assert_eq!(
            message.encode_to_vec(),
            request.body,
            "written as prost does"
        );
        assert_eq!(count(&message), request.items);
        message
    };
    Received {
        requests: grouped.requests.iter().map(read).collect(),
        too_large: grouped.too_large,
    }
}

fn count(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}

fn convert(finished: FinishedSpan) -> Span {
    span_requests(&[finished], MAX).requests[0].resource_spans[0].scope_spans[0].spans[0].clone()
}

fn text(attribute: &KeyValue) -> (&str, &str) {
    match attribute
        .value
        .as_ref()
        .and_then(|value| value.value.as_ref())
    {
        Some(any_value::Value::StringValue(text)) => (&attribute.key, text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_of_a_span() {
    let mut finished = support::span(6);
    finished.span.parent_span_id = Some([9; 8]);
    finished.span.attributes = vec![("process.executable.name", Value::Static("sh"))];
    finished.span.error = Some("SIGKILL".into());
    let result = span_requests(&[finished], MAX);
    assert_eq!((result.requests.len(), result.too_large), (1, 0));
    let resource = &result.requests[0].resource_spans[0];
    assert_eq!(resource.schema_url, SCHEMA_URL);
    assert_eq!(resource.scope_spans[0].schema_url, SCHEMA_URL);
    assert_eq!(
        resource.scope_spans[0].scope.as_ref().unwrap().name,
        "wellhead"
    );
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(
        attributes.iter().map(text).collect::<Vec<_>>(),
        [("service.name", "shop")]
    );

    let span = &resource.scope_spans[0].spans[0];
    assert_eq!(span.trace_id, [1; 16]);
    assert_eq!(span.span_id, [0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(span.parent_span_id, [9; 8]);
    assert_eq!(span.name, "sh");
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (10, 20)
    );
    let attributes: Vec<_> = span.attributes.iter().map(text).collect();
    assert_eq!(
        attributes,
        [("process.executable.name", "sh"), ("error.type", "SIGKILL")]
    );
    let status = span.status.as_ref().unwrap();
    assert_eq!(
        (status.code(), status.message.as_str()),
        (status::StatusCode::Error, "")
    );
}

#[test]
fn events_links_and_how_it_was_sampled() {
    let mut finished = support::span(6);
    finished.span.trace_state = Some("ot=th:c".into());
    for number in 0..40 {
        finished.span.events.push(SpanEvent {
            name: "signal",
            unix_nano: number,
            attributes: vec![("wellhead.process.signal", Value::Static("SIGTERM"))],
        });
        finished.span.links.push(SpanLink {
            trace_id: [1; 16],
            span_id: [2; 8],
        });
    }
    let heavy = finished.weight();
    assert!(heavy > support::span(6).weight() + 32 * size_of::<SpanEvent>());
    let span = convert(finished);
    assert_eq!(span.trace_state, "ot=th:c");
    // Sampled, a random trace id, no remote parent.
    assert_eq!(span.flags, 0x103);
    assert_eq!((span.events.len(), span.dropped_events_count), (32, 8));
    assert_eq!((span.links.len(), span.dropped_links_count), (8, 32));
    let event = &span.events[7];
    assert_eq!((event.time_unix_nano, event.name.as_str()), (7, "signal"));
    assert_eq!(
        text(&event.attributes[0]),
        ("wellhead.process.signal", "SIGTERM")
    );
    let link = &span.links[0];
    assert_eq!(
        (&*link.trace_id, &*link.span_id),
        (&[1; 16][..], &[2; 8][..])
    );
}

#[test]
fn roots_kinds_and_status() {
    for (kind, expected) in [
        (SpanKind::Internal, span::SpanKind::Internal),
        (SpanKind::Client, span::SpanKind::Client),
        (SpanKind::Server, span::SpanKind::Server),
    ] {
        let mut finished = support::span(0);
        finished.span.kind = kind;
        let span = convert(finished);
        assert_eq!(span.kind(), expected);
        assert!(span.parent_span_id.is_empty());
        assert_eq!(span.status, None);
    }
}

#[test]
fn fields_of_a_log_record() {
    for (severity, number, text) in [
        (Severity::Info, SeverityNumber::Info, "INFO"),
        (Severity::Warn, SeverityNumber::Warn, "WARN"),
        (Severity::Error, SeverityNumber::Error, "ERROR"),
    ] {
        let mut owned = support::event();
        owned.event.severity = severity;
        let grouped = grouped::requests(&[owned.encode()], MAX);
        assert_eq!((grouped.requests.len(), grouped.too_large), (1, 0));
        let body = grouped.requests[0].body.clone();
        let request = ExportLogsServiceRequest::decode(body.clone()).unwrap();
        assert_eq!(request.encode_to_vec(), body);
        let resource = &request.resource_logs[0];
        assert_eq!(resource.schema_url, SCHEMA_URL);
        assert_eq!(resource.scope_logs[0].schema_url, SCHEMA_URL);
        let record = &resource.scope_logs[0].log_records[0];
        assert_eq!(record.event_name, "wellhead.process.exit");
        assert_eq!(record.time_unix_nano, 10);
        assert!(record.observed_time_unix_nano > 10);
        assert_eq!(record.severity_number(), number);
        assert_eq!((record.severity_text.as_str(), &record.body), (text, &None));
        assert_eq!(record.attributes[0].key, "process.exit.code");
    }
}

#[test]
fn an_error_type_given_is_not_given_twice() {
    let mut finished = support::span(0);
    finished.span.error = Some("1".into());
    finished.span.attributes = vec![("error.type", Value::Static("exit"))];
    let span = convert(finished);
    assert_eq!(
        span.attributes.iter().map(text).collect::<Vec<_>>(),
        [("error.type", "exit")]
    );
}

const MAX: usize = 1 << 20;

#[test]
fn equal_resources_share_an_envelope() {
    let mut batch: Vec<_> = (0..4).map(support::span).collect();
    batch[1].resource = support::resource("other");
    batch[3].resource = support::resource("other");
    let result = span_requests(&batch, MAX);
    let spans = |at: usize| {
        result.requests[0].resource_spans[at].scope_spans[0]
            .spans
            .len()
    };
    assert_eq!(result.requests[0].resource_spans.len(), 2);
    assert_eq!((spans(0), spans(1)), (2, 2));
    assert!(span_requests(&[], MAX).requests.is_empty());
}

proptest! {
    #[test]
    fn cut_up_batches_are_whole(
        spans in vec((0_usize..3, 0_usize..2000), 0..60),
        limit in 200_usize..10_000,
    ) {
        let resources = ["a", "b", "c"].map(support::resource);
        let batch: Vec<_> = spans
            .iter()
            .zip(0..)
            .map(|(&(resource, length), number)| {
                let mut finished = support::span(number);
                finished.resource = Arc::clone(&resources[resource]);
                finished.span.name = "x".repeat(length).into();
                finished
            })
            .collect();
        let result = span_requests(&batch, limit);
        let mut ids = Vec::new();
        for request in &result.requests {
            prop_assert!(request.encoded_len() <= limit);
            prop_assert!(count(request) > 0);
            for resource in &request.resource_spans {
                let spans = &resource.scope_spans[0].spans;
                prop_assert!(!spans.is_empty());
                let name = text(&resource.resource.as_ref().unwrap().attributes[0]).1;
                for span in spans {
                    let number = u64::from_be_bytes(span.span_id.clone().try_into().unwrap()) - 1;
                    let finished = &batch[usize::try_from(number).unwrap()];
                    prop_assert_eq!(finished.resource.attributes[0].1.as_str(), Some(name));
                    ids.push(number);
                }
            }
        }
        let sent = ids.len();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), sent, "sent twice");
        prop_assert_eq!(sent as u64 + result.too_large, batch.len() as u64);
        prop_assert!(limit < 2500 || result.too_large == 0);
        let hopeless = spans.iter().filter(|(_, length)| *length > limit).count();
        prop_assert!(result.too_large >= hopeless as u64);
    }
}
