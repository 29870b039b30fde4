//! `cargo xtask docs`: the parts of `docs/` that are generated. Those from the agent's code a test of the
//! agent compares, and writes when told to; the pages of kernels and of performance come from what was written down of them, manifests
//! and the table of values from the chart.

use anyhow::Result;

use crate::bench;
use crate::chart;
use crate::cmd::Cmd;
use crate::ebpf::{self, Warnings};
use crate::paths;
use crate::test::UNIT_PACKAGES;
use crate::vm;

const UPDATE: &str = "UPDATE_EXPECT";

/// Writes the generated documents, or with `check` fails if one is out of date.
pub(crate) fn run(check: bool) -> Result<()> {
    ebpf::ensure(Warnings::Shown)?;
    // The same packages as the unit tests have, so that cargo has nothing to build again.
    let test = Cmd::cargo()
        .dir(&paths::root()?)
        .arg("test")
        .args(UNIT_PACKAGES)
        .args(["--test", "docs"]);
    if check {
        test.env_remove(UPDATE).run()?;
    } else {
        test.env(UPDATE, "1").run()?;
    }
    vm::document(check)?;
    bench::document(check)?;
    chart::document(check)
}
