//! What it costs to say who did something, and who is at the other end, by the size of the cluster.
//!
//! `cargo xtask bench` runs it.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

#[expect(dead_code, reason = "others need more of it")]
#[path = "shared/items.rs"]
mod items;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use wellhead::config::Config;
use wellhead::counters::Counters;
use wellhead::daemon::Settings;
use wellhead::identity::cluster::{Address, ClusterObject, ClusterUpdate, Moment, ObjectKind};
use wellhead::identity::{FarEnd, Identity, Workload};
use wellhead::recording::Start;

const PODS: [u32; 3] = [1_000, 15_000, 150_000];
/// Containers of the node.
const CGROUPS: u64 = 1_000;
const LOOK_UPS: u32 = 100_000;
const ROUNDS: usize = 9;
/// Nanoseconds since boot.
const NOW: u64 = 1_000_000_000_000;

fn main() {
    let mut rows: Vec<Vec<Value>> = vec![
        vec![json!("whose a cgroup is")],
        vec![json!("who is at an address: its key")],
        vec![json!("who is at an address: all of it")],
    ];
    for pods in PODS {
        let mut identity = identity(pods);
        let ends: Vec<FarEnd> = (0..pods)
            .map(|number| FarEnd {
                ip: address(number),
                port: 8080,
                at: NOW,
                asker: 0,
            })
            .collect();
        // In an order that no cache foresees.
        let end = |number: u32| &ends[number.wrapping_mul(2_654_435_761) as usize % ends.len()];
        let costs = [
            each(|number| {
                black_box(identity.owner_of_cgroup(u64::from(number) % CGROUPS + 2));
            }),
            each(|number| {
                black_box(identity.peer_key(end(number), None));
            }),
            each(|number| {
                black_box(identity.peer(end(number), None));
            }),
        ];
        for (row, cost) in rows.iter_mut().zip(costs) {
            row.push(json!(cost));
        }
    }
    items::table(
        "Look-ups of identity, by the number of pods in the cluster",
        &format!("Nanoseconds each, median of {ROUNDS} rounds; a node of {CGROUPS} containers."),
        &["look-up", "1 000", "15 000", "150 000"],
        &rows,
    );
}

/// Nanoseconds that one takes.
fn each(mut look_up: impl FnMut(u32)) -> f64 {
    let mut taken: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..LOOK_UPS).for_each(&mut look_up);
            start.elapsed()
        })
        .collect();
    taken.sort_unstable();
    taken[ROUNDS / 2].as_secs_f64() * 1e9 / f64::from(LOOK_UPS)
}

fn identity(pods: u32) -> Identity {
    let start = Start {
        node_name: "node-a".to_owned(),
        kubernetes: true,
        cluster: true,
        ..Start::default()
    };
    let settings = Settings::of_recording(&Config::default(), &start).expect("the defaults");
    let mut identity = Identity::new(
        &settings.identity((true, true), None),
        Arc::<Counters>::default(),
    );
    for number in 0..CGROUPS {
        let path =
            format!("/kubepods/burstable/pod00000000-0000-4000-8000-{number:012x}/{number:064x}");
        identity.cgroup_created(number + 2, &path, NOW);
    }
    let moment = Moment {
        boot: NOW,
        unix: NOW,
    };
    for (kind, objects) in [
        (ObjectKind::Pod, (0..pods).map(pod).collect()),
        (ObjectKind::Service, Vec::new()),
        (ObjectKind::Endpoints, Vec::new()),
        (ObjectKind::Node, Vec::new()),
    ] {
        identity.apply_cluster(ClusterUpdate::Restarted { kind, objects }, moment);
    }
    identity
}

fn address(number: u32) -> IpAddr {
    IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number))
}

fn pod(number: u32) -> ClusterObject {
    let workload = Workload {
        namespace: "shop".into(),
        name: format!("backend-{}", number / 30).into(),
        kind: "Deployment".into(),
    };
    ClusterObject {
        kind: ObjectKind::Pod,
        uid: format!("pod-{number}").into(),
        name: Arc::new(workload),
        addresses: vec![Address::any_port(address(number))],
        since: None,
        finished: false,
    }
}
