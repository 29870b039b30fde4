//! Services, by their cluster, external and load-balancer addresses; the latter two for their ports only. And by the ports they have
//! at every node.

use k8s_openapi::api::core::v1::Service;
use kube::core::ApiResource;
use serde::Deserialize;

use super::super::translate::Translate;
use super::object::{Addresses, Metadata};

use super::{OfKind, cluster_updates};
use crate::identity::cluster::{ClusterObject, ObjectKind};
use crate::identity::workload::Workload;
use crate::identity::workloads::Workloads;

/// Reads Services.
#[derive(Debug, Default)]
pub(super) struct Services {
    workloads: Workloads,
}

/// A slim `v1.Service`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimService {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    /// `None`, as text, for a headless Service.
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    port: u16,
    #[serde(default)]
    node_port: Option<u16>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Ingress {
    #[serde(default)]
    ip: Option<String>,
}

impl OfKind for Services {
    const KIND: ObjectKind = ObjectKind::Service;
}

impl Translate for Services {
    type Content = SlimService;
    cluster_updates!();

    const OBJECTS: &'static str = "services";

    fn resources(&self) -> Vec<ApiResource> {
        vec![ApiResource::erase::<Service>(&())]
    }

    fn read(&mut self, content: SlimService) -> Option<ClusterObject> {
        let SlimService {
            metadata,
            spec,
            status,
        } = content;
        let mut addresses = Addresses::default();
        addresses.add_all(spec.cluster_ips.iter().flatten());
        addresses.add_all(&spec.cluster_ip);
        let ingress = status.load_balancer.and_then(|balancer| balancer.ingress);
        let ingress = ingress.iter().flatten();
        let ingress = ingress.filter_map(|entry| entry.ip.as_ref());
        // Others have them as well: nodes, other Services. What they are the Service's for is its ports.
        for ip in spec.external_ips.iter().flatten().chain(ingress) {
            for Port { port, .. } in spec.ports.iter().flatten() {
                addresses.add(ip, Some(*port));
            }
        }
        let ports = spec.ports.iter().flatten();
        for port in ports
            .filter_map(|port| port.node_port)
            .filter(|port| *port != 0)
        {
            addresses.add_at_nodes(port);
        }
        Some(ClusterObject {
            kind: Self::KIND,
            uid: metadata.uid?.into(),
            name: self.workloads.intern(Workload {
                namespace: metadata.namespace?.into(),
                name: metadata.name?.into(),
                kind: "Service".into(),
            }),
            addresses: addresses.into_vec(),
            since: metadata.creation_timestamp,
            finished: metadata.deletion_timestamp.is_some(),
        })
    }
}
