//! The daemon's status, as `/api/v1/status` shows it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::BUILD;
use super::cluster::ClusterSource;
use crate::admin::Status;
use crate::counters::{Counters, Discard, ExportStats, RecordKind, Reload, Reloads, Signal};
use crate::export::otlp::{OtlpSettings, SignalSettings};
use crate::identity::kube::KubeStatus;
use crate::kernel::{Ability, Capabilities, Environment, FeatureReport, FeatureStatus};
use crate::telemetry::handle::SnapshotHandle;

/// What the status is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) features: Vec<FeatureStatus>,
    pub(super) counters: Arc<Counters>,
    pub(super) exports: Arc<ExportStats>,
    pub(super) kube: Option<watch::Receiver<KubeStatus>>,
    pub(super) cluster: Option<ClusterSource>,
    pub(super) snapshots: SnapshotHandle,
    pub(super) otlp: OtlpSettings,
}

pub(super) fn provider(parts: Parts) -> Status {
    let parts = Arc::new(parts);
    Status::new(move || {
        let parts = Arc::clone(&parts);
        async move { read(&parts).await }
    })
}

async fn read(parts: &Parts) -> Value {
    // Taking a reading also brings the kernel's counters up to date.
    let series: usize = match parts.snapshots.take().await {
        Some(snapshot) => snapshot
            .families
            .iter()
            .map(|family| family.points.len())
            .sum(),
        None => 0,
    };
    json!({
        "version": BUILD.version,
        "revision": BUILD.revision,
        "environment": Environment::probe(),
        "abilities": Ability::all(Capabilities::current().ok()),
        "features": FeatureReport::all(&parts.features),
        "configuration": configuration(parts.counters.reloads()),
        "memory_steps": parts.counters.memory_steps(),
        "kubernetes": parts.kube.as_ref().map(|status| kubernetes(&status.borrow())),
        "cluster": parts.cluster.as_ref().map(cluster),
        "otlp": {
            "metrics": parts.otlp.metrics.as_ref().map(|settings| export(parts, Signal::Metrics, settings)),
            "traces": parts.otlp.traces.as_ref().map(|settings| export(parts, Signal::Traces, settings)),
            "logs": parts.otlp.logs.as_ref().map(|settings| export(parts, Signal::Logs, settings)),
        },
        "series": series,
        "records": records(&parts.counters),
        "discards": discards(&parts.counters),
    })
}

fn configuration(reloads: &Reloads) -> Value {
    let each = |outcome: &Reload| (outcome.as_str().to_owned(), reloads.of(*outcome).into());
    json!({
        "reloads": Value::Object(Reload::ALL.iter().map(each).collect()),
        "last_reload_successful": reloads.last_succeeded(),
        "waiting_for_restart": reloads.waiting(),
    })
}

fn kubernetes(status: &KubeStatus) -> Value {
    json!({
        "connected": status.connected,
        "listed": status.listed,
        "pods": status.objects,
        "events": status.events,
        "relists": status.relists,
        "last_error": status.last_error.as_deref(),
    })
}

/// Where names of far ends come from.
fn cluster(source: &ClusterSource) -> Value {
    match source {
        ClusterSource::Resolver(status) => {
            let status = status.borrow();
            json!({
                "source": "resolver",
                "connected": status.connected,
                "listed": status.listed,
                "events": status.events,
                "snapshots": status.snapshots,
                "resumed": status.resumed,
                "bytes": status.bytes,
                "skipped": status.skipped,
                "errors": status.errors,
                "last_error": status.last_error.as_deref(),
            })
        }
        ClusterSource::Watch(status) => {
            let kinds = status.read().into_iter();
            let kinds = kinds.map(|(kind, status)| {
                let told = json!({
                    "connected": status.connected,
                    "listed": status.listed,
                    "objects": status.objects,
                    "skipped": status.skipped,
                    "last_error": status.last_error.as_deref(),
                });
                (kind.as_str().to_owned(), told)
            });
            json!({ "source": "watch", "kinds": kinds.collect::<Map<_, _>>() })
        }
    }
}

fn export(parts: &Parts, signal: Signal, settings: &SignalSettings) -> Value {
    let stats = parts.exports.signal(signal);
    json!({
        // Only the host: paths and queries may carry keys.
        "receiver": settings.endpoint.authority().map(ToString::to_string),
        "items": stats.items(),
        "rejected": stats.rejected(),
        "retries": stats.retries(),
        "queue_length": stats.queue_length(),
    })
}

fn records(counters: &Counters) -> Value {
    let each = |kind: &RecordKind| {
        let counts = json!({ "read": counters.records(*kind), "lost": counters.lost(*kind) });
        (kind.as_str().to_owned(), counts)
    };
    Value::Object(RecordKind::ALL.iter().map(each).collect())
}

fn discards(counters: &Counters) -> Value {
    let mut stages = Map::new();
    for why in Discard::ALL {
        let stage = stages
            .entry(why.stage().as_str())
            .or_insert_with(|| json!({}));
        if let Value::Object(reasons) = stage {
            reasons.insert(why.reason().to_owned(), counters.discards(*why).into());
        }
    }
    Value::Object(stages)
}
