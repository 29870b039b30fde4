//! Counting what the kernel's programs counted without telling of each.

use wellhead_common::maps::udp_protocol;
use wellhead_common::record::role;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::flows::{FlowSeries, Flows};
use super::spilled::flow_at;
use super::units;
use crate::events::{Connection, Role};
use crate::identity::{Identity, OwnerId, Value};
use crate::kernel::{Dropped, UdpFlow};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::store::{Measurement, Store};

/// Packets that were dropped.
pub(super) fn dropped(store: &mut Store, owner: OwnerId, dropped: &Dropped, now: u64) {
    let reason = Value::Str(std::sync::Arc::clone(&dropped.reason));
    let attributes = store.intern(&[(Attr::DropReason, reason)]);
    store.add(
        Metric::PacketDrops,
        owner,
        attributes,
        units(dropped.packets),
        now,
    );
}

/// Datagrams that were exchanged.
pub(super) fn datagrams(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    (owner, now): (OwnerId, u64),
    (udp, boot_ns): (&UdpFlow, u64),
) {
    let like = like(udp);
    let by = (udp.cgroup_id, boot_ns);
    let flow = flow_at(flows, identity, (owner, now), like.as_ref(), by);
    let series = match udp.protocol {
        udp_protocol::QUIC => [
            FlowSeries::QuicBytesSent,
            FlowSeries::QuicBytesReceived,
            FlowSeries::QuicSent,
            FlowSeries::QuicReceived,
        ],
        _ => [
            FlowSeries::UdpBytesSent,
            FlowSeries::UdpBytesReceived,
            FlowSeries::UdpSent,
            FlowSeries::UdpReceived,
        ],
    };
    let counts = [
        udp.bytes_sent,
        udp.bytes_received,
        udp.datagrams_sent,
        udp.datagrams_received,
    ];
    for (series, count) in series.into_iter().zip(counts) {
        if count > 0 {
            flows.measure(store, flow, series, Measurement::Add(units(count)), now);
        }
    }
}

/// What decides under which names they are counted, as of a connection; everything else is made up.
fn like(udp: &UdpFlow) -> Option<Connection> {
    let remote = udp.remote?;
    let role = match u16::from(udp.role) {
        role::SOURCE => Some(Role::Source),
        role::DESTINATION => Some(Role::Destination),
        _ => None,
    };
    // Only loopback talks to loopback, and no more matters of the address.
    let local = if remote.is_loopback() {
        remote
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let (local_port, remote_port) = match role {
        Some(Role::Destination) => (udp.port, 0),
        Some(Role::Source) | None => (0, udp.port),
    };
    Some(Connection {
        socket_id: 0,
        netns: 0,
        local: SocketAddr::new(local, local_port),
        remote: SocketAddr::new(remote, remote_port),
        role,
        owner: None,
        started_ns: None,
        established_ns: None,
        older_than_agent: false,
        unmet: false,
        open_lost: false,
        shut_down: false,
    })
}
