//! Namespaces that are not captured.

use serde_json::{Value, json};

use super::World;
use super::agent::{Agent, Release};
use super::cluster::{expect, until};

/// Programs that each Job executes.
const PROGRAMS: u64 = 7;

/// Of two namespaces one is left out by a pattern: nothing is told of it, and what happened in it is counted as left out. When it is
/// taken in, what happens from then on is told.
pub(crate) fn nothing_is_told_of_them(world: &World) {
    let agent = world.agent();
    let cluster = &world.cluster;
    let release = Release {
        config: json!({ "kubernetes": { "namespaces": { "exclude": ["secret-*"] } } }),
        ..Release::default()
    };
    agent.release(cluster, &release);
    for namespace in ["secret-plans", "open-plans"] {
        cluster.run(&["create", "namespace", namespace]);
    }
    let left_out_before = left_out(agent);
    run_job(world, "secret-plans", "first");
    run_job(world, "open-plans", "first");
    until("what is captured to be told", || {
        let told = executed(agent, "open-plans");
        expect(told == PROGRAMS, &json!(told))
    });
    // Their executions and exits.
    until("the rest to be counted", || {
        let number = left_out(agent) - left_out_before;
        expect(number >= 2 * PROGRAMS, &json!(number))
    });
    assert_eq!(series(agent, "secret-plans"), Vec::<Value>::new());

    agent.release(cluster, &Release::default());
    run_job(world, "secret-plans", "second");
    until("what is captured by now to be told", || {
        let told = executed(agent, "secret-plans");
        expect(told == PROGRAMS, &json!(told))
    });
    for namespace in ["secret-plans", "open-plans"] {
        cluster.run(&["delete", "namespace", namespace, "--wait=false"]);
    }
}

fn run_job(world: &World, namespace: &str, name: &str) {
    let container = json!({
        "name": "work",
        "image": "localhost/busybox:rig",
        "command": ["sh", "-c", format!("for i in $(seq {PROGRAMS}); do /bin/sleep 0; done")],
    });
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [container] } } },
    });
    world.cluster.apply_text(&job.to_string());
    until("the Job to have ended", || {
        let job = world.cluster.get(namespace, &["job", name]);
        expect(job["status"]["succeeded"] == 1, &job["status"])
    });
}

/// Executions of the program that Jobs execute, told of a namespace.
fn executed(agent: &Agent, namespace: &str) -> u64 {
    let series = agent.told().series();
    let ours = series.iter().filter(|one| {
        one.metric == "wellhead.process.execs"
            && one.of("k8s.namespace.name") == namespace
            && one.has(&[("process.executable.name", "sleep")])
    });
    ours.map(|one| one.total).sum()
}

/// Whatever is told of a namespace.
fn series(agent: &Agent, namespace: &str) -> Vec<Value> {
    let series = agent.told().series().into_iter();
    let ours = series.filter(|one| one.of("k8s.namespace.name") == namespace);
    ours.map(|one| json!([one.metric, one.attributes]))
        .collect()
}

fn left_out(agent: &Agent) -> u64 {
    let discards = agent.told().discards();
    discards
        .get("policy/namespace")
        .copied()
        .unwrap_or_default()
}
