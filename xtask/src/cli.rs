//! The command line of `cargo xtask`, and which module does what it says.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::bench::{self, Part};
use crate::ebpf::{self, Warnings};
use crate::test::{self, Suite};
use crate::vm::{self, Cgroups};
use crate::{agent, ci, dist, docs, kube, setup, tidy};

/// Builds, runs and tests Wellhead
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what this machine lacks for building
    Setup(setup::Wanted),
    /// Build the kernel programs into target/ebpf/wellhead-ebpf.o
    BuildEbpf,
    /// Build everything and start the agent, as root
    Run {
        /// Flags of `wellhead run`, or another of its subcommands with its flags
        #[arg(last = true, value_name = "AGENT FLAGS")]
        args: Vec<OsString>,
    },
    /// Run tests: the unit and the kernel tests if none are named
    Test {
        suite: Option<Suite>,
        /// Write down what is to be compared with from now on: what kernels look like to the agent (`test vm`), what it costs (`test cost`)
        #[arg(long)]
        bless: bool,
        /// How long (`test soak`)
        #[arg(long, default_value_t = 10)]
        minutes: u32,
        /// Only tests with this in their name (`test vm`, `test kube`, `test receivers`)
        #[arg(last = true)]
        filter: Vec<OsString>,
    },
    /// Measure what the agent costs and how much it can take, and write docs/performance.md; needs root
    Bench {
        /// One part, which is shown and not written into docs/
        #[arg(long)]
        only: Option<Part>,
        /// Where to write what was found, in JSON
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Run a command on another kernel, in a virtual machine; a shell if none is given
    Vm {
        /// 5.10, 6.1, 6.12, newest, or a longer version of one of them
        kernel: String,
        /// Which cgroup hierarchies the machine has, instead of those the tests choose for that kernel
        #[arg(long)]
        cgroups: Option<Cgroups>,
        /// With `kernel-tests` (and its flags) and `wellhead` on its path, and busybox for everything else
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// A Kubernetes on this machine
    Kube {
        #[command(subcommand)]
        action: kube::Action,
    },
    /// Write the parts of docs/ that come from the code
    Docs {
        /// Write nothing, fail if something is out of date
        #[arg(long)]
        check: bool,
    },
    /// Build the container image, as an archive, without a daemon
    Dist(dist::Args),
    /// Check what no compiler does: white space, file lengths, the map of the code
    Tidy,
    /// Run everything that a change has to pass
    Ci {
        /// Also what has to be built for minutes first
        #[arg(long)]
        full: bool,
    },
}

/// Does what the command line says.
pub(crate) fn run() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Setup(wanted) => setup::run(wanted)?,
        Task::BuildEbpf => ebpf::build(Warnings::Shown)?,
        Task::Run { args } => agent::run(args)?,
        Task::Test {
            suite,
            bless,
            minutes,
            filter,
        } => return test::run(suite, bless, minutes, &filter),
        Task::Bench { only, json } => bench::run(only, json.as_deref())?,
        Task::Vm {
            kernel,
            cgroups,
            command,
        } => return vm::run(&kernel, cgroups, &command),
        Task::Kube { action } => return kube::run(&action),
        Task::Docs { check } => docs::run(check)?,
        Task::Dist(args) => dist::run(args)?,
        Task::Tidy => tidy::run()?,
        Task::Ci { full } => ci::run(full)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_flags_come_after_two_dashes() {
        let parse = |words: &[&str]| {
            let cli = Cli::try_parse_from(words).ok()?;
            match cli.task {
                Task::Run { args } => Some(args),
                _ => None,
            }
        };
        assert_eq!(parse(&["xtask", "run"]), Some(Vec::new()));
        let args = parse(&["xtask", "run", "--", "doctor", "--json"]);
        assert_eq!(args, Some(vec!["doctor".into(), "--json".into()]));
        assert_eq!(parse(&["xtask", "run", "doctor"]), None);
    }
}
