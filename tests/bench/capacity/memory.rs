//! Memory by what there is to know, and what a start takes.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wellhead_tests::cgroup::CgroupGuard;

use crate::{
    items,
    observers::mebibytes,
    spread::{Spread, float},
    support::{Agent, Container, Page, Programs, until},
    work::hold_open,
};

const STARTS: usize = 7;
const CONNECTIONS: [u64; 4] = [1_000, 10_000, 50_000, 200_000];
const CONTAINERS: [u64; 4] = [10, 100, 250, 1_000];

/// Programs of one container, for as many series as a node has by default.
const PROGRAMS: u64 = 20;
/// After so long what had its memory for a moment has given it back.
const REST: Duration = Duration::from_secs(3);

pub(crate) fn of_a_start() -> Result<()> {
    let mut milliseconds = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let agent = Agent::start();
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
        thread::sleep(REST);
        resident.push(mebibytes(agent.pid(), "VmRSS")?);
    }
    let [milliseconds, resident] = [milliseconds, resident].map(Spread::of);
    items::table(
        "A start",
        &format!(
            "From its execution to the line that it captures, seen every 30 ms, and what it has in memory {} s later; median of {STARTS}.",
            REST.as_secs()
        ),
        &["ms until it captures", "resident MiB"],
        &[vec![json!(milliseconds.median()), json!(resident.median())]],
    );
    items::fact("resident at start", resident.median(), "MiB");
    Ok(())
}

pub(crate) fn of_connections() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let agent = Agent::start();
    let mut rows = Vec::new();
    let mut points = Vec::new();
    for connections in CONNECTIONS {
        let held = hold_open(&cgroup, connections, directory.path())?;
        thread::sleep(REST);
        let page = agent.metrics();
        let resident = mebibytes(agent.pid(), "VmRSS")?;
        points.push([float(connections), resident]);
        rows.push(vec![
            json!(connections),
            json!(page.sum("wellhead_tcp_connections_active", &[])),
            json!(resident),
            json!(maps(&page)),
            json!(page.sum("wellhead_agent_discards_total", &[])),
        ]);
        drop(held);
        until("the connections to be closed", || {
            (agent.metrics().sum("wellhead_tcp_connections_active", &[]) < 1_000).then_some(())
        });
    }
    items::table(
        "Memory by open connections",
        "Both ends are on this machine, so there are twice as many ends. The table of open connections in the kernel has a place for \
         65 536 by default; those it has no room for are counted (`discarded`, since the start) and told of when they end, as far as they are known then.",
        &[
            "connections",
            "ends known as open",
            "resident MiB",
            "kernel maps MiB",
            "discarded",
        ],
        &rows,
    );
    let line = ("resident".to_owned(), points);
    items::plot(
        "connections",
        "Memory by open connections",
        "connections",
        "MiB",
        &[line],
    );
    Ok(())
}

/// In MiB.
fn maps(page: &Page) -> f64 {
    let labels = [("wellhead_component", "kernel_maps")];
    float(page.sum("wellhead_agent_memory_usage_bytes", &labels)) / 1024.0 / 1024.0
}

pub(crate) fn of_containers() -> Result<()> {
    let agent = Agent::start();
    let programs = Programs::new();
    let program = programs.link("/bin/true", "one");
    let mut containers = Vec::new();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let mut points = Vec::new();
    for number in CONTAINERS {
        while float(containers.len() as u64) < float(number) {
            let container = Container::new();
            container.run(&program.path);
            containers.push(container);
        }
        thread::sleep(REST);
        let series = agent.metrics().sum("wellhead_agent_series", &[]);
        let resident = mebibytes(agent.pid(), "VmRSS")?;
        points.push([float(number), resident]);
        rows.push(vec![json!(number), json!(series), json!(resident)]);
    }
    items::table(
        "Memory by containers",
        "Each executes one program.",
        &["containers", "series", "resident MiB"],
        &rows,
    );
    let line = ("resident".to_owned(), points);
    items::plot(
        "containers",
        "Memory by containers",
        "containers",
        "MiB",
        &[line],
    );
    Ok(())
}

/// 250 containers, 10 000 connections, and as many series as there is room for by default.
pub(crate) fn of_a_node() -> Result<()> {
    const PODS: usize = 250;
    const OPEN: u64 = 5_000;
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let agent = Agent::start();
    let programs = Programs::new();
    let all: Vec<_> = (0..PROGRAMS)
        .map(|number| programs.link("/bin/true", &number.to_string()))
        .collect();
    let own = env::current_exe()?;
    let containers: Vec<_> = (0..PODS).map(|_| Container::new()).collect();
    for container in &containers {
        for program in &all {
            container.run(&program.path);
        }
        // Two of it make the other series.
        for _ in 0..2 {
            let mut connecting = container.command(&own);
            let status = connecting.args(["--workload", "storm", "1", "0"]).output();
            ensure!(status?.status.success(), "no connections");
        }
    }
    let held = hold_open(&cgroup, OPEN, directory.path())?;
    thread::sleep(REST);
    let page = agent.metrics();
    let most = mebibytes(agent.pid(), "VmHWM")?;
    let resident = mebibytes(agent.pid(), "VmRSS")?;
    let (series, open) = (
        page.sum("wellhead_agent_series", &[]),
        page.sum("wellhead_tcp_connections_active", &[]),
    );
    items::table(
        "A full node",
        "",
        &[
            "containers",
            "ends of connections",
            "series",
            "resident MiB",
            "most MiB",
        ],
        &[vec![
            json!(PODS),
            json!(open),
            json!(series),
            json!(resident),
            json!(most),
        ]],
    );
    items::goal(
        &format!("resident memory at {PODS} containers, {open} open connections, {series} series"),
        "at most 64 MiB",
        &format!("{resident:.1} MiB"),
        resident <= 64.0,
    );
    items::fact("resident on a full node", resident, "MiB");
    drop(held);
    Ok(())
}
