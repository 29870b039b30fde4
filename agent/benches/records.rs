//! What a record costs, from the bytes in its ring to the series store: on one thread, by what the records are about, once all series
//! are there.
//!
//! `cargo xtask bench` runs it. Times are this machine's; allocations are not.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

#[path = "records/allocations.rs"]
mod allocations;
#[expect(dead_code, reason = "others need more of it")]
#[path = "shared/items.rs"]
mod items;
#[path = "records/node.rs"]
mod node;
#[path = "records/pipeline.rs"]
mod pipeline;
#[path = "records/written.rs"]
mod written;

use std::time::{Duration, Instant};

use serde_json::json;

use self::pipeline::NodePipeline;
use self::written::Records;

/// Each mix is taken in so often after once that makes its series.
const ROUNDS: usize = 25;

/// Records a second that one thread takes in at least.
const GOAL: f64 = 1e6;

fn main() {
    let mut rows = Vec::new();
    for (name, records) in [
        ("processes: fork, exec, exit", node::processes()),
        ("connections: open, close", node::connections()),
        ("snapshots of open connections", node::snapshots()),
        ("all of them in turn", node::mixed()),
    ] {
        let cost = measure(&records);
        let each_second = 1e9 / cost.fastest;
        rows.push(vec![
            json!(name),
            json!(each_second.round()),
            json!(cost.fastest),
            json!(cost.nanoseconds),
            json!(cost.allocations),
            json!(cost.series),
        ]);
        items::fact(&format!("a record of {name}"), cost.nanoseconds, "ns");
        items::goal(
            &format!("records a second on one thread: {name}"),
            "at least 1 000 000",
            &format!("{each_second:.0}"),
            each_second >= GOAL,
        );
    }
    items::table(
        "Records from ring to series",
        &format!(
            "On one thread, of a node of 250 pods in a cluster of 1 000 others, once all series are there. The fastest of {ROUNDS} rounds, \
             which is what the code takes (other guests of a machine like this one only ever slow it down), and the median."
        ),
        &[
            "records",
            "a second",
            "ns each",
            "median ns",
            "allocations each",
            "series",
        ],
        &rows,
    );
}

struct Cost {
    /// Of the fastest round.
    fastest: f64,
    /// Of the median.
    nanoseconds: f64,
    allocations: f64,
    series: usize,
}

fn measure(records: &Records) -> Cost {
    let mut pipeline = NodePipeline::new();
    pipeline.take_in(records);
    let mut taken: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            pipeline.take_in(records);
            start.elapsed()
        })
        .collect();
    taken.sort_unstable();
    let allocations = allocations::during(|| pipeline.take_in(records));
    let rounds = 2 + ROUNDS as u64;
    let (read, discarded) = pipeline.counted();
    assert_eq!((read, discarded), (rounds * records.len() as u64, 0));
    let float = |number: usize| f64::from(u32::try_from(number).expect("not so many"));
    let number = float(records.len());
    let each = |taken: Duration| taken.as_secs_f64() * 1e9 / number;
    Cost {
        fastest: each(taken[0]),
        nanoseconds: each(taken[ROUNDS / 2]),
        allocations: float(allocations) / number,
        series: pipeline.series(),
    }
}
