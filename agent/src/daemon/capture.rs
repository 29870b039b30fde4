//! Probes and pipeline together: what both the daemon and `wellhead events` run.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::pipeline::{Inputs, Pipeline};
use super::threads::PipelineThreads;
use super::{DaemonError, Settings};
use crate::counters::Counters;
use crate::identity::Identity;
use crate::kernel::{FeatureReport, FeatureStatus, Probes, host_network_namespace};
use crate::supervised::Tasks;

/// Inode number of the host's network namespace, where it may be known.
pub(super) fn host_netns() -> Option<u32> {
    let namespace = host_network_namespace().ok()?;
    u32::try_from(namespace.inode()).ok()
}

/// Attached probes and the task that reads them, on threads of its own.
#[derive(Debug)]
pub struct Capture {
    features: Vec<FeatureStatus>,
    pipeline: JoinHandle<Option<()>>,
    /// Those of the pipeline.
    threads: PipelineThreads,
    settle: mpsc::Sender<oneshot::Sender<()>>,
    stop: CancellationToken,
}

impl Capture {
    /// Attaches the programs and starts reading.
    ///
    /// # Errors
    /// Nothing can be attached, or the rings cannot be watched.
    pub fn start(
        settings: &Settings,
        counters: Arc<Counters>,
        inputs: Inputs,
        tasks: &Tasks,
    ) -> Result<Self, DaemonError> {
        let probes = Probes::attach(&settings.probes)?;
        let features = probes.features.clone();
        let identity_settings = settings.identity(
            (inputs.pods.is_some(), inputs.cluster.is_some()),
            host_netns(),
        );
        let identity = Identity::new(&identity_settings, Arc::clone(&counters));
        let threads = PipelineThreads::start().map_err(DaemonError::Threads)?;
        // Timers, files and background work of the pipeline are to be its own threads'.
        let context = threads.enter();
        let pipeline = Pipeline::new(
            probes,
            identity,
            counters,
            settings.pipeline.clone(),
            inputs,
        )
        .map_err(DaemonError::Rings)?;
        let stop = CancellationToken::new();
        let (settle, requests) = mpsc::channel(1);
        let pipeline = tasks.spawn("pipeline", pipeline.run(stop.clone(), requests));
        drop(context);
        Ok(Self {
            features,
            pipeline,
            threads,
            settle,
            stop,
        })
    }

    /// What works and what does not.
    pub fn features(&self) -> Vec<FeatureStatus> {
        self.features.clone()
    }

    /// One line per feature.
    pub fn log_features(&self) {
        for report in FeatureReport::all(&self.features) {
            report.log();
        }
    }

    /// One line per wanted feature of which something is missing.
    pub fn log_problems(&self) {
        let reports = FeatureReport::all(&self.features).into_iter();
        for report in reports.filter(|report| report.wanted && !report.why().is_empty()) {
            report.log();
        }
    }

    /// Does something on the one thread that the pipeline's task has, so that nothing is read meanwhile. For tests.
    pub fn instead_of_reading(&self, act: impl FnOnce() + Send + 'static) {
        self.threads.spawn(act);
    }

    /// Ends all waiting for metadata: the next reading holds everything that happened so far.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        // Fails only if the pipeline died, which is told.
        if self.settle.send(done).await.is_ok() {
            drop(settled.await);
        }
    }

    /// Drains the rings once more and detaches everything.
    pub async fn stop(self) {
        self.stop.cancel();
        drop(self.pipeline.await);
        drop(self.threads);
    }
}
