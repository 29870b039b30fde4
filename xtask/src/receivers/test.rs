//! `cargo xtask test receivers`: agents that send to them and are scraped by them, and whether all have the same numbers.

use std::ffi::OsString;

use anyhow::Result;

use super::{collector_is_here, ensure, obstacle};
use crate::cmd::say;
use crate::test::{RealTests, can_run};
use crate::test_again;

/// Runs the tests with this in their names. Where receivers cannot be had, it says so; in CI, it fails.
pub(crate) fn run(filter: &[OsString]) -> Result<()> {
    let obstacle = obstacle().map(|why| format!("no receivers can be had here: {why}"));
    if !can_run("test receivers", obstacle)? {
        return Ok(());
    }
    let receivers = ensure()?;
    let tests = RealTests::prepare()?;
    tell_of_collector();
    test_again::run(
        || {
            let variables = receivers.variables.iter();
            variables.fold(tests.cargo("--test=receivers"), |cargo, (name, program)| {
                cargo.env(name, program)
            })
        },
        filter,
    )
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
