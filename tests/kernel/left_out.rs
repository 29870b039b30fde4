//! A pod whose namespace is left out while it runs, and taken in again.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use wellhead::config::Config;
use wellhead::counters::{Discard, RecordKind};
use wellhead::identity::PodUpdate;
use wellhead::kernel::Feature;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{DEADLINE, Live, settings},
    cgroup::CgroupGuard,
    snapshot,
    steps::Steps,
    workload,
};

use crate::{live, lost_ends, pods::Container};

/// Both ends of all connections.
fn ends() -> i64 {
    2 * snapshot::number(live::CONNECTIONS)
}

/// What is counted of the pod: executions, exits, connections opened, active and closed, bytes.
type Counted = [i64; 6];

fn counted(read: &Snapshot) -> Counted {
    [
        Metric::ProcessExecs,
        Metric::ProcessExits,
        Metric::TcpConnectionsOpened,
        Metric::TcpConnectionsActive,
        Metric::TcpConnectionsClosed,
        Metric::TcpIo,
    ]
    .map(|metric| snapshot::total(read, metric, &[]))
}

fn until(live: &Live, what: &str, expected: Counted) -> Result<()> {
    let read = live.snapshot_when(what, |read| counted(read) == expected);
    if read.is_err() {
        ensure!(
            false,
            "{what}: {:?} instead of {expected:?}",
            counted(&*live.snapshot()?)
        );
    }
    let read = live.snapshot()?;
    for invariant in ["tcp_balance", "tcp_active_series"] {
        let having = [(Attr::Invariant, invariant)];
        let drift = snapshot::total(&read, Metric::AgentInvariantDrift, &having);
        assert_eq!(drift, 0, "{invariant}, {what}");
    }
    Ok(())
}

fn run(cgroup: &CgroupGuard, times: usize) -> Result<()> {
    for _ in 0..times {
        workload::run(cgroup, "sleep", &["1"])?;
    }
    Ok(())
}

/// Until every open connection was told of at least once more.
fn until_told_of_all(live: &Live) -> Result<()> {
    let told = || live.counters.records(RecordKind::TcpSnapshot);
    let enough = told() + 2 * u64::try_from(ends())?;
    let start = std::time::Instant::now();
    while told() < enough {
        ensure!(start.elapsed() < DEADLINE, "nobody looks at connections");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Bytes that both ends of all connections sent and received in so many rounds.
fn carried(rounds: usize, first: bool) -> i64 {
    let each = |(up, down): (usize, usize)| up + down;
    let first = if first { each(live::FIRST) } else { 0 };
    ends() * snapshot::number(first + rounds * each(live::ROUND))
}

/// A namespace that is left out has no series of its own from then on, and what happens in it is counted as left out; taken in
/// again, its series start anew.
pub(crate) fn while_it_runs() -> Result<()> {
    // A number that no other test uses.
    let container = Container::numbered(u32::MAX - 2);
    let cgroup = CgroupGuard::at(&container.cgroup())?;
    // Packets that are dropped are left out and counted as well, and how many those are only the kernel knows.
    let mut probes = settings(Some(cgroup.id()));
    probes.features.retain(|feature| *feature != Feature::Drops);
    let (live, pods) = Live::start_in_cluster_with(probes, |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(200);
    })?;
    pods.blocking_send(PodUpdate::Applied(Box::new(lost_ends::pod(&container))))?;
    let mut config = Config::default();
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "long_lived", &[steps.path()?])?;
    steps.hear("open")?;
    run(&cgroup, 3)?;
    until(
        &live,
        "everything",
        [4, 3, ends(), ends(), 0, carried(0, true)],
    )?;

    config.kubernetes.namespaces.exclude = vec!["sho*".parse()?];
    live.reconfigure(&config)?;
    until(&live, "the end of all series", [0; 6])?;
    steps.say("go", "")?;
    steps.hear("sent")?;
    run(&cgroup, 4)?;
    until_told_of_all(&live)?;
    until(&live, "nothing", [0; 6])?;
    let left_out = live.counters.discards(Discard::PolicyNamespace);
    assert_eq!(left_out, 8, "executions and exits");

    config.kubernetes.namespaces.exclude = Vec::new();
    live.reconfigure(&config)?;
    run(&cgroup, 2)?;
    until(&live, "open connections", [2, 2, 0, ends(), 0, 0])?;
    steps.say("go", "")?;
    steps.hear("sent")?;
    until(&live, "a round", [2, 2, 0, ends(), 0, carried(1, false)])?;

    // Everything but what is in a namespace of another name.
    config.kubernetes.namespaces.include = vec!["other".parse()?];
    live.reconfigure(&config)?;
    until(&live, "nothing again", [0; 6])?;
    steps.say("go", "")?;
    steps.hear("sent")?;
    steps.say("go", "")?;
    running.finish().context("the connections")?;
    live.snapshot_when("the ends to be left out", |_| {
        let left_out = live.counters.discards(Discard::PolicyNamespace);
        left_out == 8 + 1 + u64::try_from(ends()).unwrap_or_default()
    })
    .with_context(|| {
        let left_out = live.counters.discards(Discard::PolicyNamespace);
        format!("{left_out} were left out")
    })?;
    until(&live, "nothing at the end", [0; 6])
}
