//! Spans of processes and of connections that went wrong.
//!
//! Ids are derived from the boot id and the process, so that every part of the agent (and an agent started anew) gives
//! the same process the same ids.

use std::sync::Arc;

use super::aggregate::Occurrence;
use super::failure::{connect_failure, error_type};
use super::live::{connection_attributes, verdict};
use super::signals::signal_name;
use super::span::{Span, SpanKind};
use crate::events::{Body, ConnectionEnd, Exit, ExitStatus, ProcessId, Role};
use crate::identity::{Process, Value};

/// Makes spans, as far as they are wanted.
#[derive(Clone, Debug)]
pub struct SpanBuilder {
    boot: u64,
    processes: bool,
    slow_connection_ns: Option<u64>,
}

impl SpanBuilder {
    /// Spans of processes if `processes`; of failed and reset connections and those whose handshake took longer, if
    /// `slow_connection_ns` is given. `boot_id` is `/proc/sys/kernel/random/boot_id`.
    pub fn new(boot_id: &str, processes: bool, slow_connection_ns: Option<u64>) -> Self {
        Self {
            boot: mix_bytes(boot_id),
            processes,
            slow_connection_ns,
        }
    }

    /// The span that an event ends, if it ends one. `connection_process` is the process that owns the connection.
    pub fn span(
        &self,
        occurrence: &Occurrence<'_>,
        to_unix_nano: impl Fn(u64) -> u64,
        connection_process: Option<(ProcessId, &Process)>,
    ) -> Option<Span> {
        match &occurrence.event.body {
            Body::Exit(exit) if self.processes => self.process(occurrence, exit, to_unix_nano),
            Body::TcpClose(end) | Body::TcpConnectFailed(end) => {
                self.connection(occurrence, end, to_unix_nano, connection_process)
            }
            _ => None,
        }
    }

    fn process(
        &self,
        occurrence: &Occurrence<'_>,
        exit: &Exit,
        to_unix_nano: impl Fn(u64) -> u64,
    ) -> Option<Span> {
        // Its start is part of its ids: without it, another process could get the same.
        exit.process.started_ns()?;
        let process = occurrence.process?;
        let name = process.executable.clone()?;
        let mut attributes = vec![
            ("process.pid", Value::Int(i64::from(exit.process.pid))),
            ("process.parent_pid", Value::Int(i64::from(exit.parent_pid))),
            ("process.executable.name", Value::Str(Arc::clone(&name))),
        ];
        if let Some(path) = &process.path {
            attributes.push(("process.executable.path", Value::Str(Arc::clone(path))));
        }
        let error = match exit.status {
            ExitStatus::Code(code) => {
                attributes.push(("process.exit.code", Value::Int(i64::from(code))));
                (code != 0).then(|| code.to_string().into())
            }
            ExitStatus::Signal(signal) => {
                let name = signal_name(signal);
                let error = name.as_str().map(Arc::from);
                attributes.push(("wellhead.process.signal", name));
                error
            }
            ExitStatus::Unknown => None,
        };
        Some(Span {
            trace_id: self.trace_id(process.root),
            span_id: self.span_id(exit.process),
            parent_span_id: process.parent.map(|parent| self.span_id(parent)),
            name,
            kind: SpanKind::Internal,
            start_unix_nano: to_unix_nano(process.executed_ns?),
            end_unix_nano: occurrence.unix_nano,
            attributes,
            error,
        })
    }

