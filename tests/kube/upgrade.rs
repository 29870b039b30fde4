//! One release after another.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::World;
use super::agent::Release;
use super::cluster::until;
use super::steady;

const NAMESPACE: &str = "upgrade";
const REQUESTS: u64 = 400;

/// What happens while an agent is replaced is counted by one of the two, and by one only.
pub(crate) fn counts_on(world: &World) {
    let agent = world.agent();
    let cluster = &world.cluster;
    cluster.run(&["create", "namespace", NAMESPACE]);
    steady::start(
        cluster,
        NAMESPACE,
        "steady",
        &steady::requests(REQUESTS, 100_000),
    );
    let counts = || steady::counted(&agent.told().series(), NAMESPACE, "steady");
    until("the first requests", || {
        let [execs, ..] = counts();
        if execs > 20 { Ok(()) } else { Err(execs) }
    });
    let before = agent.told().newest_agent();
    let config = json!({ "resource_attributes": { "deployment.environment.name": "next" } });
    let release = Release {
        config,
        ..Release::default()
    };
    agent.release(cluster, &release);
    until("all requests", || {
        let counts = counts();
        if counts == [REQUESTS; 4] {
            Ok(())
        } else {
            Err(counts)
        }
    });
    // Nothing comes later.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(counts(), [REQUESTS; 4]);
    assert!(
        agent.told().newest_agent() > before,
        "the agent was not replaced"
    );
    cluster.run(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
