//! What the agent tells about itself in every reading.

use std::sync::Arc;

use tokio::sync::watch;

use super::source::Source;
use crate::counters::{Counters, ExportStats};
use crate::identity::cluster::ObjectKind;
use crate::identity::kube::{ClusterStatus, KubeStatus};
use crate::kernel::{FeatureStatus, ProgramStats};
use crate::self_telemetry::{self, MemoryShare, SelfView};
use crate::telemetry::catalogue::Invariant;
use crate::telemetry::snapshot::{HistogramValue, Snapshot};
use crate::telemetry::store::Store;

/// Everything about the agent that is not in the store.
pub(super) struct About<S> {
    pub(super) start_unix_nano: u64,
    pub(super) source: S,
    pub(super) features: Vec<FeatureStatus>,
    pub(super) exports: Arc<ExportStats>,
    /// `None` without a cluster.
    pub(super) kube: Option<watch::Receiver<KubeStatus>>,
    /// How long containers waited for their name.
    pub(super) kube_lag: HistogramValue,
    /// `None` if the agent does not watch the cluster itself.
    pub(super) cluster: Option<ClusterStatus>,
    /// Whether the kernel measures what its programs cost.
    pub(super) program_stats: bool,
}

impl<S: Source> About<S> {
    /// Appends it to a reading.
    pub(super) fn append(
        &self,
        snapshot: &mut Snapshot,
        counters: &Counters,
        store: &Store,
        invariants: &[(Invariant, i64)],
        memory: &[MemoryShare],
    ) {
        let features: Vec<_> = self.features.iter().map(feature).collect();
        let programs = if self.program_stats {
            self.source.stats()
        } else {
            Vec::new()
        };
        let programs: Vec<_> = programs.iter().map(program).collect();
        let mut kube = Vec::new();
        if let Some(status) = &self.kube {
            kube.push(self_telemetry::KubeWatch::new("Pod", &status.borrow()));
        }
        for (kind, status) in self.cluster.iter().flat_map(ClusterStatus::read) {
            let kind = match kind {
                // `Pod` are this node's.
                ObjectKind::Pod => "ClusterPod",
                other => other.as_str(),
            };
            kube.push(self_telemetry::KubeWatch::new(kind, &status));
        }
        let view = SelfView {
            start_unix_nano: self.start_unix_nano,
            counters,
            store,
            features: &features,
            programs: &programs,
            exports: Some(&self.exports),
            kube: &kube,
            kube_lag: self.kube.as_ref().map(|_| &self.kube_lag),
            memory,
            invariants,
        };
        self_telemetry::append(snapshot, &view);
    }
}

fn feature(status: &FeatureStatus) -> self_telemetry::Feature {
    self_telemetry::Feature {
        name: status.feature.as_str(),
        mechanism: status.mechanism,
        state: status.state.as_str(),
    }
}

fn program(stats: &ProgramStats) -> self_telemetry::ProgramStats {
    self_telemetry::ProgramStats {
        name: stats.program.into(),
        run_time_nanos: stats.run_time_ns,
        runs: stats.runs,
    }
}
