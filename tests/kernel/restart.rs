//! One agent after another: what happens in between reaches the next, and nothing is counted twice.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::{Discard, RecordKind};
use wellhead::kernel::{AttachError, ProbeSettings, Probes, Step, embedded_object, remove_pins};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{self, DEADLINE, Live, settings},
    cgroup::CgroupGuard,
    netns,
    require::{self, say},
    snapshot,
    steps::Steps,
    workload::{self, Running},
};

/// Pairs of processes, and connections, that a load makes: a part of a storm's.
fn each() -> Result<i64> {
    let storm = i64::try_from(crate::storm::processes()?)?;
    Ok((storm / 100).clamp(30, 300))
}

const UP: u8 = 100;
const DOWN: u8 = 200;

/// Where an agent keeps its programs; removed in the end.
pub(crate) struct PinGuard(PathBuf);

impl PinGuard {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("wellhead-test-{}-{name}", process::id());
        Self(Path::new("/sys/fs/bpf").join(name))
    }

    fn path(&self) -> Result<&str> {
        self.0.to_str().context("UTF-8")
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        if let Err(error) = remove_pins(&self.0) {
            say(format_args!("pins stay behind: {error}"));
        }
    }
}

/// The workload that is an agent: tells its totals when asked, until it is killed.
///
/// Arguments: pins, cgroup, steps, version (`old` lacks a program, `roomier` tracks more connections, others die), bytes of the network ring.
pub(crate) fn agent(arguments: &[String]) -> Result<Value> {
    let [pins, cgroup, steps, version, ring] = arguments else {
        anyhow::bail!("five arguments, please: {arguments:?}");
    };
    let steps = Steps::at(steps);
    let live = Live::start_with(
        settings_of(pins, cgroup.parse()?, version, ring.parse()?),
        |pipeline| pipeline.snapshot_interval = Duration::from_millis(300),
    )?;
    steps.say("ready", "")?;
    loop {
        steps.hear("ask")?;
        steps.say("answer", &totals(&live)?.to_string())?;
    }
}

fn settings_of(pins: &str, cgroup: u64, version: &str, network_ring: u32) -> ProbeSettings {
    let mut settings = ProbeSettings {
        pin_directory: Some(PathBuf::from(pins)),
        network_ring,
        ..settings(Some(cgroup))
    };
    if version == "old" {
        // Another object: ELF ignores what comes behind its sections.
        let object = [embedded_object(), b"older"].concat();
        settings.object = Box::leak(object.into_boxed_slice());
        settings.hooks.left_out = vec!["mark_victim"];
    }
    if version == "roomier" {
        settings.connections *= 2;
    }
    settings.hooks.dies = STEPS
        .iter()
        .find(|(name, _)| *name == version)
        .map(|(_, step)| *step);
    settings
}

/// Versions that die while they take over, and where.
const STEPS: [(&str, Step); 3] = [
    ("dies_planned", Step::Planned),
    ("dies_attached", Step::Attached),
    ("dies_switched", Step::Switched),
];

fn totals(live: &Live) -> Result<Value> {
    let read = live.snapshot()?;
    let total = |metric| snapshot::total(&read, metric, &[]);
    let transmit = [(Attr::NetworkIoDirection, "transmit")];
    let lost: u64 = RecordKind::ALL
        .iter()
        .map(|kind| live.counters.lost(*kind))
        .sum();
    Ok(json!({
        "forks": total(Metric::ProcessForks),
        "execs": total(Metric::ProcessExecs),
        "exits": total(Metric::ProcessExits),
        "opened": total(Metric::TcpConnectionsOpened),
        "closed": total(Metric::TcpConnectionsClosed),
        "active": total(Metric::TcpConnectionsActive),
        "sent": snapshot::total(&read, Metric::TcpIo, &transmit),
        "io": total(Metric::TcpIo),
        "failures": total(Metric::TcpConnectionFailures),
        "lost": lost,
        "skipped": live.counters.discards(Discard::KernelRecursion),
        "end_missed": live.counters.discards(Discard::KernelEndMissed),
    }))
}

