//! What the agent costs on this machine, and how much it can take: the parts of `cargo xtask bench` that need the kernel. Each
//! argument names one.
#![expect(clippy::print_stdout, reason = "a benchmark talks to its terminal")]

mod apps;
mod capacity;
#[path = "../../agent/benches/shared/items.rs"]
mod items;
mod kernel;
mod observers;
mod spread;
#[expect(
    dead_code,
    unused_imports,
    clippy::panic,
    clippy::print_stderr,
    reason = "it is of the end-to-end tests, which need more of it"
)]
#[path = "../e2e/support/mod.rs"]
mod support;
mod work;

use std::env;

use anyhow::{Result, bail};
use wellhead_tests::workload;

fn main() -> Result<()> {
    if workload::run_if_asked(&work::WORKLOADS)? {
        return Ok(());
    }
    // Cargo adds a flag of its own.
    for part in env::args().skip(1).filter(|part| part != "--bench") {
        match part.as_str() {
            "kernel" => kernel::measure()?,
            "apps" => apps::measure()?,
            "capacity" => capacity::measure()?,
            other => bail!("no part {other}: kernel, apps, capacity"),
        }
    }
    Ok(())
}
