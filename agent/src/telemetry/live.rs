//! Events as users see them: names and attributes by semantic convention, one JSON object a line.

pub(super) mod process;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::aggregate::Occurrence;
use super::arguments::{Arguments, Withheld};
use super::failure::{connect_failure, error_type, lookup_failure};
use super::verdict;
use crate::events::dns::Transport;
use crate::events::dns::lookups::{Lookup, LookupEnd};
use crate::events::dns::message::type_name;
use crate::events::{Body, Connection, ConnectionEnd, Role};
use crate::identity::{Resource, Value};
use crate::printable;

/// What a look-up of a name is told as.
pub const LOOKUP: &str = "wellhead.dns.lookup";

/// An event together with the resource it is about.
#[derive(Clone, Debug)]
pub struct OwnedEvent {
    /// Whose it is.
    pub resource: Arc<Resource>,
    /// What happened.
    pub event: LiveEvent,
}

/// How much an event matters: `SeverityNumber` of the log data model, and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
}

impl Severity {
    /// `SeverityText`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    fn of(body: &Body<'_>) -> Self {
        match body {
            Body::OomKill(_) => Self::Error,
            Body::Exit(exit) if exit.status.is_failure() => Self::Warn,
            _ => Self::Info,
        }
    }
}

/// An event.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// When, nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// Its name, such as `wellhead.process.exec`.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, keys unique.
    pub attributes: Vec<(&'static str, Value)>,
    /// The arguments of the program that was executed, until they [are shown](Self::show_arguments).
    pub arguments: Option<Withheld>,
}

