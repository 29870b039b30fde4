//! Events on the wire: log records with an event name.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use prost::Message as _;

use super::{
    common,
    grouped::Part,
    queue::{Finished, attributes_weight},
};
use crate::counters::{Discard, Signal};
use crate::telemetry::live::{OwnedEvent, Severity};

impl Finished for OwnedEvent {
    const SIGNAL: Signal = Signal::Logs;
    const NO_ROOM: Discard = Discard::QueueLogsFull;

    fn weight(&self) -> usize {
        size_of::<Self>() + attributes_weight(&self.event.attributes)
    }

    fn encode(&self) -> Part {
        Part {
            resource: Arc::clone(&self.resource),
            body: convert(self, now()).encode_to_vec(),
        }
    }
}

/// The log data model wants the time at which somebody observed it beside that of the event itself.
fn convert(owned: &OwnedEvent, observed_unix_nano: u64) -> LogRecord {
    let event = &owned.event;
    let attributes = event.attributes.iter();
    LogRecord {
        time_unix_nano: event.time_unix_nano,
        observed_time_unix_nano: observed_unix_nano,
        severity_number: number(event.severity) as i32,
        severity_text: event.severity.as_str().to_owned(),
        attributes: attributes
            .map(|(key, value)| common::attribute(key, value))
            .collect(),
        event_name: event.name.to_owned(),
        ..LogRecord::default()
    }
}

const fn number(severity: Severity) -> SeverityNumber {
    match severity {
        Severity::Info => SeverityNumber::Info,
        Severity::Warn => SeverityNumber::Warn,
        Severity::Error => SeverityNumber::Error,
    }
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
