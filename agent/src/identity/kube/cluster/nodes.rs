//! Nodes, by the addresses others reach them at.

use k8s_openapi::api::core::v1::Node;
use kube::core::ApiResource;
use serde::Deserialize;

use super::super::translate::Translate;
use super::object::{Addresses, Metadata};

use super::{OfKind, cluster_updates};
use crate::identity::cluster::{ClusterObject, ObjectKind};
use crate::identity::workload::Workload;
use crate::identity::workloads::Workloads;

/// Reads nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    workloads: Workloads,
}

/// A slim `v1.Node`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimNode {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeAddress {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

impl OfKind for Nodes {
    const KIND: ObjectKind = ObjectKind::Node;
}

impl Translate for Nodes {
    type Content = SlimNode;
    cluster_updates!();

    const OBJECTS: &'static str = "nodes";

    fn resources(&self) -> Vec<ApiResource> {
        vec![ApiResource::erase::<Node>(&())]
    }

    fn read(&mut self, content: SlimNode) -> Option<ClusterObject> {
        let SlimNode { metadata, status } = content;
        let mut addresses = Addresses::default();
        let all = status.addresses.iter().flatten();
        let reached =
            |entry: &&NodeAddress| matches!(entry.kind.as_str(), "InternalIP" | "ExternalIP");
        addresses.add_all(all.filter(reached).map(|entry| &entry.address));
        Some(ClusterObject {
            kind: Self::KIND,
            uid: metadata.uid?.into(),
            name: self.workloads.intern(Workload {
                namespace: "".into(),
                name: metadata.name?.into(),
                kind: "Node".into(),
            }),
            addresses: addresses.into_vec(),
            since: metadata.creation_timestamp,
            finished: false,
        })
    }
}
