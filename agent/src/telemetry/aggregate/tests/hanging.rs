//! Connections that stay in a state that does not last.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A connection that a snapshot found so.
fn found(socket_id: u64, state: TcpState) -> Body<'static> {
    let connection = Connection {
        socket_id,
        ..connection(Some(Role::Source))
    };
    let mut end = end(connection, 0);
    end.totals = Totals::default();
    end.state = Some(state);
    Body::TcpSnapshot(end)
}

/// An attempt that was begun at three seconds.
fn attempt(socket_id: u64) -> Body<'static> {
    Body::TcpAttempt(Connection {
        socket_id,
        established_ns: None,
        ..connection(Some(Role::Source))
    })
}

/// What is told of connections that hang, at a time.
fn told(all: &mut Fixture, seconds: u64) -> String {
    let Fixture {
        aggregator, store, ..
    } = all;
    aggregator.tell_hanging(store, seconds * SECOND, 2);
    let lines = all.series().into_iter();
    let ours: Vec<String> = lines.filter(|line| line.contains("hanging")).collect();
    ours.join("\n")
}

#[test]
fn what_hangs_is_told_by_state_until_it_is_over() {
    let mut all = Fixture::new();
    all.aggregator.hanging = Hanging::new(4);
    for socket in [1, 2] {
        all.count_at(10 * SECOND, found(socket, TcpState::CloseWait), None);
    }
    all.count_at(10 * SECOND, found(3, TcpState::Established), None);
    all.count_at(10 * SECOND, attempt(4), None);
    // Since when connections are in a state nobody knows, attempts are begun with the call.
    expect_test::expect![""].assert_eq(&told(&mut all, 12));
    expect_test::expect![[r#"
        wellhead.tcp.connections.hanging {"network.connection.state": "syn_sent", "wellhead.reporter": "source"} 1
        wellhead.tcp.connections.hanging.longest {"network.connection.state": "syn_sent", "wellhead.reporter": "source"} 10"#]]
    .assert_eq(&told(&mut all, 13));
    // One goes on to another state, which begins anew.
    all.count_at(15 * SECOND, found(2, TcpState::LastAck), None);
    all.count_at(15 * SECOND, found(1, TcpState::CloseWait), None);
    expect_test::expect![[r#"
        wellhead.tcp.connections.hanging {"network.connection.state": "syn_sent", "wellhead.reporter": "source"} 1
        wellhead.tcp.connections.hanging {"network.connection.state": "close_wait", "wellhead.reporter": "source"} 1
        wellhead.tcp.connections.hanging.longest {"network.connection.state": "syn_sent", "wellhead.reporter": "source"} 18
        wellhead.tcp.connections.hanging.longest {"network.connection.state": "close_wait", "wellhead.reporter": "source"} 11"#]]
    .assert_eq(&told(&mut all, 21));
    // Two end and one is established.
    for socket in [1, 2] {
        let ended = Connection {
            socket_id: socket,
            ..connection(Some(Role::Source))
        };
        all.count_at(22 * SECOND, Body::TcpClose(end(ended, 0)), None);
    }
    let opened = Connection {
        socket_id: 4,
        ..connection(Some(Role::Source))
    };
    all.count_at(22 * SECOND, Body::TcpOpen(opened), None);
    expect_test::expect![[r#"
        wellhead.tcp.connections.hanging {"network.connection.state": "syn_sent", "wellhead.reporter": "source"} 0
        wellhead.tcp.connections.hanging {"network.connection.state": "close_wait", "wellhead.reporter": "source"} 0
        wellhead.tcp.connections.hanging.longest {"network.connection.state": "syn_sent", "wellhead.reporter": "source"} 0
        wellhead.tcp.connections.hanging.longest {"network.connection.state": "close_wait", "wellhead.reporter": "source"} 0"#]]
    .assert_eq(&told(&mut all, 40));
}

#[test]
fn what_finds_no_room_is_counted_and_what_nobody_tells_of_goes() {
    let mut all = Fixture::new();
    all.aggregator.hanging = Hanging::new(1);
    all.count_at(10 * SECOND, found(1, TcpState::FinWait2), None);
    all.count_at(10 * SECOND, found(2, TcpState::FinWait2), None);
    assert_eq!(all.counters.discards(Discard::StoreHangingFull), 1);
    assert!(told(&mut all, 30).contains("fin_wait_2\", \"wellhead.reporter\": \"source\"} 1"));
    assert!(told(&mut all, 200).contains("fin_wait_2\", \"wellhead.reporter\": \"source\"} 0"));
    assert!(all.aggregator.hanging.owners().next().is_none());
}
