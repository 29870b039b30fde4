//! Spans of connections.

use std::sync::Arc;

use super::{Place, SpanBuilder, before};
use crate::events::{Body, ConnectionEnd, Event, ProcessId, Role};
use crate::identity::{Process, Value};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::failure::{connect_failure, error_type};
use crate::telemetry::live::{connection_attributes, nanoseconds, verdict};
use crate::telemetry::span::{Span, SpanEvents, SpanKind, SpanLinks};

impl SpanBuilder {
    /// The connection that an event ends, if that makes a span.
    pub(super) fn ends_connection<'a>(&self, event: &'a Event<'_>) -> Option<&'a ConnectionEnd> {
        let slow = self.slow_connection_ns?;
        let (Body::TcpClose(end) | Body::TcpConnectFailed(end)) = &event.body else {
            return None;
        };
        let is_slow = end.connection.connect_ns().is_some_and(|took| took >= slow);
        (is_slow || error(event, end).is_some()).then_some(end)
    }

    pub(super) fn connection(
        &self,
        occurrence: &Occurrence<'_>,
        end: &ConnectionEnd,
        process: Option<(ProcessId, &Process)>,
        place: Place,
    ) -> Option<Span> {
        self.ends_connection(occurrence.event)?;
        let connection = &end.connection;
        let ended_ns = occurrence.event.boot_ns;
        let root = process
            .filter(|(id, _)| id.started_ns().is_some())
            .map(|(_, process)| process.root);
        let mut attributes = connection_attributes(occurrence, connection);
        if let Some(took) = connection.connect_ns() {
            attributes.push(("wellhead.duration", nanoseconds(took)));
        }
        if let Some(reason) = occurrence.drop_reason {
            attributes.push(("wellhead.drop.reason", Value::Str(Arc::clone(reason))));
        }
        attributes.extend(verdict(occurrence, end));
        let (name, kind) = match connection.role {
            Some(Role::Destination) => ("tcp accept", SpanKind::Server),
            Some(Role::Source) | None => ("tcp connect", SpanKind::Client),
        };
        Some(Span {
            trace_id: root.map_or_else(
                || self.ids.trace_of_connection(connection.socket_id, ended_ns),
                |root| self.ids.trace(root),
            ),
            span_id: self.ids.connection(connection.socket_id, ended_ns),
            parent_span_id: place.parent.map(|parent| self.ids.process(parent)),
            trace_state: Some(place.trace_state),
            name: name.into(),
            kind,
            start_unix_nano: before(
                occurrence.event,
                occurrence.unix_nano,
                connection.started_ns?,
            ),
            end_unix_nano: occurrence.unix_nano,
            attributes,
            error: error(occurrence.event, end).map(Arc::from),
            events: SpanEvents::default(),
            links: SpanLinks::default(),
        })
    }
}

/// In what way a connection or an attempt went wrong, if it did.
fn error(event: &Event<'_>, end: &ConnectionEnd) -> Option<&'static str> {
    match &event.body {
        Body::TcpConnectFailed(_) => Some(connect_failure(end)),
        _ if end.errno != 0 => Some(error_type(end.errno)),
        _ => None,
    }
}
