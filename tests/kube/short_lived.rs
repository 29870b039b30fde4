//! Pods that are gone before anybody tells of them.

use std::collections::BTreeMap;

use serde_json::json;

use super::World;
use super::cluster::until;

const PODS: u64 = 200;
const NAMESPACE: &str = "instants";

/// Each of many pods that live for 50 ms: its two programs and their ends, under its name.
pub(crate) fn all_are_named(world: &World) {
    let agent = world.agent();
    let metadata = json!({ "name": "instant", "namespace": NAMESPACE });
    let container = json!({
        "name": "instant",
        "image": "localhost/busybox:rig",
        // Of which the first becomes the second.
        "command": ["sh", "-c", "exec /bin/sleep 0.05"],
    });
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completions": PODS,
            "parallelism": 10,
            "template": { "spec": { "restartPolicy": "Never", "containers": [container] } },
        },
    });
    world.cluster.run(&["create", "namespace", NAMESPACE]);
    world.cluster.apply_text(&job.to_string());
    until("all pods to have ended", || {
        let job = world.cluster.get(NAMESPACE, &["job", "instant"]);
        let succeeded = job["status"]["succeeded"].as_u64();
        if succeeded == Some(PODS) {
            Ok(())
        } else {
            Err(succeeded)
        }
    });
    until("each to be told of", || {
        let series = agent.told().series();
        let mut wrong = Vec::new();
        for (metric, names) in [("execs", ["sh", "sleep"]), ("exits", ["sleep", "sleep"])] {
            for name in names {
                let by_pod = by_pod(&series, &format!("wellhead.process.{metric}"), name);
                let exact = by_pod.values().filter(|total| **total == 1).count() as u64;
                if exact != PODS || by_pod.len() as u64 != PODS {
                    wrong.push(format!(
                        "{metric} of {name}: {exact} of {} pods",
                        by_pod.len()
                    ));
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    let truth = agent.truth.pods();
    let there = truth.values().filter(|named| named.namespace == NAMESPACE);
    assert_eq!(there.count() as u64, PODS);
    world
        .cluster
        .run(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}

/// How often something is told under the whole name of each pod.
fn by_pod(series: &[super::told::Series], metric: &str, program: &str) -> BTreeMap<String, u64> {
    let mut by_pod = BTreeMap::<String, u64>::new();
    for one in series {
        let named = [
            ("k8s.namespace.name", NAMESPACE),
            ("k8s.container.name", "instant"),
            ("k8s.job.name", "instant"),
        ];
        if one.metric == metric
            && one.has(&[("process.executable.name", program)])
            && named.iter().all(|(key, value)| one.of(key) == *value)
        {
            *by_pod.entry(one.of("k8s.pod.name").to_owned()).or_default() += one.total;
        }
    }
    by_pod
}
