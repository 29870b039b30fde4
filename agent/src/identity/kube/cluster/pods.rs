//! Pods, by the addresses of their own.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::core::ApiResource;
use serde::Deserialize;

use super::super::pod::{controller, workload};
use super::super::translate::Translate;
use super::object::{Addresses, Metadata};

use super::{OfKind, cluster_updates};
use crate::identity::cluster::{ClusterObject, ObjectKind};
use crate::identity::workload::owner_chain;
use crate::identity::workloads::Workloads;

/// Reads pods of the whole cluster.
#[derive(Debug, Default)]
pub(super) struct Pods {
    workloads: Workloads,
}

/// A slim `v1.Pod`: slimmer than what is read of this node's.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimPod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
    start_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

impl OfKind for Pods {
    const KIND: ObjectKind = ObjectKind::Pod;
}

impl Translate for Pods {
    type Content = SlimPod;
    cluster_updates!();

    const OBJECTS: &'static str = "pods of the cluster";

    fn resources(&self) -> Vec<ApiResource> {
        vec![ApiResource::erase::<Pod>(&())]
    }

    fn read(&mut self, content: SlimPod) -> Option<ClusterObject> {
        let SlimPod {
            metadata,
            spec,
            status,
        } = content;
        let uid = metadata.uid?.into();
        let name: Arc<str> = metadata.name?.into();
        let namespace: Arc<str> = metadata.namespace?.into();
        let controller = controller(metadata.owner_references.unwrap_or_default());
        let hash = metadata.labels.and_then(|labels| labels.template_hash);
        let owners = owner_chain(controller, hash.as_deref());
        let mut addresses = Addresses::default();
        if spec.host_network != Some(true) {
            addresses.add_all(status.pod_ips.iter().flatten().map(|entry| &entry.ip));
            addresses.add_all(&status.pod_ip);
        }
        Some(ClusterObject {
            kind: Self::KIND,
            uid,
            name: self.workloads.intern(workload(&namespace, &name, &owners)),
            addresses: addresses.into_vec(),
            since: status.start_time.or(metadata.creation_timestamp),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        })
    }
}
