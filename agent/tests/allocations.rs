//! How often memory is allocated for a record, from the bytes in its ring to the series store, once all series are there.
//!
//! Never, whatever the machine does: whoever adds an allocation to the way of a record finds it here.

#[path = "../benches/records/allocations.rs"]
mod allocations;
#[path = "../benches/records/node.rs"]
mod node;
#[path = "../benches/records/pipeline.rs"]
mod pipeline;
#[path = "../benches/records/written.rs"]
mod written;

use self::pipeline::NodePipeline;
use self::written::Records;

/// Takes the records in twice, so that all tables have their size, and then once more.
#[track_caller]
fn check(records: &Records) {
    let mut pipeline = NodePipeline::new();
    for _ in 0..2 {
        pipeline.take_in(records);
    }
    let made = allocations::during(|| pipeline.take_in(records));
    let number = records.len();
    assert_eq!(made, 0, "allocations for {number} records");
    assert_eq!(
        pipeline.counted(),
        (3 * number as u64, 0),
        "read, discarded"
    );
    assert!(pipeline.series() >= 2_500);
}

#[test]
fn connections_allocate_nothing() {
    check(&node::connections());
}

#[test]
fn snapshots_allocate_nothing() {
    check(&node::snapshots());
}

#[test]
fn all_of_them_together_allocate_nothing() {
    check(&node::mixed());
}

#[test]
fn processes_allocate_nothing() {
    check(&node::processes());
}