/// The workload that is a load: so many processes and connections, one after another. Of every two processes one is a
/// shell that becomes another program, so that it executes twice within a moment.
pub(crate) fn load(arguments: &[String]) -> Result<Value> {
    let each: i64 = arguments.first().context("how many?")?.parse()?;
    netns::isolate()?;
    let mut exchange = crate::connections::Exchange::new()?;
    for _ in 0..each {
        let status = process::Command::new("/bin/true").status()?;
        ensure!(status.success(), "{status}");
        let mut shell = process::Command::new("/bin/sh");
        let status = shell.args(["-c", "exec /bin/true"]).status()?;
        ensure!(status.success(), "{status}");
        exchange.one(&vec![b'u'; UP.into()], &vec![b'd'; DOWN.into()])?;
    }
    Ok(json!({}))
}

/// What an agent has to count of loads.
fn loads(number: i64) -> Result<BTreeMap<&'static str, i64>> {
    let all = number * each()?;
    let bytes = i64::from(UP) + i64::from(DOWN);
    Ok(BTreeMap::from([
        ("forks", 2 * all),
        // The load itself is executed and ends too.
        ("execs", 3 * all + number),
        ("exits", 2 * all + number),
        ("opened", 2 * all),
        ("closed", 2 * all),
        ("active", 0),
        ("sent", all * bytes),
        ("io", 2 * all * bytes),
    ]))
}

pub(crate) struct Bench {
    pub(crate) cgroup: CgroupGuard,
    steps: Steps,
    pins: PinGuard,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Result<Self> {
        Ok(Self {
            cgroup: CgroupGuard::new()?,
            steps: Steps::new()?,
            pins: PinGuard::new(name),
        })
    }

    /// An agent outside of the cgroup it watches.
    pub(crate) fn agent(&self, version: &str, ring: u32) -> Result<Agent<'_>> {
        let home = CgroupGuard::new()?;
        let (cgroup, ring) = (self.cgroup.id().to_string(), ring.to_string());
        let arguments = [
            self.pins.path()?,
            &cgroup,
            self.steps.path()?,
            version,
            &ring,
        ];
        let running = workload::start(&home, "agent", &arguments)?;
        Ok(Agent {
            running,
            steps: &self.steps,
            skipped: Cell::new(0),
            _home: home,
        })
    }

    fn start_load(&self) -> Result<Running> {
        workload::start(&self.cgroup, "load", &[&each()?.to_string()])
    }

    /// Where a map is pinned.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.pins.0.join("v1/maps").join(name)
    }

    pub(crate) fn load(&self) -> Result<()> {
        self.start_load()?.finish().map(drop)
    }
}

pub(crate) struct Agent<'a> {
    running: Running,
    steps: &'a Steps,
    /// Runs of programs that the kernel skipped, as it told last.
    skipped: Cell<u64>,
    _home: CgroupGuard,
}

impl Agent<'_> {
    pub(crate) fn ready(self) -> Result<Self> {
        self.steps.hear("ready")?;
        Ok(self)
    }

    /// Makes one load after another until it is ready; returns how many that were.
    fn ready_amid_loads(self, bench: &Bench) -> Result<(Self, i64)> {
        let mut loads = 0;
        while self.steps.heard("ready").is_none() {
            bench.load()?;
            loads += 1;
        }
        Ok((self, loads))
    }

    pub(crate) fn totals(&self) -> Result<Value> {
        self.steps.say("ask", "")?;
        let totals: Value = serde_json::from_str(&self.steps.hear("answer")?)?;
        let skipped = totals["skipped"].as_u64().unwrap_or_default();
        capture::note_skipped_runs(skipped.saturating_sub(self.skipped.replace(skipped)));
        Ok(totals)
    }

    /// It has counted these loads, and nothing besides.
    pub(crate) fn has_counted(&self, number: i64) -> Result<Value> {
        let expected = loads(number)?;
        let start = std::time::Instant::now();
        loop {
            let found = self.totals()?;
            let differs = expected.iter().find(|(key, value)| found[**key] != **value);
            match differs {
                None => return Ok(found),
                Some(_) if start.elapsed() < DEADLINE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Some((key, value)) => anyhow::bail!("{key} is not {value} in {found}"),
            }
        }
    }

    /// With SIGKILL: nothing of it gets to say goodbye.
    pub(crate) fn kill(self) {
        drop(self.running);
    }
}

