//! The agent's programs on the running kernel: what they report, counted exactly.
//!
//! The same program is the workload it watches (`--workload NAME`), so it needs nothing else on the machine. Tests run one
//! after another: each counts in a cgroup of its own, but the programs of one slow down what another measures.
//!
//! With `--facts` it runs no test but tells what the running kernel looks like to the agent.

mod bulk;
mod classic;
mod collisions;
mod connections;
mod conntrack;
mod containers;
mod crowds;
mod delays;
mod dns;
mod endings;
mod executions;
mod facts;
mod failures;
mod hanging;
mod heartbeat;
mod icmp;
mod invariants;
mod ladder;
mod left_out;
mod list;
mod live;
mod lost_ends;
mod lost_handshakes;
mod lost_opens;
mod many_live;
mod missed_ends;
mod missed_none;
mod nested;
mod oom;
mod passive;
mod paths;
mod pid_namespaces;
mod pods;
mod processes;
mod program_stats;
mod recorded;
mod resized;
mod resolver;
mod restart;
mod services;
mod sock_diag;
mod socket_owner;
mod spill;
mod storm;
mod tcp_closes;
mod tcp_health;
mod tcp_odd;
mod tcp_script;
mod tcp_states;
mod udp;
mod usage;
mod zoo;

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
            if require::is_brief() && list::LONG.contains(&name) {
                require::skip(
                    name,
                    &"it takes a minute or more, and it has to be brief here",
                );
            } else if require::kernel(name)? {
                attempt(name, test)?;
            }
            Ok(())
        })
    };
    Trial::test(name, move || {
        run().map_err(|error: anyhow::Error| Failed::from(format!("{error:#}")))
    })
}

/// How often a test may be run until it passes; 1 unless this says otherwise, as on emulated processors, whose time does
/// not pass as the kernel's tests expect.
const ATTEMPTS: &str = "WELLHEAD_TEST_ATTEMPTS";

/// A test that fails may have another attempt where [`ATTEMPTS`] allows it, and where the kernel skipped runs of the
/// programs meanwhile; everybody is told.
fn attempt(name: &str, test: list::Test) -> Result<()> {
    let allowed = std::env::var(ATTEMPTS).map_or(Ok(1), |text| text.parse::<u32>())?;
    let mut number = 1;
    loop {
        capture::take_skipped_runs();
        let result = panic::catch_unwind(test);
        let skipped = capture::take_skipped_runs();
        let last = number >= if skipped > 0 { allowed.max(2) } else { allowed };
        let again = !last && !matches!(result, Ok(Ok(())));
        report::note_attempt(skipped, again);
        match result {
            Ok(Ok(())) => return Ok(()),
            failed if again => require::say(format_args!(
                "WARNING: {name} failed at attempt {number}, and the kernel skipped {skipped} runs of the programs; once more: {failed:?}"
            )),
            Ok(failed) => return failed,
            Err(panic) => panic::resume_unwind(panic),
        }
        number += 1;
    }
}
