//! What happened to a process, as events of its span.

use wellhead_common::maps::SignalSeen;

use super::before;
use crate::events::{Body, Connection, Event, Exit, Role};
use crate::identity::{Ends, Note, Noted, Process, Value};
use crate::telemetry::aggregate::Occurrence;
use crate::telemetry::failure::connect_failure;
use crate::telemetry::live::process::{is_of_process, memory_of_victim, sent_by};
use crate::telemetry::live::{Attributes, local_attributes, peer_attributes};
use crate::telemetry::signals::signal_name;
use crate::telemetry::span::{SpanEvent, SpanEvents};

/// What an event means for the process it is about, if that is worth a note.
pub(super) fn noted(event: &Event<'_>) -> Option<Noted> {
    Some(match &event.body {
        Body::TcpListen(listener) => Noted::Listened(listener.local),
        Body::TcpOpen(connection) if connection.role == Some(Role::Destination) => {
            Noted::Accepted(ends(connection))
        }
        Body::TcpOpen(connection) => Noted::Connected(ends(connection)),
        Body::TcpConnectFailed(end) => Noted::Failed(ends(&end.connection), connect_failure(end)),
        Body::OomKill(kill) => Noted::OomKilled(kill.clone()),
        _ => return None,
    })
}

fn ends(connection: &Connection) -> Ends {
    Ends {
        local: connection.local,
        remote: connection.remote,
    }
}

/// The events of the span of a process that ended, in order of time.
pub(super) fn of_process(
    occurrence: &Occurrence<'_>,
    exit: &Exit,
    process: &Process,
) -> SpanEvents {
    let mut events = SpanEvents::default();
    for note in process.notes.iter().flat_map(|notes| notes.iter()) {
        events.push(of_note(occurrence, note));
    }
    for seen in [&exit.signals.asked, &exit.signals.forced] {
        if is_of_process(occurrence, exit, seen) {
            events.push(of_signal(occurrence, seen));
        }
    }
    events.drop_more(process.notes.as_ref().map_or(0, |notes| notes.left_out()));
    events.sort_by_key(|event| event.unix_nano);
    events
}

fn of_note(occurrence: &Occurrence<'_>, note: &Note) -> SpanEvent {
    let (name, attributes) = match &note.what {
        Noted::Listened(local) => ("tcp.listen", local_attributes(*local)),
        Noted::Accepted(ends) => ("tcp.accept", ends_attributes(ends)),
        Noted::Connected(ends) => ("tcp.connect", ends_attributes(ends)),
        Noted::Failed(ends, error) => {
            let mut attributes = ends_attributes(ends);
            attributes.push(("error.type", Value::Static(error)));
            ("tcp.connect_failed", attributes)
        }
        Noted::OomKilled(kill) => ("oom_kill", memory_of_victim(kill)),
    };
    SpanEvent {
        name,
        unix_nano: before(occurrence.event, occurrence.unix_nano, note.boot_ns),
        attributes,
    }
}

fn of_signal(occurrence: &Occurrence<'_>, seen: &SignalSeen) -> SpanEvent {
    let signal = u8::try_from(seen.signal).unwrap_or(0);
    let mut attributes = vec![("wellhead.process.signal", signal_name(signal))];
    attributes.extend(sent_by(seen));
    SpanEvent {
        name: "signal",
        unix_nano: before(occurrence.event, occurrence.unix_nano, seen.sent_ns),
        attributes,
    }
}

fn ends_attributes(ends: &Ends) -> Attributes {
    let mut attributes = local_attributes(ends.local);
    attributes.extend(peer_attributes(ends.remote));
    attributes
}
