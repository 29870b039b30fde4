//! Takes in one mix of records, named on the command line, once more after it has made its series, in a function that callgrind
//! counts the instructions of: `cargo xtask test cost` compares them with what is written down. Unlike times they are nearly the same
//! on a busy machine.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

#[path = "../../agent/benches/records/node.rs"]
mod node;
#[expect(dead_code, reason = "others ask for its series")]
#[path = "../../agent/benches/records/pipeline.rs"]
mod pipeline;
#[path = "../../agent/benches/records/written.rs"]
mod written;

use self::pipeline::NodePipeline;
use self::written::Records;

fn main() {
    let mix = std::env::args().nth(1).unwrap_or_default();
    let records = match mix.as_str() {
        "processes" => node::processes(),
        "connections" => node::connections(),
        "snapshots" => node::snapshots(),
        "mixed" => node::mixed(),
        // Cargo runs all benchmarks if nobody names one.
        _ => return,
    };
    let mut pipeline = NodePipeline::new();
    pipeline.take_in(&records);
    take_in_once_more(&mut pipeline, &records);
    let number = records.len();
    assert_eq!(pipeline.counted(), (2 * number as u64, 0));
    println!("{number}");
}

/// Callgrind knows it by its name.
#[inline(never)]
fn take_in_once_more(pipeline: &mut NodePipeline, records: &Records) {
    pipeline.take_in(records);
}
