//! A pod as the watch reads it: only the fields identity needs are ever allocated.

mod container_status;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;

use self::container_status::SlimContainerStatus;
use super::allow_list::AllowList;
use super::resource_annotations::resource_annotations;
use crate::identity::cluster::ObjectKind;
use crate::identity::image::ImageRef;
use crate::identity::pod_info::{ContainerInfo, PodInfo, ServiceEnv, ServiceLabels};
use crate::identity::workload::{ObjectName, Workload, owner_chain};

/// Addresses read of one pod; more than are kept, so that it shows.
const MOST_IPS: usize = 2 * ObjectKind::Pod.most_addresses();

/// A slim `v1.Pod`.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimPod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
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
    conditions: Option<Vec<Condition>>,
    init_container_statuses: Option<Vec<SlimContainerStatus>>,
    container_statuses: Option<Vec<SlimContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<SlimContainerStatus>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    last_transition_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

impl SlimPod {
    /// What identity keeps, of labels and annotations what is `allowed`. `None` for an object without UID, name or namespace, which no server sends.
    pub(super) fn into_info(self, allowed: &mut AllowList) -> Option<PodInfo> {
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
        let config_hash = config_hash(&annotations, controller.as_ref());
        let owners = owner_chain(
            controller,
            labels.get("pod-template-hash").map(String::as_str),
        );
        Some(PodInfo {
            config_hash,
            ips: ips(&status),
            host_network: spec.host_network == Some(true),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            start_time: status.start_time,
            ready_since: ready_since(&status),
            workload: Arc::new(workload(&namespace, &name, &owners)),
            owners,
            labels: service_labels(&labels),
            metadata_attributes: allowed.attributes(&name, &labels, &annotations),
            resource_annotations: resource_annotations(&annotations),
            containers: containers(&spec, &status),
            node_name: spec.node_name.map(Into::into),
            uid,
            namespace,
            name,
        })
    }
}

/// The one owner that looks after the object.
pub(super) fn controller(references: Vec<OwnerReference>) -> Option<ObjectName> {
    let owner = references
        .into_iter()
        .find(|owner| owner.controller == Some(true))?;
    Some(ObjectName {
        kind: owner.kind.into(),
        name: owner.name.into(),
    })
}

/// The farthest owner, or the pod itself.
pub(super) fn workload(namespace: &Arc<str>, pod: &Arc<str>, owners: &[ObjectName]) -> Workload {
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

/// The API server keeps a mirror of a static pod; kubelet names its cgroups after the file's hash, not the mirror's UID. Anybody
/// may write annotations; that of a mirror counts only where the node owns it, as the API server lets kubelets alone make those.
fn config_hash(
    annotations: &BTreeMap<String, String>,
    controller: Option<&ObjectName>,
) -> Option<Arc<str>> {
    let is_mirror = controller.is_some_and(|owner| &*owner.kind == "Node");
    let hash = annotations.get("kubernetes.io/config.mirror");
    hash.filter(|hash| is_mirror && !hash.is_empty())
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
        if found.len() < MOST_IPS && !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

/// Since when the pod is ready, if it is.
fn ready_since(status: &Status) -> Option<Timestamp> {
    let conditions = status.conditions.iter().flatten();
    let mut ready = conditions.filter(|condition| condition.kind == "Ready");
    let is_true = |condition: &&Condition| condition.status.as_deref() == Some("True");
    ready.find(is_true)?.last_transition_time
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
            ids: status
                .map(SlimContainerStatus::container_ids)
                .unwrap_or_default(),
            image: ImageRef::parse(container.image.as_deref().unwrap_or_default()),
            env: ServiceEnv::from_env(
                env.filter_map(|var| Some((var.name.as_str(), var.value.as_deref()?))),
            ),
            image_digest: status.and_then(SlimContainerStatus::image_digest),
            status: status.map(SlimContainerStatus::of_runs).unwrap_or_default(),
        }
    };
    specified
        .into_iter()
        .flatten()
        .flatten()
        .map(info)
        .collect()
}

#[cfg(test)]
mod tests;
