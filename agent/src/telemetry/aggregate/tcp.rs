//! Counting connections.

use super::flows::{FlowId, FlowSeries, Flows};
use super::{Occurrence, seconds, units};
use crate::events::{Connection, ConnectionEnd};
use crate::identity::{Identity, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::failure::connect_failure;
use crate::telemetry::store::{Measurement, Store};

pub(super) fn opened(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    connection: &Connection,
) {
    let now = occurrence.unix_nano;
    let flow = flows.of(identity, occurrence, connection);
    if let Some(unended) = flows.open(connection.socket_id, flow) {
        // The kernel uses the socket's address again, so the end of what was there before was lost.
        flows.measure(
            store,
            unended,
            FlowSeries::Active,
            Measurement::Add(-1),
            now,
        );
        flows.release(unended);
    }
    count_open(flows, store, flow, connection, now);
}

pub(super) fn closed(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    end: &ConnectionEnd,
) {
    let (connection, now) = (&end.connection, occurrence.unix_nano);
    // It was never counted as active, and how much of its traffic is from before the agent is unknown.
    if connection.older_than_agent {
        return;
    }
    // Its ends are called what they were called when it was opened, or `active` would never come back to 0.
    let known = flows.close(connection.socket_id);
    let flow = known.unwrap_or_else(|| flows.of(identity, occurrence, connection));
    if connection.open_lost {
        count_open(flows, store, flow, connection, now);
    }
    let one = Measurement::Add(1);
    flows.measure(store, flow, FlowSeries::Active, Measurement::Add(-1), now);
    flows.measure(store, flow, FlowSeries::Closed, one, now);
    if let Some(since) = connection.established_ns {
        let lived = seconds(occurrence.event.boot_ns.saturating_sub(since));
        flows.measure(
            store,
            flow,
            FlowSeries::Duration,
            Measurement::Observe(lived),
            now,
        );
    }
    if let Some(rtt) = end.totals.srtt_us {
        let rtt = seconds(u64::from(rtt) * 1_000);
        flows.measure(store, flow, FlowSeries::Rtt, Measurement::Observe(rtt), now);
    }
    count_traffic(flows, store, flow, end, now);
    if known.is_some() {
        flows.release(flow);
    }
}

pub(super) fn failed(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    end: &ConnectionEnd,
) {
    let now = occurrence.unix_nano;
    let flow = flows.of(identity, occurrence, &end.connection);
    let error = (Attr::ErrorType, Value::Static(connect_failure(end)));
    let attributes = store.intern(&flows.attributes_with(flow, error));
    let failures = Metric::TcpConnectionFailures;
    store.add(failures, occurrence.owner, attributes, 1, now);
    count_traffic(flows, store, flow, end, now);
}

fn count_open(
    flows: &mut Flows,
    store: &mut Store,
    flow: FlowId,
    connection: &Connection,
    now: u64,
) {
    let one = Measurement::Add(1);
    flows.measure(store, flow, FlowSeries::Opened, one, now);
    flows.measure(store, flow, FlowSeries::Active, one, now);
    if let Some(took) = connection.connect_ns() {
        let took = Measurement::Observe(seconds(took));
        flows.measure(store, flow, FlowSeries::ConnectDuration, took, now);
    }
}

/// What the connection carried. Series that would stay at zero are not made.
fn count_traffic(
    flows: &mut Flows,
    store: &mut Store,
    flow: FlowId,
    end: &ConnectionEnd,
    now: u64,
) {
    let totals = &end.totals;
    let counts = [
        (FlowSeries::BytesSent, totals.bytes_sent),
        (FlowSeries::BytesReceived, totals.bytes_received),
        (FlowSeries::SegmentsSent, totals.segments_sent),
        (FlowSeries::SegmentsReceived, totals.segments_received),
        (FlowSeries::Retransmits, totals.retransmits),
    ];
    for (series, count) in counts {
        if count > 0 {
            flows.measure(store, flow, series, Measurement::Add(units(count)), now);
        }
    }
}
