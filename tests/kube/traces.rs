//! Spans of what runs in pods: a start-up up to Ready, a run of a CronJob, a session of `kubectl exec`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wellhead_tests::receiver::{attribute, text};

use super::World;
use super::agent::Release;
use super::cluster::{expect, is_ready, until};

const NAMESPACE: &str = "traced";
const IMAGE: &str = "localhost/busybox:rig";

/// Each run is a tree of its own whose root says what it is, and a start-up goes on until the pod is ready.
pub(crate) fn are_whole(world: &World) {
    let agent = world.agent();
    let release = Release {
        config: json!({ "traces": { "process": "on" } }),
        ..Release::default()
    };
    agent.release(&world.cluster, &release);
    world.cluster.run(&["create", "namespace", NAMESPACE]);
    for object in [server(), cron_job()] {
        world.cluster.apply_text(&object.to_string());
    }
    until("the pod to be ready", || {
        let pod = world.cluster.get(NAMESPACE, &["pod", "serves"]);
        expect(is_ready(&pod), &pod["status"])
    });
    let command = ["sh", "-c", "/bin/true; exit 0"];
    let said = world.cluster.exec(NAMESPACE, "serves", &command);
    assert_eq!(said.as_deref(), Ok(""));

    let (mut place, mut spans) = (0, Vec::new());
    until("the spans", || {
        spans.extend(agent.new_items(&mut place, "spans", NAMESPACE));
        let is_told = !of_kind(&spans, "exec").is_empty()
            && !of_kind(&spans, "cronjob").is_empty()
            && spans.iter().any(|span| is_start_of(span, "serves"));
        expect(is_told, &json!(spans.len()))
    });
    check_start(&spans);
    check_session(&spans);
    check_run(&spans);
    world
        .cluster
        .run(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}

/// A server that takes a second to begin, and is asked whether it has.
fn server() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "serves", "namespace": NAMESPACE },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "serves",
                "image": IMAGE,
                "command": ["sh", "-c", "sleep 1; exec httpd -f -p 8080 -h /etc"],
                "readinessProbe": {
                    "httpGet": { "path": "/passwd", "port": 8080 },
                    "periodSeconds": 1,
                },
            }],
        },
    })
}

fn cron_job() -> Value {
    let container = json!({
        "name": "runs",
        "image": IMAGE,
        "command": ["sh", "-c", "/bin/true; exit 0"],
    });
    let pod = json!({ "restartPolicy": "Never", "containers": [container] });
    json!({
        "apiVersion": "batch/v1beta1",
        "kind": "CronJob",
        "metadata": { "name": "by-the-minute", "namespace": NAMESPACE },
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": { "spec": { "template": { "spec": pod } } },
        },
    })
}

/// Roots of process trees of this kind.
fn of_kind<'a>(spans: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let found = spans
        .iter()
        .filter(|span| attribute(span, "wellhead.session.kind") == kind);
    found.collect()
}

fn is_start_of(span: &Value, container: &str) -> bool {
    text(span, "name") == "container start-up"
        && text(&span["resource"], "k8s.container.name") == container
}

fn times(span: &Value) -> [u64; 2] {
    ["start_time_unix_nano", "end_time_unix_nano"].map(|key| span[key].as_u64().expect("a time"))
}

/// One phase after the other, and together the whole.
fn check_start(spans: &[Value]) {
    let whole = spans.iter().find(|span| is_start_of(span, "serves"));
    let whole = whole.expect("the start");
    assert_eq!(text(whole, "parent_span_id"), "");
    assert_eq!(attribute(whole, "wellhead.startup.outcome"), "ready");
    let took = |step: &str| {
        let took = attribute(whole, &format!("wellhead.startup.{step}")).as_u64();
        assert!(took.is_some(), "no {step}: {whole:#}");
        took.unwrap_or_default()
    };
    let steps = ["first_exec", "first_listen", "first_accept", "ready"].map(took);
    assert!(steps.is_sorted(), "{steps:?}");
    // It sleeps before it listens.
    assert!(steps[1] >= steps[0] + 1_000_000_000, "{steps:?}");
    let [began, ended] = times(whole);
    assert_eq!(ended - began, steps[3]);
    let mut phases: Vec<_> = spans
        .iter()
        .filter(|span| text(span, "parent_span_id") == text(whole, "span_id"))
        .collect();
    phases.sort_by_key(|span| times(span));
    let names: Vec<&str> = phases.iter().map(|span| text(span, "name")).collect();
    let expected = [
        "cgroup to first exec",
        "first exec to first listen",
        "first listen to first accept",
        "first accept to ready",
    ];
    assert_eq!(names, expected);
    for (phase, step) in phases.iter().zip(steps) {
        assert_eq!(text(phase, "trace_id"), text(whole, "trace_id"));
        assert_eq!(times(phase)[1], began + step);
    }
}

/// What `kubectl exec` ran: the shell, and what that ran.
fn check_session(spans: &[Value]) {
    let roots = of_kind(spans, "exec");
    let root = roots.iter().find(|span| text(span, "name") == "sh");
    check_tree(root.expect("the shell"), spans, "serves");
}

fn check_run(spans: &[Value]) {
    let root = of_kind(spans, "cronjob")[0];
    assert_eq!(text(&root["resource"], "k8s.cronjob.name"), "by-the-minute");
    check_tree(root, spans, "runs");
}

/// A shell with one child, and nothing else in its trace.
fn check_tree(root: &Value, spans: &[Value], container: &str) {
    assert_eq!(text(root, "name"), "sh");
    assert_eq!(text(root, "parent_span_id"), "");
    let all = spans
        .iter()
        .filter(|span| text(span, "trace_id") == text(root, "trace_id"));
    let all: BTreeSet<_> = all
        .map(|span| {
            assert_eq!(text(&span["resource"], "k8s.container.name"), container);
            let [began, ended] = times(span);
            assert!(began <= ended, "{span:#?}");
            (text(span, "name"), text(span, "parent_span_id"))
        })
        .collect();
    let expected = [("sh", ""), ("true", text(root, "span_id"))];
    assert_eq!(all, BTreeSet::from(expected));
}
