//! Counting connections.

use super::flows::{FlowId, FlowSeries, Flows, Open};
use super::{Occurrence, seconds, units};
use crate::counters::Discard;
use std::sync::Arc;

use crate::events::{Because, Connection, ConnectionEnd, Limited, Totals};
use crate::identity::{Identity, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::failure::connect_failure;
use crate::telemetry::store::{Measurement, Observed, Store};

const ONE: Measurement = Measurement::Add(1);

pub(super) fn opened(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    connection: &Connection,
) {
    let now = occurrence.unix_nano;
    // Where the kernel uses the socket's id again, the end of what was there before was lost.
    vanished(flows, store, connection.socket_id, now);
    let flow = flows.of(identity, occurrence, connection);
    count_open(flows, store, flow, connection, now);
    follow(flows, store, flow, connection, Totals::default(), now);
}

/// A connection is open, and has carried this much.
pub(super) fn found_open(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    end: &ConnectionEnd,
) {
    let (connection, now) = (&end.connection, occurrence.unix_nano);
    if connection.open_lost {
        // Nothing was told of it yet: whoever is followed under its id was there before.
        vanished(flows, store, connection.socket_id, now);
    }
    let (flow, counted) = if let Some(open) = flows.opened(connection.socket_id) {
        let counted = std::mem::replace(&mut open.counted, end.totals.narrow());
        (open.flow, Totals::from(&counted))
    } else {
        // Older than the agent, or its opening was lost.
        let flow = flows.of(identity, occurrence, connection);
        if connection.open_lost {
            count_open(flows, store, flow, connection, now);
        } else {
            flows.balance.met();
        }
        follow(flows, store, flow, connection, end.totals, now);
        (flow, Totals::from(&end.reported))
    };
    count_rtt(flows, store, flow, &end.totals, now);
    count_traffic(flows, store, flow, &end.totals.since(&counted), now);
}

pub(super) fn closed(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    end: &ConnectionEnd,
) {
    let (connection, now) = (&end.connection, occurrence.unix_nano);
    flows.balance.touch(connection.netns);
    // It was never counted as active, and how much of its traffic is from before the agent is unknown. One that is followed
    // was opened under the programs of an earlier agent, too late to be copied to these.
    if connection.unmet && flows.opened(connection.socket_id).is_none() {
        return;
    }
    if connection.open_lost {
        // Nothing was told of it yet: whoever is followed under its id was there before.
        vanished(flows, store, connection.socket_id, now);
    }
    // Its ends are called what they were called when it was opened, or `active` would never come back to 0.
    let known = flows.close(connection.socket_id);
    let flow = match &known {
        Some(open) => open.flow,
        None => flows.of(identity, occurrence, connection),
    };
    match known {
        Some(_) => flows.measure(store, flow, FlowSeries::Active, Measurement::Add(-1), now),
        None if connection.open_lost => {
            count_open(flows, store, flow, connection, now);
            flows.measure(store, flow, FlowSeries::Active, Measurement::Add(0), now);
        }
        None => flows.balance.met(),
    }
    flows.measure(store, flow, FlowSeries::Closed, ONE, now);
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
    recall_connect(flows, store, flow, occurrence, connection);
    count_rtt(flows, store, flow, &end.totals, now);
    // Who is not followed was counted by an earlier agent, as far as it was reported.
    let counted = Totals::from(known.as_ref().map_or(&end.reported, |open| &open.counted));
    count_traffic(flows, store, flow, &end.totals.since(&counted), now);
    if was_reset(end.errno) {
        flows.measure(store, flow, FlowSeries::ResetsReceived, ONE, now);
    }
    flows.note_closed(connection.socket_id, flow);
    if known.is_some() {
        flows.release(flow);
    }
}

/// Whether the peer reset an established connection (`tcp_reset`, `net/ipv4/tcp_input.c`: `EPIPE` where it had closed its end).
pub(super) fn was_reset(errno: i32) -> bool {
    errno == libc::ECONNRESET || errno == libc::EPIPE
}

/// This end reset a connection, which may be over.
pub(super) fn reset(
    flows: &mut Flows,
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    connection: &Connection,
) {
    let known = flows.of_latest(connection.socket_id);
    let flow = known.unwrap_or_else(|| flows.of(identity, occurrence, connection));
    flows.measure(
        store,
        flow,
        FlowSeries::ResetsSent,
        ONE,
        occurrence.unix_nano,
    );
}

/// A connection is not open any more, and nothing was told of its end: what it carried is spilled, or not known.
pub(super) fn vanished(flows: &mut Flows, store: &mut Store, socket: u64, now: u64) {
    if let Some(Open { flow, netns, .. }) = flows.close(socket) {
        flows.balance.vanished();
        flows.balance.touch(netns);
        flows.measure(store, flow, FlowSeries::Active, Measurement::Add(-1), now);
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
    let mut attributes = flows.attributes_with(flow, error);
    if let Some(reason) = occurrence.drop_reason {
        attributes.push((Attr::DropReason, Value::Str(Arc::clone(reason))));
    }
    let attributes = store.intern(&attributes);
    let failures = Metric::TcpConnectionFailures;
    store.add(failures, occurrence.owner, attributes, 1, now);
    // An attempt sends nothing again but its SYN, which no program sees where the own namespace drops it.
    let totals = Totals {
        because: Because {
            handshake: end.totals.retransmits,
            ..Because::default()
        },
        ..end.totals
    };
    count_traffic(flows, store, flow, &totals, now);
}

/// Counts a connection as active for as long as it is followed.
fn follow(
    flows: &mut Flows,
    store: &mut Store,
    flow: FlowId,
    connection: &Connection,
    counted: Totals,
    now: u64,
) {
    let open = Open {
        flow,
        counted: counted.narrow(),
        netns: connection.netns,
    };
    flows.balance.touch(connection.netns);
    if flows.open(connection.socket_id, open) {
        flows.measure(store, flow, FlowSeries::Active, ONE, now);
    } else {
        flows.balance.turned_away();
        store.discard(Discard::StoreConnectionsFull);
    }
}

fn count_open(
    flows: &mut Flows,
    store: &mut Store,
    flow: FlowId,
    connection: &Connection,
    now: u64,
) {
    flows.measure(store, flow, FlowSeries::Opened, ONE, now);
    if let Some(took) = connection.connect_ns() {
        let took = Measurement::Observe(seconds(took));
        flows.measure(store, flow, FlowSeries::ConnectDuration, took, now);
    }
}

/// How long it took to open a connection was counted when it was open.
fn recall_connect(
    flows: &Flows,
    store: &mut Store,
    flow: FlowId,
    occurrence: &Occurrence<'_>,
    connection: &Connection,
) {
    let (Some(took), Some(since)) = (connection.connect_ns(), connection.established_ns) else {
        return;
    };
    if let Some(series) = flows.series(flow, FlowSeries::ConnectDuration) {
        let age = occurrence.event.boot_ns.saturating_sub(since);
        store.recall(Observed {
            series,
            seconds: seconds(took),
            unix_nano: occurrence.unix_nano.saturating_sub(age),
        });
    }
}

fn count_rtt(flows: &mut Flows, store: &mut Store, flow: FlowId, totals: &Totals, now: u64) {
    if let Some(rtt) = totals.srtt_us {
        let rtt = seconds(u64::from(rtt) * 1_000);
        flows.measure(store, flow, FlowSeries::Rtt, Measurement::Observe(rtt), now);
    }
    if let Some(rtt) = totals.min_rtt_us {
        let rtt = Measurement::Observe(seconds(u64::from(rtt) * 1_000));
        flows.measure(store, flow, FlowSeries::RttMin, rtt, now);
    }
}

/// What connections carried. Series that would stay at zero are not made.
pub(super) fn count_traffic(
    flows: &mut Flows,
    store: &mut Store,
    flow: FlowId,
    totals: &Totals,
    now: u64,
) {
    let counts = [
        (FlowSeries::BytesSent, totals.bytes_sent),
        (FlowSeries::BytesReceived, totals.bytes_received),
        (FlowSeries::SegmentsSent, totals.segments_sent),
        (FlowSeries::SegmentsReceived, totals.segments_received),
    ];
    for (series, count) in counts {
        if count > 0 {
            flows.measure(store, flow, series, Measurement::Add(units(count)), now);
        }
    }
    if *totals != without_trouble(totals) {
        count_trouble(flows, store, flow, totals, now);
    }
}

/// The same of a connection that nothing held up, as most are.
fn without_trouble(totals: &Totals) -> Totals {
    Totals {
        retransmits: 0,
        because: Because::default(),
        out_of_order: 0,
        limited: Limited::default(),
        ..*totals
    }
}

fn count_trouble(flows: &mut Flows, store: &mut Store, flow: FlowId, totals: &Totals, now: u64) {
    let Because {
        handshake,
        timeout,
        probe,
        fast,
    } = totals.because;
    let unseen = totals.retransmits.saturating_sub(totals.because.sum());
    let counts = [
        (FlowSeries::Handshake, handshake),
        (FlowSeries::Timeout, timeout),
        (FlowSeries::Probe, probe),
        (FlowSeries::Fast, fast),
        (FlowSeries::OtherRetransmits, unseen),
        (FlowSeries::OutOfOrder, totals.out_of_order),
    ];
    let limited = [
        (FlowSeries::Busy, totals.limited.busy),
        (FlowSeries::ReceiveWindow, totals.limited.receive_window),
        (FlowSeries::SendBuffer, totals.limited.send_buffer),
    ];
    let counts = counts.map(|(series, count)| (series, count, Measurement::Add(units(count))));
    let limited = limited.map(|(series, milliseconds)| {
        let waited = seconds(milliseconds.saturating_mul(1_000_000));
        (series, milliseconds, Measurement::AddSeconds(waited))
    });
    for (series, count, change) in counts.into_iter().chain(limited) {
        if count > 0 {
            flows.measure(store, flow, series, change, now);
        }
    }
}
