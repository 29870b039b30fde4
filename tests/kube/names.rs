//! Every process and every flow of every kind of pod under its right name, counted exactly, at both ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use wellhead_tests::require::say;

use super::World;
use super::agent::{Agent, Release, ZONE};
use super::cluster::{is_ready, items, until};
use super::told::Series;
use super::truth::Named;

const SHOP: &str = include_str!("shop.yaml");

/// A request: a program and a connection.
const REQUEST: &str = "i=0; while [ $i -lt COUNT ]; do /bin/wget -q -O /dev/null http://$WEB_SERVICE_HOST:$WEB_SERVICE_PORT/; i=$((i+1)); done";

/// Requests that each container makes in its life, by its name.
const REQUESTS: [(&str, u64); 6] = [
    ("curl", 50),
    ("beside", 5),
    ("cron", 3),
    ("host", 20),
    ("first", 4),
    ("crash", 2),
];

/// With all that the agent can do: also who answered for the Service.
pub(crate) fn both_ends(world: &World) {
    check(world, "shop", ["Deployment", "web"]);
}

/// With the two capabilities that connections and processes take, and no others: the same but who answered, which takes the host's
/// network.
pub(crate) fn with_least_privilege(world: &World) {
    let release = Release {
        capabilities: &[],
        config: json!({ "features": { "udp": "off", "dns": "off" } }),
        ..Release::default()
    };
    world.agent().release(&world.cluster, &release);
    check(world, "shop-again", ["", ""]);
}

