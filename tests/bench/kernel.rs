//! What a run of each program costs, while applications work.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};
use wellhead::kernel::{ProgramStats, Rings};
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    floor::EmptyProgram,
};

use crate::{
    items,
    spread::{Spread, float},
    work::{WORK, Work},
};

const ROUNDS: usize = 5;

/// What a program did and took.
struct Cost {
    all: ProgramStats,
    /// Nanoseconds a run, of each round.
    times: Vec<f64>,
}

/// What all programs together add to something that applications do.
#[derive(Default)]
struct Added {
    runs: Vec<f64>,
    nanoseconds: Vec<f64>,
}

pub(crate) fn measure() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let mut tap = Tap::attach(&settings(None))?;
    tap.probes.programs.measure_run_time()?;
    let floors = [c"inet_sock_set_state", c"sched_process_exec"];
    let empty = floors.map(EmptyProgram::at);
    let mut costs: Vec<Cost> = Vec::new();
    let mut added: [Added; WORK.len()] = Default::default();
    let mut floor = Vec::new();
    for _ in 0..ROUNDS {
        let empty_before = runs(&empty)?;
        let mut all = Vec::new();
        for (work, added) in WORK.iter().zip(&mut added) {
            let before = tap.probes.programs.stats();
            work_while_reading(work, &cgroup, &mut tap.probes.rings)?;
            let after = tap.probes.programs.stats();
            let ran: Vec<_> = after.into_iter().zip(before).map(between).collect();
            let sum = |of: fn(&ProgramStats) -> u64| float(ran.iter().map(of).sum());
            let amount = float(work.amount());
            added.runs.push(sum(|ran| ran.runs) / amount);
            added.nanoseconds.push(sum(|ran| ran.run_time_ns) / amount);
            all.push(ran);
        }
        let empty_after = runs(&empty)?;
        let (ran, took) = (
            empty_after.0 - empty_before.0,
            empty_after.1 - empty_before.1,
        );
        floor.push(float(took) / float(ran.max(1)));
        add_round(&mut costs, &all);
    }
    report_programs(&costs, &Spread::of(floor));
    report_added(&added);
    Ok(())
}

fn between((now, before): (ProgramStats, ProgramStats)) -> ProgramStats {
    ProgramStats {
        runs: now.runs - before.runs,
        run_time_ns: now.run_time_ns - before.run_time_ns,
        ..now
    }
}

/// Adds up what programs did in a round, for each kind of work.
fn add_round(costs: &mut Vec<Cost>, round: &[Vec<ProgramStats>]) {
    let Some(mut sums) = round.first().cloned() else {
        return;
    };
    for work in &round[1..] {
        for (sum, ran) in sums.iter_mut().zip(work) {
            sum.runs += ran.runs;
            sum.run_time_ns += ran.run_time_ns;
        }
    }
    for sum in sums {
        let time = each(&sum);
        match costs.iter_mut().find(|it| it.all.program == sum.program) {
            Some(cost) => {
                cost.all.runs += sum.runs;
                cost.times.extend(time);
            }
            None => costs.push(Cost {
                all: sum,
                times: time.into_iter().collect(),
            }),
        }
    }
}

fn each(ran: &ProgramStats) -> Option<f64> {
    (ran.runs > 0).then(|| float(ran.run_time_ns) / float(ran.runs))
}

fn runs(empty: &[Result<EmptyProgram>]) -> Result<(u64, u64)> {
    let mut sum = (0, 0);
    for program in empty.iter().flatten() {
        let (runs, nanoseconds) = program.runs()?;
        sum = (sum.0 + runs, sum.1 + nanoseconds);
    }
    Ok(sum)
}

/// Does it; what the programs write is read and thrown away.
fn work_while_reading(work: &Work, cgroup: &CgroupGuard, rings: &mut Rings) -> Result<()> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for ring in [
                    &mut rings.identity,
                    &mut rings.process,
                    &mut rings.network,
                    &mut rings.payload,
                ] {
                    ring.drain(usize::MAX, |_| ());
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let done = work.run(cgroup);
        is_over.store(true, Ordering::Relaxed);
        // It does nothing that could panic.
        drop(reading.join());
        done.map(drop)
    })
}

fn report_programs(costs: &[Cost], floor: &Spread) {
    let mut rows: Vec<Vec<Value>> = costs
        .iter()
        .map(|Cost { all: ran, times }| {
            let time = Spread::of(times.clone());
            let [low, high] = time.quartiles();
            let (nanoseconds, between) = if times.is_empty() {
                (Value::from("–"), Value::from("–"))
            } else {
                (
                    json!(time.median()),
                    Value::from(format!("{low:.0} – {high:.0}")),
                )
            };
            vec![
                Value::from(ran.program),
                nanoseconds,
                between,
                json!(ran.runs),
                json!(ran.verified_instructions),
                json!(ran.translated_bytes),
            ]
        })
        .collect();
    rows.push(vec![
        Value::from("one that does nothing"),
        json!(floor.median()),
        Value::from("–"),
        Value::from("–"),
        json!(2),
        Value::from("–"),
    ]);
    items::table(
        "Programs",
        &format!(
            "As the kernel measures it (`BPF_ENABLE_STATS`), which itself adds to each run what it adds to one that does nothing. \
             Median of {ROUNDS} rounds of the work that applications do below; instructions are those that the verifier walked. \
             [kernels.md](kernels.md) has them of other kernels, and CI keeps them from growing."
        ),
        &[
            "program",
            "ns a run",
            "half lie between",
            "runs",
            "instructions",
            "bytes translated",
        ],
        &rows,
    );
    items::fact("empty program", floor.median(), "ns");
}

fn report_added(added: &[Added]) {
    let rows = WORK.iter().zip(added).map(|(work, added)| {
        let nanoseconds = Spread::of(added.nanoseconds.clone()).median();
        items::fact(&format!("programs: {}", work.name), nanoseconds, "ns");
        vec![
            Value::from(work.name),
            Value::from(work.unit),
            json!(Spread::of(added.runs.clone()).median()),
            json!(nanoseconds),
        ]
    });
    items::table(
        "What all programs add",
        "To each thing that is done, both ends of connections and whatever else the machine does included.",
        &["work", "for each", "runs", "ns"],
        &rows.collect::<Vec<_>>(),
    );
}
