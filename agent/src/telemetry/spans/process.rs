//! Spans of processes.

use std::sync::Arc;

use super::{Place, SpanBuilder, before, moments};
use crate::events::{Exit, ExitStatus};
use crate::identity::{Process, Value};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::live::process::exited;
use crate::telemetry::sampling::Sampler;
use crate::telemetry::signals::signal_name;
use crate::telemetry::span::{Span, SpanKind, SpanLinks};

impl SpanBuilder {
    pub(super) fn process(
        &self,
        occurrence: &Occurrence<'_>,
        exit: &Exit,
        place: Place,
    ) -> Option<Span> {
        // Its start is part of its ids: without it, another process could get the same.
        exit.process.started_ns()?;
        let process = occurrence.process?;
        let name = process.executable.clone()?;
        let began = process.executed_ns?;
        let mut attributes = exited(occurrence, exit);
        attributes.extend(
            place
                .session
                .map(|kind| ("wellhead.session.kind", Value::Static(kind))),
        );
        let (event, unix_nano) = (occurrence.event, occurrence.unix_nano);
        Some(Span {
            trace_id: self.ids.trace(process.root),
            span_id: self.ids.process(exit.process),
            parent_span_id: place.parent.map(|parent| self.ids.process(parent)),
            trace_state: Some(place.trace_state),
            name,
            kind: SpanKind::Internal,
            start_unix_nano: before(event, unix_nano, began),
            end_unix_nano: unix_nano,
            attributes,
            error: error(exit.status),
            events: moments::of_process(occurrence, exit, process),
            links: SpanLinks::default(),
        })
    }
}

/// What went wrong with a process that ended, if something did.
pub(super) fn error(status: ExitStatus) -> Option<Arc<str>> {
    match status {
        ExitStatus::Code(0) | ExitStatus::Unknown => None,
        ExitStatus::Code(code) => Some(code.to_string().into()),
        ExitStatus::Signal(signal) => signal_name(signal).as_str().map(Arc::from),
    }
}

/// Whether the span of a process that ended at this time is exported whatever its trace id, for its own sake.
pub(super) fn is_notable(sampler: &Sampler, exit: &Exit, process: &Process, ended: u64) -> bool {
    let notes = process.notes.as_ref();
    let lived = process.executed_ns.map(|began| ended.saturating_sub(began));
    exit.status.is_failure()
        || notes.is_some_and(|notes| notes.is_oom_killed())
        || lived.is_some_and(|lived| sampler.is_slow(lived))
}
