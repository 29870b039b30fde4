//! What a record costs, from the bytes in its ring to the series store: on one thread, by what the records are about, once all series
//! are there.
//!
//! `cargo xtask bench` runs it. Times are this machine's; allocations are not.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

#[path = "records/allocations.rs"]
mod allocations;
#[path = "records/node.rs"]
mod node;
#[path = "records/written.rs"]
mod written;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wellhead::config::Config;
use wellhead::counters::{Counters, Discard, RecordKind};
use wellhead::daemon::Settings;
use wellhead::daemon::pipeline::Replay;
use wellhead::identity::Identity;
use wellhead::recording::{Entry, Ring, Start};

use self::written::Records;

/// Each mix is taken in so often after once that makes its series.
const ROUNDS: usize = 9;

fn main() {
    println!("records taken in on one thread, median of {ROUNDS} rounds:");
    for (name, records) in [
        ("processes: fork, exec, exit", node::processes()),
        ("connections: open, close", node::connections()),
        ("snapshots of open connections", node::snapshots()),
        ("all of them", node::mixed()),
    ] {
        let cost = measure(&records);
        println!(
            "{:>10.0} a second, {:>5.0} ns and {:.3} allocations each, {} of {}  {name}",
            1e9 / cost.nanoseconds,
            cost.nanoseconds,
            cost.allocations,
            cost.series,
            records.len(),
        );
    }
}

struct Cost {
    nanoseconds: f64,
    allocations: f64,
    series: usize,
}

fn measure(records: &Records) -> Cost {
    let counters = Arc::<Counters>::default();
    let mut replay = told_of_the_node(&counters);
    take_in(&mut replay, records);
    let mut taken: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            take_in(&mut replay, records);
            start.elapsed()
        })
        .collect();
    taken.sort_unstable();
    let allocations = allocations::during(|| take_in(&mut replay, records));
    let discarded: u64 = Discard::ALL.iter().map(|why| counters.discards(*why)).sum();
    let read: u64 = RecordKind::ALL
        .iter()
        .map(|kind| counters.records(*kind))
        .sum();
    let rounds = 2 + ROUNDS as u64;
    assert_eq!((read, discarded), (rounds * records.len() as u64, 0));
    let families = replay.read().into_snapshot().families;
    let workloads = families
        .iter()
        .filter(|family| !family.metric.name().starts_with("wellhead.agent."));
    let float = |number: usize| f64::from(u32::try_from(number).expect("not so many"));
    let number = float(records.len());
    Cost {
        nanoseconds: taken[ROUNDS / 2].as_secs_f64() * 1e9 / number,
        allocations: float(allocations) / number,
        series: workloads.map(|family| family.points.len()).sum(),
    }
}

/// A pipeline that knows the node's pods and the cluster's.
fn told_of_the_node(counters: &Arc<Counters>) -> Replay {
    let start = Start {
        node_name: "node-a".to_owned(),
        boot_ns: node::NOW,
        kubernetes: true,
        cluster: true,
        ..Start::default()
    };
    let settings = Settings::of_recording(&Config::default(), &start).expect("the defaults");
    let identity = settings.identity(start.kubernetes, start.cluster);
    let mut replay = Replay::new(
        &start,
        Identity::new(&identity, Arc::clone(counters)),
        Arc::clone(counters),
        settings.pipeline.clone(),
        (None, None),
        Arc::default(),
    );
    for told in node::told() {
        replay.take_in(Entry::Told(told));
    }
    replay
}

fn take_in(replay: &mut Replay, records: &Records) {
    for record in records.iter() {
        replay.take_in(Entry::Record(Ring::Other, black_box(record)));
    }
}