/// `backend` is the kind and name of who is told to have answered.
pub(crate) fn check(world: &World, namespace: &str, backend: [&str; 2]) {
    let agent = world.agent();
    open_shop(world, namespace);
    until("all kinds of containers to have ended what they do", || {
        let missing = unfinished(agent, namespace);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing)
        }
    });
    // What still crashes and starts again would be told of in the middle.
    world.cluster.run(&[
        "--namespace",
        namespace,
        "delete",
        "pod/crashing",
        "cronjob/minutely",
    ]);
    until("every name and number to be right", || {
        let series = agent.told().series();
        let wrong: Vec<String> = wrong_names(agent, &series, namespace)
            .into_iter()
            .chain(wrong_numbers(agent, &series, namespace, backend))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
    report(agent, namespace);
    world
        .cluster
        .run(&["delete", "namespace", namespace, "--wait=false"]);
}

/// The Service first: pods know it by variables that they get when they start.
fn open_shop(world: &World, namespace: &str) {
    let requests = |line: &str| {
        let Some((before, after)) = line.split_once("REQUEST ") else {
            return line.to_owned();
        };
        let end = after.find([';', '"']).expect("the end of a command");
        format!(
            "{before}{}{}",
            REQUEST.replace("COUNT", &after[..end]),
            &after[end..]
        )
    };
    let text: Vec<String> = SHOP
        .replace("NAMESPACE", namespace)
        .lines()
        .map(requests)
        .collect();
    let text = text.join("\n");
    let (servers, clients) = text.split_once("# CLIENTS").expect("the mark");
    world.cluster.apply_text(servers);
    until("the servers", || {
        let pods = world
            .cluster
            .get(namespace, &["pods", "--selector=app=web"]);
        let ready = items(&pods).iter().filter(|pod| is_ready(pod)).count();
        // A container is ready a moment before its program listens.
        std::thread::sleep(Duration::from_secs(1));
        if ready == 2 { Ok(()) } else { Err(ready) }
    });
    world.cluster.apply_text(&format!("# CLIENTS{clients}"));
}

/// Kinds of containers of which none has made all its requests, by what the agent tells.
fn unfinished(agent: &Agent, namespace: &str) -> Vec<(&'static str, u64, u64)> {
    let series = agent.told().series();
    let made = made(
        &series,
        namespace,
        "wellhead.process.exits",
        &[("process.executable.name", "wget")],
    );
    let containers = containers(agent, namespace);
    let left = REQUESTS.iter().filter_map(|(container, requests)| {
        let replicas = match *container {
            "curl" | "beside" => 3,
            _ => 1,
        };
        let ids = containers
            .iter()
            .filter(|(_, named)| named.container == *container);
        let done = ids
            .filter(|(id, _)| made.get(*id) == Some(requests))
            .count() as u64;
        (done < replicas).then_some((*container, done, replicas))
    });
    left.collect()
}

fn containers(agent: &Agent, namespace: &str) -> BTreeMap<String, Named> {
    let mut containers = agent.truth.containers();
    containers.retain(|_, named| named.namespace == namespace);
    containers
}

/// A counter of each container, over all series that have these attributes.
fn made(
    series: &[Series],
    namespace: &str,
    metric: &str,
    having: &[(&str, &str)],
) -> BTreeMap<String, u64> {
    let mut made = BTreeMap::<String, u64>::new();
    for one in series {
        if one.metric == metric && one.of("k8s.namespace.name") == namespace && one.has(having) {
            *made.entry(one.of("container.id").to_owned()).or_default() += one.total;
        }
    }
    made
}

/// Everything that is told of a container or a pod of this namespace under another name than the API's, and all that has a name
/// the API never told of. Other tests' namespaces have containers that ended before the API knew of them.
fn wrong_names(agent: &Agent, series: &[Series], namespace: &str) -> BTreeSet<String> {
    let (containers, pods) = (agent.truth.containers(), agent.truth.pods());
    let mut wrong = BTreeSet::new();
    for one in series {
        let truth = containers.get(one.of("container.id"));
        let Some(truth) = truth.or_else(|| pods.get(one.of("k8s.pod.uid"))) else {
            // A container that the API never told of, of a pod that it never told of: whatever name there is, is made up.
            if !one.of("k8s.pod.name").is_empty() {
                wrong.insert(format!("of nobody: {}", one.resource));
            }
            continue;
        };
        if truth.namespace != namespace {
            continue;
        }
        let (kind, workload) = (&truth.workload.0, &truth.workload.1);
        let owner = format!("k8s.{}.name", kind.to_lowercase());
        let expected = [
            ("k8s.namespace.name", &truth.namespace),
            ("k8s.pod.name", &truth.pod),
            ("k8s.pod.uid", &truth.uid),
            ("k8s.container.name", &truth.container),
            (owner.as_str(), workload),
            ("k8s.cluster.name", &"rig".to_owned()),
            ("k8s.node.name", &"node-a".to_owned()),
            ("k8s.node.uid", &agent.node.uid),
            ("cloud.availability_zone", &ZONE.to_owned()),
            ("k8s.cluster.uid", &agent.node.cluster),
        ];
        // What its specification says of a container, and of its pod.
        let (team, app) = match truth.container.as_str() {
            "curl" => ("checkout one", "curl"),
            "beside" => ("", "curl"),
            "httpd" => ("", "web"),
            _ => ("", ""),
        };
        let said = [("team", team), ("k8s.pod.label.app", app)];
        let said = said.iter().filter(|_| !truth.container.is_empty());
        let wrongly = said.filter(|(key, value)| one.of(key) != *value);
        wrong.extend(wrongly.map(|(key, value)| format!("{key} is {value:?}: {}", one.resource)));
        for (key, name) in expected {
            if one.of(key) != name {
                wrong.insert(format!("{key} is {name}: {}", one.resource));
            }
        }
    }
    wrong
}

/// Programs and connections that are not as many as the containers made, or have the wrong far end.
fn wrong_numbers(
    agent: &Agent,
    series: &[Series],
    namespace: &str,
    backend: [&str; 2],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let opened = "wellhead.tcp.connections.opened";
    let wget = [("process.executable.name", "wget")];
    let ended = [wget[0], ("process.exit.code", "0")];
    let to_service = [
        ("wellhead.reporter", "source"),
        ("destination.k8s.namespace.name", namespace),
        ("destination.k8s.service.name", "web"),
        ("destination.k8s.workload.kind", backend[0]),
        ("destination.k8s.workload.name", backend[1]),
        ("destination.port", "80"),
    ];
    let counts = [
        (
            "programs",
            made(series, namespace, "wellhead.process.execs", &wget),
        ),
        (
            "ends of programs",
            made(series, namespace, "wellhead.process.exits", &ended),
        ),
        ("connections", made(series, namespace, opened, &to_service)),
        (
            "connections anywhere",
            made(
                series,
                namespace,
                opened,
                &[("wellhead.reporter", "source")],
            ),
        ),
    ];
    let mut by_workload = BTreeMap::<(String, String), u64>::new();
    for (id, named) in containers(agent, namespace) {
        let requests = REQUESTS
            .iter()
            .find(|(container, _)| *container == named.container);
        let Some((_, requests)) = requests else {
            continue;
        };
        // Of one that was ended in between the agent tells no more than there was.
        for (what, counted) in &counts {
            let counted = counted.get(&id).copied().unwrap_or_default();
            if counted != *requests {
                wrong.push(format!("{counted} {what} instead of {requests}: {named:?}"));
            }
        }
        let made = counts[2].1.get(&id).copied().unwrap_or_default();
        *by_workload.entry(named.workload).or_default() += made;
    }
    for ((kind, name), made) in by_workload {
        let from = match name.as_str() {
            // By its address one with the host's network is the node.
            "host-network" => ["Node", "node-a"],
            _ => [kind.as_str(), name.as_str()],
        };
        let at_server = [
            ("source.k8s.workload.kind", from[0]),
            ("source.k8s.workload.name", from[1]),
            ("wellhead.reporter", "destination"),
            ("destination.port", "8080"),
        ];
        let accepted: u64 = self::made(series, namespace, opened, &at_server)
            .values()
            .sum();
        if accepted != made {
            wrong.push(format!(
                "{accepted} accepted instead of {made} from {kind} {name}"
            ));
        }
    }
    let accepted = made(
        series,
        namespace,
        opened,
        &[("wellhead.reporter", "destination")],
    );
    let (accepted, connected): (u64, u64) = (accepted.values().sum(), counts[3].1.values().sum());
    if accepted != connected {
        wrong.push(format!("{accepted} accepted, {connected} connected"));
    }
    wrong
}

/// Says how much has been found right.
fn report(agent: &Agent, namespace: &str) {
    let series = agent.told().series();
    let known = agent.truth.containers();
    let ids = |named: bool| -> BTreeSet<&str> {
        let ids = series
            .iter()
            .map(|one| (one.of("container.id"), one.of("k8s.container.name")));
        ids.filter(|(id, name)| !id.is_empty() && name.is_empty() != named)
            .map(|(id, _)| id)
            .collect()
    };
    let unnamed = ids(false);
    let unknown = unnamed
        .iter()
        .filter(|id| !known.contains_key(**id))
        .count();
    let discards = agent.told().discards();
    say(format_args!(
        "  {namespace}: {} series, {} containers named, {} not, of which {unknown} are none of the API's (sandboxes); discards {discards:?}",
        series.len(),
        ids(true).len(),
        unnamed.len()
    ));
}
