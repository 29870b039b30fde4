//! Spans of single processes and connections.

mod events;
mod rig;
mod sampled;
mod trees;

use super::*;
use crate::events::{Connection, ConnectionEnd, Exit, ExitStatus, Role, SocketOwner, Totals};
use crate::identity::{OwnerId, Value};
use crate::telemetry::span::SpanKind;

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

fn below(parent: Option<ProcessId>) -> Place {
    Place {
        parent,
        trace_state: "ot=th:0".into(),
        session: None,
    }
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
    builder.span(&occurrence, None, below(parent))
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
    builder.span(&occurrence, Some((CHILD, &process)), below(Some(CHILD)))
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
