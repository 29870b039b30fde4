//! What the agent tells about itself in every reading.

use std::sync::Arc;

use tokio::sync::watch;

use crate::counters::{Counters, ExportStats};
use crate::identity::kube::KubeStatus;
use crate::kernel::{AttachedPrograms, FeatureStatus, ProgramStats};
use crate::self_telemetry::{self, SelfView};
use crate::telemetry::catalogue::Invariant;
use crate::telemetry::snapshot::Snapshot;
use crate::telemetry::store::Store;

/// Everything about the agent that is not in the store.
pub(super) struct About {
    pub(super) start_unix_nano: u64,
    pub(super) programs: AttachedPrograms,
    pub(super) features: Vec<FeatureStatus>,
    pub(super) exports: Arc<ExportStats>,
    /// `None` without a cluster.
    pub(super) kube: Option<watch::Receiver<KubeStatus>>,
    /// Share of the memory budget by component, in bytes.
    pub(super) budget: Vec<(&'static str, u64)>,
    /// Whether the kernel measures what its programs cost.
    pub(super) program_stats: bool,
}

impl About {
    /// Appends it to a reading.
    pub(super) fn append(
        &self,
        snapshot: &mut Snapshot,
        counters: &Counters,
        store: &Store,
        invariants: &[(Invariant, i64)],
    ) {
        let features: Vec<_> = self.features.iter().map(feature).collect();
        let programs = if self.program_stats {
            self.programs.stats()
        } else {
            Vec::new()
        };
        let programs: Vec<_> = programs.iter().map(program).collect();
        let kube: Vec<_> = self
            .kube
            .iter()
            .map(|status| kube_watch(&status.borrow()))
            .collect();
        let view = SelfView {
            start_unix_nano: self.start_unix_nano,
            counters,
            store,
            features: &features,
            programs: &programs,
            exports: Some(&self.exports),
            kube: &kube,
            budget: &self.budget,
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

fn kube_watch(status: &KubeStatus) -> self_telemetry::KubeWatch {
    self_telemetry::KubeWatch {
        kind: "Pod",
        objects: status.objects as u64,
        events: status.events,
        relists: status.relists,
    }
}
