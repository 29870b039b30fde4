//! The attributes that name both ends of a connection.

use std::sync::Arc;

use super::{Attributes, Occurrence};
use crate::events::{Connection, Role};
use crate::identity::{Identity, Peer, Value, Workload};
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
    let remote = identity.peer(&occurrence.far_end(connection), occurrence.backend);
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
    /// A Service is dialled; nobody connects from its address.
    service: Option<Attr>,
}

const SOURCE: End = End {
    address: Attr::SourceAddress,
    namespace: Attr::SourceNamespace,
    kind: Attr::SourceWorkloadKind,
    workload: Attr::SourceWorkload,
    service: None,
};

const DESTINATION: End = End {
    address: Attr::DestinationAddress,
    namespace: Attr::DestinationNamespace,
    kind: Attr::DestinationWorkloadKind,
    workload: Attr::DestinationWorkload,
    service: Some(Attr::DestinationService),
};

fn push_end(attributes: &mut Attributes, end: &End, peer: Peer) {
    match peer {
        Peer::Address(address) => attributes.push((end.address, Value::Str(address))),
        Peer::Workload(workload) => push_workload(attributes, end, &workload),
        Peer::Service { service, backend } => match (end.service, backend) {
            (Some(attribute), backend) => {
                // A backend in the host's network is the node to others, and in no namespace.
                let of_backend = backend.as_ref().map(|backend| &backend.namespace);
                let namespace = of_backend
                    .filter(|namespace| !namespace.is_empty())
                    .unwrap_or(&service.namespace);
                attributes.push((end.namespace, Value::Str(Arc::clone(namespace))));
                attributes.push((attribute, Value::Str(Arc::clone(&service.name))));
                if let Some(backend) = backend {
                    push_kind(attributes, end, &backend);
                }
            }
            (None, _) => push_workload(attributes, end, &service),
        },
    }
}

fn push_workload(attributes: &mut Attributes, end: &End, workload: &Workload) {
    // Nodes are in none.
    if !workload.namespace.is_empty() {
        attributes.push((end.namespace, Value::Str(Arc::clone(&workload.namespace))));
    }
    push_kind(attributes, end, workload);
}

fn push_kind(attributes: &mut Attributes, end: &End, workload: &Workload) {
    attributes.push((end.kind, Value::Str(Arc::clone(&workload.kind))));
    attributes.push((end.workload, Value::Str(Arc::clone(&workload.name))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_keeps_its_namespace_whoever_answers() {
        let workload = |namespace: &str, name: &str, kind: &str| {
            Arc::new(Workload {
                namespace: namespace.into(),
                name: name.into(),
                kind: kind.into(),
            })
        };
        let check = |backend: Option<Arc<Workload>>, expected: &str| {
            let service = workload("shop", "web", "Service");
            let mut attributes = Attributes::new();
            push_end(
                &mut attributes,
                &DESTINATION,
                Peer::Service { service, backend },
            );
            let namespace = attributes
                .iter()
                .find(|(attribute, _)| *attribute == Attr::DestinationNamespace);
            let namespace = namespace.and_then(|(_, value)| value.as_str());
            assert_eq!(namespace, Some(expected));
        };
        check(None, "shop");
        check(Some(workload("backends", "web", "Deployment")), "backends");
        check(Some(workload("", "node-a", "Node")), "shop");
    }
}
