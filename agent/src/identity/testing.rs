//! Pods for tests.

use std::sync::Arc;

use super::pod_info::{ContainerInfo, PodInfo, ServiceLabels};
use super::workload::{ObjectName, Workload};

/// A pod called `name` with UID `uid-<name>` that nothing controls.
pub(super) fn pod(namespace: &str, name: &str) -> PodInfo {
    PodInfo {
        uid: format!("uid-{name}").into(),
        namespace: namespace.into(),
        name: name.into(),
        config_hash: None,
        ips: Vec::new(),
        host_network: false,
        finished: false,
        node_name: None,
        start_time: None,
        ready_since: None,
        owners: Vec::new(),
        workload: Arc::new(Workload {
            namespace: namespace.into(),
            name: name.into(),
            kind: "Pod".into(),
        }),
        containers: Vec::new(),
        labels: ServiceLabels::default(),
        resource_annotations: Vec::new(),
        metadata_attributes: Vec::new(),
    }
}

/// The same pod with these owners, nearest first.
pub(super) fn owned(pod: PodInfo, owners: &[(&str, &str)]) -> PodInfo {
    let owners: Vec<ObjectName> = owners
        .iter()
        .map(|(kind, name)| ObjectName {
            kind: (*kind).into(),
            name: (*name).into(),
        })
        .collect();
    let workload = match owners.last() {
        Some(top) => Arc::new(Workload {
            namespace: Arc::clone(&pod.namespace),
            name: Arc::clone(&top.name),
            kind: Arc::clone(&top.kind),
        }),
        None => Arc::clone(&pod.workload),
    };
    PodInfo {
        owners,
        workload,
        ..pod
    }
}

/// A running container.
pub(super) fn container(name: &str, id: &str) -> ContainerInfo {
    ContainerInfo {
        name: name.into(),
        ids: vec![id.into()],
        ..ContainerInfo::default()
    }
}
