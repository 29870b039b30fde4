//! `docs/scale.md`: what nodes and clusters would ask that are larger than any machine this is measured on, computed from what one unit
//! of each costs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::Part;
use super::report::Report;

/// A large node.
const PROCESSORS: f64 = 96.0;
const OPEN_CONNECTIONS: f64 = 500_000.0;
/// Ends of connections that open on it a second, and close again.
const NEW_CONNECTIONS: f64 = 20_000.0;
const EXECUTIONS: f64 = 500.0;
/// `snapshot_interval`.
const SNAPSHOT_SECONDS: f64 = 10.0;
/// `rings.drain_interval`, and the ring's size at the default budget.
const DRAIN_SECONDS: f64 = 0.02;
const NETWORK_RING: f64 = 4.0 * MIB;
/// Bytes of `TcpOpen` and `TcpClose` (`agent-common`), each with the ring's own header.
const OPEN_RECORD: f64 = 120.0 + RING_HEADER;
const CLOSE_RECORD: f64 = 200.0 + RING_HEADER;
const RING_HEADER: f64 = 8.0;
/// Open connections that the default budget has room for, and what their table takes (`docs/operations.md`, "Memory").
const DEFAULT_CONNECTIONS: f64 = 65_536.0;
const DEFAULT_BUDGET: f64 = 128.0;
const CONNECTION_TABLE: f64 = 10.0;

/// A large cluster.
const NODES: f64 = 5_000.0;
const PODS: f64 = 150_000.0;
/// Series a node has: the default limit.
const SERIES: f64 = 20_000.0;
const SCRAPE_SECONDS: f64 = 30.0;
/// `otlp.metrics.interval`.
const EXPORT_SECONDS: f64 = 60.0;

/// Of a simulation of that cluster (`docs/resolver.md`): the table in a resolver and a snapshot of it, MiB; seconds of a processor for an
/// agent's snapshot; MiB for an agent and minute while a hundred pods a second are replaced, and percent of a processor for an agent,
/// usually and at worst.
const RESOLVER_TABLE: f64 = 50.0;
const SNAPSHOT: f64 = 6.3;
const SNAPSHOT_SECONDS_OF_PROCESSOR: f64 = 1.12 / 50.0;
const DELTAS: f64 = 0.7;
const DELTAS_PERCENT: [f64; 2] = [0.6 / 50.0, 3.4 / 50.0];
/// `memory_budget` of an agent that is to know all of it, MiB (`docs/resolver.md`).
const BUDGET_FOR_ALL: f64 = 384.0;

const MIB: f64 = 1024.0 * 1024.0;

/// The page; `None` where applications were not measured.
pub(super) fn page(report: &Report) -> Result<Option<String>> {
    if report.parts.iter().all(|part| part.name != Part::Apps) {
        return Ok(None);
    }
    let facts: BTreeMap<&str, f64> = report.facts().collect();
    let fact = |name: &str| {
        let fact = facts.get(name).copied();
        fact.with_context(|| format!("nobody measured `{name}`"))
    };
    let mut page = format!(
        "# Scale\n\n<!-- Generated: `cargo xtask bench` -->\n\n\
         **Computed, not measured**: what a node and a cluster would ask that are larger than what we can test on, from what one unit of each \
         cost on {}, on the machine and in the run that [performance.md](performance.md) describes (medians), and for resolvers in a simulation \
         ([resolver.md](resolver.md)). What does not grow in proportion, \
         such as caches that are too small and locks that many processors share, is not in it.\n",
        report.taken
    );
    page += &section(
        &format!(
            "A node of {PROCESSORS} processors, {} open connections, {} new ones and {EXECUTIONS} executions a second",
            grouped(OPEN_CONNECTIONS),
            grouped(NEW_CONNECTIONS)
        ),
        &node(&fact)?,
    );
    page += &section(
        &format!(
            "A cluster of {} nodes and {} pods",
            grouped(NODES),
            grouped(PODS)
        ),
        &cluster(&fact)?,
    );
    Ok(Some(page))
}

/// What there is, how it is computed, and how much it is.
type Row = [String; 3];

fn section(title: &str, rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|[what, how, much]| format!("| {what} | {how} | {much} |\n"))
        .collect();
    format!(
        "\n## {title}\n\n| what | how | how much |\n|---|---|---:|\n{}",
        rows.concat()
    )
}

fn row(what: &str, how: &str, much: String) -> Row {
    [what.to_owned(), how.to_owned(), much]
}

