//! A pipeline that knows the node's pods and the cluster's.

use std::hint::black_box;
use std::sync::Arc;

use wellhead::config::Config;
use wellhead::counters::{Counters, Discard, RecordKind};
use wellhead::daemon::Settings;
use wellhead::daemon::pipeline::Replay;
use wellhead::recording::{Entry, Ring, Start};

use super::node;
use super::written::Records;

/// The pipeline.
pub(crate) struct NodePipeline {
    replay: Replay,
    counters: Arc<Counters>,
}

impl NodePipeline {
    pub(crate) fn new() -> Self {
        let counters = Arc::<Counters>::default();
        let start = Start {
            node_name: "node-a".to_owned(),
            boot_ns: node::NOW,
            kubernetes: true,
            cluster: true,
            ..Start::default()
        };
        let settings = Settings::of_recording(&Config::default(), &start).expect("the defaults");
        let mut replay = Replay::new(
            &start,
            &settings,
            Arc::clone(&counters),
            (None, None),
            Arc::default(),
        );
        for told in node::told() {
            replay.take_in(Entry::Told(told));
        }
        Self { replay, counters }
    }

    pub(crate) fn take_in(&mut self, records: &Records) {
        for record in records.iter() {
            let entry = Entry::Record(Ring::Other, black_box(record));
            self.replay.take_in(entry);
        }
    }

    /// Records that were read, and whatever was discarded.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let read = RecordKind::ALL.iter();
        let discarded = Discard::ALL.iter();
        (
            read.map(|kind| self.counters.records(*kind)).sum(),
            discarded.map(|why| self.counters.discards(*why)).sum(),
        )
    }

    /// Series of workloads.
    pub(crate) fn series(&mut self) -> usize {
        let workloads = self.replay.read().into_snapshot().of_workloads();
        let families = workloads.families.iter();
        families.map(|family| family.points.len()).sum()
    }
}
