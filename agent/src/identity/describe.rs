//! Owner → [`Resource`]: OpenTelemetry attributes and Prometheus labels.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cgroup_path::Runtime;
use super::facts::NodeFacts;
use super::pod_info::{ContainerInfo, PodInfo};
use super::resource::{Resource, Value};
use super::service::{self, Service, UNKNOWN_SERVICE};
use super::settings::IdentitySettings;

/// `telemetry.distro.name`, and the agent's own `service.name`.
const AGENT: &str = "wellhead";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Owner kinds that have an attribute of their own.
const OWNER_KEYS: [(&str, &str); 6] = [
    ("Deployment", "k8s.deployment.name"),
    ("ReplicaSet", "k8s.replicaset.name"),
    ("StatefulSet", "k8s.statefulset.name"),
    ("DaemonSet", "k8s.daemonset.name"),
    ("CronJob", "k8s.cronjob.name"),
    ("Job", "k8s.job.name"),
];

/// What the configuration puts on every resource that does not say something else: the cluster's name first, then attributes.
#[derive(Debug)]
pub(super) struct Configured(Vec<(Arc<str>, Arc<str>)>);

impl Configured {
    fn of(settings: &IdentitySettings) -> Self {
        let name = settings.cluster_name.as_deref();
        let name = name.map(|name| ("k8s.cluster.name", name));
        let attributes = settings.resource_attributes.iter();
        let attributes = attributes.map(|(key, value)| (key.as_str(), value.as_str()));
        let all = name.into_iter().chain(attributes);
        Self(all.map(|(key, value)| (key.into(), value.into())).collect())
    }

    fn all(&self) -> impl Iterator<Item = &(Arc<str>, Arc<str>)> {
        self.0.iter()
    }
}

/// Writes resources.
#[derive(Debug)]
pub(super) struct Describer {
    node_name: Arc<str>,
    configured: Configured,
    is_kubernetes: bool,
    use_labels: bool,
    facts: NodeFacts,
    keys: Keys,
}

impl Describer {
    pub(super) fn new(settings: &IdentitySettings) -> Self {
        Self {
            node_name: settings.node_name.as_str().into(),
            configured: Configured::of(settings),
            is_kubernetes: settings.kubernetes,
            use_labels: settings.use_well_known_labels,
            facts: NodeFacts::default(),
            keys: Keys::default(),
        }
    }

    /// From now on every resource says so.
    pub(super) fn learn(&mut self, facts: NodeFacts) {
        self.facts = facts;
    }

    /// From now on the cluster is called so, and every resource has the attributes of these settings.
    pub(super) fn reconfigure(&mut self, settings: &IdentitySettings) {
        self.configured = Configured::of(settings);
    }

    /// The agent's own resource. Without labels: what there is to say of the agent is in `target_info`.
    pub(super) fn node(&mut self) -> Resource {
        let mut draft = Draft::default();
        draft.set(self.keys.get("service.name"), Value::Static(AGENT));
        draft.set_text(self.keys.get("service.instance.id"), &self.node_name);
        draft.set(self.keys.get("service.version"), Value::Static(VERSION));
        self.finish(draft)
    }

    /// Processes of the host: a slice, or a service in it.
    pub(super) fn host(&mut self, slice: &Arc<str>, unit: Option<&Arc<str>>) -> Resource {
        let mut draft = Draft::default();
        let name = service::name_of_unit(unit.unwrap_or(slice)).unwrap_or(UNKNOWN_SERVICE);
        self.service(&mut draft, &nameless(name.into(), &self.node_name));
        draft.set_text(self.keys.get("wellhead.slice"), slice);
        self.finish(draft)
    }

    /// A container whose pod, if it has one, is not known. `pod_uid` is as the cgroup's path has it.
    pub(super) fn container(
        &mut self,
        id: &Arc<str>,
        runtime: Runtime,
        pod_uid: Option<&Arc<str>>,
    ) -> Resource {
        let mut draft = Draft::default();
        // What identifies an LXC container on its node is the name somebody gave it.
        let service = match runtime {
            Runtime::Lxc => nameless(Arc::clone(id), &format!("{}.{id}", self.node_name).into()),
            _ => nameless(UNKNOWN_SERVICE.into(), id),
        };
        self.service(&mut draft, &service);
        draft.set_some(self.keys.get("k8s.pod.uid"), pod_uid);
        draft.set_text(self.keys.get("container.id"), id);
        draft.label("container_id", id);
        self.finish(draft)
    }

    /// A pod's own cgroup while the pod is not known.
    pub(super) fn unknown_pod(&mut self, uid: &Arc<str>) -> Resource {
        let mut draft = Draft::default();
        self.service(&mut draft, &nameless(UNKNOWN_SERVICE.into(), uid));
        draft.set_text(self.keys.get("k8s.pod.uid"), uid);
        self.finish(draft)
    }

