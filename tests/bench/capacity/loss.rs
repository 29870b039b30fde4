//! What is lost of how many connections a second.

use std::{thread, time::Duration};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use wellhead_tests::cgroup::CgroupGuard;

use crate::{
    items,
    observers::{Observer, Observing},
    spread::float,
    support::{Agent, Page},
    work::{WORK, paced_storm},
};

/// Connections a second of one processor, each for so long.
const RATES: [u64; 4] = [1_000, 2_000, 4_000, 8_000];
const SECONDS: u64 = 3;
/// So often all processors make as many as they can.
const STORMS: u64 = 5;
/// Both ends are told of, when they open and when they close.
const RECORDS: u64 = 4;

struct Lost {
    /// Connections a second.
    offered: f64,
    /// Ends of connections.
    made: u64,
    told: u64,
    discarded: u64,
    /// The agent's processor time, percent of one.
    own: f64,
}

pub(crate) fn by_rate() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let observing = Observer::Wellhead { per_packet: true }.start()?;
    let mut all = Vec::new();
    for rate in RATES {
        let connections = rate * SECONDS;
        let paced = || paced_storm(&cgroup, connections, rate);
        all.push(measure(&observing, connections, paced)?);
    }
    let storm = &WORK[0];
    all.push(measure(&observing, STORMS * storm.amount(), || {
        let rates = (0..STORMS).map(|_| storm.run(&cgroup));
        Ok(rates.sum::<Result<f64>>()? / float(STORMS))
    })?);
    report(&all);
    Ok(())
}

fn measure(
    observing: &Observing,
    connections: u64,
    make: impl FnOnce() -> Result<f64>,
) -> Result<Lost> {
    let Observing::Agent(agent) = observing else {
        bail!("it is the agent");
    };
    let before = closed(&agent.metrics());
    let (discarded, own) = (discards_of(agent), observing.processor_time()?);
    let offered = make()?;
    let own = observing.processor_time()?.saturating_sub(own);
    // Rings are read many times a second.
    thread::sleep(Duration::from_secs(1));
    let seconds = float(connections) / offered;
    Ok(Lost {
        offered,
        made: 2 * connections,
        told: closed(&agent.metrics()) - before,
        discarded: discards_of(agent) - discarded,
        own: own.as_secs_f64() / seconds * 100.0,
    })
}

/// Ends of connections, those of others included.
fn closed(page: &Page) -> u64 {
    page.sum("wellhead_tcp_connections_closed_total", &[])
}

fn discards_of(agent: &Agent) -> u64 {
    agent.metrics().sum("wellhead_agent_discards_total", &[])
}

fn report(all: &[Lost]) {
    let rows: Vec<Vec<Value>> = all
        .iter()
        .map(|lost| {
            vec![
                json!(lost.offered.round()),
                json!((lost.offered * float(RECORDS)).round()),
                json!(lost.made),
                json!(lost.told),
                json!(lost.discarded),
                json!(lost.own),
            ]
        })
        .collect();
    items::table(
        "Loss by rate",
        "Connections on this machine, so both ends of each are told of, opened and closed; with the default rings. The last row is \
         as fast as the machine makes them beside the agent. Ends told of can be more than those made: other programs connect too.",
        &[
            "connections/s",
            "records/s",
            "ends made",
            "ends told of",
            "discarded",
            "agent's CPU %",
        ],
        &rows,
    );
    let percent =
        |lost: &Lost| float(lost.made.saturating_sub(lost.told)) / float(lost.made) * 100.0;
    let points = all
        .iter()
        .map(|lost| [lost.offered * float(RECORDS), percent(lost)]);
    let line = ("ends of connections".to_owned(), points.collect());
    items::plot(
        "loss",
        "Lost by rate of records",
        "records a second",
        "lost, %",
        &[line],
    );
    let lost: u64 = all
        .iter()
        .map(|lost| lost.made.saturating_sub(lost.told))
        .sum();
    items::goal(
        "ends of connections lost at the highest rate the machine can make",
        "0",
        &lost.to_string(),
        lost == 0,
    );
    if let Some(most) = all.last() {
        items::fact(
            "agent's CPU per connection, both ends",
            most.own / 100.0 / most.offered * 1e6,
            "µs",
        );
    }
}