    fn connection(
        &self,
        occurrence: &Occurrence<'_>,
        end: &ConnectionEnd,
        to_unix_nano: impl Fn(u64) -> u64,
        process: Option<(ProcessId, &Process)>,
    ) -> Option<Span> {
        let slow = self.slow_connection_ns?;
        let connection = &end.connection;
        let error = match &occurrence.event.body {
            Body::TcpConnectFailed(_) => Some(connect_failure(end)),
            _ if end.errno != 0 => Some(error_type(end.errno)),
            _ => None,
        };
        if error.is_none() && connection.connect_ns().is_none_or(|took| took < slow) {
            return None;
        }
        // The span of a process that only forked is that of the ancestor whose program it runs.
        let process = process.filter(|(id, _)| id.started_ns().is_some());
        let line = process.map(|(id, process)| {
            let span = if process.executed_ns.is_some() {
                Some(id)
            } else {
                process.parent
            };
            (process.root, span)
        });
        let own_id = mix(
            self.boot_part(3),
            connection.socket_id,
            occurrence.event.boot_ns,
        );
        let root = line.map(|(root, _)| root);
        let mut attributes = connection_attributes(occurrence, connection);
        if let Some(took) = connection.connect_ns() {
            attributes.push((
                "wellhead.duration",
                Value::Int(i64::try_from(took).unwrap_or(i64::MAX)),
            ));
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
                || (u128::from(own_id) << 64 | u128::from(!own_id)).to_be_bytes(),
                |root| self.trace_id(root),
            ),
            span_id: own_id.to_be_bytes(),
            parent_span_id: line
                .and_then(|(_, span)| span)
                .map(|span| self.span_id(span)),
            name: name.into(),
            kind,
            start_unix_nano: to_unix_nano(connection.started_ns?),
            end_unix_nano: occurrence.unix_nano,
            attributes,
            error: error.map(Arc::from),
        })
    }

    fn trace_id(&self, root: ProcessId) -> [u8; 16] {
        let high = mix(self.boot_part(0), u64::from(root.pid), root.start_ns);
        let low = mix(self.boot_part(1), u64::from(root.pid), root.start_ns);
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    fn span_id(&self, process: ProcessId) -> [u8; 8] {
        mix(self.boot_part(2), u64::from(process.pid), process.start_ns).to_be_bytes()
    }

    /// A different number for each use, all from the boot id.
    fn boot_part(&self, part: u64) -> u64 {
        spread(self.boot ^ part)
    }
}

/// A fixed, well-spreading function of three numbers that is never 0 (the finaliser of `splitmix64`, chained).
fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mixed = [b, c]
        .into_iter()
        .fold(spread(a), |state, value| spread(state ^ value));
    mixed.max(1)
}

fn mix_bytes(text: &str) -> u64 {
    text.bytes()
        .fold(0, |state, byte| spread(state ^ u64::from(byte)))
}