    /// A known pod. `container` is `None` for the pod's own cgroup and for containers Kubernetes does not list, such as
    /// the sandbox; `container_id` only for the former.
    pub(super) fn pod(
        &mut self,
        pod: &PodInfo,
        container: Option<&ContainerInfo>,
        container_id: Option<&Arc<str>>,
    ) -> Resource {
        let mut draft = Draft::default();
        self.service(
            &mut draft,
            &service::of_pod(pod, container, self.use_labels),
        );
        self.pod_attributes(&mut draft, pod);
        draft.set_some(self.keys.get("container.id"), container_id);
        if let Some(container) = container {
            self.container_attributes(&mut draft, container, container_id);
        }
        draft.label("k8s_namespace_name", &pod.namespace);
        draft.label("k8s_pod_name", &pod.name);
        draft.label("k8s_workload_name", &pod.workload.name);
        draft.label("k8s_workload_kind", &pod.workload.kind);
        self.add_common(&mut draft);
        // After what is known and what is configured: they say more, and nothing else. The pod's own environment is nearer than
        // what is noted on it.
        let of_env = container.iter().flat_map(|container| &container.env.others);
        for (key, value) in of_env.chain(&pod.resource_annotations) {
            draft.set_text(Arc::clone(key), value);
        }
        // Last, so that what somebody said on purpose under such a key stays. An empty value says that the label is there.
        for (key, value) in &pod.metadata_attributes {
            draft.set(Arc::clone(key), Value::Str(Arc::clone(value)));
        }
        draft.finish()
    }

    fn service(&mut self, draft: &mut Draft, service: &Service) {
        draft.set_text(self.keys.get("service.name"), &service.name);
        draft.set_some(
            self.keys.get("service.namespace"),
            service.namespace.as_ref(),
        );
        draft.set_text(self.keys.get("service.instance.id"), &service.instance_id);
        draft.set_some(self.keys.get("service.version"), service.version.as_ref());
        draft.label("service_name", &service.name);
    }

    fn pod_attributes(&mut self, draft: &mut Draft, pod: &PodInfo) {
        draft.set_text(self.keys.get("k8s.namespace.name"), &pod.namespace);
        draft.set_text(self.keys.get("k8s.pod.name"), &pod.name);
        draft.set_text(self.keys.get("k8s.pod.uid"), &pod.uid);
        // The node's address would make processors take the pod for another one of the node.
        if let (false, Some(ip)) = (pod.host_network, pod.ips.first()) {
            draft.set(
                self.keys.get("k8s.pod.ip"),
                Value::Str(ip.to_string().into()),
            );
        }
        draft.set_some(self.keys.get("k8s.node.name"), pod.node_name.as_ref());
        for (kind, key) in OWNER_KEYS {
            let owner = pod.owners.iter().find(|owner| &*owner.kind == kind);
            draft.set_some(self.keys.get(key), owner.map(|owner| &owner.name));
        }
    }

    fn container_attributes(
        &mut self,
        draft: &mut Draft,
        container: &ContainerInfo,
        id: Option<&Arc<str>>,
    ) {
        draft.set_text(self.keys.get("k8s.container.name"), &container.name);
        draft.set_text(self.keys.get("container.image.name"), &container.image.name);
        if let Some(tag) = &container.image.tag {
            draft.set(
                self.keys.get("container.image.tags"),
                Value::List([Arc::clone(tag)].into()),
            );
        }
        if let Some(digest) = id.and_then(|id| container.digest_of(id)) {
            draft.set(
                self.keys.get("container.image.repo_digests"),
                Value::List([Arc::clone(digest)].into()),
            );
        }
        draft.label("k8s_container_name", &container.name);
    }

    fn finish(&mut self, mut draft: Draft) -> Resource {
        self.add_common(&mut draft);
        draft.finish()
    }

    /// Adds what every resource has. What was said before of the workload itself stays.
    fn add_common(&mut self, draft: &mut Draft) {
        draft.set_text(self.keys.get("host.name"), &self.node_name);
        if self.is_kubernetes {
            draft.set_text(self.keys.get("k8s.node.name"), &self.node_name);
        }
        self.add_facts(draft);
        draft.set(self.keys.get("telemetry.distro.name"), Value::Static(AGENT));
        draft.set(
            self.keys.get("telemetry.distro.version"),
            Value::Static(VERSION),
        );
        for (key, value) in self.configured.all() {
            draft.set_text(Arc::clone(key), value);
        }
    }

    fn add_facts(&mut self, draft: &mut Draft) {
        for (key, value) in self.facts.attributes() {
            draft.set_text(self.keys.get(key), value);
        }
    }
}

fn nameless(name: Arc<str>, instance_id: &Arc<str>) -> Service {
    Service {
        name,
        namespace: None,
        instance_id: Arc::clone(instance_id),
        version: None,
    }
}

/// Every key once, however many resources carry it.
#[derive(Debug, Default)]
struct Keys(HashMap<&'static str, Arc<str>>);

impl Keys {
    fn get(&mut self, key: &'static str) -> Arc<str> {
        Arc::clone(self.0.entry(key).or_insert_with(|| key.into()))
    }
}

/// A resource being written. What is empty is left out; what is said first stays.
#[derive(Debug, Default)]
struct Draft {
    resource: Resource,
    keys: HashSet<Arc<str>>,
}

impl Draft {
    /// There are thousands, so none is larger than it has to be.
    fn finish(mut self) -> Resource {
        self.resource.attributes.shrink_to_fit();
        self.resource.labels.shrink_to_fit();
        self.resource
    }

    fn set(&mut self, key: Arc<str>, value: Value) {
        if !key.is_empty() && self.keys.insert(Arc::clone(&key)) {
            self.resource.attributes.push((key, value));
        }
    }

    fn set_text(&mut self, key: Arc<str>, text: &Arc<str>) {
        if !text.is_empty() {
            self.set(key, Value::Str(Arc::clone(text)));
        }
    }

    fn set_some(&mut self, key: Arc<str>, text: Option<&Arc<str>>) {
        if let Some(text) = text {
            self.set_text(key, text);
        }
    }

    fn label(&mut self, key: &'static str, text: &Arc<str>) {
        if !text.is_empty() {
            self.resource.labels.push((key, Arc::clone(text)));
        }
    }
}

#[cfg(test)]
mod tests;
