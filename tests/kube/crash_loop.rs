//! A pod that does not get along with its memory: its story, from the log records that the agent exported.

use serde_json::{Value, json};
use wellhead_tests::receiver::text;

use super::World;
use super::agent::Release;
use super::cluster::{expect, until};

const NAMESPACE: &str = "crashes";

/// Bad ends that are a loop.
const ENDS: usize = 3;

/// Each run of the container is told with its start and its end, for lack of memory; what came before and how many there were; and
/// once, that it goes on like that.
pub(crate) fn is_told(world: &World) {
    let agent = world.agent();
    let kinds = json!(["container.start", "container.exit", "container.crash_loop"]);
    let release = Release {
        config: json!({ "events": { "export": "on", "kinds": kinds } }),
        ..Release::default()
    };
    agent.release(&world.cluster, &release);
    world.cluster.run(&["create", "namespace", NAMESPACE]);
    world.cluster.apply_text(&pod().to_string());

    let (mut place, mut records) = (0, Vec::new());
    until("the story to be told", || {
        records.extend(agent.new_items(&mut place, "records", NAMESPACE));
        let loops = of(&records, "crash_loop", "eats").len();
        let starts = of(&records, "start", "eats").len();
        let is_told = loops > 0 && starts > ENDS && of(&records, "exit", "eats").len() >= ENDS;
        expect(is_told, &json!(records))
    });
    check_runs(&records);
    check_loop(&records);
    let first = of(&records, "exit", "prepares");
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0]["severity"], "INFO");
    assert_eq!(first[0]["attributes"]["process.exit.code"], 0);
    // Nothing of the sandbox.
    let unnamed = of(&records, "start", "");
    assert_eq!(unnamed, Vec::<&Value>::new());
    until("the ends to be counted for the pod", || {
        let series = agent.told().series();
        let ours = series.iter().filter(|one| {
            let attributes = [
                ("k8s.container.name", "eats"),
                ("wellhead.process.signal", "SIGKILL"),
                ("wellhead.container.oom_killed", "true"),
            ];
            one.metric == "wellhead.container.exits"
                && one.of("k8s.namespace.name") == NAMESPACE
                && one.has(&attributes)
        });
        let total: u64 = ours.map(|one| one.total).sum();
        expect(total >= ENDS as u64, &json!(total))
    });
    world
        .cluster
        .run(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}

/// What its containers do: one prepares, the other fills its memory until it is killed.
fn pod() -> Value {
    let image = "localhost/busybox:rig";
    let limit = json!({ "memory": "32Mi" });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "greedy", "namespace": NAMESPACE },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "initContainers": [{ "name": "prepares", "image": image, "command": ["true"] }],
            "containers": [{
                "name": "eats",
                "image": image,
                // A line without an end, of which it keeps everything.
                "command": ["sh", "-c", "sleep 1; exec tail /dev/zero"],
                "resources": { "limits": limit, "requests": limit },
            }],
        },
    })
}

/// Events of one kind, of the container of this name, in the order in which they happened.
fn of<'a>(records: &'a [Value], kind: &str, container: &str) -> Vec<&'a Value> {
    let name = format!("wellhead.container.{kind}");
    let mut found: Vec<_> = records
        .iter()
        .filter(|record| {
            text(record, "event_name") == name
                && text(&record["resource"], "k8s.container.name") == container
        })
        .collect();
    found.sort_by_key(|record| record["time_unix_nano"].as_u64());
    found
}

fn check_runs(records: &[Value]) {
    let (starts, ends) = (of(records, "start", "eats"), of(records, "exit", "eats"));
    for (number, start) in starts.iter().enumerate() {
        let attributes = &start["attributes"];
        assert_eq!(start["severity"], "INFO");
        assert_eq!(attributes["process.executable.name"], "sh");
        assert_eq!(attributes["k8s.container.restart_count"], number);
        let (before, downtime) = (
            &attributes["wellhead.container.previous.signal"],
            attributes["wellhead.container.downtime"].as_u64(),
        );
        if number == 0 {
            assert!(before.is_null() && downtime.is_none(), "{start}");
        } else {
            assert_eq!(before, "SIGKILL", "{start}");
            assert!(downtime > Some(0), "{start}");
        }
    }
    let id = |record: &Value| text(&record["resource"], "container.id").to_owned();
    for (start, end) in starts.iter().zip(&ends) {
        assert_eq!(id(start), id(end));
        let attributes = &end["attributes"];
        assert_eq!(end["severity"], "ERROR");
        // The shell executes itself for its other commands.
        assert_eq!(attributes["process.executable.name"], "busybox");
        assert_eq!(attributes["wellhead.process.signal"], "SIGKILL");
        assert_eq!(attributes["wellhead.container.oom_killed"], true);
        assert!(attributes["wellhead.container.oom_kills"].as_u64() >= Some(1));
        // It sleeps that long before it eats.
        assert!(attributes["wellhead.duration"].as_u64() >= Some(1_000_000_000));
    }
}

fn check_loop(records: &[Value]) {
    let loops = of(records, "crash_loop", "eats");
    assert_eq!(loops.len(), 1, "{loops:?}");
    let (severity, attributes) = (&loops[0]["severity"], &loops[0]["attributes"]);
    assert_eq!(severity, "ERROR");
    let source = text(attributes, "wellhead.container.crash_loop.source");
    // Whoever comes first.
    assert!(["observed", "status"].contains(&source), "{attributes}");
    assert!(attributes["wellhead.container.crash_loop.bad_ends"].as_u64() >= Some(1));
    assert!(attributes["k8s.container.restart_count"].as_u64() >= Some(1));
    assert_eq!(attributes["wellhead.process.signal"], "SIGKILL");
    assert_eq!(attributes["wellhead.container.oom_killed"], true);
    assert!(attributes["wellhead.duration"].as_u64() > Some(0));
}
