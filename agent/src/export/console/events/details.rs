//! What an event's line says after whom it is about: its attributes, under shorter names where there are many of a kind.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value as Json};

use super::super::human;
use crate::printable::word;

pub(super) const EXECUTABLE: &str = "process.executable.name";
pub(super) const PID: &str = "process.pid";
const ARGUMENTS: &str = "process.command_args";
const ARGUMENTS_CUT: &str = "wellhead.process.command_args.truncated";
const PATH: &str = "process.executable.path";
const TRANSPORT: &str = "network.transport";
const ENDS: [(&str, &str, &str); 2] = [
    ("peer", "network.peer.address", "network.peer.port"),
    ("local", "network.local.address", "network.local.port"),
];

/// How a value is shown.
#[derive(Clone, Copy)]
enum Form {
    AsItIs,
    Bytes,
    Nanoseconds,
    /// A number that says nothing if it is 0, and so may the others.
    Unless0,
    BytesUnless0,
    NanosecondsUnless0,
}
use Form::{AsItIs, Bytes, BytesUnless0, Nanoseconds, NanosecondsUnless0, Unless0};

/// What comes before the ends of a connection: attribute, short name, form.
const BEFORE: &[(&str, &str, Form)] = &[
    ("process.exit.code", "exit", AsItIs),
    ("wellhead.process.signal", "signal", AsItIs),
    ("dns.question.name", "name", AsItIs),
    ("wellhead.dns.question.type", "type", AsItIs),
];

/// And what comes after them.
const AFTER: &[(&str, &str, Form)] = &[
    ("error.type", "error", AsItIs),
    ("wellhead.drop.reason", "dropped", AsItIs),
    ("wellhead.tcp.verdict", "verdict", AsItIs),
    ("dns.answers", "answers", AsItIs),
    ("wellhead.tcp.bytes_sent", "sent", Bytes),
    ("wellhead.tcp.bytes_received", "received", Bytes),
    ("wellhead.tcp.retransmits", "retransmits", Unless0),
    ("wellhead.tcp.rtt", "rtt", Nanoseconds),
    ("wellhead.tcp.rtt.min", "rtt_min", Nanoseconds),
    ("wellhead.duration", "took", Nanoseconds),
    ("wellhead.dns.retries", "retries", AsItIs),
    ("process.parent_pid", "parent", AsItIs),
    ("process.user.id", "user", AsItIs),
    ("process.working_directory", "cwd", AsItIs),
    ("wellhead.process.ancestors", "ancestors", AsItIs),
    ("wellhead.process.cpu.user", "cpu.user", NanosecondsUnless0),
    (
        "wellhead.process.cpu.system",
        "cpu.system",
        NanosecondsUnless0,
    ),
    ("wellhead.process.memory.peak", "memory.peak", Bytes),
    ("wellhead.process.memory.anonymous", "anonymous", Bytes),
    ("wellhead.process.memory.file", "file", BytesUnless0),
    ("wellhead.process.memory.shared", "shared", BytesUnless0),
    ("wellhead.process.disk.read", "disk.read", BytesUnless0),
    (
        "wellhead.process.disk.written",
        "disk.written",
        BytesUnless0,
    ),
    (
        "wellhead.process.network.sent",
        "network.sent",
        BytesUnless0,
    ),
    (
        "wellhead.process.network.received",
        "network.received",
        BytesUnless0,
    ),
    (
        "wellhead.process.asked.ago",
        "process.asked.ago",
        Nanoseconds,
    ),
    ("wellhead.container.downtime", "downtime", Nanoseconds),
    ("wellhead.oom.usage", "oom.usage", Bytes),
    ("wellhead.oom.limit", "oom.limit", Bytes),
];

/// Only in JSON: for whoever looks at one process closely.
const LEFT_OUT: [&str; 5] = [
    "wellhead.process.faults.minor",
    "wellhead.process.faults.major",
    "wellhead.process.switches.voluntary",
    "wellhead.process.switches.forced",
    "wellhead.process.group.id",
];

/// Said only if it is something else than what is said anyway.
const MOSTLY_THE_SAME: [(&str, &str); 2] = [
    ("process.vpid", PID),
    ("process.real_user.id", "process.user.id"),
];

