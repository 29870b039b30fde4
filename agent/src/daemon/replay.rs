//! What `wellhead replay` does: the daemon without the kernel and the cluster.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::pipeline::{Replay, Replayed, Speed, Stops};
use super::signals::{HangUp, stop as stop_signal};
use super::threads::PipelineThreads;
use super::{BACKLOG, BUILD, DaemonError, Settings, cannot_listen, scope, take_address};
use crate::admin::{self, AccessSettings, Endpoints, Metrics, Readiness};
use crate::config::Config;
use crate::counters::{Counters, ExportStats};
use crate::export::otlp::OtlpExporter;
use crate::recording::Recording;
use crate::supervised::{Died, Tasks};
use crate::telemetry::handle::SnapshotHandle;
use crate::telemetry::snapshot::Snapshot;

/// Replays a recording, exports and serves what comes of it as the daemon does, and delivers what there is in the end within the grace.
/// Returns how far it came, and what there was to read when it was done.
///
/// # Errors
/// The recording cannot be read, or what keeps the daemon from starting.
pub async fn replay(
    config: &Config,
    settings: &Settings,
    recording: Recording,
    speed: Speed,
) -> Result<(Replayed, Arc<Snapshot>), DaemonError> {
    let (access, renewer) = AccessSettings::new(&config.prometheus).open()?;
    let stop_signal = stop_signal(HangUp::Noted).map_err(DaemonError::Signals)?;
    let (bound, listen) = take_address(config.prometheus.listen.get())?;
    let listener = bound
        .listen(BACKLOG)
        .map_err(|error| cannot_listen(listen, error))?;
    let tasks = Tasks::default();
    let (counters, exports) = (Arc::<Counters>::default(), Arc::<ExportStats>::default());
    let (snapshots, requests) = SnapshotHandle::channel(16);
    let (stop_exporters, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    let (cut_short, stop_answering) = (CancellationToken::new(), CancellationToken::new());
    let exporter = OtlpExporter::start(
        &settings.otlp,
        snapshots.clone(),
        &counters,
        &exports,
        stop_exporters.clone(),
        config.shutdown_grace.get(),
        &tasks,
    )?;
    let ready = Readiness {
        probes_attached: true,
        exporters_configured: true,
        kubernetes_listed: true,
    };
    let (_readiness, readiness) = tokio::sync::watch::channel(ready);
    let endpoints = Endpoints {
        metrics: Metrics::new(snapshots.clone(), BUILD, scope(config)),
        readiness,
        status: None,
        access,
    };
    let serving = admin::listen(listener, endpoints, renewer, stop_serving.clone());
    tasks.spawn("HTTP server", serving);

    let start = recording.start().clone();
    let replay = Replay::new(
        &start,
        settings,
        counters,
        (exporter.spans(), exporter.logs()),
        exports,
    );
    let (tell, mut done) = oneshot::channel();
    let threads = PipelineThreads::start().map_err(DaemonError::Threads)?;
    let context = threads.enter();
    let stops = Stops {
        cut_short: cut_short.clone(),
        answering: stop_answering.clone(),
    };
    let replaying = replay.run(recording, speed, requests, tell, stops);
    let replaying = tasks.spawn("replay", replaying);
    drop(context);
    tracing::info!(%listen, version = BUILD.version, recorded_by = start.version, "replaying");

    let stopped = async {
        stop_signal.await;
        cut_short.cancel();
    };
    let result = tokio::select! {
        result = &mut done => result,
        died = tasks.death() => return Err(died.into()),
        () = stopped => done.await,
    };
    let snapshot = snapshots.take().await;
    stop_exporters.cancel();
    if !exporter.finished().await {
        tracing::warn!("not everything could be exported before the end");
    }
    stop_answering.cancel();
    stop_serving.cancel();
    drop(replaying.await);
    drop(threads);
    let died = || DaemonError::Died(Died("replay"));
    let Ok(replayed) = result else {
        return Err(died());
    };
    let replayed = replayed?;
    Ok((replayed, snapshot.ok_or_else(died)?))
}
