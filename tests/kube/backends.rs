//! A Service of two backends that are workloads of their own, behind the rules that kube-proxy writes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::World;
use super::cluster::{expect, is_ready, items, until};
use super::told::Series;

const NAMESPACE: &str = "backends";
/// The workloads, and how many bytes each answers with.
const BACKENDS: [(&str, u64); 2] = [("small", 10_000), ("large", 30_000)];
/// Requests to the Service's address, and as many to its port at the node: enough that neither backend is left out by chance.
const REQUESTS: u64 = 40;

/// Connections and bytes of each backend, as one end tells them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Carried {
    connections: u64,
    questions: u64,
    answers: u64,
}

/// Bytes and connections to the Service are told by backend, under the Service's name, and both ends agree.
pub(crate) fn are_told_apart(world: &World) {
    let agent = world.agent();
    agent.release(&world.cluster, &super::agent::Release::default());
    open(world);
    ask(world);
    until("both ends to tell the same of each backend", || {
        let series = agent.told().series();
        let (asked, answered) = (by_who_asks(&series), by_who_answers(&series));
        let made: u64 = asked.values().map(|carried| carried.connections).sum();
        let is_right = made == 2 * REQUESTS
            && asked == answered
            && BACKENDS.iter().all(|(name, size)| {
                let carried = &asked[*name];
                let least = carried.connections * size;
                // Headers come with each answer.
                carried.connections > 0
                    && (least + 1..least + carried.connections * 1_000).contains(&carried.answers)
            });
        expect(is_right, &json!(format!("{asked:?} and {answered:?}")))
    });
    world
        .cluster
        .run(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}

fn open(world: &World) {
    world.cluster.run(&["create", "namespace", NAMESPACE]);
    world.cluster.apply_text(
        &json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": "split", "namespace": NAMESPACE },
            "spec": {
                "type": "NodePort",
                "selector": { "behind": "split" },
                "ports": [{ "port": 80, "targetPort": 8080 }],
            },
        })
        .to_string(),
    );
    for (name, size) in BACKENDS {
        let command =
            format!("head -c {size} /dev/zero > /tmp/index.html; exec httpd -f -p 8080 -h /tmp");
        let labels = json!({ "app": name, "behind": "split" });
        let container = json!({
            "name": "httpd",
            "image": "localhost/busybox:rig",
            "command": ["sh", "-c", command],
        });
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": {
                "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "terminationGracePeriodSeconds": 0, "containers": [container] },
                },
            },
        });
        world.cluster.apply_text(&deployment.to_string());
    }
    until("the backends", || {
        let pods = world
            .cluster
            .get(NAMESPACE, &["pods", "--selector=behind=split"]);
        let ready = items(&pods).iter().filter(|pod| is_ready(pod)).count();
        // A container is ready a moment before its program listens.
        std::thread::sleep(Duration::from_secs(1));
        expect(ready == BACKENDS.len(), &json!(ready))
    });
}

fn ask(world: &World) {
    let service = world.cluster.get(NAMESPACE, &["service", "split"]);
    let node_port = service["spec"]["ports"][0]["nodePort"].as_u64();
    let node_port = node_port.expect("a port at every node");
    let command = format!(
        "for i in $(seq {REQUESTS}); do for at in $SPLIT_SERVICE_HOST:$SPLIT_SERVICE_PORT $NODE_ADDRESS:{node_port}; do \
         /bin/wget -q -O /dev/null http://$at/ || exit 1; done; done"
    );
    let node_address = json!({ "fieldRef": { "fieldPath": "status.hostIP" } });
    let container = json!({
        "name": "asks",
        "image": "localhost/busybox:rig",
        "command": ["sh", "-c", command],
        "env": [{ "name": "NODE_ADDRESS", "valueFrom": node_address }],
    });
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": "asks", "namespace": NAMESPACE },
        "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [container] } } },
    });
    world.cluster.apply_text(&job.to_string());
    until("all requests to be answered", || {
        let job = world.cluster.get(NAMESPACE, &["job", "asks"]);
        expect(job["status"]["succeeded"] == 1, &job["status"])
    });
}

/// By backend, what the asking end tells of connections to the Service.
fn by_who_asks(series: &[Series]) -> BTreeMap<&'static str, Carried> {
    of_each(|name| {
        let to_backend = [
            ("wellhead.reporter", "source"),
            ("destination.k8s.namespace.name", NAMESPACE),
            ("destination.k8s.service.name", "split"),
            ("destination.k8s.workload.kind", "Deployment"),
            ("destination.k8s.workload.name", name),
        ];
        carried(series, "asks", &to_backend, ["transmit", "receive"])
    })
}

/// By backend, what that tells itself of connections from the asking end, and from the node, which puts its own address in place of
/// the asking end's where its port was asked.
fn by_who_answers(series: &[Series]) -> BTreeMap<&'static str, Carried> {
    of_each(|name| {
        let from = |kind| {
            let from = [
                ("wellhead.reporter", "destination"),
                ("source.k8s.workload.kind", kind),
            ];
            carried(series, name, &from, ["receive", "transmit"])
        };
        let (asking, node) = (from("Job"), from("Node"));
        Carried {
            connections: asking.connections + node.connections,
            questions: asking.questions + node.questions,
            answers: asking.answers + node.answers,
        }
    })
}

fn of_each(backend: impl Fn(&'static str) -> Carried) -> BTreeMap<&'static str, Carried> {
    BACKENDS.map(|(name, _)| (name, backend(name))).into()
}

/// What a workload's containers tell with these attributes; `directions` are those of questions and answers.
fn carried(
    series: &[Series],
    workload: &str,
    having: &[(&str, &str)],
    directions: [&str; 2],
) -> Carried {
    let sum = |metric: &str, more: &[(&str, &str)]| -> u64 {
        let ours = series.iter().filter(|one| {
            let workloads = ["k8s.deployment.name", "k8s.job.name"];
            one.metric == metric
                && one.of("k8s.namespace.name") == NAMESPACE
                && workloads.iter().any(|key| one.of(key) == workload)
                && one.has(having)
                && one.has(more)
        });
        ours.map(|one| one.total).sum()
    };
    let bytes = |direction| sum("wellhead.tcp.io", &[("network.io.direction", direction)]);
    Carried {
        connections: sum("wellhead.tcp.connections.opened", &[]),
        questions: bytes(directions[0]),
        answers: bytes(directions[1]),
    }
}
