//! A real cluster of one node, as `cargo xtask test kube` brings it up: first that it is one, so that whatever else is tested
//! in it can rely on that; then the agent in it, as the chart installs it.
//!
//! Where the cluster is comes from the environment. Without it every test says so and is skipped. Tests run one after another,
//! in the order of the list: a node has room for one agent.

#[cfg(test)]
mod agent;
mod backends;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod crash_loop;
#[cfg(test)]
mod left_out;
#[cfg(test)]
mod names;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod release;
#[cfg(test)]
mod resolver_tls;
#[cfg(test)]
mod short_lived;
#[cfg(test)]
mod steady;
#[cfg(test)]
mod told;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod truth;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod workloads;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};

use self::agent::Agent;
use self::cluster::Cluster;

/// What tests share.
struct World {
    cluster: Cluster,
    agent: OnceLock<Agent>,
}

type Test = fn(&World);

const TESTS: &[(&str, Test)] = &[
    (
        "rig_deployments_run",
        workloads::deployments_have_their_pods_running,
    ),
    (
        "rig_services_answer",
        workloads::every_backend_answers_through_the_service,
    ),
    (
        "rig_pods_reach_the_api_server",
        workloads::pods_reach_the_api_server_by_their_account,
    ),
    ("rig_jobs_end", workloads::jobs_end),
    (
        "rig_host_network",
        workloads::a_pod_of_the_hosts_network_has_the_nodes_address,
    ),
    ("rig_init_containers", workloads::init_containers_come_first),
    (
        "rig_crash_loop",
        workloads::a_container_that_crashes_is_started_again,
    ),
    ("chart_objects_are_accepted", release::objects_are_accepted),
    ("agent_names_both_ends", names::both_ends),
    ("agent_names_pods_of_an_instant", short_lived::all_are_named),
    ("agent_without_api_server", outage::nothing_is_lost),
    ("agent_upgraded_counts_on", upgrade::counts_on),
    (
        "agent_leaves_namespaces_out",
        left_out::nothing_is_told_of_them,
    ),
    ("agent_tells_a_crash_loop", crash_loop::is_told),
    ("agent_traces_runs", traces::are_whole),
    ("agent_tells_backends_apart", backends::are_told_apart),
    ("agent_with_least_privilege", names::with_least_privilege),
    ("agent_told_over_mutual_tls", resolver_tls::names_both_ends),
    (
        "agent_permissions_are_those_used",
        permissions::are_those_used,
    ),
    (
        "agent_uninstalled_leaves_nothing",
        release::uninstalled_leaves_nothing,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let world = Cluster::find().map(|cluster| {
        Arc::new(World {
            cluster,
            agent: OnceLock::new(),
        })
    });
    if let Some(world) = &world {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("kube/workloads.yaml");
        world.cluster.apply(&file);
    }
    let trials = TESTS.iter().map(|(name, test)| {
        let world = world.clone();
        Trial::test(*name, move || {
            match world {
                Some(world) => test(&world),
                None => cluster::skip(name),
            }
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
