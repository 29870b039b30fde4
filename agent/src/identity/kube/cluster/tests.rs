use std::fmt::Write as _;

use expect_test::{Expect, expect};
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower_test::mock;

use super::super::testing::{NoDelay, Step, failure, initial_end, list, serve, stream};
use super::super::translate::Translate;
use super::super::watch::Watch;
use super::*;
use crate::identity::cluster::ClusterObject;

fn shown(object: &ClusterObject) -> String {
    let ClusterObject {
        uid,
        name,
        addresses,
        since,
        finished,
        ..
    } = object;
    let mut text = format!("{uid}: {} {}/{}", name.kind, name.namespace, name.name);
    for address in addresses {
        match address.port {
            Some(port) => write!(text, " {}@{port}", address.ip).unwrap(),
            None => write!(text, " {}", address.ip).unwrap(),
        }
    }
    if let Some(since) = since {
        write!(text, " since {since}").unwrap();
    }
    if *finished {
        text.push_str(" finished");
    }
    text
}

fn check<T>(objects: &Value, expected: &Expect)
where
    T: Translate<Item = ClusterObject> + OfKind + Default,
{
    let mut translate = T::default();
    let mut text = String::new();
    for object in objects.as_array().unwrap() {
        let content = serde_json::from_value(object.clone()).unwrap();
        match translate.read(content) {
            Some(object) => {
                assert_eq!(object.kind, T::KIND);
                let left_out = if T::matters(&object) {
                    ""
                } else {
                    " (no news)"
                };
                writeln!(text, "{}{left_out}", shown(&object)).unwrap();
            }
            None => text.push_str("unreadable\n"),
        }
    }
    expected.assert_eq(&text);
}

fn metadata(name: &str) -> Value {
    json!({"uid": format!("u-{name}"), "name": name, "namespace": "ns", "resourceVersion": "7"})
}

