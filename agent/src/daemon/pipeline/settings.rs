//! What the pipeline has to know of the configuration.

use std::num::NonZeroU32;
use std::time::Duration;

pub use super::memory::Budget;
use crate::identity::IdentitySettings;
use crate::policy::Namespaces;
use crate::telemetry::arguments::Arguments;
use crate::telemetry::spans::SpanBuilder;
use crate::telemetry::store::Buckets;

/// What of it may change while the pipeline runs.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    /// Series held at most.
    pub series: usize,
    /// Of these, of any one metric.
    pub series_per_metric: usize,
    /// How long a series may be idle.
    pub series_idle_timeout: Duration,
    /// How arguments are shown in events.
    pub arguments: Arguments,
    /// Names of the events that are exported, where any are; empty for all.
    pub exported_events: Vec<&'static str>,
    /// How many events a workload may export in a second; `None` for any number.
    pub event_rate: Option<NonZeroU32>,
    /// Whether metrics of look-ups tell the names that were asked for.
    pub question_names: bool,
    /// The namespaces whose pods are captured.
    pub namespaces: Namespaces,
    /// The memory budget and what it is made up of.
    pub budget: Budget,
}

/// What a changed configuration comes to.
#[derive(Clone, Debug)]
pub struct Reconfigured {
    /// Of the pipeline.
    pub live: LiveSettings,
    /// What Resources and far ends are called. Sizes and what is watched stay as they are.
    pub identity: IdentitySettings,
}

/// What the pipeline has to know of the configuration.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// How often the rings are drained.
    pub drain_interval: Duration,
    /// How often open connections are read.
    pub snapshot_interval: Duration,
    /// What may change meanwhile.
    pub live: LiveSettings,
    /// Processes remembered at most.
    pub processes: usize,
    /// Look-ups of names that wait for their answers at most.
    pub lookups: usize,
    /// Open connections remembered at most.
    pub connections: usize,
    /// How long the socket of a connection has to be missing if its network namespace is not known or has no process.
    pub missing_patience: Duration,
    /// cgroups a scan takes in at most.
    pub cgroups: usize,
    /// Bytes of records that wait for their pod's metadata at most.
    pub waiting_bytes: usize,
    /// Spans and live events that wait for their pod's metadata at most.
    pub waiting_items: usize,
    /// Spans that are wanted; `None` for none.
    pub spans: Option<SpanBuilder>,
    /// Whether the kernel measures what its programs cost.
    pub program_stats: bool,
    /// Which buckets histograms have.
    pub buckets: Buckets,
    /// Whether readings are taken for export, which tell of series that ended.
    pub exports_metrics: bool,
}
