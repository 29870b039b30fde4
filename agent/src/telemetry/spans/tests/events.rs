//! Events of the spans of processes.

use std::net::SocketAddr;

use wellhead_common::Sixteen;
use wellhead_common::maps::{SignalSeen, Signals};

use super::rig::{Rig, connection, end, id};
use crate::events::{
    Body, ExitStatus, HitLimit, Listener, OomKill, Role, SocketOwner, VictimMemory,
};
use crate::identity::Value;
use crate::telemetry::span::Span;

fn listener(pid: u32) -> Listener {
    Listener {
        socket_id: 1,
        netns: 1,
        local: SocketAddr::from(([0, 0, 0, 0], 80)),
        owner: Some(SocketOwner { pid, comm: [0; 16] }),
        queue: 0,
        limit: 0,
        drops: 0,
        syn_ack_retransmits: 0,
    }
}

fn events(span: &Span) -> Vec<&str> {
    span.events.items().iter().map(|event| event.name).collect()
}

fn has(span: &Span, event: &str, key: &'static str, value: Value) -> bool {
    let mut events = span.events.items().iter();
    let event = events.find(|one| one.name == event);
    event.is_some_and(|event| event.attributes.contains(&(key, value)))
}

#[test]
fn a_span_tells_what_happened() {
    let mut rig = Rig::new(1.0, 0);
    rig.run(10, 1);
    let began = rig.now;
    rig.note(10, Body::TcpListen(listener(10)));
    rig.note(10, Body::TcpListen(listener(10)));
    let now = rig.now;
    rig.note(10, Body::TcpOpen(connection(10, now, Role::Destination)));
    rig.note(10, Body::TcpOpen(connection(10, now, Role::Source)));
    rig.note(10, Body::TcpOpen(connection(10, now, Role::Source)));
    let failed = || Body::TcpConnectFailed(end(10, now));
    for _ in 0..30 {
        rig.note(10, failed());
    }
    let kill = OomKill {
        pid: 10,
        memory: Some(VictimMemory::default()),
        limit: Some(HitLimit::default()),
        ..OomKill::default()
    };
    rig.note(10, Body::OomKill(kill));
    rig.end(10, ExitStatus::Signal(9));
    let span = rig.span(10);
    let told = events(span);
    let first = [
        "tcp.listen",
        "tcp.accept",
        "tcp.connect",
        "tcp.connect_failed",
    ];
    assert_eq!(told[..4], first);
    assert_eq!(told[27..], ["oom_kill"]);
    assert_eq!(span.events.dropped(), 6);
    assert!(has(
        span,
        "tcp.listen",
        "network.local.port",
        Value::Int(80)
    ));
    assert!(has(
        span,
        "tcp.connect",
        "network.peer.port",
        Value::Int(80)
    ));
    assert!(has(
        span,
        "oom_kill",
        "wellhead.oom.scope",
        Value::Static("cgroup")
    ));
    assert_eq!(
        span.events.items()[0].unix_nano,
        began + 1_000_000 + rig.offset
    );
}

#[test]
fn signals_are_told_with_their_senders_and_their_own_time() {
    let mut rig = Rig::new(1.0, 0);
    rig.run(10, 1);
    let seen = |signal, sent_ns| SignalSeen {
        sent_ns,
        signal,
        sender_pid: 99,
        sender: Sixteen::new(*b"kubelet\0\0\0\0\0\0\0\0\0"),
        ..SignalSeen::default()
    };
    let now = rig.now;
    let signals = Signals {
        asked: seen(15, now + 2),
        forced: seen(9, now + 1),
    };
    rig.exit_with(10, ExitStatus::Signal(9), signals);
    rig.run(11, 1);
    // Sent to another that had the id before.
    let old = Signals {
        asked: seen(15, id(11).start_ns - 1),
        forced: SignalSeen::default(),
    };
    rig.exit_with(11, ExitStatus::Code(0), old);
    rig.tell_all();
    let span = rig.span(10);
    assert_eq!(events(span), ["signal", "signal"]);
    let [killed, asked] = span.events.items() else {
        panic!("two events");
    };
    assert_eq!(
        [killed.unix_nano, asked.unix_nano],
        [1, 2].map(|after| now + rig.offset + after)
    );
    let name = ("wellhead.process.signal", Value::Static("SIGKILL"));
    assert!(killed.attributes.contains(&name), "{killed:?}");
    let sender = "wellhead.process.signal.sender.name";
    assert!(has(span, "signal", sender, Value::Str("kubelet".into())));
    assert!(events(rig.span(11)).is_empty());
}

#[test]
fn connections_are_told_of_after_the_end_of_their_process() {
    let mut rig = Rig::new(1.0, 0);
    rig.run(10, 1);
    rig.exit(10, ExitStatus::Code(0));
    rig.note(10, Body::TcpListen(listener(10)));
    rig.tell_all();
    assert_eq!(events(rig.span(10)), ["tcp.listen"]);
}

#[test]
fn who_only_forked_tells_it_to_whose_program_it_runs() {
    let mut rig = Rig::new(1.0, 0);
    rig.run(10, 1);
    rig.fork(11, 10);
    rig.note(11, Body::TcpListen(listener(11)));
    rig.end(11, ExitStatus::Code(0));
    rig.end(10, ExitStatus::Code(0));
    assert_eq!(rig.names(), ["p10"]);
    assert_eq!(events(rig.span(10)), ["tcp.listen"]);
}
