//! Counting connections.

use std::sync::Arc;

use super::{Attributes, Occurrence, seconds, units};
use crate::events::{Connection, ConnectionEnd, Role};
use crate::identity::{Identity, Peer, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::failure::connect_failure;
use crate::telemetry::store::Store;

pub(super) fn opened(
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    connection: &Connection,
) {
    let flow = flow(identity, occurrence, connection);
    let Occurrence {
        owner, unix_nano, ..
    } = *occurrence;
    let attributes = store.intern(&flow);
    store.add(
        Metric::TcpConnectionsOpened,
        owner,
        attributes,
        1,
        unix_nano,
    );
    store.add(
        Metric::TcpConnectionsActive,
        owner,
        attributes,
        1,
        unix_nano,
    );
    if let Some(took) = connection.connect_ns() {
        store.record(
            Metric::TcpConnectDuration,
            owner,
            attributes,
            seconds(took),
            unix_nano,
        );
    }
}

pub(super) fn closed(
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    end: &ConnectionEnd,
) {
    let connection = &end.connection;
    // It was never counted as active, and how much of its traffic is from before the agent is unknown.
    if connection.older_than_agent {
        return;
    }
    if connection.open_lost {
        opened(store, identity, occurrence, connection);
    }
    let flow = flow(identity, occurrence, connection);
    let Occurrence {
        owner,
        unix_nano,
        event,
        ..
    } = *occurrence;
    let attributes = store.intern(&flow);
    store.add(
        Metric::TcpConnectionsActive,
        owner,
        attributes,
        -1,
        unix_nano,
    );
    store.add(
        Metric::TcpConnectionsClosed,
        owner,
        attributes,
        1,
        unix_nano,
    );
    if let Some(since) = connection.established_ns {
        let lived = seconds(event.boot_ns.saturating_sub(since));
        store.record(
            Metric::TcpConnectionDuration,
            owner,
            attributes,
            lived,
            unix_nano,
        );
    }
    if let Some(rtt) = end.totals.srtt_us {
        let rtt = seconds(u64::from(rtt) * 1_000);
        store.record(Metric::TcpRtt, owner, attributes, rtt, unix_nano);
    }
    traffic(store, occurrence, &flow, end);
}

pub(super) fn failed(
    store: &mut Store,
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    end: &ConnectionEnd,
) {
    let flow = flow(identity, occurrence, &end.connection);
    let Occurrence {
        owner, unix_nano, ..
    } = *occurrence;
    let error = (Attr::ErrorType, Value::Static(connect_failure(end)));
    let attributes = store.intern(&with(&flow, error));
    store.add(
        Metric::TcpConnectionFailures,
        owner,
        attributes,
        1,
        unix_nano,
    );
    traffic(store, occurrence, &flow, end);
}

/// What the connection carried. Series that would stay at zero are not made.
fn traffic(
    store: &mut Store,
    occurrence: &Occurrence<'_>,
    flow: &[(Attr, Value)],
    end: &ConnectionEnd,
) {
    let Occurrence {
        owner, unix_nano, ..
    } = *occurrence;
    let totals = &end.totals;
    let directions = [
        ("transmit", totals.bytes_sent, totals.segments_sent),
        ("receive", totals.bytes_received, totals.segments_received),
    ];
    for (direction, bytes, segments) in directions {
        let attributes = store.intern(&with(
            flow,
            (Attr::NetworkIoDirection, Value::Static(direction)),
        ));
        if bytes > 0 {
            store.add(Metric::TcpIo, owner, attributes, units(bytes), unix_nano);
        }
        if segments > 0 {
            store.add(
                Metric::TcpSegments,
                owner,
                attributes,
                units(segments),
                unix_nano,
            );
        }
    }
    if totals.retransmits > 0 {
        let attributes = store.intern(flow);
        let retransmits = units(totals.retransmits);
        store.add(
            Metric::TcpRetransmits,
            owner,
            attributes,
            retransmits,
            unix_nano,
        );
    }
}

/// Both ends, in attribute order: the source opened the connection, the reporter is this node's end.
fn flow(
    identity: &mut Identity,
    occurrence: &Occurrence<'_>,
    connection: &Connection,
) -> Attributes {
    let local = match identity.workload(occurrence.owner) {
        Some(workload) => Peer::Workload(workload),
        None => identity.local_end(connection.local.ip()),
    };
    let remote = identity.peer(connection.remote.ip());
    let (reporter, source, destination) = match connection.role {
        Some(Role::Destination) => ("destination", remote, local),
        Some(Role::Source) | None => ("source", local, remote),
    };
    let mut attributes = Attributes::with_capacity(9);
    push_end(&mut attributes, &DESTINATION, destination);
    let port = Value::Int(i64::from(connection.destination_port()));
    attributes.push((Attr::DestinationPort, port));
    push_end(&mut attributes, &SOURCE, source);
    attributes.push((Attr::Reporter, Value::Static(reporter)));
    attributes
}

/// The attributes of one end.
struct End {
    address: Attr,
    namespace: Attr,
    kind: Attr,
    workload: Attr,
}

const SOURCE: End = End {
    address: Attr::SourceAddress,
    namespace: Attr::SourceNamespace,
    kind: Attr::SourceWorkloadKind,
    workload: Attr::SourceWorkload,
};

const DESTINATION: End = End {
    address: Attr::DestinationAddress,
    namespace: Attr::DestinationNamespace,
    kind: Attr::DestinationWorkloadKind,
    workload: Attr::DestinationWorkload,
};

fn push_end(attributes: &mut Attributes, end: &End, peer: Peer) {
    match peer {
        Peer::Address(address) => attributes.push((end.address, Value::Str(address))),
        Peer::Workload(workload) => {
            attributes.push((end.namespace, Value::Str(Arc::clone(&workload.namespace))));
            attributes.push((end.kind, Value::Str(Arc::clone(&workload.kind))));
            attributes.push((end.workload, Value::Str(Arc::clone(&workload.name))));
        }
    }
}

fn with(flow: &[(Attr, Value)], more: (Attr, Value)) -> Attributes {
    let mut attributes = flow.to_vec();
    attributes.push(more);
    attributes
}
