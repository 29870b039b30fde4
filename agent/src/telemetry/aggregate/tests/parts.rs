//! Connections told of in parts: by snapshots, by other agents, by what is left of lost events.

use super::*;

/// The same connection, after it carried this many bytes, of which this many are told.
fn grown(sent: u64, told: u64, connection: Connection) -> ConnectionEnd {
    let totals = |bytes_sent| Totals {
        bytes_sent,
        ..Totals::default()
    };
    ConnectionEnd {
        connection,
        totals: totals(sent),
        reported: totals(told).narrow(),
        state: None,
        lifecycle_only: false,
        initial_sequence: None,
        errno: 0,
    }
}

fn check(bodies: Vec<Body<'_>>, expected: &expect_test::Expect) {
    let mut all = Fixture::new();
    for body in bodies {
        all.count(body);
    }
    expected.assert_eq(&all.series().join("\n"));
}

#[test]
fn snapshots_and_the_end_count_each_byte_once() {
    let one = || connection(Some(Role::Source));
    check(
        vec![
            Body::TcpOpen(one()),
            Body::TcpSnapshot(grown(10, 0, one())),
            Body::TcpSnapshot(grown(25, 10, one())),
            // As if the last snapshot was not noted in the kernel before the end was told.
            Body::TcpClose(grown(40, 10, one())),
        ],
        &expect_test::expect![[r#"
            wellhead.tcp.connections.opened {"wellhead.reporter": "source"} 1
            wellhead.tcp.connections.closed {"wellhead.reporter": "source"} 1
            wellhead.tcp.connections.active {"wellhead.reporter": "source"} 0
            wellhead.tcp.connect.duration {"wellhead.reporter": "source"} 1x 0.5
            wellhead.tcp.connection.duration {"wellhead.reporter": "source"} 1x 1.5
            wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 40"#]],
    );
}

#[test]
fn what_an_earlier_agent_told_is_not_counted_again() {
    let one = || connection(Some(Role::Source));
    check(
        vec![Body::TcpSnapshot(grown(25, 10, one()))],
        &expect_test::expect![[r#"
            wellhead.tcp.connections.active {"wellhead.reporter": "source"} 1
            wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 15"#]],
    );
    check(
        vec![Body::TcpClose(grown(25, 10, one()))],
        &expect_test::expect![[r#"
            wellhead.tcp.connections.closed {"wellhead.reporter": "source"} 1
            wellhead.tcp.connection.duration {"wellhead.reporter": "source"} 1x 1.5
            wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 15"#]],
    );
}

#[test]
fn a_lost_open_is_counted_with_the_next_snapshot() {
    let lost = Connection {
        open_lost: true,
        ..connection(Some(Role::Source))
    };
    check(
        vec![
            Body::TcpSnapshot(grown(5, 0, lost)),
            Body::TcpClose(grown(7, 5, connection(Some(Role::Source)))),
        ],
        &expect_test::expect![[r#"
            wellhead.tcp.connections.opened {"wellhead.reporter": "source"} 1
            wellhead.tcp.connections.closed {"wellhead.reporter": "source"} 1
            wellhead.tcp.connections.active {"wellhead.reporter": "source"} 0
            wellhead.tcp.connect.duration {"wellhead.reporter": "source"} 1x 0.5
            wellhead.tcp.connection.duration {"wellhead.reporter": "source"} 1x 1.5
            wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 7"#]],
    );
}

#[test]
fn an_id_used_again_while_events_are_lost_names_another_connection() {
    let again = Connection {
        open_lost: true,
        ..connection(Some(Role::Source))
    };
    check(
        vec![
            Body::TcpOpen(connection(Some(Role::Source))),
            // Its end was lost, and so was that the next one opened.
            Body::TcpClose(grown(7, 0, again)),
        ],
        &expect_test::expect![[r#"
            wellhead.tcp.connections.opened {"wellhead.reporter": "source"} 2
            wellhead.tcp.connections.closed {"wellhead.reporter": "source"} 1
            wellhead.tcp.connections.active {"wellhead.reporter": "source"} 0
            wellhead.tcp.connect.duration {"wellhead.reporter": "source"} 2x 1
            wellhead.tcp.connection.duration {"wellhead.reporter": "source"} 1x 1.5
            wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 7"#]],
    );
}

#[test]
fn a_connection_whose_end_was_lost_is_not_active() {
    let mut all = Fixture::new();
    all.count(Body::TcpOpen(connection(Some(Role::Source))));
    let Fixture {
        aggregator,
        store,
        identity,
        ..
    } = &mut all;
    let open: Vec<u64> = aggregator.open_connections().collect();
    assert_eq!(open.len(), 1);
    let spilled = Spilled {
        cgroup_id: 1,
        events: 3,
        what: SpilledWhat::Closes {
            like: Some(connection(Some(Role::Source))),
            opens: 2,
            errno: 0,
            totals: Totals {
                bytes_sent: 30,
                ..Totals::default()
            },
        },
    };
    aggregator.count_spilled(store, identity, OwnerId::NODE, &spilled, 1);
    aggregator.connection_vanished(store, open[0], 1);
    assert_eq!(aggregator.open_connections().count(), 0);
    expect_test::expect![[r#"
        wellhead.tcp.connections.opened {"wellhead.reporter": "source"} 3
        wellhead.tcp.connections.closed {"wellhead.reporter": "source"} 3
        wellhead.tcp.connections.active {"wellhead.reporter": "source"} 0
        wellhead.tcp.connect.duration {"wellhead.reporter": "source"} 1x 0.5
        wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 30"#]]
    .assert_eq(&all.series().join("\n"));
}

#[test]
fn processes_whose_events_were_lost_are_counted() {
    let mut all = Fixture::new();
    let comm = *b"true\0\0\0\0\0\0\0\0\0\0\0\0";
    for (events, what) in [
        (4, SpilledWhat::Forks),
        (3, SpilledWhat::Execs(comm)),
        (2, SpilledWhat::Exits(comm, Some(ExitStatus::Code(1)))),
        (1, SpilledWhat::Exits([0; 16], None)),
        (1, SpilledWhat::OomKills(comm)),
    ] {
        let spilled = Spilled {
            cgroup_id: 1,
            events,
            what,
        };
        let Fixture {
            aggregator,
            store,
            identity,
            ..
        } = &mut all;
        aggregator.count_spilled(store, identity, OwnerId::NODE, &spilled, 1);
    }
    expect_test::expect![[r#"
        wellhead.process.execs {"process.executable.name": "true"} 3
        wellhead.process.forks {} 4
        wellhead.process.exits {} 1
        wellhead.process.exits {"process.executable.name": "true", "process.exit.code": "Int(1)"} 2
        wellhead.process.oom_kills {"process.executable.name": "true"} 1"#]]
    .assert_eq(&all.series().join("\n"));
}

#[test]
fn an_open_connection_does_not_fail() {
    let begun = || Connection {
        established_ns: None,
        ..connection(Some(Role::Source))
    };
    let check = |opened, handshake_over: bool, expected: bool| {
        let state = handshake_over.then_some(TcpState::Established);
        let mut all = Fixture::new();
        if opened {
            all.count(Body::TcpOpen(connection(Some(Role::Source))));
        }
        let event = Event {
            boot_ns: 7,
            cgroup_id: 1,
            body: Body::TcpConnectFailed(ConnectionEnd {
                state,
                ..grown(5, 0, begun())
            }),
        };
        let end = all.aggregator.as_end_of_open(&event);
        let expected = expected.then(|| {
            Body::TcpClose(ConnectionEnd {
                state,
                ..grown(5, 0, begun())
            })
        });
        assert_eq!(end.map(|event| event.body), expected);
    };
    check(true, true, true);
    // Its id is used again, or two ends opened it at once and it was closed meanwhile.
    check(true, false, false);
    check(false, true, false);
}

#[test]
fn who_is_left_out_is_not_counted_and_known_to_be_open() {
    let one = || connection(Some(Role::Source));
    let told = |body| Event {
        boot_ns: 7,
        cgroup_id: 1,
        body,
    };
    let mut all = Fixture::new();
    all.count(Body::TcpOpen(one()));
    let Fixture {
        aggregator, store, ..
    } = &mut all;
    let owners = HashSet::from([OwnerId::NODE]);
    aggregator.let_go(store, &owners, 1);
    store.remove_owners(&owners, 1);
    assert!(store.is_empty());
    assert_eq!(aggregator.open_connections().len(), 0);
    assert_eq!(aggregator.left_out_connections().len(), 1);
    assert_eq!(aggregator.open_by_namespace().values().sum::<usize>(), 1);
    let snapshot = told(Body::TcpSnapshot(grown(10, 0, one())));
    aggregator.leave_out(store, &snapshot, 2);
    assert!(store.is_empty() && !aggregator.follows(&snapshot));
    assert_eq!(aggregator.imbalance(), 0);

    // It is wanted again.
    all.count(Body::TcpSnapshot(grown(25, 10, one())));
    assert_eq!(all.aggregator.left_out_connections().len(), 0);
    assert_eq!(all.aggregator.imbalance(), 0);
    expect_test::expect![[r#"
        wellhead.tcp.connections.active {"wellhead.reporter": "source"} 1
        wellhead.tcp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 15"#]]
    .assert_eq(&all.series().join("\n"));

    // The end of one that is left out from its beginning.
    let Fixture {
        aggregator, store, ..
    } = &mut all;
    let other = || Connection {
        socket_id: one().socket_id + 1,
        ..one()
    };
    aggregator.leave_out(store, &told(Body::TcpOpen(other())), 3);
    assert_eq!(aggregator.left_out_connections().len(), 1);
    aggregator.leave_out(store, &told(Body::TcpClose(grown(9, 0, other()))), 4);
    assert_eq!(aggregator.left_out_connections().len(), 0);
    assert_eq!(aggregator.imbalance(), 0);
}
