//! Events in, series out.

mod hanging;
mod health;
mod parts;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::counters::{Counters, Discard};
use crate::events::{
    Because, Connection, ConnectionEnd, Exec, Exit, ExitStatus, Fork, ProcessId, Role, SpilledWhat,
    Totals,
};
use crate::identity::{IdentitySettings, Resolution};
use crate::telemetry::snapshot::PointValue;

struct Fixture {
    aggregator: Aggregator,
    store: Store,
    identity: Identity,
    counters: Arc<Counters>,
}

impl Fixture {
    fn new() -> Self {
        let counters = Arc::new(Counters::default());
        let settings = IdentitySettings {
            node_name: "node-a".to_owned(),
            ..IdentitySettings::default()
        };
        Self {
            aggregator: Aggregator::new(8),
            store: Store::new(1_000, Arc::clone(&counters)),
            identity: Identity::new(&settings, Arc::clone(&counters)),
            counters,
        }
    }

    fn count(&mut self, body: Body<'_>) {
        self.count_at(5_000_000_000, body, None);
    }

    fn count_at(&mut self, boot_ns: u64, body: Body<'_>, drop_reason: Option<&Arc<str>>) {
        let event = Event {
            boot_ns,
            cgroup_id: 1,
            body,
        };
        let occurrence = Occurrence {
            event: &event,
            unix_nano: 1,
            owner: OwnerId::NODE,
            process: None,
            backend: None,
            drop_reason,
        };
        self.aggregator
            .count(&mut self.store, &mut self.identity, &occurrence);
    }

    /// Every series as `name{attributes} value`, flow attributes but the reporter left out.
    fn series(&self) -> Vec<String> {
        assert_eq!(self.aggregator.imbalance(), 0);
        let node = self.identity.node_resource();
        let snapshot = self
            .store
            .read(2, |_| Resolution::Ready(Arc::default()), node)
            .into_snapshot();
        let mut lines = Vec::new();
        for family in &snapshot.families {
            for point in &family.points {
                let shown = point.attributes.iter().filter(|(attr, _)| {
                    let key = attr.key();
                    !key.starts_with("source.") && !key.starts_with("destination.")
                });
                let shown: BTreeMap<_, _> = shown
                    .map(|(attr, value)| (attr.key(), text(value)))
                    .collect();
                let value = match &point.value {
                    PointValue::Int(value) => value.to_string(),
                    PointValue::Float(value) => value.to_string(),
                    PointValue::Histogram(histogram) => {
                        format!(
                            "{}x {}",
                            histogram.counts.iter().sum::<u64>(),
                            histogram.sum
                        )
                    }
                };
                lines.push(format!("{} {shown:?} {value}", family.metric.name()));
            }
        }
        lines
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| format!("{value:?}"), str::to_owned)
}

fn connection(role: Option<Role>) -> Connection {
    Connection {
        socket_id: 7,
        netns: 1,
        local: ([127, 0, 0, 1], 40_000).into(),
        remote: ([192, 0, 2, 1], 80).into(),
        role,
        owner: None,
        started_ns: Some(3_000_000_000),
        established_ns: Some(3_500_000_000),
        older_than_agent: false,
        unmet: false,
        open_lost: false,
        shut_down: true,
    }
}

fn end(connection: Connection, errno: i32) -> ConnectionEnd {
    let totals = Totals {
        bytes_sent: 100,
        bytes_received: 200,
        segments_sent: 5,
        segments_received: 4,
        retransmits: 1,
        because: Because {
            timeout: 1,
            ..Because::default()
        },
        srtt_us: Some(250),
        ..Totals::default()
    };
    ConnectionEnd {
        connection,
        totals,
        reported: wellhead_common::maps::Traffic::default(),
        errno,
        state: None,
        lifecycle_only: false,
        initial_sequence: None,
    }
}

