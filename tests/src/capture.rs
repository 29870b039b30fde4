//! Readers of what the kernel reports: record by record, or through the agent's whole pipeline.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use wellhead::config::Config;
use wellhead::counters::{Counters, Discard, ExportStats, RecordKind};
use wellhead::daemon::{
    Capture, Settings,
    pipeline::{Inputs, PipelineSettings, PodInput, Reconfigured},
};
use wellhead::events::{Event, decode};
use wellhead::export::live::{Asked, EventFilter, Subscription};
use wellhead::export::otlp::Queue;
use wellhead::identity::scan::find_mount;
use wellhead::identity::{PodUpdate, kube::KubeStatus};
use wellhead::kernel::{
    Feature, FeatureState, Hooks, ProbeSettings, Probes, WantConntrack, embedded_object,
};
use wellhead::recording::Recorder;
use wellhead::supervised::Tasks;
use wellhead::telemetry::{handle::SnapshotHandle, snapshot::Snapshot, span::FinishedSpan};

/// How often the kernel did not run a program, in all readers that are gone.
static SKIPPED_RUNS: AtomicU64 = AtomicU64::new(0);

/// How often the kernel has not run a program since the last call, because the same program was already running on that
/// processor: in an interrupt that came while it ran, or, where programs can be preempted (7.x), in another task. It is
/// counted, but what happened then nobody was told; so a test that counts exactly shows nothing.
pub fn take_skipped_runs() -> u64 {
    SKIPPED_RUNS.swap(0, Ordering::Relaxed)
}

/// A reader is gone, for which the kernel skipped so many runs.
pub fn note_skipped_runs(number: u64) {
    SKIPPED_RUNS.fetch_add(number, Ordering::Relaxed);
}

/// How long something that has happened may take to show.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Everything on, with rings as large as by default.
pub fn settings(only_cgroup: Option<u64>) -> ProbeSettings {
    ProbeSettings {
        features: vec![
            Feature::Process,
            Feature::Tcp,
            Feature::Udp,
            Feature::Dns,
            Feature::Drops,
        ],
        identity_ring: 256 << 10,
        process_ring: 2 << 20,
        network_ring: 4 << 20,
        payload_ring: 1 << 20,
        dns_ports: vec![53],
        connections: 65_536,
        listeners: 4_096,
        spill: 8_192,
        drops: 1_024,
        udp_flows: 8_192,
        cgroup_root: find_mount().ok().map(|mount| mount.path),
        conntrack: WantConntrack::No,
        pin_directory: None,
        object: embedded_object(),
        only_cgroup,
        hooks: Hooks::default(),
    }
}

/// Features that are off where the kernel has no BTF.
pub fn needs_btf(feature: Feature) -> bool {
    matches!(
        feature,
        Feature::LiveProcesses
            | Feature::LiveConnections
            | Feature::TcpHealth
            | Feature::Udp
            | Feature::Dns
            | Feature::Drops
    )
}

/// Attached probes and all records read from them.
pub struct Tap {
    /// What reads them.
    pub probes: Probes,
    records: Vec<Box<[u8]>>,
}

impl Tap {
    /// Attaches; every feature asked for must be on.
    ///
    /// # Errors
    /// Something cannot be attached.
    pub fn attach(settings: &ProbeSettings) -> Result<Self> {
        let probes = Probes::attach(settings)?;
        let has_btf = settings.hooks.btf.is_none();
        for status in probes.features.iter().filter(|status| status.wanted) {
            if !has_btf && needs_btf(status.feature) {
                continue;
            }
            if let FeatureState::Off(reason) | FeatureState::Unknown(reason) = &status.state {
                bail!("{} is off: {reason}", status.feature.as_str());
            }
        }
        Ok(Self {
            probes,
            records: Vec::new(),
        })
    }

    /// Reads whatever is in the rings.
    pub fn drain(&mut self) {
        let rings = &mut self.probes.rings;
        for ring in [
            &mut rings.identity,
            &mut rings.process,
            &mut rings.network,
            &mut rings.payload,
        ] {
            ring.drain(usize::MAX, |record| self.records.push(record.into()));
        }
    }