pub(crate) const RING: u32 = 4 << 20;

pub(crate) fn after_kill() -> Result<()> {
    let bench = Bench::new("kill")?;
    let first = bench.agent("new", RING)?.ready()?;
    bench.load()?;
    first.has_counted(1)?;
    first.kill();
    bench.load()?;
    let (second, loads) = bench.agent("new", RING)?.ready_amid_loads(&bench)?;
    let found = second.has_counted(1 + loads)?;
    assert_eq!(found["lost"], 0, "{found}");
    assert_eq!(generations(&bench)?, ["1"], "adopted");
    Ok(())
}

pub(crate) fn by_upgrade() -> Result<()> {
    let bench = Bench::new("upgrade")?;
    let first = bench.agent("old", RING)?.ready()?;
    bench.load()?;
    first.has_counted(1)?;
    let before = programs(&bench, 1)?;
    first.kill();
    bench.load()?;
    let (second, loads) = bench.agent("new", RING)?.ready_amid_loads(&bench)?;
    let found = second.has_counted(1 + loads)?;
    assert_eq!(found["lost"], 0, "{found}");
    assert_eq!(settled(&bench)?, ["2"], "the old programs are gone");
    let after = programs(&bench, 2)?;
    assert_eq!(after.len(), before.len() + 1, "{before:?}, then {after:?}");
    // And once more, to the same.
    second.kill();
    bench.load()?;
    let third = bench.agent("new", RING)?.ready()?;
    third.has_counted(1)?;
    assert_eq!(generations(&bench)?, ["2"], "adopted");
    Ok(())
}

/// While nobody reads, the smallest ring overflows: what does not fit is spilled.
pub(crate) fn with_losses() -> Result<()> {
    let page = u32::try_from(rustix::param::page_size())?;
    let bench = Bench::new("losses")?;
    let first = bench.agent("new", page)?.ready()?;
    first.totals()?;
    first.kill();
    bench.load()?;
    let second = bench.agent("new", page)?.ready()?;
    let found = second.has_counted(1)?;
    ensure!(
        found["lost"].as_i64() > Some(0),
        "nothing was lost: {found}"
    );
    say(format_args!(
        "  {} records lost while nobody read",
        found["lost"]
    ));
    // An agent that starts now has nothing to do with those losses.
    second.kill();
    let third = bench.agent("new", page)?.ready()?;
    let found = third.has_counted(0)?;
    assert_eq!(found["lost"], 0, "{found}");
    Ok(())
}

/// Rings of another size: the old one is read to its end.
pub(crate) fn with_other_sizes() -> Result<()> {
    let bench = Bench::new("sizes")?;
    let first = bench.agent("new", RING)?.ready()?;
    first.totals()?;
    first.kill();
    bench.load()?;
    let second = bench.agent("new", RING / 2)?.ready()?;
    bench.load()?;
    second.has_counted(2)?;
    assert_eq!(settled(&bench)?, ["2"]);
    Ok(())
}

/// An agent that is killed while it takes over, at any step, takes nothing with it: neither from itself restarted nor from
/// the version before.
pub(crate) fn killed_in_between() -> Result<()> {
    // One way is enough where each takes a minute.
    let ways = if require::is_bare() { 1 } else { 2 };
    for (version, _) in STEPS {
        for (next, ring) in [("new", RING / 2), ("old", RING)].into_iter().take(ways) {
            let bench = Bench::new("between")?;
            let first = bench.agent("old", RING)?.ready()?;
            bench.load()?;
            first.has_counted(1)?;
            first.kill();
            bench.load()?;
            let dies = bench.agent(version, RING / 2)?;
            ensure!(dies.running.finish().is_err(), "{version} lives");
            bench.load()?;
            let last = bench.agent(next, ring)?.ready()?;
            bench.load()?;
            let found = last.has_counted(3);
            let found = found.with_context(|| format!("{version}, then {next}"))?;
            assert_eq!(found["lost"], 0, "{found}");
            settled(&bench)?;
        }
    }
    Ok(())
}

