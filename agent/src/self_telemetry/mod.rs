//! The agent about itself: its counters and states as metric families of the node.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::counters::{
    Counters, Discard, ExportFailure, ExportStats, Exporter, LookUp, RecordKind, Reload, Signal,
    Volumes,
};
use crate::identity::Value;
use crate::identity::kube::KubeStatus;
use crate::telemetry::catalogue::{Attr, Invariant, Metric};
use crate::telemetry::snapshot::{Family, HistogramValue, Point, PointValue, Snapshot};
use crate::telemetry::store::{SeriesId, Store};

/// Everything the agent tells about itself, gathered by whoever owns the parts.
#[derive(Debug)]
pub struct SelfView<'a> {
    /// When the agent started, nanoseconds since the Unix epoch: since when its counters count.
    pub start_unix_nano: u64,
    /// Records and discards.
    pub counters: &'a Counters,
    /// Series held and the room for them.
    pub store: &'a Store,
    /// What is captured, and how.
    pub features: &'a [Feature],
    /// Run-time statistics of the kernel's programs; empty unless switched on.
    pub programs: &'a [ProgramStats],
    /// What became of exported data; `None` if nothing is exported.
    pub exports: Option<&'a ExportStats>,
    /// Kubernetes watches; empty if there is no cluster.
    pub kube: &'a [KubeWatch],
    /// How long containers waited for their name; `None` if there is no cluster.
    pub kube_lag: Option<&'a HistogramValue>,
    /// What parts of the agent may take of memory, and take.
    pub memory: &'a [MemoryShare],
    /// What the agent's checks of itself came to.
    pub invariants: &'a [(Invariant, i64)],
}

/// What a part of the agent may take of memory, and takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShare {
    /// Which.
    pub component: &'static str,
    /// The most it may take.
    pub budget: u64,
    /// What it takes; `None` if that cannot be read.
    pub usage: Option<u64>,
}

/// One feature and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Name as in the configuration.
    pub name: &'static str,
    /// Kernel mechanism, such as `tp_btf`; empty if it is not attached.
    pub mechanism: &'static str,
    /// `on`, `off` or `unknown`.
    pub state: &'static str,
}

/// Run-time statistics of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStats {
    /// Its name.
    pub name: Arc<str>,
    /// Nanoseconds it ran.
    pub run_time_nanos: u64,
    /// How often it ran.
    pub runs: u64,
}

/// One Kubernetes watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KubeWatch {
    /// Kind of object, such as `Pod`.
    pub kind: &'static str,
    /// Objects known now.
    pub objects: u64,
    /// Events received.
    pub events: u64,
    /// Times everything had to be listed again.
    pub relists: u64,
    /// Requests and watches that failed.
    pub errors: u64,
}

impl KubeWatch {
    /// A watch as its status tells.
    pub fn new(kind: &'static str, status: &KubeStatus) -> Self {
        Self {
            kind,
            objects: status.objects as u64,
            events: status.events,
            relists: status.relists,
            errors: status.errors,
        }
    }
}

/// What a resolver tells about itself.
#[derive(Clone, Copy, Debug)]
pub struct ResolverView<'a> {
    /// When it started, nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// Its watches.
    pub kube: &'a [KubeWatch],
    /// Agents it is telling.
    pub clients: u64,
    /// Deltas sent, to all of them together.
    pub deltas: u64,
    /// Snapshots begun.
    pub snapshots: u64,
    /// Bytes sent.
    pub bytes: u64,
}

/// Kinds of records whose loss makes a signal incomplete, by `wellhead.signal`.
const SIGNALS: &[(&str, &[RecordKind])] = &[
    (
        "process",
        &[
            RecordKind::Fork,
            RecordKind::Exec,
            RecordKind::Exit,
            RecordKind::OomKill,
        ],
    ),
    (
        "tcp",
        &[
            RecordKind::TcpOpen,
            RecordKind::TcpClose,
            RecordKind::TcpConnectFailed,
            RecordKind::TcpReset,
        ],
    ),
    ("dns", &[RecordKind::Dns]),
];

/// Appends the agent's own families to a snapshot, as points of the node.
pub fn append(snapshot: &mut Snapshot, view: &SelfView<'_>) {
    let mut families = Families {
        start_unix_nano: view.start_unix_nano,
        families: Vec::new(),
    };
    records(&mut families, view.counters);
    for (invariant, drift) in view.invariants {
        let attributes = [(Attr::Invariant, Value::Static(invariant.as_str()))];
        let drift = PointValue::Int(*drift);
        families.push(Metric::AgentInvariantDrift, &attributes, drift);
    }
    series(&mut families, view.store);
    memory_and_features(&mut families, view);
    configuration(&mut families, view);
    programs(&mut families, view.programs);
    if let Some(exports) = view.exports {
        export(&mut families, exports);
        volumes(&mut families, exports.volumes());
    }
    kubernetes(&mut families, view.kube);
    if let Some(lag) = view.kube_lag {
        let attributes = [(Attr::Kind, Value::Static("Pod"))];
        let lag = lag.clone().into();
        families.push(Metric::AgentKubeLag, &attributes, lag);
    }
    snapshot.families.extend(families.families);
}

