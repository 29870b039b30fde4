//! `cargo xtask bench`: what the agent costs and how much it can take, measured in parts by programs that tell what they find line
//! by line. A whole run is written down in `docs/performance.json`, of which `docs/performance.md` and its plots are made.

mod beyond;
mod machine;
mod markdown;
mod neighbours;
mod numbers;
mod pages;
mod report;
mod scale;
mod svg;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use self::pages::document;

use self::machine::Machine;
use self::report::{Item, Measured, Report};
use crate::cmd::{Cmd, is_root, say, which};
use crate::ebpf::{self, Warnings};
use crate::paths;
use crate::test::RealTests;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// What a record costs from the ring to its series, and a scrape and an export
    Userspace,
    /// What the programs cost in the kernel; needs root
    Kernel,
    /// What applications notice, beside other programs that watch them; needs root
    Apps,
    /// How much the agent can take before it loses something, and the memory for it; needs root
    Capacity,
}

impl Part {
    /// As the command line and programs call it.
    fn name(self) -> &'static str {
        match self {
            Self::Userspace => "userspace",
            Self::Kernel => "kernel",
            Self::Apps => "apps",
            Self::Capacity => "capacity",
        }
    }
}

/// What the parts in the kernel need.
struct Node {
    tests: RealTests,
    /// Directories with programs to compare with, as in `PATH`.
    neighbours: OsString,
}

/// Measures one part and shows it, or all and writes them down.
///
/// # Errors
/// Also if a part failed, after showing what was measured.
pub(crate) fn run(only: Option<Part>, json: Option<&Path>) -> Result<()> {
    let begun = Instant::now();
    let parts = only.map_or_else(|| Part::value_variants().to_vec(), |part| vec![part]);
    ebpf::ensure(Warnings::Shown)?;
    let needs_node = parts.iter().any(|part| *part != Part::Userspace);
    let node = needs_node.then(Node::prepare).transpose()?;
    let machine = Machine::this()?;
    let mut measured = Vec::new();
    let mut troubles = Vec::new();
    for part in parts {
        measured.push(measure(part, node.as_ref(), &mut troubles)?);
    }
    let report = Report {
        taken: today()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seconds: begun.elapsed().as_secs(),
        machine,
        parts: measured,
    };
    say(markdown::text(&report));
    if let Some(file) = json {
        pages::write(file, &pages::json(&report)?)?;
    }
    if !troubles.is_empty() {
        bail!("not all could be measured: {}", troubles.join("; "));
    }
    if only.is_none() {
        pages::keep(&report)?;
    }
    Ok(())
}

impl Node {
    fn prepare() -> Result<Self> {
        ensure!(
            is_root() || which("sudo").is_some(),
            "what happens in the kernel needs root, and there is no sudo here: run this as root, or with `--only userspace`"
        );
        let tests = RealTests::prepare()?;
        let neighbours = env::join_paths(neighbours::directories())
            .context("a directory of programs has a colon in its name")?;
        Ok(Self { tests, neighbours })
    }

    fn command(&self) -> Cmd {
        self.tests
            .bench("node")
            .env("WELLHEAD_BENCH_PROGRAMS", &self.neighbours)
    }
}

/// The programs of a part, as cargo is told to build and run them; what comes next is still for cargo.
fn programs(part: Part, node: Option<&Node>) -> Result<Cmd> {
    if part != Part::Userspace {
        let node = node.context("nothing is prepared for a part in the kernel")?;
        return Ok(node.command());
    }
    Ok(Cmd::cargo()
        .dir(&paths::root()?)
        .args(["bench", "--locked", "--package", "wellhead"])
        .args([
            "--bench", "records", "--bench", "identity", "--bench", "export",
        ]))
}

/// Runs a part, shows what is not for the report as it comes, and adds what went wrong to `troubles`: the other parts and
/// what this one found so far are worth having.
fn measure(part: Part, node: Option<&Node>, troubles: &mut Vec<String>) -> Result<Measured> {
    let name = part.name();
    let mut measured = Measured {
        name: part,
        seconds: 0,
        items: Vec::new(),
    };
    // Apart, so that building is not in the time of the part.
    if let Err(error) = programs(part, node)?.arg("--no-run").run() {
        troubles.push(format!("{name}: {error:#}"));
        return Ok(measured);
    }
    let mut command = programs(part, node)?;
    if part != Part::Userspace {
        command = command.args(["--", name]);
    }
    let begun = Instant::now();
    let status = command.run_by_line(|line| match report::item(line) {
        Ok(Some(item)) => {
            say(format!("{name}: {}", brief(&item)));
            measured.items.push(item);
        }
        Ok(None) => say(format!("{name}: {line}")),
        Err(error) => troubles.push(format!("{name}: {error:#}")),
    })?;
    measured.seconds = begun.elapsed().as_secs();
    if !status.success() {
        troubles.push(format!("{name}: {status}"));
    }
    Ok(measured)
}

/// That something was measured, for whoever waits for the rest.
fn brief(item: &Item) -> String {
    match item {
        Item::Table(table) => format!("table \"{}\"", table.title),
        Item::Plot(plot) => format!("plot \"{}\"", plot.title),
        Item::Goal(goal) => {
            let met = if goal.met { "met" } else { "NOT MET" };
            format!("{}: {}, {} asked: {met}", goal.name, goal.value, goal.limit)
        }
        Item::Fact(fact) => format!("{}: {} {}", fact.name, fact.value, fact.unit),
    }
}

/// In UTC, `YYYY-MM-DD`.
fn today() -> Result<String> {
    let date = Cmd::new("date").args(["--utc", "+%Y-%m-%d"]).ask();
    date.context("`date` does not tell the date")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// One of each kind.
    pub(super) fn report() -> Report {
        let lines = [
            json!({ "table": {
                "title": "Records", "note": "As it is.", "columns": ["what", "ns each", "half lie between"],
                "rows": [["a|b", 12345, "1.00 – 1.20"], ["c", 2.4567, "–"]],
            } }),
            json!({ "table": { "title": "Empty", "note": "", "columns": ["nothing"], "rows": [] } }),
            json!({ "goal": { "name": "low", "limit": "at most 1", "value": "2", "met": false } }),
            json!({ "goal": { "name": "high", "limit": "at least 1", "value": "2", "met": true } }),
            json!({ "fact": { "name": "secret", "value": 7, "unit": "ns" } }),
            json!({ "plot": {
                "name": "loss", "title": "Loss", "x": { "label": "rate", "log": true }, "y": { "label": "lost", "zero": true },
                "series": [{ "name": "one", "points": [[1, 0.5], [1000, 2]] }, { "name": "two", "points": [[1000, 3]] }],
            } }),
        ];
        let items = lines.map(|line| report::item(&line.to_string()).unwrap().unwrap());
        Report {
            taken: "2026-01-31".to_owned(),
            version: "1.2.3".to_owned(),
            seconds: 91,
            machine: Machine {
                cpu: "Some CPU".to_owned(),
                cpus: 2,
                memory_bytes: 3920 << 20,
                kernel: "6.1.0".to_owned(),
            },
            parts: vec![Measured {
                name: Part::Userspace,
                seconds: 91,
                items: items.into(),
            }],
        }
    }

    #[test]
    fn parts_are_called_the_same_everywhere() {
        for part in Part::value_variants() {
            let name = part.to_possible_value().unwrap();
            assert_eq!(name.get_name(), part.name());
            assert_eq!(serde_json::to_value(part).unwrap(), part.name());
        }
    }
}
