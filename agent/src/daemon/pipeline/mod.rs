//! The task that owns everything between the rings and the exporters: identity, processes, the series store.
//!
//! One owner, no locks: others ask by message. It drains the rings on a timer, and at once when a program says that a
//! ring fills up or somebody asks for a reading.

mod marks;
mod outbox;
mod state;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::marks::FillMarks;
pub use self::state::PipelineSettings;
use self::state::{Captured, State};
use crate::counters::{Counters, ExportStats};
use crate::daemon::chain;
use crate::export::live::Subscription;
use crate::export::otlp::SpanQueue;
use crate::identity::kube::KubeStatus;
use crate::identity::scan::{self, Scanned};
use crate::identity::{Identity, PodUpdate};
use crate::kernel::{Clock, Probes, Ring, Rings};
use crate::telemetry::handle::SnapshotRequest;

/// Records taken from one ring before the others get their turn.
const BATCH: usize = 16_384;

/// How often the pipeline looks after its tables.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Whom the pipeline answers.
#[derive(Debug)]
pub struct Inputs {
    /// Requests for a reading of the store.
    pub snapshots: mpsc::Receiver<SnapshotRequest>,
    /// New subscribers of live events.
    pub subscriptions: mpsc::Receiver<Subscription>,
    /// News of pods; `None` without a cluster.
    pub pods: Option<PodInput>,
    /// Where finished spans go; `None` if traces are not exported.
    pub spans: Option<SpanQueue>,
    /// What became of exported data.
    pub exports: Arc<ExportStats>,
}

/// The watch of this node's pods.
#[derive(Debug)]
pub struct PodInput {
    /// Its updates.
    pub updates: mpsc::Receiver<PodUpdate>,
    /// How it is doing.
    pub status: watch::Receiver<KubeStatus>,
}

/// The pipeline, ready to run.
pub struct Pipeline {
    rings: Rings,
    state: State,
    marks: FillMarks,
    drain: Interval,
    inputs: Inputs,
    scan: Option<JoinHandle<ScanResult>>,
    /// Why the last scan failed: said once, and again only after one that did not.
    scan_problem: Option<String>,
}

/// A scan that is done: when it began and what it found, or why it found nothing.
type ScanResult = Result<(u64, Scanned), String>;

impl Pipeline {
    /// Takes over attached probes. Needs a running tokio runtime.
    ///
    /// # Errors
    /// The rings cannot be watched.
    pub fn new(
        probes: Probes,
        identity: Identity,
        counters: Arc<Counters>,
        settings: PipelineSettings,
        inputs: Inputs,
    ) -> std::io::Result<Self> {
        let marks = FillMarks::new(&probes.rings)?;
        let mut drain = interval(settings.drain_interval);
        drain.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let Probes {
            rings,
            programs,
            features,
        } = probes;
        let captured = Captured { programs, features };
        let state = State::new(identity, counters, settings, captured, &inputs);
        let mut pipeline = Self {
            rings,
            state,
            marks,
            drain,
            inputs,
            scan: None,
            scan_problem: None,
        };
        // The programs are attached already: what is made during the scan is reported by them.
        pipeline.start_scan();
        Ok(pipeline)
    }

    /// Runs until `stop`; then drains what is in the rings once more.
    pub async fn run(mut self, stop: CancellationToken) {
        // Nothing can be attributed before the first scan.
        if let Some(scan) = self.scan.take() {
            self.finish_scan(finished(scan.await));
        }
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = self.drain.tick() => self.drain_all().await,
                () = self.marks.passed() => self.drain_all().await,
                Some(request) = self.inputs.snapshots.recv() => {
                    self.drain_all().await;
                    // Whoever asked may have gone.
                    drop(request.send(Arc::new(self.state.snapshot())));
                }
                Some(update) = next_pod(&mut self.inputs.pods) => self.state.pods_changed(update),
                Some(subscription) = self.inputs.subscriptions.recv() => self.state.subscribe(subscription),
                found = next_scan(&mut self.scan) => self.finish_scan(found),
                _ = housekeeping.tick() => self.look_after_tables(),
            }
        }
        self.drain_all().await;
        self.state.flush();
    }

    async fn drain_all(&mut self) {
        while self.drain_batch() {
            tokio::task::yield_now().await;
        }
    }

    /// Takes up to a batch from each ring; whether any had more.
    fn drain_batch(&mut self) -> bool {
        let Rings {
            identity,
            process,
            network,
        } = &mut self.rings;
        let state = &mut self.state;
        let mut more = drain_identity(identity, state) >= BATCH;
        more |= process.drain(BATCH, |record| state.handle(record, identity)) >= BATCH;
        more |= network.drain(BATCH, |record| state.handle(record, identity)) >= BATCH;
        more
    }

    fn look_after_tables(&mut self) {
        self.state.look_after_tables();
        if self.state.take_scan_request() {
            self.start_scan();
        }
    }

    fn start_scan(&mut self) {
        if self.scan.is_none() {
            let limit = self.state.scan_limit();
            self.scan = Some(tokio::task::spawn_blocking(move || scan_cgroups(limit)));
        }
    }

    fn finish_scan(&mut self, found: ScanResult) {
        match found {
            Ok((started, scanned)) => {
                self.state.cgroups_scanned(&scanned, started);
                self.scan_problem = None;
            }
            Err(problem) if self.scan_problem.as_ref() != Some(&problem) => {
                tracing::warn!("what runs in cgroups older than the agent counts for the node: {problem}");
                self.scan_problem = Some(problem);
            }
            Err(_) => {}
        }
    }
}

/// Learns from the identity ring all there is.
fn drain_identity(identity: &mut Ring, state: &mut State) -> usize {
    identity.drain(BATCH, |record| state.handle_cgroup(record))
}

fn scan_cgroups(limit: usize) -> ScanResult {
    let started = Clock::boot_ns();
    let mount = scan::find_mount().map_err(|error| chain(&error))?;
    let cgroups = scan::scan(&mount.path, limit).map_err(|error| chain(&error))?;
    Ok((started, cgroups.finish()))
}

/// What became of a scan's task.
fn finished(scan: Result<ScanResult, JoinError>) -> ScanResult {
    scan.unwrap_or_else(|died| Err(died.to_string()))
}

async fn next_pod(pods: &mut Option<PodInput>) -> Option<PodUpdate> {
    match pods {
        Some(input) => input.updates.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_scan(scan: &mut Option<JoinHandle<ScanResult>>) -> ScanResult {
    match scan {
        Some(running) => {
            let found = finished(running.await);
            *scan = None;
            found
        }
        None => std::future::pending().await,
    }
}
