//! `service.*` of a pod's container.
//!
//! The order is the one OBI, Beyla and the OpenTelemetry operator follow, with the label order of the semantic
//! conventions' Kubernetes page (non-normative): the container's environment, because that is what the program's own
//! SDK sends; annotations; well-known labels; the owner chain.

use std::sync::Arc;

use super::pod_info::{ContainerInfo, PodInfo, ServiceEnv, ServiceLabels};

/// The name where nothing says what the service is called (semantic conventions, Service).
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// Kinds of owners a service is named after, in order.
const OWNER_KINDS: [&str; 6] = [
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "Job",
];

/// The attributes that tell services and their instances apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `service.name`.
    pub name: Arc<str>,
    /// `service.namespace`.
    pub namespace: Option<Arc<str>>,
    /// `service.instance.id`.
    pub instance_id: Arc<str>,
    /// `service.version`.
    pub version: Option<Arc<str>>,
}

/// Names the service a container provides, or the pod as a whole where `container` is `None`.
pub(super) fn of_pod(
    pod: &PodInfo,
    container: Option<&ContainerInfo>,
    use_labels: bool,
) -> Service {
    let (no_env, no_labels) = (ServiceEnv::default(), ServiceLabels::default());
    let env = container.map_or(&no_env, |container| &container.env);
    let labels = if use_labels { &pod.labels } else { &no_labels };
    let annotation = |key: &str| {
        let mut all = pod.resource_annotations.iter();
        all.find(|(name, value)| &**name == key && !value.is_empty())
            .map(|(_, value)| Arc::clone(value))
    };

    let name = env.name.clone();
    let name = name.or_else(|| annotation("service.name"));
    let name = name.or_else(|| labels.instance.clone());
    let name = name.or_else(|| labels.name.clone());

    let namespace = env.namespace.clone();
    let namespace = namespace.or_else(|| annotation("service.namespace"));
    let namespace = namespace.or_else(|| labels.part_of.clone());

    let version = env.version.clone();
    let version = version.or_else(|| annotation("service.version"));
    let version = version.or_else(|| labels.version.clone());

    let instance_id = env.instance_id.clone();
    let instance_id = instance_id.or_else(|| annotation("service.instance.id"));

    Service {
        name: name.unwrap_or_else(|| name_by_owner(pod)),
        namespace: Some(namespace.unwrap_or_else(|| Arc::clone(&pod.namespace))),
        instance_id: instance_id.unwrap_or_else(|| instance(pod, container)),
        version: version.or_else(|| container.and_then(|container| container.image.version())),
    }
}

/// Names the service of a systemd unit; a slice is one, too. `None` for the root cgroup.
pub(super) fn name_of_unit(unit: &str) -> Option<&str> {
    let name = unit
        .strip_suffix(".service")
        .or_else(|| unit.strip_suffix(".slice"))
        .unwrap_or(unit);
    // What is left of a template without its instance.
    let name = name.trim_end_matches('@');
    (!name.is_empty() && name != "/").then_some(name)
}

fn name_by_owner(pod: &PodInfo) -> Arc<str> {
    let named = OWNER_KINDS
        .iter()
        .find_map(|kind| pod.owners.iter().find(|owner| &*owner.kind == *kind));
    Arc::clone(named.map_or(&pod.name, |owner| &owner.name))
}

