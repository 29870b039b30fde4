//! The agent's programs on the running kernel: what they report, counted exactly.
//!
//! The same program is the workload it watches (`--workload NAME`), so it needs nothing else on the machine. Tests run one
//! after another: each counts in a cgroup of its own, but the programs of one slow down what another measures.
//!
//! With `--facts` it runs no test but tells what the running kernel looks like to the agent.

mod classic;
mod collisions;
mod connections;
mod endings;
mod executions;
mod facts;
mod failures;
mod icmp;
mod invariants;
mod ladder;
mod list;
mod live;
mod lost_opens;
mod many_live;
mod oom;
mod passive;
mod pid_namespaces;
mod pods;
mod processes;
mod program_stats;
mod resized;
mod restart;
mod sock_diag;
mod socket_owner;
mod spill;
mod storm;
mod tcp_closes;
mod tcp_odd;
mod tcp_script;
mod tcp_states;

use std::{panic, process::ExitCode};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use wellhead_tests::{capture, report, require, workload};

fn main() -> ExitCode {
    match workload::run_if_asked(list::WORKLOADS) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => {}
        Err(error) => {
            require::say(format_args!("workload failed: {error:#}"));
            return ExitCode::FAILURE;
        }
    }
    match facts::tell_if_asked() {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => {}
        Err(error) => {
            require::say(format_args!("no facts: {error:#}"));
            return ExitCode::FAILURE;
        }
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = list::TESTS.iter().map(|(name, test)| trial(name, *test));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trial(name: &'static str, test: list::Test) -> Trial {
    let run = move || {
        report::test(name, || {
            if require::kernel(name)? {
                run_twice_at_most(name, test)?;
            }
            Ok(())
        })
    };
    Trial::test(name, move || {
        run().map_err(|error: anyhow::Error| Failed::from(format!("{error:#}")))
    })
}

/// A test that fails while the kernel did not run a program is run once more, and everybody is told.
fn run_twice_at_most(name: &str, test: list::Test) -> Result<()> {
    capture::take_skipped_runs();
    let first = panic::catch_unwind(test);
    let skipped = capture::take_skipped_runs();
    match first {
        Ok(Ok(())) => Ok(()),
        failed if skipped > 0 => {
            require::say(format_args!(
                "WARNING: {name} failed, and the kernel skipped {skipped} runs of the programs; once more: {failed:?}"
            ));
            test()
        }
        Ok(failed) => failed,
        Err(panic) => panic::resume_unwind(panic),
    }
}
