//! Processes through the whole pipeline, from the kernel to the series store.

use std::ffi::CStr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::RecordKind;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    execute, snapshot, workload,
};

const TRUE: i64 = 300;
const SHELLS: i64 = 50;
/// Children that execute nothing: their name is their parent's.
const COPIES: i64 = 20;
/// The workload itself is one more.
const EXECS: i64 = TRUE + SHELLS + 1;

pub(crate) fn many(_arguments: &[String]) -> Result<Value> {
    let run = |path: &CStr, arguments: &[&CStr], expected: i32| -> Result<()> {
        let (_, status) = execute::spawn_and_wait(path, arguments)?;
        ensure!(status == expected, "{path:?} ended with status {status}");
        Ok(())
    };
    for _ in 0..TRUE {
        run(c"/bin/true", &[c"true"], 0)?;
    }
    for _ in 0..SHELLS {
        run(c"/bin/sh", &[c"sh", c"-c", c"exit 3"], 3 << 8)?;
    }
    for _ in 0..COPIES {
        let (_, status) = execute::wait(execute::fork(|| 9)?)?;
        ensure!(status == 9 << 8, "a copy ended with status {status}");
    }
    Ok(json!({}))
}

pub(crate) fn are_counted() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    workload::run(&cgroup, "processes", &[])?;

    let exits = |snapshot: &_| snapshot::total(snapshot, Metric::ProcessExits, &[]);
    let read = live.snapshot_when("all exits", |snapshot| exits(snapshot) >= EXECS + COPIES)?;
    let own = workload::own_name()?;
    let own = own.to_str().context("a name in UTF-8")?;
    let name = Attr::ProcessExecutableName;
    let code = Attr::ProcessExitCode;
    let check = |metric, having: &[_], expected| {
        let found = snapshot::total(&read, metric, having);
        assert_eq!(found, expected, "{metric:?} {having:?}");
    };
    for (program, runs, copies, ended) in [
        ("true", TRUE, 0, "0"),
        ("sh", SHELLS, 0, "3"),
        (own, 1, COPIES, "0"),
    ] {
        let named = [(name, program)];
        check(Metric::ProcessExecs, &named, runs);
        check(Metric::ProcessExits, &named, runs + copies);
        check(Metric::ProcessExits, &[named[0], (code, ended)], runs);
        check(Metric::ProcessDuration, &named, runs + copies);
    }
    check(Metric::ProcessExits, &[(name, own), (code, "9")], COPIES);
    check(Metric::ProcessExecs, &[], EXECS);
    check(Metric::ProcessExits, &[], EXECS + COPIES);
    check(Metric::ProcessForks, &[], TRUE + SHELLS + COPIES);
    let records = |kind| live.counters.records(kind);
    assert_eq!(records(RecordKind::Exec), EXECS.unsigned_abs());
    assert_eq!(records(RecordKind::Exit), (EXECS + COPIES).unsigned_abs());
    live.ensure_nothing_lost()
}
