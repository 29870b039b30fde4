//! What applications notice of whoever watches them: the same work with and without, pair by pair.

use anyhow::Result;
use serde_json::{Value, json};
use wellhead_tests::cgroup::CgroupGuard;

use crate::{
    items,
    observers::{Observer, Observing, mebibytes},
    spread::Spread,
    work::{WORK, Work},
};

const ROUNDS: usize = 10;
/// Pairs of the agent in each round, which its goals are judged by; neighbours have one.
const PAIRS: usize = 3;

/// What was measured of an observer.
struct Seen {
    observer: Observer,
    /// By the kind of work.
    work: [Pairs; WORK.len()],
    resident: Vec<f64>,
}

#[derive(Default)]
struct Pairs {
    /// With it ÷ without it, pair by pair.
    ratios: Vec<f64>,
    /// Rates with it, and without it.
    with: Vec<f64>,
    without: Vec<f64>,
    /// Microseconds of its own for each thing that was done.
    own: Vec<f64>,
}

pub(crate) fn measure() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let observers = Observer::all().into_iter();
    let mut all: Vec<Seen> = observers
        .map(|observer| Seen {
            observer,
            work: Default::default(),
            resident: Vec::new(),
        })
        .collect();
    for round in 0..ROUNDS {
        for seen in &mut all {
            let pairs = match seen.observer {
                Observer::Wellhead { .. } => PAIRS,
                Observer::Neighbour(_) => 1,
            };
            for pair in 0..pairs {
                seen.take_a_pair(&cgroup, (round + pair) % 2 == 0)?;
            }
        }
        println!("round {} of {ROUNDS}", round + 1);
    }
    report(&all);
    Ok(())
}

impl Seen {
    fn take_a_pair(&mut self, cgroup: &CgroupGuard, without_first: bool) -> Result<()> {
        let before = without_first.then(|| rates(cgroup)).transpose()?;
        let observing = self.observer.start()?;
        let mut with = [0.0; WORK.len()];
        for ((work, rate), pairs) in WORK.iter().zip(&mut with).zip(&mut self.work) {
            let (measured, own) = watched(work, cgroup, &observing)?;
            *rate = measured;
            pairs.own.push(own);
        }
        self.resident.push(mebibytes(observing.pid(), "VmRSS")?);
        drop(observing);
        let without = before.map_or_else(|| rates(cgroup), Ok)?;
        for (pairs, (with, without)) in self.work.iter_mut().zip(with.into_iter().zip(without)) {
            pairs.ratios.push(with / without);
            pairs.with.push(with);
            pairs.without.push(without);
        }
        Ok(())
    }
}

impl Pairs {
    /// Of what either could do in its better rounds: whatever else runs on this machine, or beside it, only ever slows down.
    fn undisturbed(&self) -> f64 {
        let [_, with] = Spread::of(self.with.clone()).quartiles();
        let [_, without] = Spread::of(self.without.clone()).quartiles();
        with / without
    }
}

/// Of all kinds of work, while nobody watches.
fn rates(cgroup: &CgroupGuard) -> Result<[f64; WORK.len()]> {
    let mut rates = [0.0; WORK.len()];
    for (work, rate) in WORK.iter().zip(&mut rates) {
        *rate = work.run(cgroup)?;
    }
    Ok(rates)
}

/// The rate, and what the observer took for each of it.
fn watched(work: &Work, cgroup: &CgroupGuard, observing: &Observing) -> Result<(f64, f64)> {
    let before = observing.processor_time()?;
    let rate = work.run(cgroup)?;
    let own = observing.processor_time()?.saturating_sub(before);
    let own = own.as_secs_f64() * 1e6 / crate::spread::float(work.amount());
    Ok((rate, own))
}

fn report(all: &[Seen]) {
    let mut rows = Vec::new();
    for (index, work) in WORK.iter().enumerate() {
        for seen in all {
            let pairs = &seen.work[index];
            let ratio = Spread::of(pairs.ratios.clone());
            let [low, high] = ratio.quartiles();
            rows.push(vec![
                Value::from(work.name),
                Value::from(seen.observer.name()),
                json!(ratio.median()),
                Value::from(format!("{low:.3} – {high:.3}")),
                json!(pairs.undisturbed()),
                json!(Spread::of(pairs.own.clone()).median()),
                Value::from(work.unit),
            ]);
        }
    }
    items::table(
        "With and without",
        &format!(
            "How much is done a second while somebody watches ÷ while nobody does, median of {ROUNDS} pairs ({} of the agent), and between \
             what half of them lie; the same of the better rounds of each, a quarter of them being better still, because other guests of a machine \
             like this one only ever slow it down; and the processor time that the watching process itself takes. Every processor is busy with the work, so \
             that time is missing to it as well. Both ends of a connection are on this machine and in one thread that never waits: each is told \
             twice, and there is nothing else in which the cost could hide. Each neighbour sees a part of what the agent does; all print to \
             nowhere, and name nobody. What `node-exporter`, which does nothing meanwhile, differs from 1 by is how far to trust all of this. \
             What `udp` and `dns` cost is the difference between the first two rows: their two programs run for each packet, those of TCP too, and each packet passes \
             both here. Agents whose flows come from programs at each device see every packet likewise; what they publish is of another shape: Beyla 120 MB and 1.2 % of a \
             processor of its own with its network part, at some 75 requests a second; NetObserv 40 to 57 % less processor time of its own than a version before. Neither says what packets \
             take longer.",
            ROUNDS * PAIRS
        ),
        &[
            "work",
            "watched by",
            "ratio of pairs",
            "half lie between",
            "of better rounds",
            "own µs",
            "for each",
        ],
        &rows,
    );
    let resident = all.iter().map(|seen| {
        let resident = Spread::of(seen.resident.clone()).median();
        vec![Value::from(seen.observer.name()), json!(resident)]
    });
    items::table(
        "Memory after that",
        "",
        &["program", "resident MiB"],
        &resident.collect::<Vec<_>>(),
    );
    goals(all);
}

fn goals(all: &[Seen]) {
    let own = all
        .iter()
        .filter(|seen| matches!(seen.observer, Observer::Wellhead { .. }));
    for seen in own {
        for ((work, pairs), limit) in WORK.iter().zip(&seen.work).zip([0.97, 0.99, 0.99]) {
            let ratio = pairs.undisturbed();
            let name = seen.observer.name();
            items::goal(
                &format!("{}, with {name} ÷ without, better rounds", work.name),
                &format!("at least {limit}"),
                &format!("{ratio:.3}"),
                ratio >= limit,
            );
        }
    }
    let whole = |seen: &&Seen| matches!(seen.observer, Observer::Wellhead { per_packet: true });
    let Some(own) = all.iter().find(whole) else {
        return;
    };
    for (work, pairs) in WORK.iter().zip(&own.work) {
        let own = Spread::of(pairs.own.clone()).median();
        items::fact(&format!("own microseconds: {}", work.name), own, "µs");
    }
}
