//! What the kernel measures of the programs is what happened.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use wellhead::kernel::{ProbeSettings, Probes};
use wellhead_tests::{capture::settings, cgroup::CgroupGuard, execute, workload};

const FORKS: u64 = 100;
/// Others on the machine fork as well: only in a round where none did while numbers were read are they comparable.
const ROUNDS: usize = 50;

/// The workload: forks, and says how often the machine did meanwhile.
pub(crate) fn fork(_arguments: &[String]) -> Result<Value> {
    for _ in 0..FORKS {
        execute::wait(execute::fork(|| 0)?)?;
    }
    Ok(json!({}))
}

pub(crate) fn count_runs() -> Result<()> {
    check(&settings(None), "sched_process_fork")?;
    check(&crate::classic::without_btf(None), "classic_task_newtask")
}

fn check(settings: &ProbeSettings, program: &str) -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let mut probes = Probes::attach(settings)?;
    probes.programs.measure_run_time()?;
    for _ in 0..ROUNDS {
        let (before, first) = both(&probes, program)?;
        workload::run(&cgroup, "fork", &[])?;
        let (after, last) = both(&probes, program)?;
        let (runs, forks) = (last.0 - first.0, after - before);
        // The workload's own start is one more.
        if runs == forks && forks > FORKS {
            anyhow::ensure!(last.1 > first.1, "{runs} runs in no time");
            return Ok(());
        }
    }
    bail!("{program} never ran as often as the machine forked, in {ROUNDS} rounds")
}

type Measured = (u64, u64);

/// Forks of the machine, and runs and run time of the program, as of one moment.
fn both(probes: &Probes, program: &str) -> Result<(u64, Measured)> {
    for _ in 0..ROUNDS {
        let before = forks()?;
        let stats = probes.programs.stats();
        let stats = stats.iter().find(|stats| stats.program == program);
        let stats = stats.context("the program is attached")?;
        if forks()? == before {
            return Ok((before, (stats.runs, stats.run_time_ns)));
        }
    }
    bail!("the machine forks all the time")
}

/// Processes and threads made since the machine was started (`proc_stat(5)`).
fn forks() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("processes "));
    Ok(line.context("processes")?.trim().parse()?)
}
