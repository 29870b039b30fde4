//! Snapshots of many connections, and of those of several network namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use wellhead::counters::RecordKind;
use wellhead::events::{Body, Role};
use wellhead::kernel::{Hooks, ProbeSettings};
use wellhead::telemetry::catalogue::Metric;
use wellhead_tests::{
    capture::{Live, Tap, settings},
    cgroup::CgroupGuard,
    require::say,
    snapshot,
    steps::Steps,
    workload,
};

use crate::live::CONNECTIONS;

/// Processes that share the connections: a descriptor for each end.
const HOLDERS: usize = 4;

/// Connections in all, and bytes of a ring that has no room for them; fewer in a machine with little memory.
fn many() -> Result<(usize, u32)> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let total = memory.split_whitespace().nth(1).context("MemTotal")?;
    let is_small = total.parse::<u64>()? < 4 << 20;
    let default = settings(None).network_ring;
    Ok(if is_small {
        (3_000, default / 8)
    } else {
        (20_000, default)
    })
}

/// The workload: holds both ends of as many connections as it is told to.
pub(crate) fn hold(arguments: &[String]) -> Result<Value> {
    let [directory, number] = arguments else {
        anyhow::bail!("where and how many?");
    };
    let steps = Steps::at(directory);
    allow_all_files()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut held = Vec::new();
    for _ in 0..number.parse::<usize>()? {
        let source = TcpStream::connect(listener.local_addr()?)?;
        held.push((source, listener.accept()?.0));
    }
    steps.say("open", "")?;
    steps.hear("go")?;
    drop(held);
    Ok(json!({}))
}

/// As many open files as may be.
pub(crate) fn allow_all_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: limit,
        maximum: limit,
    };
    setrlimit(Resource::Nofile, all)?;
    Ok(())
}

/// Both ends of so many connections.
pub(crate) fn pairs(number: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    pairs_with_pauses(number, Duration::ZERO)
}

/// The same with a pause after each.
pub(crate) fn pairs_with_pauses(
    number: usize,
    pause: Duration,
) -> Result<Vec<(TcpStream, TcpStream)>> {
    allow_all_files()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    (0..number)
        .map(|_| {
            let source = TcpStream::connect(listener.local_addr()?)?;
            let destination = listener.accept()?.0;
            thread::sleep(pause);
            Ok((source, destination))
        })
        .collect()
}

pub(crate) fn more_than_the_ring_holds() -> Result<()> {
    let (connections, network_ring) = many()?;
    let ends = 2 * connections / 2;
    let cgroup = CgroupGuard::new()?;
    let steps: Vec<Steps> = (0..HOLDERS).map(|_| Steps::new()).collect::<Result<_>>()?;
    let each = (connections / 2 / HOLDERS).to_string();
    let running: Vec<_> = steps
        .iter()
        .map(|steps| workload::start(&cgroup, "hold", &[steps.path()?, &each]))
        .collect::<Result<_>>()?;
    for steps in &steps {
        steps.hear("open")?;
    }
    measure(&cgroup, ends)?;
    let settings = ProbeSettings {
        network_ring,
        ..settings(Some(cgroup.id()))
    };
    in_rounds(&settings, ends)?;

    let live = Live::start_with(settings, |pipeline| {
        // One snapshot is all there is.
        pipeline.snapshot_interval = Duration::from_hours(1);
    })?;
    let ends = i64::try_from(ends)?;
    let read = live.snapshot_when("all are active", |read| {
        snapshot::total(read, Metric::TcpConnectionsActive, &[]) >= ends
    })?;
    let active = snapshot::total(&read, Metric::TcpConnectionsActive, &[]);
    assert_eq!(active, ends);
    let told = live.counters.records(RecordKind::TcpSnapshot);
    assert_eq!(i64::try_from(told)?, ends, "each once");
    live.ensure_nothing_lost()?;
    drop(live);
    for steps in &steps {
        steps.say("go", "")?;
    }
    running
        .into_iter()
        .try_for_each(|running| running.finish().map(drop))
}

