//! `cargo xtask test receivers`: agents that send to them and are scraped by them, and whether all have the same numbers.

use std::ffi::OsString;

use anyhow::Result;

use super::{collector_is_here, ensure, obstacle};
use crate::cmd::say;
use crate::test::{RealTests, can_run};

/// Runs the tests with this in their names. Where receivers cannot be had, it says so; in CI, it fails.
pub(crate) fn run(filter: &[OsString]) -> Result<()> {
    let obstacle = obstacle().map(|why| format!("no receivers can be had here: {why}"));
    if !can_run("test receivers", obstacle)? {
        return Ok(());
    }
    let receivers = ensure()?;
    let mut cargo = RealTests::prepare()?.cargo("--test=receivers");
    for (variable, program) in &receivers.variables {
        cargo = cargo.env(variable, program);
    }
    tell_of_collector();
    cargo.arg("--").args(filter).run()
}

/// Says what is left out, if anything is.
pub(crate) fn tell_of_collector() {
    if !collector_is_here() {
        say(
            "SKIPPED: what `test receivers` does with an OpenTelemetry Collector, because none has been built here: \
             `setup --collector` does, or `ci --full`",
        );
    }
}