/// Appends a resolver's families to a snapshot.
pub fn append_resolver(snapshot: &mut Snapshot, view: &ResolverView<'_>) {
    let mut families = Families {
        start_unix_nano: view.start_unix_nano,
        families: Vec::new(),
    };
    kubernetes(&mut families, view.kube);
    families.int(Metric::ResolverClients, &[], view.clients);
    families.int(Metric::ResolverDeltas, &[], view.deltas);
    families.int(Metric::ResolverSnapshots, &[], view.snapshots);
    families.int(Metric::ResolverIo, &[], view.bytes);
    snapshot.families.extend(families.families);
}

/// Share of a signal's records that were consumed since the start; a run of a program that the kernel skipped counts as a
/// lost record, and so does an end that was missed (twice, if it was for such a run). Losses are mirrored from the kernel later than the records themselves are counted, so this is exact once both have come to rest.
pub fn completeness(counters: &Counters, kinds: &[RecordKind]) -> f64 {
    let consumed: u64 = kinds.iter().map(|kind| counters.records(*kind)).sum();
    let lost = |kind: &RecordKind| {
        let missed = match kind {
            RecordKind::TcpClose => counters.discards(Discard::KernelEndMissed),
            _ => 0,
        };
        counters.lost(*kind) + counters.skipped(*kind) + missed
    };
    let lost: u64 = kinds.iter().map(lost).sum();
    if lost == 0 {
        return 1.0;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio to 53 bits is exact enough"
    )]
    let ratio = consumed as f64 / (consumed as f64 + lost as f64);
    ratio
}

fn records(families: &mut Families, counters: &Counters) {
    for kind in RecordKind::ALL {
        let attributes = [(Attr::RecordKind, Value::Static(kind.as_str()))];
        families.int(Metric::AgentRecords, &attributes, counters.records(*kind));
    }
    for why in Discard::ALL {
        let attributes = [
            (Attr::Reason, Value::Static(why.reason())),
            (Attr::Stage, Value::Static(why.stage().as_str())),
        ];
        families.int(Metric::AgentDiscards, &attributes, counters.discards(*why));
    }
    for (signal, kinds) in SIGNALS {
        let attributes = [(Attr::Signal, Value::Static(signal))];
        families.float(
            Metric::AgentCompleteness,
            &attributes,
            completeness(counters, kinds),
        );
    }
    for outcome in LookUp::ALL {
        let attributes = [(Attr::Outcome, Value::Static(outcome.as_str()))];
        let look_ups = counters.look_ups(*outcome);
        families.int(Metric::AgentConntrackLookups, &attributes, look_ups);
    }
}

fn series(families: &mut Families, store: &Store) {
    families.int(Metric::AgentSeriesLimit, &[], store.limit() as u64);
    let held = Metric::ALL.iter().filter(|metric| !metric.is_of_agent());
    for metric in held {
        let attributes = [(Attr::Metric, Value::Static(metric.name()))];
        let (series, limit) = (store.series_count(*metric), store.metric_limit());
        families.int(Metric::AgentSeries, &attributes, series as u64);
        families.int(Metric::AgentSeriesLimit, &attributes, limit as u64);
    }
}

fn memory_and_features(families: &mut Families, view: &SelfView<'_>) {
    let component = |share: &MemoryShare| [(Attr::Component, Value::Static(share.component))];
    for share in view.memory {
        families.int(Metric::AgentMemoryBudget, &component(share), share.budget);
    }
    for share in view.memory {
        if let Some(usage) = share.usage {
            families.int(Metric::AgentMemoryUsage, &component(share), usage);
        }
    }
    let steps = view.counters.memory_steps();
    families.int(Metric::AgentMemorySteps, &[], steps);
    for Feature {
        name,
        mechanism,
        state,
    } in view.features
    {
        let mut attributes = vec![(Attr::Feature, Value::Static(name))];
        if !mechanism.is_empty() {
            attributes.push((Attr::Mechanism, Value::Static(mechanism)));
        }
        attributes.push((Attr::State, Value::Static(state)));
        families.int(Metric::AgentFeature, &attributes, 1);
    }
}