impl LiveEvent {
    /// What the event is called that users see for what happened; `None` for what only the agent needs to know.
    pub const fn name_of(body: &Body<'_>) -> Option<&'static str> {
        Some(match body {
            Body::Fork(_) => "wellhead.process.fork",
            Body::Exec(_) => "wellhead.process.exec",
            Body::Exit(_) => "wellhead.process.exit",
            Body::OomKill(_) => "wellhead.process.oom_kill",
            Body::TcpOpen(connection) => match connection.role {
                Some(Role::Destination) => "wellhead.tcp.accept",
                Some(Role::Source) | None => "wellhead.tcp.connect",
            },
            Body::TcpClose(_) => "wellhead.tcp.close",
            Body::TcpConnectFailed(_) => "wellhead.tcp.connect_failed",
            Body::CgroupMade(_)
            | Body::CgroupRemoved(_)
            | Body::CgroupEntered(_)
            | Body::TcpSnapshot(_)
            | Body::TcpReset(_)
            | Body::TcpListener(_)
            | Body::TcpListen(_)
            | Body::TcpAttempt(_)
            | Body::Dns(_)
            | Body::Freed(_)
            | Body::Found(_) => return None,
        })
    }

    /// The event users see for what happened; `None` for what only the agent needs to know.
    pub fn new(occurrence: &Occurrence<'_>, arguments: Arguments) -> Option<Self> {
        let body = &occurrence.event.body;
        let name = Self::name_of(body)?;
        let attributes = match body {
            Body::Fork(fork) => vec![
                ("process.pid", number(fork.child.pid)),
                ("process.parent_pid", number(fork.parent.pid)),
            ],
            Body::Exec(exec) => process::executed(occurrence, exec),
            Body::Exit(exit) => process::exited(occurrence, exit),
            Body::OomKill(kill) => process::killed_for_memory(occurrence, kill),
            Body::TcpOpen(connection) => open_attributes(occurrence, connection),
            Body::TcpClose(end) => close_attributes(occurrence, end),
            Body::TcpConnectFailed(end) => failure_attributes(occurrence, end),
            _ => return None,
        };
        let arguments = match body {
            Body::Exec(exec) => Withheld::new(exec.arguments, arguments),
            _ => None,
        };
        Some(Self {
            time_unix_nano: occurrence.unix_nano,
            name,
            severity: Severity::of(body),
            attributes,
            arguments,
        })
    }

    /// Makes the arguments of a program an attribute. To be asked before somebody sees the event, and not before it is certain
    /// that somebody does.
    pub fn show_arguments(&mut self) {
        let shown = self.arguments.take().map(|withheld| withheld.show());
        self.attributes
            .extend(shown.map(|shown| ("process.command_args", shown)));
    }

    /// Says that there are arguments, and no time to look for secrets in them.
    pub fn withhold_arguments(&mut self) {
        let withheld = self.arguments.take();
        self.attributes.extend(
            withheld.map(|_| ("wellhead.process.command_args.withheld", Value::Bool(true))),
        );
    }

    /// The event of a look-up that ended at this time.
    pub fn of_lookup(lookup: &Lookup, time_unix_nano: u64) -> Self {
        let error = lookup_failure(lookup);
        Self {
            time_unix_nano,
            name: LOOKUP,
            severity: Severity::Info,
            attributes: lookup_attributes(lookup, error),
            arguments: None,
        }
    }

    /// One line of JSON, without the line's end. `resource` says whose event it is. Whatever is in it, a terminal just shows it.
    pub fn to_json(&self, resource: &Resource) -> String {
        let resource = resource.attributes.iter();
        let resource: Map<String, Json> = resource
            .map(|(key, value)| (key.to_string(), to_json(value)))
            .collect();
        let attributes = self.attributes.iter();
        let attributes: Map<String, Json> = attributes
            .map(|(key, value)| ((*key).to_owned(), to_json(value)))
            .collect();
        let line = json!({
            "time_unix_nano": self.time_unix_nano,
            "name": self.name,
            "resource": resource,
            "attributes": attributes,
        });
        printable::json(line.to_string())
    }
}

pub(super) type Attributes = Vec<(&'static str, Value)>;

fn open_attributes(occurrence: &Occurrence<'_>, connection: &Connection) -> Attributes {
    let mut attributes = connection_attributes(occurrence, connection);
    if let Some(took) = connection.connect_ns() {
        attributes.push(("wellhead.duration", nanoseconds(took)));
    }
    attributes
}

fn close_attributes(occurrence: &Occurrence<'_>, end: &ConnectionEnd) -> Attributes {
    let mut attributes = connection_attributes(occurrence, &end.connection);
    if !end.lifecycle_only {
        attributes.extend([
            ("wellhead.tcp.bytes_sent", large(end.totals.bytes_sent)),
            (
                "wellhead.tcp.bytes_received",
                large(end.totals.bytes_received),
            ),
            ("wellhead.tcp.retransmits", large(end.totals.retransmits)),
        ]);
    }
    if let Some(rtt) = end.totals.srtt_us {
        attributes.push(("wellhead.tcp.rtt", nanoseconds(u64::from(rtt) * 1_000)));
    }
    if let Some(rtt) = end.totals.min_rtt_us {
        attributes.push(("wellhead.tcp.rtt.min", nanoseconds(u64::from(rtt) * 1_000)));
    }
    attributes.extend(verdict(occurrence, end));
    if let Some(since) = end.connection.established_ns {
        let lived = occurrence.event.boot_ns.saturating_sub(since);
        attributes.push(("wellhead.duration", nanoseconds(lived)));
    }
    if end.errno != 0 {
        attributes.push(("error.type", Value::Static(error_type(end.errno))));
    }
    attributes
}

fn failure_attributes(occurrence: &Occurrence<'_>, end: &ConnectionEnd) -> Attributes {
    let mut attributes = connection_attributes(occurrence, &end.connection);
    attributes.push(("error.type", Value::Static(connect_failure(end))));
    if let Some(reason) = occurrence.drop_reason {
        attributes.push(("wellhead.drop.reason", Value::Str(Arc::clone(reason))));
    }
    attributes.extend(verdict(occurrence, end));
    if !end.lifecycle_only {
        attributes.push(("wellhead.tcp.retransmits", large(end.totals.retransmits)));
    }
    if let Some(since) = end.connection.started_ns {
        let tried = occurrence.event.boot_ns.saturating_sub(since);
        attributes.push(("wellhead.duration", nanoseconds(tried)));
    }
    attributes
}

/// Attributes of every connection event and span. What connected or listened was a thread, whose name may be its own: where the
/// process is known, its program is named.
pub(super) fn connection_attributes(
    occurrence: &Occurrence<'_>,
    connection: &Connection,
) -> Attributes {
    let mut attributes = local_attributes(connection.local);
    attributes.extend(peer_attributes(connection.remote));
    if let Some(owner) = connection.owner {
        attributes.push(("process.pid", number(owner.pid)));
        let name = occurrence.executable(&owner.comm);
        attributes.push(("process.executable.name", name));
    }
    attributes
}

/// This end of a connection, or of what listens.
pub(super) fn local_attributes(local: SocketAddr) -> Attributes {
    vec![
        ("network.transport", Value::Static("tcp")),
        ("network.local.address", ip_of(local)),
        ("network.local.port", port_of(local)),
    ]
}

/// Who is at the other end.
pub(super) fn peer_attributes(peer: SocketAddr) -> [(&'static str, Value); 2] {
    [
        ("network.peer.address", ip_of(peer)),
        ("network.peer.port", port_of(peer)),
    ]
}

fn ip_of(address: SocketAddr) -> Value {
    Value::Str(address.ip().to_string().into())
}

fn port_of(address: SocketAddr) -> Value {
    number(address.port().into())
}

/// Where to look when a connection was slow or broken.
pub(super) fn verdict(
    occurrence: &Occurrence<'_>,
    end: &ConnectionEnd,
) -> Option<(&'static str, Value)> {
    let verdict = match &occurrence.event.body {
        Body::TcpConnectFailed(_) => {
            let reason = occurrence.drop_reason.map(|reason| &**reason);
            verdict::of_failure(connect_failure(end), reason, end)
        }
        _ => verdict::of_end(end),
    };
    Some(("wellhead.tcp.verdict", Value::Static(verdict?)))
}

fn lookup_attributes(lookup: &Lookup, error: Option<&'static str>) -> Attributes {
    let transport = match lookup.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let mut attributes = vec![
        (
            "dns.question.name",
            Value::Str(Arc::clone(&lookup.question.name)),
        ),
        (
            "wellhead.dns.question.type",
            Value::Str(type_name(lookup.question.kind).into()),
        ),
        ("network.transport", Value::Static(transport)),
    ];
    attributes.extend(peer_attributes(lookup.server));
    if let Some(took) = lookup.took_ns {
        attributes.push(("wellhead.duration", nanoseconds(took)));
    }
    attributes.extend(error.map(|error| ("error.type", Value::Static(error))));
    if !lookup.answers.is_empty() {
        let answers = lookup.answers.iter();
        let addresses = answers.map(|(address, _)| address.to_string().into());
        attributes.push(("dns.answers", Value::List(addresses.collect())));
    }
    if lookup.retry > 0 {
        attributes.push(("wellhead.dns.retries", number(lookup.retry)));
    }
    let flags = [
        ("wellhead.dns.truncated", is_truncated(lookup)),
        ("wellhead.dns.after_truncation", lookup.after_truncation),
        ("wellhead.dns.search", lookup.is_search_retry),
    ];
    let set = flags.into_iter().filter(|(_, is_set)| *is_set);
    attributes.extend(set.map(|(key, _)| (key, Value::Bool(true))));
    attributes
}

fn is_truncated(lookup: &Lookup) -> bool {
    matches!(
        lookup.end,
        LookupEnd::Answered {
            is_truncated: true,
            ..
        }
    )
}

pub(super) fn number(value: u32) -> Value {
    Value::Int(i64::from(value))
}

pub(super) fn large(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Durations in events are whole nanoseconds.
pub(super) fn nanoseconds(value: u64) -> Value {
    large(value)
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Str(text) => Json::from(&**text),
        Value::Static(text) => Json::from(*text),
        Value::Int(number) => Json::from(*number),
        Value::Bool(truth) => Json::from(*truth),
        Value::List(texts) => texts.iter().map(|text| Json::from(&**text)).collect(),
    }
}

#[cfg(test)]
mod tests;
