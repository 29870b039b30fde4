//! What processes used: as `wait4(2)` tells it, or less.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wellhead_tests::require;

use super::told::{Forest, Told};

/// Time that a process may use between being asked for and being let go of: it still gives up its processor then.
const SLACK_NS: u64 = 1_000_000;
/// On emulated processors.
const LONG_SLACK_NS: u64 = 50_000_000;

/// Checks one process against what its parent was told.
pub(super) fn check(forest: &Forest, index: usize, fact: &Value) -> Result<()> {
    let told = &forest.all[index];
    let Some(exit) = &told.exit else {
        return Ok(());
    };
    check_status(exit, fact)?;
    let of = |key: &str| exit[key].as_u64().with_context(|| format!("no {key}"));
    let by_wait = |key: &str| fact[key].as_u64().with_context(|| format!("no {key}"));
    let cpu_ns = of("wellhead.process.cpu.user")? + of("wellhead.process.cpu.system")?;
    let waited_ns = by_wait("cpu_us")? * 1_000;
    // Each of both times is cut to microseconds.
    let slack = 2_000
        + if require::is_bare() {
            LONG_SLACK_NS
        } else {
            SLACK_NS
        };
    ensure!(
        cpu_ns <= waited_ns + slack,
        "processor: {cpu_ns} ns, not {waited_ns}"
    );
    let counts = [
        ("wellhead.process.memory.peak", by_wait("peak_kib")? << 10),
        ("wellhead.process.faults.minor", by_wait("minor")?),
        ("wellhead.process.faults.major", by_wait("major")?),
        ("wellhead.process.switches.voluntary", by_wait("voluntary")?),
        ("wellhead.process.switches.forced", by_wait("forced")?),
    ];
    // Where the kernel takes longer to let go of a process than it is waited for, not all is known.
    let is_whole = !is_late(told);
    // What wait4(2) tells includes the children that the process has waited for itself.
    let has_children = forest.all.iter().any(|other| other.parent == Some(index));
    for (key, waited) in counts {
        let figure = of(key)?;
        // The last switch of all is made while its parent already asks, or just before.
        let late = u64::from(key.contains("switches"));
        let is_right = figure <= waited + late && (has_children || !is_whole || figure >= waited);
        ensure!(
            is_right,
            "{key}: {figure}, not {waited}, told {:?} late",
            told.late
        );
    }
    if !has_children && is_whole {
        ensure!(
            cpu_ns.max(waited_ns) - cpu_ns <= waited_ns / 50 + 2_000,
            "processor: {cpu_ns} ns, not {waited_ns}"
        );
    }
    Ok(())
}

/// Whether its end was told without waiting any longer until the kernel let go of it.
pub(super) fn is_late(told: &Told) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    told.late >= PATIENCE
}

fn check_status(exit: &Value, fact: &Value) -> Result<()> {
    let status = fact["status"].as_i64().context("a status")?;
    let is_signal = status & 0x7f != 0;
    let has_signal = !exit["wellhead.process.signal"].is_null();
    ensure!(is_signal == has_signal, "ended with {status:#x}: {exit}");
    if !is_signal {
        ensure!(
            exit["process.exit.code"] == status >> 8,
            "ended with {status:#x}: {exit}"
        );
    }
    let dumped = exit["wellhead.process.core_dumped"] == true;
    ensure!(
        dumped == (status & 0x80 != 0),
        "ended with {status:#x}: {exit}"
    );
    Ok(())
}

/// Checks what a maker says the first process of the shape uses at least.
pub(super) fn check_least(told: &Told, notes: &Value) -> Result<()> {
    let Some(exit) = &told.exit else {
        return Ok(());
    };
    let of = |key: &str| exit[key].as_u64().with_context(|| format!("no {key}"));
    let least = |key: &str| notes[key].as_u64().unwrap_or(0);
    let cpu = of("wellhead.process.cpu.user")? + of("wellhead.process.cpu.system")?;
    let (read, written) = (
        of("wellhead.process.disk.read")?,
        of("wellhead.process.disk.written")?,
    );
    ensure!(cpu >= least("min_cpu_ms") * 1_000_000, "processor: {cpu}");
    ensure!(read >= least("min_read"), "read: {read}");
    ensure!(written >= least("min_written"), "written: {written}");
    ensure!(
        notes["in_memory"] != true || written == 0,
        "written: {written}"
    );
    let lived = of("wellhead.duration")?;
    ensure!(
        (1..120_000_000_000).contains(&lived),
        "lived for {lived} ns"
    );
    Ok(())
}
