//! An agent that comes after programs were left alone for too long.

use std::time::Duration;

use rustix::process::Signal;
use wellhead_tests::pinned::set_unattended;

use crate::support::{Agent, Pins, Programs, ready};

#[test]
fn an_agent_that_comes_too_late_says_so_and_starts_anew() {
    if !ready(&[]) {
        return;
    }
    let pins = Pins::new();
    let complaint = "the last agent stopped too long ago";
    let program = Programs::new().link("/bin/true", "late");
    let execs = |agent: &Agent| {
        let name = [("process_executable_name", &*program.name)];
        let page = agent.metrics();
        page.sum("wellhead_process_execs_total", &name)
    };

    let first = Agent::builder().pins(&pins).start();
    first.stop(Signal::KILL, Duration::from_secs(10));
    program.run_times(3, &[]);
    set_unattended(&pins.path().join("v1/maps/STATE"), true).expect("written");
    program.run_times(5, &[]);
    let second = Agent::builder().pins(&pins).start();
    let log = second.log();
    assert!(log.contains(complaint), "{log}");
    assert_eq!(execs(&second), 0);
    program.run_times(7, &[]);
    assert_eq!(execs(&second), 7);
    second.stop(Signal::KILL, Duration::from_secs(10));

    program.run_times(11, &[]);
    let third = Agent::builder().pins(&pins).start();
    let log = third.log();
    assert!(!log.contains(complaint), "{log}");
    assert_eq!(execs(&third), 11);
}
