//! The API server dies, and things go on happening.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use wellhead_tests::require::say;

use super::World;
use super::cluster::{is_ready, until};
use super::steady;

const NAMESPACE: &str = "outage";
const AWAY: Duration = Duration::from_mins(1);

/// Programs run by a container that lives through the outage, and connections of the same number.
const REQUESTS: u64 = 600;
/// Each start of the container that ends by itself runs as many.
const EACH: u64 = 5;

/// A minute without it: what a container does that was there before is counted to the last, under its name; containers that
/// came meanwhile have theirs when the server is back. Nothing is discarded.
pub(crate) fn nothing_is_lost(world: &World) {
    let agent = world.agent();
    let cluster = &world.cluster;
    cluster.run(&["create", "namespace", NAMESPACE]);
    let lasting = steady::requests(REQUESTS, 150_000);
    // Ends and is started again by the node alone: a container that the API tells of much later.
    let restarting =
        format!("i=0; while [ $i -lt {EACH} ]; do /bin/true; i=$((i+1)); done; sleep 8");
    for (name, script) in [("lasting", &lasting), ("restarting", &restarting)] {
        steady::start(cluster, NAMESPACE, name, script);
    }
    for name in ["lasting", "restarting"] {
        until("the pods", || {
            let pod = cluster.get(NAMESPACE, &["pod", name]);
            if is_ready(&pod) {
                Ok(())
            } else {
                Err(pod["status"].clone())
            }
        });
    }
    let discards = agent.told().discards();
    cluster.kill("apiserver");
    thread::sleep(AWAY);
    cluster.start("apiserver");
    until("the API server", || cluster.answers());
    until("everything under its name", || {
        let counted = steady::counted(&agent.told().series(), NAMESPACE, "lasting");
        if counted == [REQUESTS; 4] {
            Ok(())
        } else {
            Err(counted)
        }
    });
    restarted_ones_are_named(world);
    assert_eq!(agent.told().discards(), discards, "something was discarded");
    cluster.run(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}

/// Each container the API tells of now did all it does under its name. What ended before the API could tell of it stays
/// without its container's name, but has its pod's.
fn restarted_ones_are_named(world: &World) {
    let agent = world.agent();
    until("the container to be started again and again", || {
        let restarts = containers_of_now(world).1;
        if restarts > 2 { Ok(()) } else { Err(restarts) }
    });
    until("those of them that are over, in full", || {
        let (named, _) = containers_of_now(world);
        let series = agent.told().series();
        let execs = series.iter().filter(|one| {
            one.metric == "wellhead.process.execs"
                && one.has(&[("process.executable.name", "true")])
        });
        let of_pod: Vec<_> = execs
            .filter(|one| one.of("k8s.pod.name") == "restarting")
            .collect();
        let whole = of_pod.iter().filter(|one| one.total == EACH).count();
        let of_known = of_pod
            .iter()
            .filter(|one| named.contains(one.of("container.id")));
        let of_known = of_known
            .filter(|one| one.of("k8s.container.name") == "restarting" && one.total == EACH)
            .count();
        // The newest may be in the middle; then this looks again.
        if whole + 1 >= of_pod.len() && of_known == named.len() && of_known > 0 {
            say(format_args!(
                "  {} containers of one pod, {} named by the API",
                of_pod.len(),
                named.len()
            ));
            return Ok(());
        }
        Err(of_pod
            .iter()
            .map(|one| (one.resource.to_string(), one.total))
            .collect::<Vec<_>>())
    });
}

/// Ids of the present and the last run, and how often there was a new one, as the API tells now. Who follows it may have missed what it
/// told for a moment only.
fn containers_of_now(world: &World) -> (BTreeSet<String>, u64) {
    let pod = world.cluster.get(NAMESPACE, &["pod", "restarting"]);
    let status = &pod["status"]["containerStatuses"][0];
    let runs = [
        &status["containerID"],
        &status["lastState"]["terminated"]["containerID"],
    ];
    let ids = runs.iter().filter_map(|id| id.as_str()?.rsplit('/').next());
    let restarts = status["restartCount"].as_u64().unwrap_or_default();
    (ids.map(str::to_owned).collect(), restarts)
}
