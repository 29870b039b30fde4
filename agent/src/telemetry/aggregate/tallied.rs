//! Counting what the kernel's programs counted without telling of each.

use std::sync::Arc;

use wellhead_common::maps::udp_protocol;

use super::flows::{FlowSeries, Flows};
use super::spilled::flow_at;
use super::units;
use crate::events::Connection;
use crate::identity::{Identity, OwnerId, Value};
use crate::kernel::{Dropped, UdpFlow};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::store::{Measurement, Store};

/// Packets that were dropped.
pub(super) fn dropped(store: &mut Store, owner: OwnerId, dropped: &Dropped, now: u64) {
    let reason = Value::Str(Arc::clone(&dropped.reason));
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
    let like = udp
        .remote
        .map(|remote| Connection::like(remote, u16::from(udp.role), udp.port));
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
