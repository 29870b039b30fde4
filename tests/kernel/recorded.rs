//! What is made of a recording, against the pipeline that made the recording.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{runtime::Builder, sync::mpsc::Sender};
use wellhead::config::Config;
use wellhead::counters::Discard;
use wellhead::daemon::{Settings, pipeline::Replay};
use wellhead::identity::PodUpdate;
use wellhead::kernel::{Feature, ProbeSettings};
use wellhead::recording::{Outcome, Recording, Start, Writer};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    require::say,
    snapshot, workload,
};

use crate::{lost_ends, lost_handshakes, pods::Container};

/// Keeps the recording there.
const KEEP: &str = "WELLHEAD_TEST_CORPUS";

/// Each connection of the flood ends at both sides.
const FLOOD: usize = 400;

/// Everything that a pod's container does, some of it before anybody knows whose it is, some of it lost to a ring that is too
/// small: what a replay counts is what was counted.
pub(crate) fn replays_to_the_same() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("recording");
    // A number that no other test uses.
    let container = Container::numbered(u32::MAX - 3);
    let cgroup = CgroupGuard::at(&container.cgroup())?;
    let mut probes = ProbeSettings {
        network_ring: u32::try_from(rustix::param::page_size())?,
        ..settings(Some(cgroup.id()))
    };
    // Others on this machine have their packets dropped until the very end.
    probes.features.retain(|feature| *feature != Feature::Drops);
    let (live, pods, writer) = start(&path, probes)?;

    let place = directory.path().to_str().context("UTF-8")?;
    workload::run(&cgroup, "endings", &[place])?;
    pods.blocking_send(PodUpdate::Applied(Box::new(lost_ends::pod(&container))))?;
    workload::run(&cgroup, "executions", &[place])?;
    workload::run(&cgroup, "failures", &[])?;
    workload::run(&cgroup, "connections", &["ipv4"])?;
    workload::run(&cgroup, "connections", &["ipv6"])?;
    let flood = FLOOD.to_string();
    live.while_nobody_reads(|| workload::run(&cgroup, "flood", &[&flood]))?;
    let ends = snapshot::number(2 * FLOOD);
    let skipped = || i64::try_from(live.counters.discards(Discard::KernelRecursion));
    let read = live.snapshot_when("all ends", |read| {
        let closed = snapshot::total(read, Metric::TcpConnectionsClosed, &[]);
        skipped().is_ok_and(|skipped| closed + skipped >= ends)
    })?;
    let lost = live.counters.discards(Discard::RingNetworkFull);
    ensure!(lost > 0, "nothing was lost");
    drop(live);
    let outcome = finish(writer)?;

    let expected = counted(&Arc::unwrap_or_clone(read).of_workloads());
    for _ in 0..2 {
        let (replayed, records) = replay(&path)?;
        ensure!(records == outcome.records, "{records} of {outcome:?}");
        let replayed = counted(&replayed);
        let differ: BTreeSet<_> = expected
            .iter()
            .chain(&replayed)
            .filter(|(series, value)| {
                [&expected, &replayed]
                    .iter()
                    .any(|all| all.get(*series) != Some(*value))
            })
            .collect();
        ensure!(differ.is_empty(), "{differ:#?}");
    }
    say(format_args!(
        "  {} records in {} bytes, {lost} lost before: {} series",
        outcome.records,
        outcome.bytes,
        expected.len()
    ));
    if let Some(keep) = env::var_os(KEEP) {
        fs::copy(&path, PathBuf::from(keep))?;
    }
    Ok(())
}

/// Why this node dropped packets of attempts is asked of the kernel's map as they fail: a recording has the answers.
pub(crate) fn has_why_attempts_failed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("recording");
    let cgroup = CgroupGuard::new()?;
    let (live, _pods, writer) = start(&path, settings(Some(cgroup.id())))?;
    workload::run(&cgroup, "unheard", &[])?;
    let expected = snapshot::number(lost_handshakes::UNHEARD);
    let reason = lost_handshakes::reason_of_nobody()?;
    let failed = |snapshot: &Snapshot| {
        let having = [(Attr::DropReason, reason)];
        snapshot::total(snapshot, Metric::TcpConnectionFailures, &having)
    };
    live.snapshot_when("all failures", |snapshot| failed(snapshot) >= expected)?;
    drop(live);
    finish(writer)?;
    let (replayed, _) = replay(&path)?;
    ensure!(failed(&replayed) == expected, "{replayed:?}");
    Ok(())
}

/// Starts a pipeline that writes down what it takes in.
fn start(path: &Path, probes: ProbeSettings) -> Result<(Live, Sender<PodUpdate>, Writer)> {
    let config = Config {
        node_name: "node-a".to_owned(),
        ..Config::default()
    };
    let start = Start {
        version: "test".to_owned(),
        node_name: config.node_name.clone(),
        boot_id: "boot".to_owned(),
        kubernetes: true,
        ..Start::default()
    };
    let (recorder, writer) = Writer::create(path, start)?;
    let (live, pods) = Live::start_recorded(&config, probes, recorder)?;
    Ok((live, pods, writer))
}

/// Waits until all is written.
fn finish(writer: Writer) -> Result<Outcome> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let outcome = runtime.block_on(writer.finish(Duration::from_mins(1)))?;
    ensure!(outcome.missed == 0, "{outcome:?}");
    Ok(outcome)
}

/// What the store comes to, and the number of records.
fn replay(path: &Path) -> Result<(Arc<Snapshot>, u64)> {
    let mut recording = Recording::open(path)?;
    let settings = Settings::of_recording(&Config::default(), recording.start())?;
    let start = recording.start().clone();
    let mut replay = Replay::new(
        &start,
        &settings,
        Arc::default(),
        (None, None),
        Arc::default(),
    );
    replay.take_in_all(&mut recording)?;
    let replayed = replay.replayed();
    ensure!(replayed.ended && replayed.damage.is_none(), "{replayed:?}");
    let records = replayed.records;
    let snapshot = replay.read().into_snapshot().of_workloads();
    Ok((Arc::new(snapshot), records))
}

/// Every series, as text.
fn counted(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let points = snapshot.families.iter().flat_map(|family| {
        family.points.iter().map(|point| {
            let resource = snapshot.resources.get(point.resource);
            let name = family.metric.name();
            let series = format!("{name} {resource:?} {:?}", point.attributes);
            (series, format!("{:?}", point.value))
        })
    });
    points.collect()
}