/// Connections that are open all the time: each agent goes on where the last stopped.
pub(crate) fn of_open_connections() -> Result<()> {
    let bench = Bench::new("open")?;
    let long = Steps::new()?;
    let first = bench.agent("new", RING)?.ready()?;
    let running = workload::start(&bench.cgroup, "long_lived", &[long.path()?])?;
    long.hear("open")?;
    let all = snapshot::number(crate::live::CONNECTIONS);
    let (up, down) = crate::live::FIRST;
    let both = all * snapshot::number(up + down);
    wait_for(
        &first,
        &[("opened", 2 * all), ("active", 2 * all), ("io", 2 * both)],
    )?;
    // Past the next snapshot, so that what was counted is noted as told.
    std::thread::sleep(Duration::from_millis(800));
    first.kill();
    long.say("go", "")?;
    long.hear("sent")?;
    let second = bench.agent("old", RING)?.ready()?;
    let (up, down) = crate::live::ROUND;
    let round = all * snapshot::number(up + down);
    wait_for(
        &second,
        &[("opened", 0), ("active", 2 * all), ("io", 2 * round)],
    )?;
    for _ in 1..crate::live::ROUNDS {
        long.say("go", "")?;
        long.hear("sent")?;
    }
    long.say("go", "")?;
    running.finish()?;
    let rounds = snapshot::number(crate::live::ROUNDS);
    wait_for(
        &second,
        &[
            ("opened", 0),
            ("active", 0),
            ("closed", 2 * all),
            ("io", 2 * rounds * round),
        ],
    )
    .map(drop)
}

pub(crate) fn wait_for(agent: &Agent<'_>, expected: &[(&str, i64)]) -> Result<Value> {
    let start = std::time::Instant::now();
    loop {
        let found = agent.totals()?;
        if expected.iter().all(|(key, value)| found[*key] == *value) {
            return Ok(found);
        }
        ensure!(
            start.elapsed() < DEADLINE,
            "{found} instead of {expected:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Two agents at once would read each other's records away.
pub(crate) fn only_one() -> Result<()> {
    let bench = Bench::new("two")?;
    let first = bench.agent("new", RING)?.ready()?;
    let pins = bench.pins.path()?;
    let second = Probes::attach(&settings_of(pins, bench.cgroup.id(), "new", RING));
    let error = second.err().context("it attached")?;
    ensure!(matches!(error, AttachError::Held(_)), "{error}");
    ensure!(
        error.to_string().contains("another wellhead agent"),
        "{error}"
    );
    ensure!(
        remove_pins(&bench.pins.0).is_err(),
        "pins in use were removed"
    );
    bench.load()?;
    first.has_counted(1)?;
    first.kill();
    ensure!(remove_pins(&bench.pins.0)?, "there was nothing to remove");
    ensure!(!bench.pins.0.exists(), "something is left");
    Ok(())
}

/// The one generation that stays once everything is read.
fn settled(bench: &Bench) -> Result<Vec<String>> {
    let start = std::time::Instant::now();
    loop {
        let found = generations(bench)?;
        if found.len() == 1 {
            return Ok(found);
        }
        ensure!(start.elapsed() < DEADLINE, "{found:?} stay");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The generations that are pinned.
pub(crate) fn generations(bench: &Bench) -> Result<Vec<String>> {
    Ok(names(&bench.pins.0.join("v1"))?
        .into_iter()
        .filter(|name| name != "maps")
        .collect())
}

fn programs(bench: &Bench, generation: u32) -> Result<Vec<String>> {
    let names = names(&bench.pins.0.join("v1").join(generation.to_string()))?;
    Ok(names
        .into_iter()
        .filter(|name| name.ends_with("-link"))
        .collect())
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