fn configuration(families: &mut Families, view: &SelfView<'_>) {
    let reloads = view.counters.reloads();
    for outcome in Reload::ALL {
        let attributes = [(Attr::Outcome, Value::Static(outcome.as_str()))];
        families.int(
            Metric::AgentConfigReloads,
            &attributes,
            reloads.of(*outcome),
        );
    }
    let succeeded = reloads.last_succeeded().into();
    families.int(Metric::AgentConfigLastReloadSuccessful, &[], succeeded);
    let at = reloads.last_success().unwrap_or(view.start_unix_nano);
    let at = Duration::from_nanos(at).as_secs();
    families.int(Metric::AgentConfigLastReloadTimestamp, &[], at);
    let waiting = reloads.waiting().len() as u64;
    families.int(Metric::AgentConfigKeysWaiting, &[], waiting);
}

fn programs(families: &mut Families, programs: &[ProgramStats]) {
    let name = |program: &ProgramStats| [(Attr::Program, Value::Str(Arc::clone(&program.name)))];
    for program in programs {
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for the first hundred days of run time"
        )]
        let seconds = program.run_time_nanos as f64 / 1e9;
        families.float(Metric::AgentProgramRunTime, &name(program), seconds);
    }
    for program in programs {
        families.int(Metric::AgentProgramRuns, &name(program), program.runs);
    }
}

fn export(families: &mut Families, exports: &ExportStats) {
    let signal = |signal: Signal| (Attr::Signal, Value::Static(signal.as_str()));
    for each in Signal::ALL {
        let stats = exports.signal(*each);
        for (metric, items) in [
            (Metric::AgentExportItems, stats.items()),
            (Metric::AgentExportRetries, stats.retries()),
            (Metric::AgentExportRejected, stats.rejected()),
            (Metric::AgentExportQueueLength, stats.queue_length()),
        ] {
            families.int(metric, &[signal(*each)], items);
        }
        // Every reason from the start, so that a rate sees the first failure.
        for why in ExportFailure::ALL {
            let attributes = [
                (Attr::ErrorType, Value::Static(why.as_str())),
                signal(*each),
            ];
            families.int(
                Metric::AgentExportFailures,
                &attributes,
                stats.failures(*why),
            );
        }
    }
}

/// Which service's telemetry costs how much.
fn volumes(families: &mut Families, volumes: &Volumes) {
    let mut all = volumes.read();
    all.sort_unstable_by(|(signal, whose, _), other| {
        (signal.as_str(), whose).cmp(&(other.0.as_str(), &other.1))
    });
    for (signal, whose, volume) in all {
        let mut attributes = Vec::with_capacity(3);
        match whose {
            Some(Exporter { namespace, service }) => {
                if !namespace.is_empty() {
                    attributes.push((Attr::K8sNamespaceName, Value::Str(namespace)));
                }
                attributes.push((Attr::ServiceName, Value::Str(service)));
            }
            None => attributes.push((Attr::MetricOverflow, Value::Bool(true))),
        }
        attributes.push((Attr::Signal, Value::Static(signal.as_str())));
        families.int(Metric::AgentExportVolume, &attributes, volume.bytes);
        families.int(Metric::AgentExportVolumeItems, &attributes, volume.items);
    }
}

fn kubernetes(families: &mut Families, watches: &[KubeWatch]) {
    for watch in watches {
        let attributes = [(Attr::Kind, Value::Static(watch.kind))];
        families.int(Metric::AgentKubeObjects, &attributes, watch.objects);
        families.int(Metric::AgentKubeEvents, &attributes, watch.events);
        families.int(Metric::AgentKubeRelists, &attributes, watch.relists);
        families.int(Metric::AgentKubeErrors, &attributes, watch.errors);
    }
}

/// Families under construction, kept in catalogue order.
struct Families {
    start_unix_nano: u64,
    families: Vec<Family>,
}

impl Families {
    fn int(&mut self, metric: Metric, attributes: &[(Attr, Value)], value: u64) {
        self.push(
            metric,
            attributes,
            PointValue::Int(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }

    fn float(&mut self, metric: Metric, attributes: &[(Attr, Value)], value: f64) {
        self.push(metric, attributes, PointValue::Float(value));
    }

    fn push(&mut self, metric: Metric, attributes: &[(Attr, Value)], value: PointValue) {
        let at = self
            .families
            .partition_point(|family| family.metric < metric);
        if self
            .families
            .get(at)
            .is_none_or(|family| family.metric != metric)
        {
            self.families.insert(
                at,
                Family {
                    metric,
                    points: Vec::new(),
                },
            );
        }
        let start_unix_nano = self.start_unix_nano;
        let attributes = Arc::from(attributes);
        if let Some(family) = self.families.get_mut(at) {
            family.points.push(Point {
                resource: 0,
                attributes,
                start_unix_nano,
                value,
                series: SeriesId::NONE,
            });
        }
    }
}
