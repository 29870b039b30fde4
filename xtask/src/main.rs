//! Wellhead's development tasks: `cargo xtask --help`.

mod cmd;
mod ebpf;
mod paths;
mod python;
mod setup;
mod toolchain;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::ebpf::Warnings;

/// Builds, runs and tests Wellhead.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what this machine lacks for building
    Setup {
        /// Also what the kernel tests use
        #[arg(long)]
        tests: bool,
    },
    /// Build the kernel programs into target/ebpf/wellhead-ebpf.o
    BuildEbpf,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            cmd::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup { tests } => {
            setup::build()?;
            if tests {
                setup::tests()?;
            }
        }
        Task::BuildEbpf => ebpf::build(Warnings::Shown)?,
    }
    Ok(ExitCode::SUCCESS)
}