#[test]
fn pods() {
    let mut owned = metadata("web-abc-x");
    owned["labels"] = json!({"pod-template-hash": "abc", "app": "web"});
    owned["creationTimestamp"] = json!("2026-01-02T03:04:00Z");
    owned["managedFields"] = json!([{"manager": "kubelet"}]);
    owned["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "o", "controller": true}]);
    let ips = |ips: &[&str]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
    let pods = json!([
        {"metadata": owned, "status": {
            "podIP": "10.0.0.1", "podIPs": ips(&["10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "x"]),
            "startTime": "2026-01-02T03:04:05Z", "phase": "Running",
        }},
        {"metadata": owned, "status": {"podIP": "10.0.0.1", "phase": "Failed"}},
        {"metadata": metadata("host"), "spec": {"hostNetwork": true}, "status": {"podIP": "192.0.2.1"}},
        {"metadata": metadata("pending"), "spec": {"hostNetwork": null}, "status": {"phase": "Pending", "podIPs": null}},
        {"metadata": {"name": "a", "namespace": "b"}},
    ]);
    check::<Pods>(
        &pods,
        &expect![[r"
            u-web-abc-x: Deployment ns/web 10.0.0.1 fd00::1 since 2026-01-02T03:04:05Z
            u-web-abc-x: Deployment ns/web 10.0.0.1 since 2026-01-02T03:04:00Z finished
            u-host: Pod ns/host (no news)
            u-pending: Pod ns/pending (no news)
            unreadable
        "]],
    );
}

#[test]
fn services() {
    let mut going = metadata("going");
    going["deletionTimestamp"] = json!("2026-01-02T03:04:00Z");
    let ingress = json!({"ingress": [{"ip": "203.0.113.1"}, {"hostname": "lb.example"}]});
    let services = json!([
        {
            "metadata": metadata("all"),
            "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::a"], "externalIPs": ["198.51.100.1"],
                "ports": [{"port": 80, "nodePort": 30080, "targetPort": "http"}, {"name": "tls", "port": 443}]},
            "status": {"loadBalancer": ingress},
        },
        {"metadata": metadata("old"), "spec": {"clusterIP": "10.96.0.2"}, "status": {"loadBalancer": {}}},
        {"metadata": metadata("headless"), "spec": {"clusterIP": "None", "clusterIPs": ["None"]}},
        {"metadata": metadata("external"), "spec": {"externalName": "example.com", "clusterIPs": null}},
        {"metadata": going, "spec": {"clusterIP": "10.96.0.3"}},
        {"metadata": metadata("portless"), "spec": {"externalIPs": ["198.51.100.1"]}},
    ]);
    check::<Services>(
        &services,
        &expect![[r"
            u-all: Service ns/all 10.96.0.1 fd00::a 198.51.100.1@80 198.51.100.1@443 203.0.113.1@80 203.0.113.1@443 100::7580
            u-old: Service ns/old 10.96.0.2
            u-headless: Service ns/headless (no news)
            u-external: Service ns/external (no news)
            u-going: Service ns/going 10.96.0.3 finished
            u-portless: Service ns/portless (no news)
        "]],
    );
}

#[test]
fn nodes() {
    let node = json!({"uid": "u", "name": "node-a", "creationTimestamp": "2026-01-02T03:04:00Z"});
    let addresses = json!([
        {"type": "InternalIP", "address": "192.0.2.1"},
        {"type": "InternalIP", "address": "2001:db8::1"},
        {"type": "ExternalIP", "address": "203.0.113.7"},
        {"type": "Hostname", "address": "198.51.100.1"},
    ]);
    check::<Nodes>(
        &json!([
            {"metadata": node, "status": {"addresses": addresses, "conditions": [{"type": "Ready"}]}},
            {"metadata": node},
        ]),
        &expect![[r"
            u: Node /node-a 192.0.2.1 2001:db8::1 203.0.113.7 since 2026-01-02T03:04:00Z
            u: Node /node-a since 2026-01-02T03:04:00Z (no news)
        "]],
    );
}

fn slice(name: &str, service: &str, endpoints: &Value, ports: &Value) -> Value {
    let mut metadata = metadata(name);
    metadata["labels"] = json!({"kubernetes.io/service-name": service, "x": "y"});
    json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports})
}

fn core(name: &str, addresses: &Value) -> Value {
    json!({"metadata": metadata(name), "subsets": [{"addresses": addresses, "ports": [{"port": 6443}]}]})
}

#[test]
fn endpoints() {
    let pod = json!({"addresses": ["10.0.0.9"], "targetRef": {"kind": "Pod", "name": "p"}});
    let host = json!({"addresses": ["192.0.2.1"], "conditions": {"ready": true}});
    let vm =
        json!({"addresses": ["192.0.2.2", "192.0.2.3"], "targetRef": {"kind": "VirtualMachine"}});
    let core_pod = json!({"ip": "10.0.0.9", "targetRef": {"kind": "Pod"}});
    let ports =
        json!([{"name": "https", "port": 6443}, {"port": 80}, {"name": "any", "port": null}]);
    let mut unready = core("late", &json!(null));
    unready["subsets"][0]["notReadyAddresses"] = json!([{"ip": "192.0.2.5"}]);
    check::<Endpoints>(
        &json!([
            slice("kubernetes-x", "kubernetes", &json!([host, pod]), &ports),
            slice("vms", "vm", &json!([vm]), &json!([])),
            slice("web", "web", &json!([pod]), &json!([{"port": 80}])),
            slice("none", "none", &json!(null), &json!(null)),
            {"metadata": metadata("nobody's"), "endpoints": [host]},
            core("kubernetes", &json!([{"ip": "192.0.2.4"}, core_pod])),
            unready,
        ]),
        &expect![[r"
            u-kubernetes-x: Service ns/kubernetes 192.0.2.1@6443 192.0.2.1@80 192.0.2.1
            u-vms: Service ns/vm 192.0.2.2 192.0.2.3
            u-web: Service ns/web (no news)
            u-none: Service ns/none (no news)
            u-nobody's: Service ns/nobody's (no news)
            u-kubernetes: Service ns/kubernetes 192.0.2.4@6443
            u-late: Service ns/late 192.0.2.5@6443
        "]],
    );
}

/// Plays `steps` to a watch; its first updates.
async fn watched<T>(steps: Vec<Step>, count: usize) -> (Vec<String>, KubeStatus)
where
    T: Translate<Item = ClusterObject, Update = ClusterUpdate> + OfKind + Default + Sync + 'static,
{
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    let (sender, mut updates) = mpsc::channel(4);
    let client = Client::new(service, "default");
    let (watch, status) = Watch::with_backoff(client, T::default(), 10, sender, NoDelay::default());
    let server = tokio::spawn(serve(server, steps));
    let watching = tokio::spawn(watch.run());
    let mut found = Vec::new();
    while found.len() < count {
        assert!(!server.is_finished(), "the server ended after {found:?}");
        found.push(match updates.recv().await.expect("the watch goes on") {
            ClusterUpdate::Applied(object) => format!("+{}", shown(&object)),
            ClusterUpdate::Deleted { kind, uid } => format!("-{kind:?} {uid}"),
            ClusterUpdate::Restarted { kind, objects } => {
                let objects: Vec<_> = objects.iter().map(shown).collect();
                format!("={kind:?} [{}]", objects.join(", "))
            }
        });
    }
    watching.abort();
    server.abort();
    let status = status.borrow().clone();
    (found, status)
}

fn not_found() -> String {
    failure(404, "the server could not find the requested resource").to_string()
}

const V1: &[&str] = &["/apis/discovery.k8s.io/v1/endpointslices?", "watch=true"];
const BETA: &[&str] = &[
    "/apis/discovery.k8s.io/v1beta1/endpointslices?",
    "watch=true",
];
const CORE: &[&str] = &["/api/v1/endpoints?", "watch=true", "sendInitialEvents=true"];

#[tokio::test]
async fn endpoints_come_from_what_the_server_has() {
    let host = json!([{"addresses": ["192.0.2.1"]}]);
    let slice = slice("s", "kubernetes", &host, &json!([{"port": 6443}]));
    let expected = "=Endpoints [u-s: Service ns/kubernetes 192.0.2.1@6443]";

    let streamed = || stream(&[("ADDED", slice.clone()), initial_end()]);
    let (found, status) = watched::<Endpoints>(vec![Step(V1, 200, streamed())], 1).await;
    assert_eq!((found[0].as_str(), status.errors), (expected, 0));

    // 1.20: slices in beta, no streaming.
    let refusal = failure(422, "resourceVersionMatch is forbidden for watch").to_string();
    let steps = vec![
        Step(V1, 404, not_found()),
        Step(BETA, 422, refusal),
        Step(
            &[
                "/apis/discovery.k8s.io/v1beta1/endpointslices?",
                "limit=500",
            ],
            200,
            list(std::slice::from_ref(&slice)),
        ),
    ];
    let (found, status) = watched::<Endpoints>(steps, 1).await;
    assert_eq!((found[0].as_str(), status.errors), (expected, 0));

    let core = core("kubernetes", &json!([{"ip": "192.0.2.4"}]));
    let steps = vec![
        Step(V1, 404, not_found()),
        // Not every server answers in JSON here.
        Step(BETA, 404, "404 page not found\n".to_owned()),
        Step(CORE, 404, not_found()),
        // Nothing was served; perhaps now.
        Step(V1, 404, not_found()),
        Step(BETA, 404, not_found()),
        Step(CORE, 200, stream(&[("ADDED", core), initial_end()])),
    ];
    let (found, status) = watched::<Endpoints>(steps, 1).await;
    assert_eq!(
        found,
        ["=Endpoints [u-kubernetes: Service ns/kubernetes 192.0.2.4@6443]"]
    );
    assert_eq!(status.errors, 1);
}

#[tokio::test]
async fn objects_without_addresses_are_told_of_only_if_they_had_some() {
    let pod = |name: &str, ip: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name), "status": {"podIP": ip}});
    let events = [
        ("ADDED", pod("a", json!("10.0.0.1"))),
        ("ADDED", pod("b", json!(null))),
        initial_end(),
        ("ADDED", pod("c", json!(null))),
        ("MODIFIED", pod("b", json!("10.0.0.2"))),
        ("MODIFIED", pod("a", json!(null))),
        ("DELETED", pod("c", json!(null))),
        ("DELETED", pod("a", json!(null))),
    ];
    let steps = vec![Step(&["/api/v1/pods?", "watch=true"], 200, stream(&events))];
    let (found, status) = watched::<Pods>(steps, 4).await;
    assert_eq!(
        found,
        [
            "=Pod [u-a: Pod ns/a 10.0.0.1]",
            "+u-b: Pod ns/b 10.0.0.2",
            "+u-a: Pod ns/a",
            "-Pod u-a",
        ]
    );
    assert_eq!(status.objects, 1);
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let pod = |name: &str| json!({"metadata": metadata(name), "status": {"podIP": "10.0.0.1"}});
    let page = |name: &str, token: &str| {
        let metadata = json!({"resourceVersion": "8", "continue": token});
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": [pod(name)]})
            .to_string()
    };
    let steps = vec![
        Step(
            &["watch=true"],
            400,
            failure(400, "unknown parameter").to_string(),
        ),
        Step(&["limit=500"], 200, page("a", "next")),
        Step(&["limit=500", "continue=next"], 200, page("b", "")),
    ];
    let (found, _) = watched::<Pods>(steps, 1).await;
    assert_eq!(
        found,
        ["=Pod [u-a: Pod ns/a 10.0.0.1, u-b: Pod ns/b 10.0.0.1]"]
    );
}
