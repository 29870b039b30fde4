//! The task that owns everything between the rings and the exporters: identity, processes, the series store.
//!
//! One owner, no locks: others ask by message. It drains the rings on a timer, and at once when a program says that a
//! ring fills up or somebody asks for a reading.

mod about;
mod crossed;
mod departing;
mod host_addresses;
mod invariants;
mod live;
mod lives;
mod marks;
mod memory;
mod outbox;
mod own;
mod pressure;
mod replay;
mod rescan;
mod seam;
mod settings;
mod source;
mod state;
mod suspects;
mod tallies;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::about::About;
use self::host_addresses::HostAddresses;
use self::invariants::KernelCount;
use self::live::{Progress, Snapshots, Step};
use self::marks::FillMarks;
use self::own::OwnProcess;
use self::pressure::Pressure;
pub use self::replay::{Replay, Replayed, Speed, Stops};
use self::rescan::{Found, Rescan};
use self::seam::Seam;
pub use self::settings::{Budget, LiveSettings, PipelineSettings, Reconfigured};
use self::source::{Kernel, Source as _};
use self::state::{Beginning, State};
use self::tallies::TallyTaker;
use crate::counters::{Counters, Discard, ExportStats};
use crate::export::live::Subscription;
use crate::export::otlp::Queue;
use crate::identity::cluster::ClusterUpdate;
use crate::identity::kube::{ClusterStatus, KubeStatus};
use crate::identity::{Identity, NodeFacts, PodUpdate};
use crate::kernel::{AttachedPrograms, Clock, Probes, Ring, Rings, wait_for_programs};
use crate::recording::{Missing, Recorder, Start, Told};
use crate::telemetry::catalogue::Metric;
use crate::telemetry::handle::ReadingRequest;
use crate::telemetry::live::OwnedEvent;
use crate::telemetry::snapshot::HistogramValue;
use crate::telemetry::span::FinishedSpan;
use crate::telemetry::store::Buckets;

/// Records taken from one ring before the others get their turn.
const BATCH: usize = 16_384;

/// Batches taken before requests get their turn: more than all rings hold at their largest default size.
const BATCHES: usize = 16;

