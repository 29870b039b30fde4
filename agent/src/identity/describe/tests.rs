use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::Describer;
use crate::identity::cgroup_path::Runtime;
use crate::identity::image::ImageRef;
use crate::identity::pod_info::{ContainerInfo, PodInfo};
use crate::identity::resource::{Resource, Value};
use crate::identity::settings::IdentitySettings;
use crate::identity::testing::{container, owned, pod};

fn describer(kubernetes: bool) -> Describer {
    Describer::new(&IdentitySettings {
        node_name: "node-a".into(),
        kubernetes,
        ..IdentitySettings::default()
    })
}

fn check(resource: &Resource, expected: &Expect) {
    let mut text = String::new();
    for (key, value) in &resource.attributes {
        let value = match value {
            Value::List(items) => items.join(","),
            // Changes with every release.
            other if other.as_str() == Some(super::VERSION) => "(version)".into(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        writeln!(text, "{key} = {value:?}").unwrap();
    }
    for (key, value) in &resource.labels {
        writeln!(text, "label {key} = {value:?}").unwrap();
    }
    expected.assert_eq(&text);
}

fn web() -> PodInfo {
    PodInfo {
        ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        node_name: Some("node-a".into()),
        resource_annotations: vec![
            ("team".into(), "shop".into()),
            ("k8s.pod.name".into(), "lie".into()),
            ("empty".into(), "".into()),
        ],
        ..owned(
            pod("shop", "web-abc-x"),
            &[("ReplicaSet", "web-abc"), ("Deployment", "web")],
        )
    }
}

fn app() -> ContainerInfo {
    ContainerInfo {
        image: ImageRef::parse("r:5000/web:7"),
        image_digest: Some("r:5000/web@sha256:11".into()),
        ..container("app", "c1")
    }
}

#[test]
fn a_container_of_a_pod() {
    let resource = describer(true).pod(&web(), Some(&app()), Some(&"c1".into()));
    check(
        &resource,
        &expect![[r#"
            service.name = "web"
            service.namespace = "shop"
            service.instance.id = "shop.web-abc-x.app"
            service.version = "7"
            k8s.namespace.name = "shop"
            k8s.pod.name = "web-abc-x"
            k8s.pod.uid = "uid-web-abc-x"
            k8s.pod.ip = "10.0.0.1"
            k8s.node.name = "node-a"
            k8s.deployment.name = "web"
            k8s.replicaset.name = "web-abc"
            container.id = "c1"
            k8s.container.name = "app"
            container.image.name = "r:5000/web"
            container.image.tags = "7"
            container.image.repo_digests = "r:5000/web@sha256:11"
            host.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            team = "shop"
            label service_name = "web"
            label k8s_container_name = "app"
            label k8s_namespace_name = "shop"
            label k8s_pod_name = "web-abc-x"
            label k8s_workload_name = "web"
            label k8s_workload_kind = "Deployment"
        "#]],
    );
}

#[test]
fn labels_and_annotations_of_a_pod() {
    let mut describer = Describer::new(&IdentitySettings {
        node_name: "node-a".into(),
        resource_attributes: vec![
            ("k8s.pod.label.tier".into(), "configured".into()),
            ("region".into(), "eu".into()),
        ],
        ..IdentitySettings::default()
    });
    let attribute = |key: &str, value: &str| (key.into(), value.into());
    let pod = PodInfo {
        // Of what is said on purpose, the configuration wins.
        resource_annotations: vec![
            attribute("host.name", "annotated"),
            attribute("region", "annotated"),
            attribute("team", "annotated"),
        ],
        metadata_attributes: vec![
            attribute("k8s.pod.label.app", "web"),
            attribute("k8s.pod.label.canary", ""),
            attribute("k8s.pod.label.team", "labelled"),
            attribute("k8s.pod.label.tier", "labelled"),
            attribute("k8s.pod.annotation.team", "a b"),
        ],
        ..pod("shop", "web-0")
    };
    check(
        &describer.pod(&pod, None, None),
        &expect![[r#"
            service.name = "web-0"
            service.namespace = "shop"
            service.instance.id = "shop.web-0"
            k8s.namespace.name = "shop"
            k8s.pod.name = "web-0"
            k8s.pod.uid = "uid-web-0"
            host.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            k8s.pod.label.tier = "configured"
            region = "eu"
            team = "annotated"
            k8s.pod.label.app = "web"
            k8s.pod.label.canary = ""
            k8s.pod.label.team = "labelled"
            k8s.pod.annotation.team = "a b"
            label service_name = "web-0"
            label k8s_namespace_name = "shop"
            label k8s_pod_name = "web-0"
            label k8s_workload_name = "web-0"
            label k8s_workload_kind = "Pod"
        "#]],
    );
}

#[test]
fn a_host_network_pod_has_no_address() {
    let pod = PodInfo {
        host_network: true,
        ..web()
    };
    let resource = describer(true).pod(&pod, None, None);
    check(
        &resource,
        &expect![[r#"
            service.name = "web"
            service.namespace = "shop"
            service.instance.id = "shop.web-abc-x"
            k8s.namespace.name = "shop"
            k8s.pod.name = "web-abc-x"
            k8s.pod.uid = "uid-web-abc-x"
            k8s.node.name = "node-a"
            k8s.deployment.name = "web"
            k8s.replicaset.name = "web-abc"
            host.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            team = "shop"
            label service_name = "web"
            label k8s_namespace_name = "shop"
            label k8s_pod_name = "web-abc-x"
            label k8s_workload_name = "web"
            label k8s_workload_kind = "Deployment"
        "#]],
    );
}

#[test]
fn a_container_without_a_pod() {
    let mut describer = describer(false);
    check(
        &describer.container(&"c1".into(), Runtime::Docker, None),
        &expect![[r#"
            service.name = "unknown_service"
            service.instance.id = "c1"
            container.id = "c1"
            host.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            label service_name = "unknown_service"
            label container_id = "c1"
        "#]],
    );
    check(
        &describer.container(&"web".into(), Runtime::Lxc, None),
        &expect![[r#"
            service.name = "web"
            service.instance.id = "node-a.web"
            container.id = "web"
            host.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            label service_name = "web"
            label container_id = "web"
        "#]],
    );
    check(
        &describer.container(&"c1".into(), Runtime::Crio, Some(&"u".into())),
        &expect![[r#"
            service.name = "unknown_service"
            service.instance.id = "c1"
            k8s.pod.uid = "u"
            container.id = "c1"
            host.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            label service_name = "unknown_service"
            label container_id = "c1"
        "#]],
    );
}

#[test]
fn the_host() {
    let mut describer = describer(true);
    check(
        &describer.host(&"system.slice".into(), Some(&"sshd.service".into())),
        &expect![[r#"
            service.name = "sshd"
            service.instance.id = "node-a"
            wellhead.slice = "system.slice"
            host.name = "node-a"
            k8s.node.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            label service_name = "sshd"
        "#]],
    );
    check(
        &describer.host(&"/".into(), None),
        &expect![[r#"
            service.name = "unknown_service"
            service.instance.id = "node-a"
            wellhead.slice = "/"
            host.name = "node-a"
            k8s.node.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            label service_name = "unknown_service"
        "#]],
    );
}

#[test]
fn what_is_configured_fills_gaps_only() {
    let mut describer = Describer::new(&IdentitySettings {
        node_name: "node-a".into(),
        cluster_name: Some("prod".into()),
        resource_attributes: vec![
            ("deployment.environment.name".into(), "production".into()),
            ("service.name".into(), "mine".into()),
        ],
        ..IdentitySettings::default()
    });
    check(
        &describer.node(),
        &expect![[r#"
            service.name = "wellhead"
            service.instance.id = "node-a"
            service.version = "(version)"
            host.name = "node-a"
            telemetry.distro.name = "wellhead"
            telemetry.distro.version = "(version)"
            k8s.cluster.name = "prod"
            deployment.environment.name = "production"
        "#]],
    );
}
