//! A pod as the watch reads it: only the fields identity needs are ever allocated.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde::Deserialize;

use crate::identity::image::ImageRef;
use crate::identity::pod_info::{ContainerInfo, PodInfo, ServiceEnv, ServiceLabels};
use crate::identity::workload::{ObjectName, Workload, owner_chain};

/// Annotations under this prefix are resource attributes (semantic conventions, non-normative Kubernetes page).
const RESOURCE_PREFIX: &str = "resource.opentelemetry.io/";

/// A slim `v1.Pod`.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "Pod")]
pub(super) struct SlimPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    init_containers: Option<Vec<Container>>,
    containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    env: Option<Vec<EnvVar>>,
}

#[derive(Clone, Debug, Deserialize)]
struct EnvVar {
    name: String,
    #[serde(default)]
    value: Option<String>,
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
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID", default)]
    container_id: Option<String>,
    #[serde(default)]
    last_state: Option<LastState>,
}

#[derive(Clone, Debug, Deserialize)]
struct LastState {
    #[serde(default)]
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Deserialize)]
struct Terminated {
    #[serde(rename = "containerID", default)]
    container_id: Option<String>,
}

impl SlimPod {
    /// What identity keeps. `None` for an object without UID, name or namespace, which no server sends.
    pub(super) fn into_info(self) -> Option<PodInfo> {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let uid: Arc<str> = metadata.uid?.into();
        let name: Arc<str> = metadata.name?.into();
        let namespace: Arc<str> = metadata.namespace?.into();
        let labels = metadata.labels.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();

        let controller = controller(metadata.owner_references.unwrap_or_default());
        let owners = owner_chain(
            controller,
            labels.get("pod-template-hash").map(String::as_str),
        );
        Some(PodInfo {
            config_hash: config_hash(&annotations),
            ips: ips(&status),
            host_network: spec.host_network == Some(true),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            start_time: status.start_time,
            workload: Arc::new(workload(&namespace, &name, &owners)),
            owners,
            labels: service_labels(&labels),
            resource_annotations: resource_annotations(annotations),
            containers: containers(&spec, &status),
            node_name: spec.node_name.map(Into::into),
            uid,
            namespace,
            name,
        })
    }
}

fn controller(references: Vec<OwnerReference>) -> Option<ObjectName> {
    let owner = references
        .into_iter()
        .find(|owner| owner.controller == Some(true))?;
    Some(ObjectName {
        kind: owner.kind.into(),
        name: owner.name.into(),
    })
}

fn workload(namespace: &Arc<str>, pod: &Arc<str>, owners: &[ObjectName]) -> Workload {
    let (name, kind) = match owners.last() {
        Some(owner) => (Arc::clone(&owner.name), Arc::clone(&owner.kind)),
        None => (Arc::clone(pod), "Pod".into()),
    };
    Workload {
        namespace: Arc::clone(namespace),
        name,
        kind,
    }
}

/// The API server keeps a mirror of a static pod; kubelet names its cgroups after the file's hash, not the mirror's UID.
fn config_hash(annotations: &BTreeMap<String, String>) -> Option<Arc<str>> {
    let hash = annotations
        .get("kubernetes.io/config.mirror")
        .or_else(|| annotations.get("kubernetes.io/config.hash"));
    hash.filter(|hash| !hash.is_empty())
        .map(|hash| hash.as_str().into())
}

fn ips(status: &Status) -> Vec<std::net::IpAddr> {
    let all = status
        .pod_ips
        .iter()
        .flatten()
        .map(|entry| &entry.ip)
        .chain(&status.pod_ip);
    let mut found = Vec::new();
    for ip in all.filter_map(|ip| ip.parse().ok()) {
        if !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

fn service_labels(labels: &BTreeMap<String, String>) -> ServiceLabels {
    let label = |name: &str| {
        let value = labels.get(&format!("app.kubernetes.io/{name}"));
        value
            .filter(|value| !value.is_empty())
            .map(|value| value.as_str().into())
    };
    ServiceLabels {
        instance: label("instance"),
        name: label("name"),
        part_of: label("part-of"),
        version: label("version"),
    }
}

fn resource_annotations(annotations: BTreeMap<String, String>) -> Vec<(Arc<str>, Arc<str>)> {
    let attribute = |(key, value): (String, String)| {
        let key = key.strip_prefix(RESOURCE_PREFIX)?;
        Some((key.into(), value.into()))
    };
    annotations.into_iter().filter_map(attribute).collect()
}

fn containers(spec: &Spec, status: &Status) -> Vec<ContainerInfo> {
    let specified = [
        &spec.init_containers,
        &spec.containers,
        &spec.ephemeral_containers,
    ];
    let statuses = [
        &status.init_container_statuses,
        &status.container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let info = |container: &Container| {
        let status = statuses
            .into_iter()
            .flatten()
            .flatten()
            .find(|status| status.name == container.name);
        let env = container.env.iter().flatten();
        ContainerInfo {
            name: container.name.as_str().into(),
            ids: status.map(container_ids).unwrap_or_default(),
            image: ImageRef::parse(container.image.as_deref().unwrap_or_default()),
            env: ServiceEnv::from_env(
                env.filter_map(|var| Some((var.name.as_str(), var.value.as_deref()?))),
            ),
        }
    };
    specified
        .into_iter()
        .flatten()
        .flatten()
        .map(info)
        .collect()
}

/// The id of the run before comes first: a crashed container is often met before its successor is reported.
fn container_ids(status: &ContainerStatus) -> Vec<Arc<str>> {
    let before = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let before = before.and_then(|run| run.container_id.as_deref());
    let all = before.into_iter().chain(status.container_id.as_deref());
    // `containerd://<id>`; empty until the container was started once.
    let ids = all.map(|id| id.rsplit_once("://").map_or(id, |(_, id)| id));
    ids.filter(|id| !id.is_empty()).map(Into::into).collect()
}

#[cfg(test)]
mod tests;