/// The attributes of an event as words `name=value`, and last its arguments, if it has any: nothing in them can be taken for an attribute.
pub(super) fn details(event: &str, attributes: &Map<String, Json>) -> String {
    let mut words = Vec::new();
    let put = |shown: &[(&str, &str, Form)], words: &mut Vec<String>| {
        for (key, name, form) in shown {
            words.extend(
                attributes
                    .get(*key)
                    .and_then(|value| named(name, value, *form)),
            );
        }
    };
    put(BEFORE, &mut words);
    words.extend(ENDS.iter().filter_map(|end| address(attributes, end)));
    put(AFTER, &mut words);
    words.extend(path(event, attributes));
    let says_the_same = |key: &str| {
        let mut pairs = MOSTLY_THE_SAME.iter().filter(|(own, _)| *own == key);
        pairs.any(|(own, other)| attributes.get(*own) == attributes.get(*other))
    };
    let others = attributes
        .iter()
        .filter(|(key, _)| !is_known(key) && !says_the_same(key));
    words.extend(others.filter_map(|(key, value)| {
        let name = key.strip_prefix("wellhead.").unwrap_or(key);
        named(&word(name), value, AsItIs)
    }));
    words.extend(arguments(attributes));
    words.join(" ")
}

/// Whether an attribute is shown by a name of its own, or on purpose not.
fn is_known(key: &str) -> bool {
    let named = BEFORE.iter().chain(AFTER).any(|(known, ..)| *known == key);
    let of_end = ENDS
        .iter()
        .any(|(_, address, port)| [*address, *port].contains(&key));
    let others = [EXECUTABLE, PID, ARGUMENTS, ARGUMENTS_CUT, PATH, TRANSPORT];
    named || of_end || others.contains(&key) || LEFT_OUT.contains(&key)
}

fn named(name: &str, value: &Json, form: Form) -> Option<String> {
    let shown = match (form, value.as_u64()) {
        (Unless0 | BytesUnless0 | NanosecondsUnless0, Some(0)) => return None,
        (Bytes | BytesUnless0, Some(count)) => human::bytes(count),
        (Nanoseconds | NanosecondsUnless0, Some(count)) => human::duration(count),
        // The name says it.
        _ if *value == Json::Bool(true) => return Some(name.to_owned()),
        _ => plain(value),
    };
    Some(format!("{name}={shown}"))
}

/// A value as one word.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => word(text).into_owned(),
        Json::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => word(&other.to_string()).into_owned(),
    }
}

/// One end of a connection, with its transport where that is not TCP.
fn address(
    attributes: &Map<String, Json>,
    (name, address, port): &(&str, &str, &str),
) -> Option<String> {
    let (address, port) = (attributes.get(*address)?, attributes.get(*port)?);
    let ip: Option<IpAddr> = address.as_str().and_then(|text| text.parse().ok());
    let number = port.as_u64().and_then(|port| u16::try_from(port).ok());
    let end = match (ip, number) {
        (Some(ip), Some(number)) => SocketAddr::new(ip, number).to_string(),
        _ => format!("{}:{}", plain(address), plain(port)),
    };
    Some(match attributes.get(TRANSPORT) {
        Some(transport) if transport != "tcp" => format!("{name}={end}/{}", plain(transport)),
        _ => format!("{name}={end}"),
    })
}

/// What was executed, where its first argument is something else, as it mostly is not.
fn path(event: &str, attributes: &Map<String, Json>) -> Option<String> {
    let path = attributes
        .get(PATH)
        .filter(|_| event == "wellhead.process.exec")?;
    let arguments = attributes.get(ARGUMENTS).and_then(Json::as_array);
    let first = arguments.and_then(|arguments| arguments.first());
    if first == Some(path) {
        return None;
    }
    named("path", path, AsItIs)
}

fn arguments(attributes: &Map<String, Json>) -> Option<String> {
    let arguments = attributes.get(ARGUMENTS)?;
    let words = match arguments.as_array() {
        Some(words) => words.iter().map(plain).collect::<Vec<_>>().join(" "),
        None => plain(arguments),
    };
    let is_cut = attributes.get(ARGUMENTS_CUT) == Some(&Json::Bool(true));
    let end = if is_cut { " …" } else { "" };
    Some(format!("args: {words}{end}"))
}
