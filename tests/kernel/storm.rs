//! As many processes as the machine can make: what is lost is counted, exactly.

use std::{
    env,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::RecordKind;
use wellhead::events::{Body, decode};
use wellhead::kernel::ProbeSettings;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_common::record::Kind;
use wellhead_tests::{
    capture::{Live, Tap, settings},
    cgroup::CgroupGuard,
    execute,
    require::say,
    snapshot, workload,
};

/// Takes another number of processes, for machines that are slow.
const PROCESSES: &str = "WELLHEAD_TEST_PROCESSES";
const SPAWNERS: u64 = 4;

const PROGRAM: &str = "kt-quick";

pub(crate) fn spawn(arguments: &[String]) -> Result<Value> {
    let [directory, processes] = arguments else {
        anyhow::bail!("where and how many?");
    };
    let processes: u64 = processes.parse()?;
    let path = execute::quick_program(Path::new(directory), PROGRAM)?;
    let path = execute::c_string(path)?;
    let start = Instant::now();
    let spawners: Vec<_> = (0..SPAWNERS)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || -> Result<()> {
                for _ in 0..processes / SPAWNERS {
                    let (_, status) = execute::spawn_and_wait(&path, &[&path])?;
                    ensure!(status == 0, "it ended with {status}");
                }
                Ok(())
            })
        })
        .collect();
    for spawner in spawners {
        let done = spawner.join();
        done.map_err(|_panic| anyhow::anyhow!("a spawner panicked"))??;
    }
    Ok(json!({ "microseconds": u64::try_from(start.elapsed().as_micros())? }))
}

pub(crate) fn processes() -> Result<u64> {
    match env::var(PROCESSES) {
        Ok(number) => Ok(number.parse::<u64>()?.next_multiple_of(SPAWNERS)),
        Err(_unset) => Ok(100_000),
    }
}

pub(crate) fn over_a_small_ring() -> Result<()> {
    let processes = processes()?;
    // The workload itself is one more.
    let programs_run = processes + 1;
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let place = directory.path().to_str().context("UTF-8")?;
    let small = ProbeSettings {
        process_ring: 64 << 10,
        ..settings(Some(cgroup.id()))
    };
    let mut tap = Tap::attach(&small)?;
    let storm = workload::start(&cgroup, "storm", &[place, &processes.to_string()])?;
    let mut read = Read::default();
    let done = thread::spawn(move || storm.finish());
    // Reads for a while, then pauses until the ring has overflowed, and so on.
    while !done.is_finished() {
        for _ in 0..20 {
            read.drain(&mut tap)?;
            thread::sleep(Duration::from_millis(5));
        }
        let lost = lost_exits(&tap);
        while lost_exits(&tap) == lost && !done.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
    }
    let said = done
        .join()
        .map_err(|_panic| anyhow::anyhow!("the reader panicked"))??;
    read.drain(&mut tap)?;
    let programs = &tap.probes.programs;
    let mut lost_in_all = 0;
    for (kind, program, made, read) in [
        (Kind::Fork, "sched_process_fork", processes, read.forks),
        (Kind::Exec, "sched_process_exec", programs_run, read.execs),
        (Kind::Exit, "sched_process_exit", programs_run, read.exits),
    ] {
        let (submitted, lost) = (programs.submitted(kind), programs.lost(kind));
        // Other cgroups' events are skipped too: this number is of the whole machine.
        let skipped = skipped(&tap, program);
        say(format_args!(
            "  {kind:?}: made {made} = submitted {submitted} + lost {lost}, read {read}; {skipped} runs skipped"
        ));
        if skipped == 0 {
            assert_eq!(made, submitted + lost, "{kind:?} made");
        }
        let at_least = submitted + lost..=submitted + lost + skipped;
        assert!(
            at_least.contains(&made),
            "{kind:?} made {made}, {at_least:?} told"
        );
        assert_eq!(read, submitted, "{kind:?} read");
        lost_in_all += lost;
    }
    ensure!(lost_in_all > 0, "nothing was lost, so nothing was shown");
    report_rate(processes, &said);
    Ok(())
}

/// How often the kernel did not run a program because it was already running on that processor.
fn skipped(tap: &Tap, program: &str) -> u64 {
    let stats = tap.probes.programs.stats();
    let found = stats.iter().find(|stats| stats.program == program);
    found.map_or(0, |stats| stats.recursion_misses)
}

fn lost_exits(tap: &Tap) -> u64 {
    tap.probes.programs.lost(Kind::Exit)
}

/// How many records of each kind were read.
#[derive(Default)]
struct Read {
    forks: u64,
    execs: u64,
    exits: u64,
}

impl Read {
    fn drain(&mut self, tap: &mut Tap) -> Result<()> {
        let mut failed = None;
        let ring = &mut tap.probes.rings.process;
        ring.drain(usize::MAX, |record| match decode(record) {
            Ok(event) => match event.body {
                Body::Fork(_) => self.forks += 1,
                Body::Exec(_) => self.execs += 1,
                Body::Exit(_) => self.exits += 1,
                _ => {}
            },
            Err(error) => failed = Some(error),
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

pub(crate) fn through_the_pipeline() -> Result<()> {
    let processes = processes()?;
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let place = directory.path().to_str().context("UTF-8")?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let said = workload::run(&cgroup, "storm", &[place, &processes.to_string()])?;
    let having = [(Attr::ProcessExecutableName, PROGRAM)];
    let all = i64::try_from(processes)?;
    let read = live.snapshot_when("all exits", |snapshot| {
        snapshot::total(snapshot, Metric::ProcessExits, &having) >= all
    })?;
    live.ensure_nothing_lost()?;
    for metric in [
        Metric::ProcessExecs,
        Metric::ProcessExits,
        Metric::ProcessDuration,
    ] {
        assert_eq!(snapshot::total(&read, metric, &having), all, "{metric:?}");
    }
    assert_eq!(snapshot::total(&read, Metric::ProcessForks, &[]), all);
    assert_eq!(live.counters.records(RecordKind::Exec), processes + 1);
    assert_eq!(live.counters.records(RecordKind::Exit), processes + 1);
    report_rate(processes, &said);
    Ok(())
}

fn report_rate(processes: u64, said: &Value) {
    let took = said["microseconds"].as_u64().unwrap_or_default().max(1);
    let rate = |events: u64| events * 1_000_000 / took;
    say(format_args!(
        "  {processes} processes in {:.1?}: {} processes/s, {} records/s",
        Duration::from_micros(took),
        rate(processes),
        // A fork, an exec and an exit.
        rate(3 * processes)
    ));
}
