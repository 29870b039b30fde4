//! What holds connections up, and what is only counted: losses, resets, windows, listeners, drops, datagrams.

use wellhead_common::maps::udp_protocol;
use wellhead_common::record::role;

use super::*;
use crate::events::{Limited, Listener};
use crate::kernel::{Dropped, UdpFlow};

fn troubled(retransmits: u64, because: Because, busy: u64) -> Totals {
    Totals {
        retransmits,
        because,
        limited: Limited {
            busy,
            ..Limited::default()
        },
        out_of_order: retransmits,
        min_rtt_us: Some(100),
        ..Totals::default()
    }
}

fn ended(totals: Totals, errno: i32) -> ConnectionEnd {
    ConnectionEnd {
        connection: connection(Some(Role::Source)),
        totals,
        reported: wellhead_common::maps::Traffic::default(),
        errno,
        state: Some(TcpState::Established),
        lifecycle_only: false,
        initial_sequence: None,
    }
}

#[test]
fn trouble_is_counted_once_by_what_it_was() {
    let before = Because {
        timeout: 1,
        ..Because::default()
    };
    let after = Because {
        timeout: 1,
        fast: 2,
        ..Because::default()
    };
    let mut all = Fixture::new();
    all.count(Body::TcpOpen(connection(Some(Role::Source))));
    all.count(Body::TcpSnapshot(ended(troubled(1, before, 500), 0)));
    // Its ends are called otherwise meanwhile, which changes nothing for it.
    all.aggregator.names_changed();
    // One more than the programs saw the reason of.
    all.count(Body::TcpClose(ended(
        troubled(4, after, 750),
        libc::ECONNRESET,
    )));
    // Sent after the end, as `close(2)` does.
    all.count(Body::TcpReset(connection(None)));
    let told = all.series();
    let told: Vec<&String> = told
        .iter()
        .filter(|line| !line.starts_with("wellhead.tcp.connection"))
        .collect();
    expect_test::expect![[r#"
        [
            "wellhead.tcp.connect.duration {\"wellhead.reporter\": \"source\"} 1x 0.5",
            "wellhead.tcp.retransmits {\"wellhead.reporter\": \"source\", \"wellhead.tcp.retransmit.reason\": \"timeout\"} 1",
            "wellhead.tcp.retransmits {\"wellhead.reporter\": \"source\", \"wellhead.tcp.retransmit.reason\": \"fast\"} 2",
            "wellhead.tcp.retransmits {\"wellhead.reporter\": \"source\", \"wellhead.tcp.retransmit.reason\": \"_OTHER\"} 1",
            "wellhead.tcp.out_of_order {\"wellhead.reporter\": \"source\"} 4",
            "wellhead.tcp.resets {\"network.io.direction\": \"receive\", \"wellhead.reporter\": \"source\"} 1",
            "wellhead.tcp.resets {\"network.io.direction\": \"transmit\", \"wellhead.reporter\": \"source\"} 1",
            "wellhead.tcp.limited {\"wellhead.reporter\": \"source\", \"wellhead.tcp.limit\": \"busy\"} 0.75",
            "wellhead.tcp.rtt.min {\"wellhead.reporter\": \"source\"} 2x 0.0002",
        ]
    "#]]
    .assert_debug_eq(&told);
}

fn listening(socket_id: u64, queue: u32, drops: u32) -> Body<'static> {
    Body::TcpListener(Listener {
        socket_id,
        netns: 1,
        local: ([0, 0, 0, 0], 80).into(),
        owner: None,
        queue,
        limit: 10,
        drops,
        syn_ack_retransmits: 0,
    })
}

#[test]
fn sockets_of_a_port_are_told_as_one() {
    let told = |all: &Fixture| all.series().join("\n");
    let mut all = Fixture::new();
    // Room for two sockets.
    all.aggregator.listeners = Listeners::new(2);
    // What was dropped before the agent is not its to tell.
    all.count(listening(1, 3, 100));
    all.count(listening(2, 4, 0));
    all.count(listening(1, 5, 101));
    expect_test::expect![[r#"
        wellhead.tcp.listen.queue.length {"server.port": "Int(80)"} 9
        wellhead.tcp.listen.queue.limit {"server.port": "Int(80)"} 20
        wellhead.tcp.listen.overflows {"server.port": "Int(80)"} 1"#]]
    .assert_eq(&told(&all));
    // A third finds no room.
    all.count(listening(3, 9, 9));
    assert_eq!(all.counters.discards(Discard::StoreListenersFull), 1);

    let Fixture {
        aggregator, store, ..
    } = &mut all;
    let long_after = 5_000_000_000 + 200_000_000_000;
    aggregator.expire(store, long_after, 2);
    expect_test::expect![[r#"
        wellhead.tcp.listen.queue.length {"server.port": "Int(80)"} 0
        wellhead.tcp.listen.queue.limit {"server.port": "Int(80)"} 0
        wellhead.tcp.listen.overflows {"server.port": "Int(80)"} 1"#]]
    .assert_eq(&told(&all));
}

#[test]
fn drops_and_datagrams_are_added_up() {
    let mut all = Fixture::new();
    let Fixture {
        aggregator,
        store,
        identity,
        ..
    } = &mut all;
    for _ in 0..2 {
        let dropped = Dropped {
            cgroup_id: 0,
            netns: 0,
            reason: "NO_SOCKET".into(),
            packets: 3,
        };
        Aggregator::count_dropped(store, OwnerId::NODE, &dropped, 1);
    }
    let flow = |remote: Option<[u8; 4]>, port, role: u16, protocol| UdpFlow {
        cgroup_id: 1,
        remote: remote.map(Into::into),
        port,
        role: u8::try_from(role).expect("a role"),
        protocol,
        bytes_sent: 10,
        bytes_received: 20,
        datagrams_sent: 1,
        datagrams_received: 2,
    };
    for udp in [
        flow(Some([192, 0, 2, 1]), 53, role::SOURCE, udp_protocol::NONE),
        flow(Some([192, 0, 2, 1]), 443, role::SOURCE, udp_protocol::QUIC),
        flow(
            Some([192, 0, 2, 1]),
            514,
            role::DESTINATION,
            udp_protocol::NONE,
        ),
        // There was no room for who they were.
        flow(None, 0, role::UNKNOWN, udp_protocol::NONE),
    ] {
        aggregator.count_datagrams(store, identity, (OwnerId::NODE, 1), (&udp, 5));
    }
    expect_test::expect![[r#"
        wellhead.udp.io {"network.io.direction": "transmit", "wellhead.reporter": "source"} 10
        wellhead.udp.io {"network.io.direction": "receive", "wellhead.reporter": "source"} 20
        wellhead.udp.io {"network.io.direction": "transmit", "network.protocol.name": "quic", "wellhead.reporter": "source"} 10
        wellhead.udp.io {"network.io.direction": "receive", "network.protocol.name": "quic", "wellhead.reporter": "source"} 20
        wellhead.udp.io {"network.io.direction": "transmit", "wellhead.reporter": "destination"} 10
        wellhead.udp.io {"network.io.direction": "receive", "wellhead.reporter": "destination"} 20
        wellhead.udp.io {"network.io.direction": "transmit"} 10
        wellhead.udp.io {"network.io.direction": "receive"} 20
        wellhead.udp.datagrams {"network.io.direction": "transmit", "wellhead.reporter": "source"} 1
        wellhead.udp.datagrams {"network.io.direction": "receive", "wellhead.reporter": "source"} 2
        wellhead.udp.datagrams {"network.io.direction": "transmit", "network.protocol.name": "quic", "wellhead.reporter": "source"} 1
        wellhead.udp.datagrams {"network.io.direction": "receive", "network.protocol.name": "quic", "wellhead.reporter": "source"} 2
        wellhead.udp.datagrams {"network.io.direction": "transmit", "wellhead.reporter": "destination"} 1
        wellhead.udp.datagrams {"network.io.direction": "receive", "wellhead.reporter": "destination"} 2
        wellhead.udp.datagrams {"network.io.direction": "transmit"} 1
        wellhead.udp.datagrams {"network.io.direction": "receive"} 2
        wellhead.packet.drops {"wellhead.drop.reason": "NO_SOCKET"} 6"#]].assert_eq(&all.series().join("\n"));
}
