use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::expect;
use serde_json::{Value, json};

use super::{AllowList, SlimPod};
use crate::identity::pod_info::{ContainerInfo, PodInfo};

fn read(pod: Value) -> Option<PodInfo> {
    read_with(pod, &mut AllowList::default())
}

fn read_with(pod: Value, allowed: &mut AllowList) -> Option<PodInfo> {
    let pod: SlimPod = serde_json::from_value(pod).unwrap();
    pod.into_info(allowed)
}

fn full() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "uid": "u1", "name": "web-abc-x", "namespace": "shop", "resourceVersion": "5",
            "labels": {"pod-template-hash": "abc", "app.kubernetes.io/name": "web", "app.kubernetes.io/version": "", "x": "y"},
            "annotations": {"resource.opentelemetry.io/team": "a", "other": "b"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Thing", "name": "t", "uid": "o0"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "o1", "controller": true},
            ],
            "managedFields": [{"manager": "kubelet", "operation": "Update"}],
        },
        "spec": {
            "nodeName": "node-a",
            "initContainers": [{"name": "init", "image": "busybox"}],
            "containers": [{
                "name": "app", "image": "r:5000/web:7@sha256:00",
                "env": [{"name": "OTEL_SERVICE_NAME", "value": "cart"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                "resources": {"limits": {"cpu": "1"}},
            }],
            "ephemeralContainers": [{"name": "debug"}],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}, {"ip": "x"}],
            "startTime": "2026-01-02T03:04:05Z",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T03:04:00Z"},
                {"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:09Z"},
            ],
            "initContainerStatuses": [{"name": "init", "containerID": "cri-o://c0"}],
            "containerStatuses": [{
                "name": "app", "containerID": "containerd://c2", "ready": true, "restartCount": 1,
                "imageID": "r:5000/web@sha256:11", "state": {"running": {"startedAt": "2026-01-02T03:04:08Z"}},
                "lastState": {"terminated": {
                    "containerID": "containerd://c1", "exitCode": 137, "reason": "OOMKilled",
                    "startedAt": "2026-01-02T03:04:06Z", "finishedAt": "2026-01-02T03:04:07Z",
                }},
            }],
            "ephemeralContainerStatuses": [{
                "name": "debug", "containerID": "", "imageID": "r/debug@sha256:22", "state": {"waiting": {"reason": "ErrImagePull"}},
            }],
        },
    })
}