fn instance(pod: &PodInfo, container: Option<&ContainerInfo>) -> Arc<str> {
    match container {
        Some(container) => format!("{}.{}.{}", pod.namespace, pod.name, container.name).into(),
        None => format!("{}.{}", pod.namespace, pod.name).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Service, name_of_unit, of_pod};
    use crate::identity::image::ImageRef;
    use crate::identity::pod_info::{ContainerInfo, PodInfo, ServiceEnv, ServiceLabels};
    use crate::identity::testing::{container, owned, pod};

    /// A pod in which every source says something; the tests take them away one by one.
    fn everything() -> (PodInfo, ContainerInfo) {
        let annotation = |key: &str| {
            (
                format!("service.{key}").into(),
                format!("annotation-{key}").into(),
            )
        };
        let pod = PodInfo {
            labels: ServiceLabels {
                instance: Some("label-instance".into()),
                name: Some("label-name".into()),
                part_of: Some("label-part-of".into()),
                version: Some("label-version".into()),
            },
            resource_annotations: ["name", "namespace", "version", "instance.id"]
                .map(annotation)
                .to_vec(),
            ..owned(
                pod("ns", "web-abc-x"),
                &[("ReplicaSet", "web-abc"), ("Deployment", "web")],
            )
        };
        let container = ContainerInfo {
            image: ImageRef::parse("web:7@sha256:00"),
            env: ServiceEnv {
                name: Some("env-name".into()),
                namespace: Some("env-namespace".into()),
                instance_id: Some("env-instance.id".into()),
                version: Some("env-version".into()),
                others: Vec::new(),
            },
            ..container("app", "c")
        };
        (pod, container)
    }

    #[track_caller]
    fn check(
        service: &Service,
        name: &str,
        namespace: &str,
        version: Option<&str>,
        instance: &str,
    ) {
        let found = (
            &*service.name,
            service.namespace.as_deref(),
            service.version.as_deref(),
            &*service.instance_id,
        );
        assert_eq!(found, (name, Some(namespace), version, instance));
    }

    #[test]
    fn each_source_after_the_one_before() {
        let (mut pod, mut app) = everything();
        let service = of_pod(&pod, Some(&app), true);
        check(
            &service,
            "env-name",
            "env-namespace",
            Some("env-version"),
            "env-instance.id",
        );

        app.env = ServiceEnv::default();
        let service = of_pod(&pod, Some(&app), true);
        check(
            &service,
            "annotation-name",
            "annotation-namespace",
            Some("annotation-version"),
            "annotation-instance.id",
        );

        pod.resource_annotations = vec![("service.name".into(), "".into())];
        let service = of_pod(&pod, Some(&app), true);
        check(
            &service,
            "label-instance",
            "label-part-of",
            Some("label-version"),
            "ns.web-abc-x.app",
        );

        pod.labels.instance = None;
        assert_eq!(&*of_pod(&pod, Some(&app), true).name, "label-name");

        let service = of_pod(&pod, Some(&app), false);
        check(
            &service,
            "web",
            "ns",
            Some("7@sha256:00"),
            "ns.web-abc-x.app",
        );

        let service = of_pod(&pod, None, false);
        check(&service, "web", "ns", None, "ns.web-abc-x");
    }

    #[test]
    fn the_owner_chain() {
        let check = |owners: &[(&str, &str)], expected: &str| {
            let service = of_pod(&owned(pod("ns", "pod"), owners), None, true);
            assert_eq!(&*service.name, expected, "{owners:?}");
        };
        check(&[], "pod");
        check(&[("ReplicaSet", "rs")], "rs");
        check(&[("ReplicaSet", "rs"), ("Deployment", "d")], "d");
        check(&[("Job", "j-28935120"), ("CronJob", "j")], "j");
        check(&[("Job", "j")], "j");
        check(&[("StatefulSet", "db")], "db");
        check(&[("DaemonSet", "agent")], "agent");
        check(&[("Workflow", "train")], "pod");
    }

    #[test]
    fn units() {
        for (unit, expected) in [
            ("sshd.service", Some("sshd")),
            ("sshd@.service", Some("sshd")),
            ("getty@tty1.service", Some("getty@tty1")),
            ("user-1000.slice", Some("user-1000")),
            ("init.scope", Some("init.scope")),
            ("podruntime", Some("podruntime")),
            ("/", None),
            (".service", None),
        ] {
            assert_eq!(name_of_unit(unit), expected, "{unit}");
        }
    }
}
