//! Others' programs that take in telemetry, so that what the agent exports is also read by those who will read it.

mod collector;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cmd::say;
use crate::debian::Suite;
use crate::{only_one, paths, test_tools};

pub(crate) use self::collector::{ensure as collector, is_built as collector_is_here};

/// The first release of Debian whose VictoriaMetrics takes OTLP.
const SUITE: Suite = Suite::stable("trixie");
const VICTORIA_METRICS: &str = "victoria-metrics";

/// A collector written in Rust, as a program in a package for Python.
const ROTEL: [&str; 1] = ["rotel==0.0.1a15"];

/// Programs that are here.
#[derive(Debug)]
pub(crate) struct Receivers {
    /// The variables tests find them by, and where they are.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
}

/// Finds them, and installs what is missing. The Collector takes minutes to build, so it is among them only where it has been
/// built.
pub(crate) fn ensure() -> Result<Receivers> {
    let mut variables = vec![
        ("WELLHEAD_TEST_ROTEL", rotel()?),
        ("WELLHEAD_TEST_VICTORIA_METRICS", victoria_metrics()?),
        ("WELLHEAD_TEST_PROMETHEUS", test_tools::prometheus()?),
    ];
    if collector_is_here() {
        variables.push(("WELLHEAD_TEST_COLLECTOR", collector()?));
    }
    Ok(Receivers { variables })
}

fn rotel() -> Result<PathBuf> {
    let python = test_tools::python(&ROTEL)?;
    let venv = python.parent().and_then(Path::parent).context("a place")?;
    let libraries = venv.join("lib");
    let found = fs::read_dir(&libraries)
        .with_context(|| format!("cannot read {}", libraries.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/rotel/rotel-agent")))
        .find(|program| program.is_file());
    found.with_context(|| format!("there is no rotel in {}", venv.display()))
}

fn victoria_metrics() -> Result<PathBuf> {
    let directory = paths::tool("victoria-metrics-trixie")?;
    let program = directory.join("tree/usr/bin/victoria-metrics");
    if program.is_file() {
        return Ok(program);
    }
    let _mine = only_one::wait("victoria-metrics")?;
    if program.is_file() {
        return Ok(program);
    }
    say("fetching VictoriaMetrics, once");
    SUITE.update(&directory)?;
    let work = directory.join("packages");
    SUITE.unpack(
        &directory,
        [VICTORIA_METRICS],
        &work,
        &directory.join("tree"),
    )?;
    for rest in [work, directory.join("apt")] {
        fs::remove_dir_all(&rest).with_context(|| format!("cannot remove {}", rest.display()))?;
    }
    ensure!(program.is_file(), "{} is still missing", program.display());
    Ok(program)
}
