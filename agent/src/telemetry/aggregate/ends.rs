//! The attributes that name both ends of a connection.

use std::sync::Arc;

use super::{Attributes, Occurrence};
use crate::events::{Connection, Role};
use crate::identity::{Identity, Peer, Value};
use crate::telemetry::catalogue::Attr;

/// Both ends, in attribute order: the source opened the connection, the reporter is this node's end.
pub(super) fn flow_attributes(
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