fn node(fact: &impl Fn(&str) -> Result<f64>) -> Result<Vec<Row>> {
    // What was measured is of both ends.
    let in_programs = fact("programs: connect storm")? / 2.0;
    let own = fact("own microseconds: connect storm")? / 2.0;
    let (exec_in_programs, exec_own) = (
        fact("programs: execution storm")?,
        fact("own microseconds: execution storm")?,
    );
    let snapshot = fact("a record of snapshots of open connections")?;
    let programs = NEW_CONNECTIONS * in_programs * 1e-9 + EXECUTIONS * exec_in_programs * 1e-9;
    let snapshots = OPEN_CONNECTIONS / SNAPSHOT_SECONDS * snapshot * 1e-9;
    let snapshot_bytes = OPEN_CONNECTIONS * CLOSE_RECORD;
    let agent = NEW_CONNECTIONS * own * 1e-6 + EXECUTIONS * exec_own * 1e-6 + snapshots;
    let bytes = NEW_CONNECTIONS * (OPEN_RECORD + CLOSE_RECORD);
    let budget = DEFAULT_BUDGET * OPEN_CONNECTIONS / DEFAULT_CONNECTIONS;
    let table = CONNECTION_TABLE * OPEN_CONNECTIONS / DEFAULT_CONNECTIONS;
    Ok(vec![
        row(
            "programs in the kernel, charged to applications",
            &format!(
                "{in_programs:.0} ns for an end of a connection, {exec_in_programs:.0} ns for an execution; going through all open connections every {SNAPSHOT_SECONDS} s comes on top and was not measured"
            ),
            format!(
                "{:.1} % of a processor, {:.2} % of the node",
                programs * 100.0,
                programs * 100.0 / PROCESSORS
            ),
        ),
        row(
            "the agent itself",
            &format!(
                "{own:.2} µs for an end, {exec_own:.1} µs for an execution, {snapshot:.0} ns for each open connection every {SNAPSHOT_SECONDS} s"
            ),
            format!("{:.1} % of a processor", agent * 100.0),
        ),
        row(
            "the thread that takes records in, at most",
            "all of that is one thread's: beyond one processor rings overflow, totals are kept and details are lost, both counted",
            format!("{:.1} times this load", 1.0 / agent),
        ),
        row(
            "bytes through the ring of connections",
            &format!("{OPEN_RECORD:.0} and {CLOSE_RECORD:.0} bytes for an end"),
            format!("{:.1} MiB/s", bytes / MIB),
        ),
        row(
            "that ring's fill by these when it is emptied",
            &format!(
                "every {:.0} ms, of {:.0} MiB",
                DRAIN_SECONDS * 1e3,
                NETWORK_RING / MIB
            ),
            format!("{:.0} %", bytes * DRAIN_SECONDS / NETWORK_RING * 100.0),
        ),
        row(
            "and by open connections, told one after the other",
            &format!(
                "{CLOSE_RECORD:.0} bytes each, every {SNAPSHOT_SECONDS} s; whoever tells them waits while the ring is half full"
            ),
            format!("{:.0} MiB in all", snapshot_bytes / MIB),
        ),
        row(
            "`memory_budget` for a table of all open connections",
            &format!(
                "{} at {DEFAULT_BUDGET:.0} MiB, in proportion",
                grouped(DEFAULT_CONNECTIONS)
            ),
            format!(
                "{budget:.0} MiB, of which the table takes {table:.0}; `series_limit` grows with it unless it is set"
            ),
        ),
    ])
}

fn cluster(fact: &impl Fn(&str) -> Result<f64>) -> Result<Vec<Row>> {
    let (page, scrape) = (
        fact("bytes of a page a series, of 100000 series")? * SERIES,
        fact("a scrape, of 100000 series")? * SERIES / 100_000.0,
    );
    let export = fact("bytes of an OTLP export a series, of 100000 series")? * SERIES;
    Ok(vec![
        row(
            "series, if every node has as many as it may",
            &format!("{} a node: `series_limit`", grouped(SERIES)),
            format!(
                "{} million: more than one Prometheus takes; shard by node, leave namespaces out (`kubernetes.namespaces`), or lower the limit",
                (NODES * SERIES / 1e6).round()
            ),
        ),
        row(
            "a scrape of such a node",
            "before compression",
            format!("{:.1} MiB, {scrape:.0} ms of a processor", page / MIB),
        ),
        row(
            "scrapes of all nodes",
            &format!("every {SCRAPE_SECONDS} s, before compression"),
            format!("{:.0} MiB/s", NODES * page / SCRAPE_SECONDS / MIB),
        ),
        row(
            "OTLP metrics of a node",
            &format!("every {EXPORT_SECONDS} s, before compression"),
            format!(
                "{:.1} MiB, {:.2} MiB/s",
                export / MIB,
                export / EXPORT_SECONDS / MIB
            ),
        ),
        row(
            "OTLP metrics of all nodes",
            "the same",
            format!("{:.0} MiB/s", NODES * export / EXPORT_SECONDS / MIB),
        ),
        row(
            "the API server: watches",
            "each agent watches its own node's pods; two resolvers watch everything for all of them",
            format!("{} small watches and 2 sets of large ones", grouped(NODES)),
        ),
        row(
            "`memory_budget` of an agent that knows all pods",
            &format!(
                "at {DEFAULT_BUDGET:.0} MiB it knows 55 296 objects; `series_limit` grows with it unless it is set to {}, as here",
                grouped(SERIES)
            ),
            format!("{BUDGET_FOR_ALL:.0} MiB"),
        ),
        row(
            "a resolver's table",
            "measured in a simulation of this cluster",
            format!("{RESOLVER_TABLE} MiB"),
        ),
        row(
            "resolvers to agents, at their start",
            &format!("a snapshot of {SNAPSHOT} MiB each, all within ten minutes (an upgrade)"),
            format!(
                "{:.0} MiB/s, {:.0} s of a processor in all",
                NODES * SNAPSHOT / 600.0,
                NODES * SNAPSHOT_SECONDS_OF_PROCESSOR
            ),
        ),
        row(
            "resolvers to agents, later",
            &format!(
                "{DELTAS} MiB for an agent and minute while a hundred pods a second are replaced"
            ),
            format!(
                "{:.0} MiB/s, {:.0} % of a processor, at worst {:.0} %, of all replicas together",
                NODES * DELTAS / 60.0,
                NODES * DELTAS_PERCENT[0],
                NODES * DELTAS_PERCENT[1]
            ),
        ),
    ])
}

/// A whole number, its digits in groups.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}