#[test]
fn a_connection_from_open_to_close() {
    let mut all = Fixture::new();
    all.count(Body::TcpOpen(connection(Some(Role::Source))));
    all.count(Body::TcpClose(end(connection(Some(Role::Source)), 0)));
    expect_test::expect![[r#"
        wellhead.tcp.connections.opened {"wellhead.reporter": "source"} 1
        wellhead.tcp.connections.closed {"wellhead.reporter": "source"} 1
        wellhead.tcp.connections.active {"wellhead.reporter": "source"} 0
        wellhead.tcp.connect.duration {"wellhead.reporter": "source"} 1x 0.5
        wellhead.tcp.connection.duration {"wellhead.reporter": "source"} 1x 1.5
        wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 100
        wellhead.tcp.io {"network.io.direction": "receive", "wellhead.reporter": "source"} 200
        wellhead.tcp.segments {"network.io.direction": "transmit", "wellhead.reporter": "source"} 5
        wellhead.tcp.segments {"network.io.direction": "receive", "wellhead.reporter": "source"} 4
        wellhead.tcp.retransmits {"wellhead.reporter": "source", "wellhead.tcp.retransmit.reason": "timeout"} 1
        wellhead.tcp.rtt {"wellhead.reporter": "source"} 1x 0.00025"#]]
    .assert_eq(&all.series().join("\n"));
}

#[test]
fn a_lost_open_is_counted_with_the_close() {
    let mut lost = Fixture::new();
    let unreported = Connection {
        open_lost: true,
        ..connection(Some(Role::Source))
    };
    lost.count(Body::TcpClose(end(unreported, 0)));
    let mut whole = Fixture::new();
    whole.count(Body::TcpOpen(connection(Some(Role::Source))));
    whole.count(Body::TcpClose(end(connection(Some(Role::Source)), 0)));
    assert_eq!(lost.series(), whole.series());
}

#[test]
fn connections_met_only_at_their_end_are_not_counted() {
    let mut all = Fixture::new();
    let old = Connection {
        older_than_agent: true,
        unmet: true,
        ..connection(None)
    };
    all.count(Body::TcpClose(end(old, 0)));
    assert_eq!(all.series(), Vec::<String>::new());
}

#[test]
fn connections_that_only_an_earlier_agents_programs_knew_are_closed() {
    let mut whole = Fixture::new();
    let mut known = Fixture::new();
    for all in [&mut whole, &mut known] {
        all.count(Body::TcpOpen(connection(Some(Role::Source))));
    }
    // When it was opened is not known either, and so not how long it lasted.
    let late = Connection {
        established_ns: None,
        ..connection(Some(Role::Source))
    };
    whole.count(Body::TcpClose(end(late.clone(), 0)));
    let unmet = Connection {
        unmet: true,
        role: None,
        ..late
    };
    known.count(Body::TcpClose(end(unmet, 0)));
    assert_eq!(known.series(), whole.series());
}

#[test]
fn failures_have_their_reason() {
    let mut all = Fixture::new();
    let failed = Connection {
        established_ns: None,
        ..connection(Some(Role::Source))
    };
    let mut failed = end(failed, libc::ECONNREFUSED);
    failed.totals = Totals::default();
    all.count(Body::TcpConnectFailed(failed.clone()));
    failed.errno = libc::ETIMEDOUT;
    let dropped = Arc::from("NETFILTER_DROP");
    all.count_at(1, Body::TcpConnectFailed(failed), Some(&dropped));
    assert_eq!(
        all.series(),
        [
            r#"wellhead.tcp.connection.failures {"error.type": "connection_refused", "wellhead.reporter": "source"} 1"#,
            r#"wellhead.tcp.connection.failures {"error.type": "timed_out", "wellhead.drop.reason": "NETFILTER_DROP", "wellhead.reporter": "source"} 1"#,
        ]
    );
}

#[test]
fn ends_are_named_by_who_opened_the_connection() {
    let check = |role, expected: &str| {
        let mut all = Fixture::new();
        all.count(Body::TcpOpen(connection(role)));
        let node = all.identity.node_resource();
        let snapshot = all
            .store
            .read(2, |_| Resolution::Ready(Arc::default()), node)
            .into_snapshot();
        let attributes = &snapshot.families[0].points[0].attributes;
        let shown: Vec<String> = attributes
            .iter()
            .map(|(attr, value)| format!("{}={}", attr.key(), text(value)))
            .collect();
        assert_eq!(shown.join(" "), expected);
    };
    check(
        Some(Role::Source),
        "destination.address=external destination.port=Int(80) source.address=localhost wellhead.reporter=source",
    );
    check(
        Some(Role::Destination),
        "destination.address=localhost destination.port=Int(40000) source.address=external wellhead.reporter=destination",
    );
}

#[test]
fn processes_from_fork_to_exit() {
    let id = ProcessId {
        pid: 2,
        start_ns: 4_000_000_000,
    };
    let mut all = Fixture::new();
    all.count(Body::Fork(Fork {
        child: id,
        parent: ProcessId {
            pid: 1,
            start_ns: 1,
        },
    }));
    all.count(Body::Exec(Exec {
        process: id,
        parent: ProcessId {
            pid: 1,
            start_ns: 0,
        },
        uid: 0,
        comm: b"true",
        file_name: b"/bin/true",
        file_name_truncated: false,
        arguments: b"",
        arguments_truncated: false,
        ..Exec::default()
    }));
    for status in [ExitStatus::Code(3), ExitStatus::Signal(9)] {
        let comm = *b"true\0\0\0\0\0\0\0\0\0\0\0\0";
        all.count(Body::Exit(Exit {
            process: id,
            parent_pid: 1,
            uid: 0,
            comm,
            status,
            dumped_core: false,
            usage: wellhead_common::record::Usage::default(),
            signals: wellhead_common::maps::Signals::default(),
        }));
    }
    expect_test::expect![[r#"
        wellhead.process.execs {"process.executable.name": "true"} 1
        wellhead.process.forks {} 1
        wellhead.process.exits {"process.executable.name": "true", "process.exit.code": "Int(3)"} 1
        wellhead.process.exits {"process.executable.name": "true", "wellhead.process.signal": "SIGKILL"} 1
        wellhead.process.duration {"process.executable.name": "true"} 2x 2"#]]
    .assert_eq(&all.series().join("\n"));
}

#[test]
fn connections_end_under_the_names_they_began_with() {
    let mut all = Fixture::new();
    all.count(Body::TcpOpen(connection(Some(Role::Source))));
    let before = all.series();
    // The peer is called something else by the time it ends; as far as counting goes, it is another.
    all.aggregator.names_changed();
    all.count(Body::TcpClose(end(connection(Some(Role::Source)), 0)));
    assert_eq!(
        before.iter().filter(|line| line.contains("active")).count(),
        1
    );
    let active = all
        .series()
        .into_iter()
        .filter(|line| line.contains("active"));
    assert_eq!(
        active.collect::<Vec<_>>(),
        [r#"wellhead.tcp.connections.active {"wellhead.reporter": "source"} 0"#]
    );
    // Nobody refers to the old names any more, once a reset that comes late would have come.
    let Fixture {
        aggregator, store, ..
    } = &mut all;
    aggregator.expire(store, 5_000_000_000, 2);
    all.aggregator.names_changed();
    assert_eq!(all.aggregator.owners().count(), 0);
}

#[test]
fn a_socket_used_again_tells_of_a_lost_end() {
    let mut all = Fixture::new();
    all.count(Body::TcpOpen(connection(Some(Role::Source))));
    all.count(Body::TcpOpen(connection(Some(Role::Source))));
    all.count(Body::TcpClose(end(connection(Some(Role::Source)), 0)));
    let counts: Vec<String> = all.series().into_iter().take(3).collect();
    assert_eq!(
        counts,
        [
            r#"wellhead.tcp.connections.opened {"wellhead.reporter": "source"} 2"#,
            r#"wellhead.tcp.connections.closed {"wellhead.reporter": "source"} 1"#,
            r#"wellhead.tcp.connections.active {"wellhead.reporter": "source"} 0"#,
        ]
    );
}

#[test]
fn connections_beyond_those_followed_are_counted_but_as_active() {
    let mut all = Fixture::new();
    let of = |socket_id, port| Connection {
        socket_id,
        remote: ([192, 0, 2, 1], port).into(),
        ..connection(Some(Role::Source))
    };
    for socket in 0..20_u16 {
        all.count(Body::TcpOpen(of(u64::from(socket), socket + 1)));
    }
    for socket in 0..20_u16 {
        all.count(Body::TcpClose(end(of(u64::from(socket), socket + 1), 0)));
    }
    let of = |metric: &str| -> Vec<String> {
        let series = all.series().into_iter();
        series.filter(|line| line.contains(metric)).collect()
    };
    let ending =
        |lines: &[String], end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!(ending(&of(".opened"), " 1"), 20);
    assert_eq!(ending(&of(".closed"), " 1"), 20);
    let active = of(".active");
    assert_eq!(ending(&active, " 0"), active.len());
    let left_out = all.counters.discards(Discard::StoreConnectionsFull);
    assert!(left_out > 0 && left_out < 20, "{left_out} left out");
}