/// How often the pipeline looks after its tables.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Whom the pipeline answers.
#[derive(Debug)]
pub struct Inputs {
    /// Requests for a reading of the store.
    pub snapshots: mpsc::Receiver<ReadingRequest>,
    /// Changes of the configuration; `None` if it does not change.
    pub changes: Option<mpsc::Receiver<Reconfigured>>,
    /// New subscribers of live events.
    pub subscriptions: mpsc::Receiver<Subscription>,
    /// News of pods; `None` without a cluster.
    pub pods: Option<PodInput>,
    /// What else the API server says of the node; `None` without a cluster.
    pub facts: Option<mpsc::Receiver<NodeFacts>>,
    /// News of what has which address in the cluster; `None` if nobody tells.
    pub cluster: Option<mpsc::Receiver<ClusterUpdate>>,
    /// How the agent's own watches of the cluster are doing; `None` if it has none.
    pub cluster_watches: Option<ClusterStatus>,
    /// Where finished spans go; `None` if traces are not exported.
    pub spans: Option<Queue<FinishedSpan>>,
    /// Where events go; `None` if none are exported.
    pub logs: Option<Queue<OwnedEvent>>,
    /// What became of exported data.
    pub exports: Arc<ExportStats>,
    /// Who writes down what comes in; `None` if nobody does.
    pub recorder: Option<Recorder>,
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
    state: State<Kernel>,
    marks: FillMarks,
    drain: Interval,
    inputs: Inputs,
    rescan: Rescan,
    host_addresses: HostAddresses,
    snapshots: Snapshots,
    kernel_count: KernelCount,
    tallies: TallyTaker,
    /// Records lost by the time what they would have told was counted last; `None` before the first time.
    accounted: Option<u64>,
    /// The last reading is about to be exported: what still comes is left to the next agent.
    closed: bool,
}

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
        mut inputs: Inputs,
    ) -> std::io::Result<Self> {
        let marks = FillMarks::new(&probes.rings)?;
        let mut drain = interval(settings.drain_interval);
        drain.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let Probes {
            rings,
            tallies,
            lost_handshakes,
            mut programs,
            features,
            live,
            conntrack,
            switched,
            gap,
            without_btf: _,
        } = probes;
        let cgroups = settings.cgroups;
        let program_stats = settings.program_stats && measure(&mut programs);
        let clock = Clock::new();
        let about = About {
            start_unix_nano: clock.now_unix_nano(),
            source: Kernel::new(programs, conntrack, lost_handshakes),
            features,
            exports: Arc::clone(&inputs.exports),
            kube: inputs.pods.as_ref().map(|pods| pods.status.clone()),
            kube_lag: HistogramValue::new(Metric::AgentKubeLag.bounds())
                .with_exponential(settings.buckets == Buckets::Both),
            cluster: inputs.cluster_watches.clone(),
            program_stats,
        };
        let snapshots = Snapshots::new(live, settings.snapshot_interval);
        let finished = (inputs.spans.clone(), inputs.logs.clone());
        if gap {
            counters.discard(Discard::KernelGap, 1);
        }
        let own = OwnProcess::new();
        if let Some(recorder) = &mut inputs.recorder {
            recorder.begin(|start| Start {
                boot_ns: clock.now(),
                wall_offset_ns: clock.offset_ns(),
                cookies: about.source.know_sockets_by_cookie(),
                own_pid: own.pid(),
                ..start
            });
        }
        let beginning = Beginning {
            clock,
            own,
            seam: Seam::new(switched),
            pressure: Pressure::new(settings.live.budget.total),
            recorder: inputs.recorder.take(),
        };
        let state = State::new(identity, counters, settings, about, finished, beginning);
        // The programs are attached already: what is made during the scan is reported by them.
        let rescan = Rescan::start(cgroups);
        Ok(Self {
            rings,
            state,
            marks,
            drain,
            inputs,
            rescan,
            host_addresses: HostAddresses::watch(),
            snapshots,
            kernel_count: KernelCount::default(),
            tallies: TallyTaker::new(tallies),
            accounted: None,
            closed: false,
        })
    }

    /// Runs until `stop`; then drains what is in the rings once more, unless the next agent will.
    ///
    /// Whoever sends to `settle` is answered when nothing waits for metadata any more, now or later: what comes last
    /// leaves under the names that are known. If there can be a next agent, nothing more is read from then on: it would
    /// come too late to be exported.
    pub async fn run(
        mut self,
        stop: CancellationToken,
        mut settle: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        // Nothing can be attributed before the first scan.
        let found = self.rescan.found().await;
        self.learn(found);
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = self.drain.tick() => self.drain_all().await,
                () = self.marks.passed() => self.drain_all().await,
                Some(request) = self.inputs.snapshots.recv() => {
                    let ReadingRequest { reply, told } = request;
                    if reply.is_closed() {
                        continue;
                    }
                    self.drain_all().await;
                    self.account_for_losses().await;
                    // Whoever asked may have gone.
                    drop(reply.send(self.state.read(told.as_deref())));
                }
                Some(update) = next_of(self.inputs.pods.as_mut().map(|pods| &mut pods.updates)) => self.state.pods_changed(update),
                Some(facts) = next_of(self.inputs.facts.as_mut()) => self.state.facts_learned(facts),
                Some(changed) = next_of(self.inputs.changes.as_mut()) => self.state.reconfigure(changed),
                Some(update) = next_of(self.inputs.cluster.as_mut()) => self.state.cluster_changed(update),
                addresses = self.host_addresses.changed() => self.state.host_addresses_changed(addresses),
                Some(subscription) = self.inputs.subscriptions.recv() => self.state.subscribe(subscription),
                Some(done) = settle.recv() => {
                    self.drain_all().await;
                    self.account_for_losses().await;
                    self.take_tallies().await;
                    self.let_go_of_earlier();
                    self.state.settle();
                    self.closed = self.programs().are_kept();
                    let _asker_may_have_gone = done.send(());
                }
                found = self.rescan.found() => self.learn(found),
                next = self.snapshots.next() => match next {
                    Step::Due => {
                        let programs = &mut self.state.source().programs;
                        self.snapshots.begin(programs);
                        self.tallies.start(programs);
                    }
                    Step::RoundDone(usage) => {
                        self.drain_all().await;
                        if self.state.count_usage(usage) {
                            self.snapshots.look_for_processes();
                        }
                        if self.snapshots.go_on(&self.state.source().programs) == Progress::Complete {
                            self.count_in_kernel();
                        }
                    }
                },
                tallied = self.tallies.done() => self.state.count_tallied(tallied),
                counted = self.kernel_count.done() => {
                    // What happened while it counted.
                    self.drain_all().await;
                    self.state.check(counted.as_ref());
                    if !self.closed {
                        let missing = Missing::among(counted.as_ref());
                        self.state.reconcile(&missing);
                        self.state.note(|| Told::Missing(missing));
                    }
                }
                _ = housekeeping.tick(), if !self.closed => {
                    // Whoever is waited with in vain may have come meanwhile: this loop may not have run for a while.
                    self.drain_all().await;
                    self.account_for_losses().await;
                    self.look_after_tables();
                }
            }
        }
        self.closed |= self.programs().are_kept();
        self.drain_all().await;
        self.account_for_losses().await;
        self.take_tallies().await;
        self.state.settle();
        self.state.end_recording();
    }

    /// Counts what the programs counted until now without telling of each.
    async fn take_tallies(&mut self) {
        if self.closed {
            return;
        }
        let programs = &mut self.state.source().programs;
        for tallied in self.tallies.take_all(programs).await {
            self.state.count_tallied(tallied);
        }
    }

    /// Counts what records that found their ring full would have told.
    async fn account_for_losses(&mut self) {
        if self.closed {
            return;
        }
        let lost = self.programs().losses();
        let opened_late = lost > 0 && self.state.take_opened_late();
        if self.accounted == Some(lost) && !opened_late {
            return;
        }
        let epoch = self.programs().turn_spill();
        // Whoever's end was lost began before that: now everybody is known of whom the table is asked.
        self.drain_all().await;
        let not_open = self.state.connections_that_ended();
        // After that, whatever ended before is in a ring or in the part of the spill map that is taken.
        let waited = tokio::task::spawn_blocking(wait_for_programs).await;
        self.drain_all().await;
        if waited.is_ok() {
            let spilled = self.programs().take_spilled(epoch);
            self.state.count_spilled(&spilled);
            self.state.connections_vanished(&not_open);
            self.accounted = Some(lost);
        }
    }

    fn programs(&mut self) -> &mut AttachedPrograms {
        &mut self.state.source().programs
    }

    /// Empties the rings; when they fill faster than that, only so far that others get an answer.
    async fn drain_all(&mut self) {
        if self.closed {
            return;
        }
        self.state.note_time();
        for _ in 0..BATCHES {
            let more = self.drain_batch();
            self.state.mind_memory();
            if !more {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Takes up to a batch from each ring; whether any had more.
    fn drain_batch(&mut self) -> bool {
        let Rings {
            identity,
            process,
            network,
            payload,
        } = &mut self.rings;
        let state = &mut self.state;
        let mut more = drain_identity(identity, state) >= BATCH;
        more |= process.drain(BATCH, |record| handle(state, record, identity)) >= BATCH;
        more |= payload.drain(BATCH, |record| handle(state, record, identity)) >= BATCH;
        let tied = state.makes_spans();
        let connections = network.drain(BATCH, |record| {
            // What the connection's process did before, and by what name it asked for the address, is in other rings by now,
            // and may have come since those were drained.
            if tied {
                process.drain(BATCH, |record| handle(state, record, identity));
            }
            payload.drain(BATCH, |record| handle(state, record, identity));
            handle(state, record, identity);
        });
        more |= connections >= BATCH;
        more
    }

    /// All open connections are known by now: has the kernel count them as well.
    fn count_in_kernel(&mut self) {
        let table = self.programs().connection_table();
        if self.kernel_count.start(table) {
            self.state.check_begins();
        }
    }

    fn look_after_tables(&mut self) {
        self.state.look_after_tables();
        self.let_go_of_earlier();
        if self.state.scan_wanted() && self.rescan.again() {
            self.state.scan_started();
        }
    }

    /// Once everything earlier agents left is read, it need not be kept for the next.
    fn let_go_of_earlier(&mut self) {
        if self.rings.are_caught_up() && self.accounted.is_some() {
            self.programs().let_go_of_earlier();
        }
    }

    fn learn(&mut self, found: Option<Found>) {
        if let Some(found) = found {
            self.state.cgroups_scanned(&found.scanned, found.started_ns);
        }
    }
}

/// Has the kernel measure the programs; says whether it does. If not, nothing is said of what they cost.
fn measure(programs: &mut AttachedPrograms) -> bool {
    let result = programs.measure_run_time();
    if let Err(error) = &result {
        let needs = "CAP_SYS_ADMIN";
        tracing::warn!(%error, needs, "the kernel does not measure its programs (program_stats)");
    }
    result.is_ok()
}

/// Learns from the identity ring all there is.
fn drain_identity(identity: &mut Ring, state: &mut State<Kernel>) -> usize {
    identity.drain(BATCH, |record| state.handle_cgroup(record))
}

fn handle(state: &mut State<Kernel>, record: &[u8], identity: &mut Ring) {
    state.handle(record, |state| {
        drain_identity(identity, state);
    });
}

/// Pending for ever where nobody tells.
async fn next_of<T>(news: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match news {
        Some(news) => news.recv().await,
        None => std::future::pending().await,
    }
}