    /// The records so far, as they came.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(AsRef::as_ref)
    }

    /// The events so far, each with its record.
    ///
    /// # Errors
    /// A record cannot be decoded.
    pub fn events(&self) -> Result<Vec<(Event<'_>, &[u8])>> {
        self.records()
            .map(|record| Ok((decode(record)?, record)))
            .collect()
    }

    /// Reads until `done`, then once more, so that what should not have come shows too.
    ///
    /// # Errors
    /// It does not get done in time.
    pub fn read_until(&mut self, what: &str, done: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        loop {
            self.drain();
            if done(self)? {
                break;
            }
            if start.elapsed() > DEADLINE {
                bail!("waited in vain for {what}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.drain();
        Ok(())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let programs = self.probes.programs.stats();
        let skipped = programs
            .iter()
            .map(|program| program.recursion_misses)
            .sum();
        note_skipped_runs(skipped);
    }
}

/// The agent's pipeline, from the probes to the series store, in this process.
pub struct Live {
    runtime: Runtime,
    capture: Option<Capture>,
    snapshots: SnapshotHandle,
    subscriptions: mpsc::Sender<Subscription>,
    changes: mpsc::Sender<Reconfigured>,
    /// What it counts about itself.
    pub counters: Arc<Counters>,
}

impl Live {
    /// Starts it as the daemon does, without a cluster or exporters.
    ///
    /// # Errors
    /// Nothing can be attached.
    pub fn start(probes: ProbeSettings) -> Result<Self> {
        Self::start_with(probes, |_| {})
    }

    /// As [`Self::start`], with other settings of the pipeline.
    ///
    /// # Errors
    /// Nothing can be attached.
    pub fn start_with(
        probes: ProbeSettings,
        change: impl FnOnce(&mut PipelineSettings),
    ) -> Result<Self> {
        Self::launch(&Config::default(), probes, change, (None, None), None)
    }

    /// As [`Self::start`], with spans of processes.
    ///
    /// # Errors
    /// Nothing can be attached.
    pub fn start_with_spans(probes: ProbeSettings) -> Result<(Self, Queue<FinishedSpan>)> {
        const ROOM: usize = 16 << 20;
        let counters = Arc::new(Counters::default());
        let spans = Queue::new(ROOM, counters, Arc::new(ExportStats::default()));
        let mut config = Config::default();
        config.traces.process = wellhead::config::Toggle::On;
        let live = Self::launch(&config, probes, |_| {}, (None, None), Some(spans.clone()))?;
        Ok((live, spans))
    }

    /// As [`Self::start`], on the node of a cluster whose pods the caller tells of.
    ///
    /// # Errors
    /// Nothing can be attached.
    pub fn start_in_cluster(probes: ProbeSettings) -> Result<(Self, mpsc::Sender<PodUpdate>)> {
        Self::start_in_cluster_with(probes, |_| {})
    }

    /// As [`Self::start_in_cluster`], with other settings of the pipeline.
    ///
    /// # Errors
    /// Nothing can be attached.
    pub fn start_in_cluster_with(
        probes: ProbeSettings,
        change: impl FnOnce(&mut PipelineSettings),
    ) -> Result<(Self, mpsc::Sender<PodUpdate>)> {
        let (pods, updates) = mpsc::channel(1);
        let (_, status) = watch::channel(KubeStatus::default());
        let live = Self::launch(
            &Config::default(),
            probes,
            change,
            (Some(PodInput { updates, status }), None),
            None,
        )?;
        Ok((live, pods))
    }

    /// As [`Self::start_in_cluster`], while all that the pipeline is told is recorded.
    ///
    /// # Errors
    /// Nothing can be attached.
    pub fn start_recorded(
        config: &Config,
        probes: ProbeSettings,
        recorder: Recorder,
    ) -> Result<(Self, mpsc::Sender<PodUpdate>)> {
        let (pods, updates) = mpsc::channel(1);
        let (_, status) = watch::channel(KubeStatus::default());
        let pod_input = PodInput { updates, status };
        let live = Self::launch(
            config,
            probes,
            |_| {},
            (Some(pod_input), Some(recorder)),
            None,
        )?;
        Ok((live, pods))
    }

    fn launch(
        config: &Config,
        probes: ProbeSettings,
        change: impl FnOnce(&mut PipelineSettings),
        (pods, recorder): (Option<PodInput>, Option<Recorder>),
        spans: Option<Queue<FinishedSpan>>,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut settings = Settings::new(config)?;
        settings.probes = probes;
        // All tests share one process: what it takes says nothing about this pipeline.
        settings.pipeline.live.budget.total = u64::MAX;
        change(&mut settings.pipeline);
        let (snapshots, requests) = SnapshotHandle::channel(1);
        let (subscriptions, subscribers) = mpsc::channel(1);
        let (changes, reconfigured) = mpsc::channel(1);
        let inputs = Inputs {
            snapshots: requests,
            subscriptions: subscribers,
            changes: Some(reconfigured),
            pods,
            facts: None,
            cluster: None,
            cluster_watches: None,
            spans,
            logs: None,
            exports: Arc::new(ExportStats::default()),
            recorder,
        };
        let counters = Arc::new(Counters::default());
        let capture = {
            let _inside = runtime.enter();
            Capture::start(&settings, Arc::clone(&counters), inputs, &Tasks::default())?
        };
        let live = Self {
            runtime,
            capture: Some(capture),
            snapshots,
            subscriptions,
            changes,
            counters,
        };
        // It answers once it has learned the cgroups that exist.
        live.snapshot()?;
        Ok(live)
    }

    /// Reads the store.
    ///
    /// # Errors
    /// The pipeline died.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let taken = self.runtime.block_on(self.snapshots.take());
        taken.context("the pipeline died")
    }

    /// Has it take up of a configuration what may change while it runs.
    ///
    /// # Errors
    /// The pipeline died.
    pub fn reconfigure(&self, config: &Config) -> Result<()> {
        let changed = Reconfigured::by(config);
        Ok(self.runtime.block_on(self.changes.send(changed))?)
    }

    /// Does something while the pipeline does not get to run, so that rings fill up however fast or slow the machine is.
    pub fn while_nobody_reads<T>(&self, act: impl FnOnce() -> T) -> T {
        let Some(capture) = &self.capture else {
            return act();
        };
        let (blocked, released) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (there, gone) = (Arc::clone(&blocked), Arc::clone(&released));
        capture.instead_of_reading(move || {
            there.wait();
            gone.wait();
        });
        blocked.wait();
        let result = act();
        released.wait();
        result
    }

    /// Reads the store until it is as expected, then once more.
    ///
    /// # Errors
    /// It does not become so in time.
    pub fn snapshot_when(
        &self,
        what: &str,
        done: impl Fn(&Snapshot) -> bool,
    ) -> Result<Arc<Snapshot>> {
        let start = Instant::now();
        while !done(&*self.snapshot()?) {
            if start.elapsed() > DEADLINE {
                bail!("waited in vain for {what}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.snapshot()
    }

    /// Subscribes to live events and collects them until the pipeline stops.
    ///
    /// # Errors
    /// An unknown kind, or the pipeline died.
    pub fn collect_events(&self, kinds: &[&str]) -> Result<LiveEvents> {
        let kinds = kinds.join(",");
        let filter = EventFilter::parse(&Asked {
            kinds: Some(&kinds),
            ..Asked::default()
        })?;
        let (subscription, mut lines) = Subscription::new(filter);
        self.runtime
            .block_on(self.subscriptions.send(subscription))?;
        // There is room for one: the next finds it when the first was taken out, and a reading comes after that.
        drop(self.runtime.block_on(self.subscriptions.reserve())?);
        self.snapshot()?;
        Ok(LiveEvents(self.runtime.spawn(async move {
            let mut all = Vec::new();
            while let Some(line) = lines.recv().await {
                all.push((SystemTime::now(), line.to_string()));
            }
            all
        })))
    }

    /// Fails if anything was lost or discarded.
    ///
    /// # Errors
    /// What was.
    pub fn ensure_nothing_lost(&self) -> Result<()> {
        self.snapshot()?;
        for kind in RecordKind::ALL {
            let lost = self.counters.lost(*kind);
            anyhow::ensure!(lost == 0, "{lost} records of kind {} lost", kind.as_str());
        }
        for why in Discard::ALL {
            let items = self.counters.discards(*why);
            let (stage, reason) = (why.stage().as_str(), why.reason());
            anyhow::ensure!(items == 0, "{items} items discarded: {stage}/{reason}");
        }
        Ok(())
    }

    /// Stops it and returns all events of a subscription, each a line of JSON.
    ///
    /// # Errors
    /// The task that collects them died.
    pub fn stop(self, events: LiveEvents) -> Result<Vec<String>> {
        let timed = self.stop_timed(events)?;
        Ok(timed.into_iter().map(|(_, line)| line).collect())
    }

    /// As [`Self::stop`], with the time when each came.
    ///
    /// # Errors
    /// The task that collects them died.
    pub fn stop_timed(mut self, events: LiveEvents) -> Result<Vec<(SystemTime, String)>> {
        self.stop_capture();
        Ok(self.runtime.block_on(events.0)?)
    }

    /// Stops it and returns the attributes of all events of a subscription.
    ///
    /// # Errors
    /// As [`Self::stop`], or one is no JSON.
    pub fn told(self, events: LiveEvents) -> Result<Vec<serde_json::Value>> {
        let lines = self.stop(events)?;
        let attributes = |line: &String| {
            let mut event: serde_json::Value = serde_json::from_str(line)?;
            Ok(event["attributes"].take())
        };
        lines.iter().map(attributes).collect()
    }

    fn stop_capture(&mut self) {
        if let Some(capture) = self.capture.take() {
            // A reading brings the counters up to date; without one they stay as they are.
            self.snapshot().map(drop).unwrap_or_default();
            let skipped = self.counters.discards(Discard::KernelRecursion);
            note_skipped_runs(skipped);
            self.runtime.block_on(capture.stop());
        }
    }
}

/// Live events being collected.
pub struct LiveEvents(JoinHandle<Vec<(SystemTime, String)>>);

impl Drop for Live {
    fn drop(&mut self) {
        self.stop_capture();
    }
}
