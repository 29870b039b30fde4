//! What `wellhead record` does: the daemon's capture with programs of its own, written to a file and exported nowhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::capture::host_netns;
use super::pipeline::Inputs;
use super::signals::{HangUp, stop as stop_signal};
use super::{
    BUILD, Capture, DaemonError, Settings, cluster, connect_to_cluster, learn_facts, watch_pods,
};
use crate::config::Config;
use crate::counters::{Counters, ExportStats};
use crate::kernel::check_privilege;
use crate::recording::{Outcome, Start, Writer};
use crate::supervised::Tasks;
use crate::telemetry::handle::SnapshotHandle;

/// Records for so long, or until SIGTERM or SIGINT, or until the file cannot be written on. A daemon that runs beside it is not disturbed: these programs and maps
/// are of their own, and not pinned.
///
/// # Errors
/// Nothing can be captured, or the file cannot be written.
pub async fn record(
    config: &Config,
    mut settings: Settings,
    path: &Path,
    duration: Option<Duration>,
) -> Result<Outcome, DaemonError> {
    let stop_signal = stop_signal(HangUp::Noted).map_err(DaemonError::Signals)?;
    check_privilege().map_err(DaemonError::Attach)?;
    // What a daemon left in the kernel is the next daemon's.
    settings.probes.pin_directory = None;
    let tasks = Tasks::default();
    let client = connect_to_cluster(&settings).await?;
    let pods = watch_pods(client.as_ref(), config, &settings, &tasks);
    let cluster = cluster::follow(client.as_ref(), &settings, &tasks);
    let start = Start {
        version: BUILD.version.to_owned(),
        kernel: kernel_release(),
        node_name: config.node_name.clone(),
        boot_id: super::settings::boot_id(),
        kubernetes: pods.is_some(),
        cluster: cluster.is_some(),
        host_netns: host_netns(),
        ..Start::default()
    };
    let (recorder, mut writer) = Writer::create(path, start)?;
    let (snapshots, requests) = SnapshotHandle::channel(1);
    let (_subscriptions, subscribers) = mpsc::channel(1);
    let inputs = Inputs {
        snapshots: requests,
        changes: None,
        subscriptions: subscribers,
        pods,
        facts: learn_facts(client.as_ref(), config, &tasks),
        cluster: cluster.map(|news| news.updates),
        cluster_watches: None,
        spans: None,
        logs: None,
        exports: Arc::<ExportStats>::default(),
        recorder: Some(recorder),
    };
    let capture = match Capture::start(&settings, Arc::<Counters>::default(), inputs, &tasks) {
        Ok(capture) => capture,
        Err(error) => {
            writer.discard();
            return Err(error);
        }
    };
    capture.log_problems();
    // Somebody may wait for this line to begin what is to be recorded: by then all that was there before is known.
    drop(snapshots.take().await);
    tracing::info!(file = %path.display(), "recording");
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let died = tokio::select! {
        () = over => None,
        () = stop_signal => None,
        () = writer.ended() => None,
        died = tasks.death() => Some(died),
    };
    capture.stop().await;
    let outcome = writer.finish(config.shutdown_grace.get()).await;
    match died {
        None => Ok(outcome?),
        Some(died) => Err(died.into()),
    }
}

fn kernel_release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim().to_owned()
}
