//! What exporters get to read.

use super::super::memory::Held;
use super::super::source::Source;
use super::State;
use crate::export::otlp::Queue;
use crate::telemetry::store::{Reading, SeriesId};

impl<S: Source> State<S> {
    /// Reads the store, and what there is to tell about the agent; for export, if series are given whose end was told.
    pub(in super::super) fn read(&mut self, told: Option<&[SeriesId]>) -> Reading {
        self.about.source.publish(&self.counters);
        let (now, patience) = (self.clock.now(), self.patience());
        let Self {
            store,
            identity,
            clock,
            ..
        } = self;
        let node = identity.node_resource();
        let (now, resolve) = (clock.unix_nano(now), |owner| {
            identity.resolve(owner, patience)
        });
        let mut reading = match told {
            None => store.read(now, resolve, node),
            Some(told) => store.read_for_export(told, now, resolve, node),
        };
        let invariants = self.invariants.all(&self.aggregator, &self.store);
        let resident = self.pressure.measure();
        let memory = self.settings.live.budget.shares(&self.held(), resident);
        self.about.append(
            reading.rest_mut(),
            &self.counters,
            &self.store,
            &invariants,
            &memory,
        );
        reading
    }

    /// What takes memory.
    fn held(&self) -> Held {
        let known = self.identity.sizes();
        Held {
            kernel_maps: self.map_memory,
            connections: self.aggregator.open_connections().len()
                + self.aggregator.left_out_connections().len(),
            processes: self.processes.len(),
            cgroups: known.cgroups,
            pods: known.pods,
            owners: known.owners,
            cluster: known.cluster_objects,
            series: self.store.memory_bytes() + self.about.exports.ledger_bytes(),
            spans: self.spans.as_ref().map_or(0, Queue::bytes),
            logs: self.logs.as_ref().map_or(0, Queue::bytes),
        }
    }
}