#[test]
fn every_field() {
    let pod = read(full()).unwrap();
    let PodInfo {
        uid,
        namespace,
        name,
        ips,
        host_network,
        finished,
        node_name,
        start_time,
        ready_since,
        ..
    } = &pod;
    let PodInfo {
        owners,
        workload,
        labels,
        resource_annotations,
        config_hash,
        ..
    } = &pod;
    let mut text = format!(
        "{uid} {namespace}/{name} {ips:?} {node_name:?} {start_time:?} ready {ready_since:?}\n\
         host network {host_network}, finished {finished}, hash {config_hash:?}\n\
         {workload:?}\n{labels:?}\n{resource_annotations:?}\n",
    );
    for owner in owners {
        writeln!(text, "{owner:?}").unwrap();
    }
    for ContainerInfo {
        name,
        ids,
        image,
        env,
        image_digest,
        status,
    } in &pod.containers
    {
        writeln!(text, "{name} {ids:?} {image:?} {:?}", env.name).unwrap();
        writeln!(text, "  {image_digest:?} {status:?}").unwrap();
    }
    expect![[r#"
        u1 shop/web-abc-x [10.0.0.1, fd00::1] Some("node-a") Some(2026-01-02T03:04:05Z) ready Some(2026-01-02T03:04:09Z)
        host network false, finished false, hash None
        Workload { namespace: "shop", name: "web", kind: "Deployment" }
        ServiceLabels { instance: None, name: Some("web"), part_of: None, version: None }
        [("team", "a")]
        ObjectName { kind: "ReplicaSet", name: "web-abc" }
        ObjectName { kind: "Deployment", name: "web" }
        init ["c0"] ImageRef { name: "busybox", tag: None, digest: None } None
          None ContainerStatus { restart_count: None, waiting: None, running_since: None, last_end: None }
        app ["c1", "c2"] ImageRef { name: "r:5000/web", tag: Some("7"), digest: Some("sha256:00") } Some("cart")
          Some("r:5000/web@sha256:11") ContainerStatus { restart_count: Some(1), waiting: None, running_since: Some(2026-01-02T03:04:08Z), last_end: Some(Terminated { exit_code: 137, signal: None, reason: Some("OOMKilled"), started_at: Some(2026-01-02T03:04:06Z), finished_at: Some(2026-01-02T03:04:07Z) }) }
        debug [] ImageRef { name: "", tag: None, digest: None } None
          None ContainerStatus { restart_count: None, waiting: Some("ErrImagePull"), running_since: None, last_end: None }
    "#]].assert_eq(&text);
}

#[test]
fn labels_and_annotations_are_kept_if_asked_for() {
    let check = |labels: &[&str], annotations: &[&str], expected: &[(&str, &str)]| {
        let mut allowed = AllowList::new(labels.iter().copied(), annotations.iter().copied());
        let pod = read_with(full(), &mut allowed).unwrap();
        let found = pod.metadata_attributes.iter();
        let found: Vec<_> = found.map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(found, expected, "{labels:?} {annotations:?}");
        // What else labels and annotations are read for does not depend on it.
        assert_eq!(pod.labels.name.as_deref(), Some("web"));
        assert_eq!(pod.resource_annotations, [("team".into(), "a".into())]);
    };
    check(&[], &[], &[]);
    check(
        &["x", "app.*"],
        &["oth*", "x"],
        &[
            ("k8s.pod.label.app.kubernetes.io/name", "web"),
            ("k8s.pod.label.app.kubernetes.io/version", ""),
            ("k8s.pod.label.x", "y"),
            ("k8s.pod.annotation.other", "b"),
        ],
    );
}

#[test]
fn the_least_there_can_be() {
    let pod = read(json!({"metadata": {"uid": "u", "name": "n", "namespace": "s"}})).unwrap();
    assert_eq!((&*pod.workload.kind, &*pod.workload.name), ("Pod", "n"));
    assert!(pod.containers.is_empty() && pod.ips.is_empty() && !pod.finished && !pod.host_network);
    assert!(read(json!({"metadata": {"name": "n", "namespace": "s"}})).is_none());
}

#[test]
fn what_the_server_may_send_as_null() {
    let pod = json!({
        "metadata": {"uid": "u", "name": "n", "namespace": "s", "labels": null},
        "spec": {"containers": null, "nodeName": null, "hostNetwork": null},
        "status": {"containerStatuses": null, "podIPs": null, "phase": null},
    });
    assert!(read(pod).is_some());
}

#[test]
fn static_pods_carry_their_hash() {
    let hash = |annotations: &[&str], owner: &str| {
        let annotations: BTreeMap<_, _> = annotations
            .iter()
            .map(|name| (format!("kubernetes.io/config.{name}"), "h"))
            .collect();
        let owner = json!([{"apiVersion": "v1", "kind": owner, "name": "node-a", "uid": "o", "controller": true}]);
        let pod = json!({"metadata": {
            "uid": "u", "name": "etcd-node-a", "namespace": "kube-system", "annotations": annotations, "ownerReferences": owner,
        }});
        read(pod).unwrap().config_hash
    };
    let mirror = ["hash", "mirror", "source"];
    assert_eq!(hash(&mirror, "Node").as_deref(), Some("h"));
    // Anybody can write that.
    assert_eq!(hash(&["hash"], "Node"), None);
    assert_eq!(hash(&["hash", "source"], "Node"), None);
    assert_eq!(hash(&mirror, "ReplicaSet"), None);
}

#[test]
fn digests_of_images() {
    let check = |image: Value, expected: Option<&str>| {
        let status = json!({"name": "app", "containerID": "x://c1", "imageID": image});
        let pod = json!({
            "metadata": {"uid": "u", "name": "n", "namespace": "s"},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"containerStatuses": [status]},
        });
        let pod = read(pod).unwrap();
        let digest = pod.containers[0].digest_of("c1");
        assert_eq!(digest.map(|digest| &**digest), expected, "{image}");
        assert_eq!(pod.containers[0].digest_of("c0"), None);
    };
    let name = "docker.io/library/nginx@sha256:ab";
    check(json!(name), Some(name));
    check(json!(format!("docker-pullable://{name}")), Some(name));
    // Not from a registry.
    check(json!("sha256:ab"), None);
    check(json!("docker://sha256:ab"), None);
    check(json!("@sha256:ab"), None);
    check(json!("a@b"), None);
    check(json!(""), None);
    check(Value::Null, None);
    check(json!(format!("a@sha256:{}", "b".repeat(600))), None);
}

#[test]
fn a_pod_is_ready_while_its_condition_says_so() {
    let ready = |conditions: Value| {
        let metadata = json!({"uid": "u", "name": "n", "namespace": "s"});
        let pod = json!({"metadata": metadata, "status": {"conditions": conditions}});
        read(pod).unwrap().ready_since.map(|time| time.to_string())
    };
    let time = "2026-01-02T03:04:09Z";
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": time});
    assert_eq!(
        ready(json!([condition("Ready", "True")])).as_deref(),
        Some(time)
    );
    assert_eq!(ready(json!([condition("Ready", "False")])), None);
    assert_eq!(ready(json!([condition("ContainersReady", "True")])), None);
    assert_eq!(ready(json!([{"type": "Ready", "status": "True"}])), None);
    assert_eq!(ready(Value::Null), None);
}

#[test]
fn finished_pods() {
    for (phase, expected) in [
        ("Pending", false),
        ("Running", false),
        ("Succeeded", true),
        ("Failed", true),
    ] {
        let pod = json!({"metadata": {"uid": "u", "name": "n", "namespace": "s"}, "status": {"phase": phase}});
        assert_eq!(read(pod).map(|pod| pod.finished), Some(expected), "{phase}");
    }
}
