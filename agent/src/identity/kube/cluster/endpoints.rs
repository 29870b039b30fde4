//! What is behind a Service and no pod: the API server, hosts outside the cluster.
//!
//! As EndpointSlices where the server has them, else as Endpoints. One slim type reads both.

use k8s_openapi::api::core::v1::Endpoints as CoreEndpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::ApiResource;
use serde::Deserialize;

use super::super::translate::Translate;
use super::object::{Addresses, Metadata};

use super::{OfKind, cluster_updates};
use crate::identity::cluster::{ClusterObject, ObjectKind};
use crate::identity::workload::Workload;
use crate::identity::workloads::Workloads;

/// Reads EndpointSlices or Endpoints.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    workloads: Workloads,
}

/// A slim `discovery.k8s.io/v1.EndpointSlice`, or `v1beta1`, or `v1.Endpoints`, which has subsets.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimEndpoints {
    metadata: Metadata,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    subsets: Option<Vec<Subset>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    addresses: Option<Vec<String>>,
    target_ref: Option<Target>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subset {
    addresses: Option<Vec<SubsetAddress>>,
    not_ready_addresses: Option<Vec<SubsetAddress>>,
    ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SubsetAddress {
    ip: String,
    target_ref: Option<Target>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    kind: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    port: Option<u16>,
}

impl OfKind for Endpoints {
    const KIND: ObjectKind = ObjectKind::Endpoints;
}

impl Translate for Endpoints {
    type Content = SlimEndpoints;
    cluster_updates!();

    const OBJECTS: &'static str = "endpoints";

    fn resources(&self) -> Vec<ApiResource> {
        let slices = ApiResource::erase::<EndpointSlice>(&());
        // Before Kubernetes 1.21.
        let beta = ApiResource {
            version: "v1beta1".to_owned(),
            api_version: "discovery.k8s.io/v1beta1".to_owned(),
            ..slices.clone()
        };
        vec![slices, beta, ApiResource::erase::<CoreEndpoints>(&())]
    }

    fn read(&mut self, content: SlimEndpoints) -> Option<ClusterObject> {
        let SlimEndpoints {
            metadata,
            endpoints,
            ports,
            subsets,
        } = content;
        let mut addresses = Addresses::default();
        for endpoint in endpoints
            .iter()
            .flatten()
            .filter(|it| !is_pod(it.target_ref.as_ref()))
        {
            for ip in endpoint.addresses.iter().flatten() {
                add(&mut addresses, ip, ports.as_deref());
            }
        }
        for Subset {
            addresses: ready,
            not_ready_addresses: unready,
            ports,
        } in subsets.iter().flatten()
        {
            let all = ready.iter().chain(unready).flatten();
            for entry in all.filter(|it| !is_pod(it.target_ref.as_ref())) {
                add(&mut addresses, &entry.ip, ports.as_deref());
            }
        }
        // Endpoints are called as their Service is; a slice without the label is nobody's.
        let service = match (subsets, metadata.labels.and_then(|labels| labels.service)) {
            (_, Some(service)) => service,
            (Some(_), None) => metadata.name?,
            (None, None) => {
                addresses = Addresses::default();
                metadata.name?
            }
        };
        Some(ClusterObject {
            kind: Self::KIND,
            uid: metadata.uid?.into(),
            name: self.workloads.intern(Workload {
                namespace: metadata.namespace?.into(),
                name: service.into(),
                kind: "Service".into(),
            }),
            addresses: addresses.into_vec(),
            since: metadata.creation_timestamp,
            finished: false,
        })
    }
}

fn is_pod(target: Option<&Target>) -> bool {
    target.is_some_and(|target| target.kind.as_deref() == Some("Pod"))
}

/// For each port; a slice without ports is for all of them.
fn add(addresses: &mut Addresses, ip: &str, ports: Option<&[Port]>) {
    match ports {
        None | Some([]) => addresses.add(ip, None),
        Some(ports) => {
            for Port { port } in ports {
                addresses.add(ip, *port);
            }
        }
    }
}