fn spread(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Connection, Event, SocketOwner, Totals};
    use crate::identity::OwnerId;

    const ROOT: ProcessId = ProcessId {
        pid: 10,
        start_ns: 100,
    };
    const CHILD: ProcessId = ProcessId {
        pid: 11,
        start_ns: 200,
    };

    fn process(id: ProcessId, parent: Option<ProcessId>) -> Process {
        let mut process = Process::new(ROOT, OwnerId(1));
        process.executable = Some("sh".into());
        process.path = Some("/bin/sh".into());
        process.executed_ns = Some(id.start_ns + 1);
        process.parent = parent;
        process
    }

    fn exit_span(
        builder: &SpanBuilder,
        id: ProcessId,
        parent: Option<ProcessId>,
        status: ExitStatus,
    ) -> Option<Span> {
        let exit = Exit {
            process: id,
            parent_pid: 1,
            uid: 0,
            comm: [0; 16],
            status,
            dumped_core: false,
            usage: wellhead_common::record::Usage::default(),
            signals: wellhead_common::maps::Signals::default(),
        };
        let event = Event {
            boot_ns: 500,
            cgroup_id: 1,
            body: Body::Exit(exit),
        };
        let process = process(id, parent);
        let occurrence = Occurrence {
            event: &event,
            unix_nano: 1_500,
            owner: OwnerId(1),
            process: Some(&process),
            backend: None,
            drop_reason: None,
        };
        builder.span(&occurrence, |boot_ns| boot_ns + 1_000, None)
    }

    #[test]
    fn processes_of_one_line_make_one_trace() {
        let builder = SpanBuilder::new("boot", true, None);
        let root = exit_span(&builder, ROOT, None, ExitStatus::Code(0)).expect("a span");
        let child = exit_span(&builder, CHILD, Some(ROOT), ExitStatus::Code(0)).expect("a span");
        assert_eq!(root.parent_span_id, None);
        assert_eq!(child.parent_span_id, Some(root.span_id));
        assert_eq!(child.trace_id, root.trace_id);
        assert_ne!(child.span_id, root.span_id);
        assert_eq!(
            (&*child.name, child.start_unix_nano, child.end_unix_nano),
            ("sh", 1_201, 1_500)
        );
    }

    #[test]
    fn ids_follow_from_boot_and_process_alone() {
        let ids = |boot: &str| {
            let span = exit_span(
                &SpanBuilder::new(boot, true, None),
                ROOT,
                None,
                ExitStatus::Code(0),
            );
            span.map(|span| (span.trace_id, span.span_id))
        };
        assert_eq!(ids("one"), ids("one"));
        assert_ne!(ids("one"), ids("two"));
    }

    #[test]
    fn bad_ends_are_errors() {
        let builder = SpanBuilder::new("boot", true, None);
        let check = |status, expected: Option<&str>| {
            let span = exit_span(&builder, ROOT, None, status).expect("a span");
            assert_eq!(span.error.as_deref(), expected, "{status:?}");
        };
        check(ExitStatus::Code(0), None);
        check(ExitStatus::Code(3), Some("3"));
        check(ExitStatus::Signal(9), Some("SIGKILL"));
    }

    #[test]
    fn a_process_whose_start_is_unknown_makes_no_span() {
        let builder = SpanBuilder::new("boot", true, None);
        let unknown = ProcessId {
            start_ns: 0,
            ..ROOT
        };
        assert!(exit_span(&builder, unknown, None, ExitStatus::Unknown).is_none());
    }

    #[test]
    fn only_what_is_wanted_becomes_a_span() {
        let builder = SpanBuilder::new("boot", false, Some(1));
        assert!(exit_span(&builder, ROOT, None, ExitStatus::Code(3)).is_none());
    }

    fn connection_span(slow: Option<u64>, took: u64, errno: i32) -> Option<Span> {
        let end = ConnectionEnd {
            connection: Connection {
                socket_id: 7,
                netns: 1,
                local: ([127, 0, 0, 1], 40_000).into(),
                remote: ([127, 0, 0, 1], 80).into(),
                role: Some(Role::Source),
                owner: Some(SocketOwner {
                    pid: CHILD.pid,
                    comm: *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                }),
                started_ns: Some(300),
                established_ns: Some(300 + took),
                older_than_agent: false,
                unmet: false,
                open_lost: false,
                shut_down: false,
            },
            totals: Totals::default(),
            reported: wellhead_common::maps::Traffic::default(),
            errno,
            state: None,
            lifecycle_only: false,
            initial_sequence: None,
        };
        let event = Event {
            boot_ns: 900,
            cgroup_id: 1,
            body: Body::TcpClose(end),
        };
        let occurrence = Occurrence {
            event: &event,
            unix_nano: 1_900,
            owner: OwnerId(1),
            process: None,
            backend: None,
            drop_reason: None,
        };
        let process = process(CHILD, Some(ROOT));
        let builder = SpanBuilder::new("boot", true, slow);
        builder.span(
            &occurrence,
            |boot_ns| boot_ns + 1_000,
            Some((CHILD, &process)),
        )
    }

    #[test]
    fn connections_become_spans_when_slow_or_broken() {
        assert!(connection_span(None, 500, libc::ECONNRESET).is_none());
        assert!(connection_span(Some(500), 499, 0).is_none());
        assert!(connection_span(Some(500), 500, 0).is_some_and(|span| span.error.is_none()));
        let reset = connection_span(Some(500), 1, libc::ECONNRESET).expect("a span");
        assert_eq!(reset.error.as_deref(), Some("connection_reset"));
        let verdict = ("wellhead.tcp.verdict", Value::Static("peer"));
        assert!(reset.attributes.contains(&verdict), "{reset:?}");
        assert_eq!(
            (reset.kind, reset.start_unix_nano),
            (SpanKind::Client, 1_300)
        );
        let builder = SpanBuilder::new("boot", true, None);
        let process = exit_span(&builder, CHILD, Some(ROOT), ExitStatus::Code(0)).expect("a span");
        assert_eq!(reset.parent_span_id, Some(process.span_id));
        assert_eq!(reset.trace_id, process.trace_id);
    }
}