/// Says what a snapshot costs that has room for all, the first time and again.
fn measure(cgroup: &CgroupGuard, ends: usize) -> Result<()> {
    let mut tap = Tap::attach(&ProbeSettings {
        network_ring: 32 << 20,
        ..settings(Some(cgroup.id()))
    })?;
    for which in ["first", "second"] {
        tap.probes.programs.begin_snapshot();
        let start = Instant::now();
        tap.probes.live.tell_connections()?;
        let took = start.elapsed();
        let each = (took / u32::try_from(ends)?).as_nanos();
        say(format_args!(
            "  {which} snapshot of {ends} sockets: {took:.1?}, {each} ns each"
        ));
    }
    ensure!(tap.probes.programs.deferred() == 0, "some were left out");
    Ok(())
}

/// What finds no room in a round is told in a later one, and nobody twice.
fn in_rounds(settings: &ProbeSettings, ends: usize) -> Result<()> {
    let mut tap = Tap::attach(settings)?;
    tap.probes.programs.begin_snapshot();
    let mut rounds = 0;
    loop {
        let deferred = tap.probes.programs.deferred();
        tap.probes.live.tell_connections()?;
        tap.drain();
        rounds += 1;
        if tap.probes.programs.deferred() == deferred {
            break;
        }
    }
    say(format_args!("  all told in {rounds} rounds"));
    ensure!(rounds > 1, "the ring had room for all");
    let mut sockets = BTreeSet::new();
    for (event, _) in tap.events()? {
        if let Body::TcpSnapshot(end) = event.body {
            let is_new = sockets.insert(end.connection.socket_id);
            ensure!(is_new, "told twice: {end:?}");
        }
    }
    assert_eq!(sockets.len(), ends);
    Ok(())
}

/// By the way of kernels before 5.11, which shows one network namespace at a time.
pub(crate) fn in_each_namespace() -> Result<()> {
    let cgroups = [CgroupGuard::new()?, CgroupGuard::new()?];
    let steps = [Steps::new()?, Steps::new()?];
    let mut ports = Vec::new();
    let mut running = Vec::new();
    for (cgroup, steps) in cgroups.iter().zip(&steps) {
        running.push(workload::start(cgroup, "long_lived", &[steps.path()?])?);
        ports.push(steps.hear("open")?.parse::<u16>()?);
    }
    let mut tap = Tap::attach(&ProbeSettings {
        hooks: Hooks {
            refused: vec!["live_listeners"],
            ..Hooks::default()
        },
        ..settings(None)
    })?;
    let ways = tap.probes.features.iter().map(|status| status.mechanism);
    ensure!(ways.clone().any(|way| way == "iter/tcp"), "another way");
    tap.probes.live.learn_listeners()?;
    tap.probes.programs.begin_snapshot();
    for _ in 0..2 {
        // Nobody is told twice in one snapshot.
        tap.probes.live.tell_connections()?;
        tap.drain();
    }
    let mut told: BTreeMap<(u64, bool), usize> = BTreeMap::new();
    for (event, _) in tap.events()? {
        let Body::TcpSnapshot(end) = event.body else {
            continue;
        };
        let place = cgroups
            .iter()
            .position(|cgroup| cgroup.id() == event.cgroup_id);
        // Others have connections too.
        let Some(place) = place else { continue };
        let is_destination = end.connection.local.port() == ports[place];
        let role = if is_destination {
            Role::Destination
        } else {
            Role::Source
        };
        assert_eq!(end.connection.role, Some(role), "{end:?}");
        *told.entry((event.cgroup_id, is_destination)).or_default() += 1;
    }
    let expected = cgroups.iter().flat_map(|cgroup| {
        [false, true].map(|is_destination| ((cgroup.id(), is_destination), CONNECTIONS))
    });
    assert_eq!(told, expected.collect());
    Ok(())
}
