//! A configuration that changes while the agent runs.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Agent, Page, Programs, ready, until};

/// A file behind a link, as ConfigMaps are mounted.
struct ConfigFile {
    directory: TempDir,
}

impl ConfigFile {
    fn new(text: &str) -> Self {
        let file = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        file.swap("one", text);
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("wellhead.yaml")
    }

    /// Has the link lead to another file.
    fn swap(&self, name: &str, text: &str) {
        let target = self.directory.path().join(name);
        fs::write(&target, text).expect("written");
        let link = self.directory.path().join("link");
        symlink(&target, &link).expect("a link");
        fs::rename(&link, self.path()).expect("renamed");
    }
}

fn start(path: &Path) -> Agent {
    Agent::builder()
        .env("WELLHEAD_CONFIG", path.display())
        .start()
}

fn team(page: &Page) -> Option<String> {
    let mut info = page.select("target_info", &[]);
    info.next()?.labels.get("team").cloned()
}

fn until_team_is(agent: &Agent, expected: &str) {
    until("the team to change", || {
        (team(&agent.metrics()).as_deref() == Some(expected)).then_some(())
    });
}

fn reloads(page: &Page, outcome: &str) -> u64 {
    let labels = [("wellhead_outcome", outcome)];
    page.sum("wellhead_agent_config_reloads_total", &labels)
}

/// Whether the last reload succeeded, when the last did that succeeded, and how many keys wait.
fn state(page: &Page) -> [u64; 3] {
    [
        "wellhead_agent_config_last_reload_successful",
        "wellhead_agent_config_last_reload_success_timestamp_seconds",
        "wellhead_agent_config_keys_waiting",
    ]
    .map(|name| page.sum(name, &[]))
}

fn until_logged(agent: &Agent, text: &str) {
    until(text, || agent.log().contains(text).then_some(()));
}

#[test]
fn what_can_change_does_and_what_cannot_is_named() {
    if !ready(&[]) {
        return;
    }
    let file = ConfigFile::new("resource_attributes: {team: a}\n");
    let agent = start(&file.path());
    let page = agent.metrics();
    assert_eq!(team(&page).as_deref(), Some("a"));
    let [successful, started, waiting] = state(&page);
    assert!((successful, waiting) == (1, 0) && started > 1 << 30);
    let programs = Programs::new();
    let program = programs.link("/bin/true", "reload");
    let run = |times: u32| (0..times).all(|_| program.run(&[]).success());
    assert!(run(3));

    file.swap(
        "two",
        "resource_attributes: {team: b}\nlog: {level: debug}\nseries_limit: 500\nmemory_budget: 256MiB\n",
    );
    agent.signal(Signal::HUP);
    until_team_is(&agent, "b");
    until_logged(
        &agent,
        "keys=\"resource_attributes, log.level, series_limit\"",
    );
    until_logged(
        &agent,
        "not in effect before the agent is restarted keys=\"memory_budget\"",
    );
    let page = agent.metrics();
    assert_eq!(reloads(&page, "applied"), 1);
    let [successful, since, waiting] = state(&page);
    assert!((successful, waiting) == (1, 1) && since >= started);
    assert_eq!(page.value("wellhead_agent_series_limit", &[]), "500");
    let of_metric = [("wellhead_metric", "wellhead.tcp.io")];
    assert_eq!(page.value("wellhead_agent_series_limit", &of_metric), "125");
    let total = [("wellhead_component", "total")];
    assert_eq!(
        page.sum("wellhead_agent_memory_budget_bytes", &total),
        128 << 20
    );
    assert!(run(2));
    let executed = [("process_executable_name", program.name.as_str())];
    until("all executions to be counted", || {
        let page = agent.metrics();
        (page.sum("wellhead_process_execs_total", &executed) == 5).then_some(())
    });

    file.swap(
        "three",
        "resource_attributes: {team: c}\nmemory_budget: lots\n",
    );
    agent.signal(Signal::HUP);
    until_logged(&agent, "wellhead.yaml:2:1");
    until("the refusal to be counted", || {
        (reloads(&agent.metrics(), "refused") == 1).then_some(())
    });
    let page = agent.metrics();
    assert_eq!(team(&page).as_deref(), Some("b"));
    assert_eq!(state(&page), [0, since, 1]);
    let status = agent.status();
    assert_eq!(
        status["configuration"]["waiting_for_restart"],
        serde_json::json!(["memory_budget"])
    );
    // What is only logged at that level.
    let mut rude = TcpStream::connect(agent.address).expect("a connection");
    rude.write_all(b"no request\r\n\r\n").expect("sent");
    until_logged(&agent, "an HTTP connection ended badly");
}

#[test]
fn a_swapped_file_is_noticed_without_a_signal() {
    if !ready(&[]) {
        return;
    }
    let file = ConfigFile::new("resource_attributes: {team: a}\n");
    let agent = start(&file.path());
    file.swap("two", "resource_attributes: {team: b}\n");
    until_team_is(&agent, "b");
    file.swap("three", "");
    until("the team to go", || {
        team(&agent.metrics()).is_none().then_some(())
    });
    let stopped = agent.stop(Signal::TERM, std::time::Duration::from_secs(20));
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
}

/// How often a line repeats itself.
const TIMES: u64 = 60;
const LINE: &str = "the configuration was read again";

/// Whoever has the agent say the same again and again does not fill its log, and nothing is left out unsaid.
#[test]
fn a_line_that_repeats_itself_is_left_out_and_counted() {
    if !ready(&[]) {
        return;
    }
    let file = ConfigFile::new("resource_attributes: {team: a}\n");
    let agent = start(&file.path());
    for time in 1..=TIMES {
        agent.signal(Signal::HUP);
        until("a reload", || {
            (reloads(&agent.metrics(), "unchanged") == time).then_some(())
        });
    }
    // Each line that sums up others has an example of them.
    let summed_up = |log: &str| -> u64 {
        let lines = log
            .lines()
            .filter(|line| line.contains("left out of the log"));
        let numbers = lines.filter_map(|line| {
            line.split_once("lines=")?
                .1
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        });
        numbers.sum()
    };
    let written = |log: &str| {
        let lines = log.lines().filter(|line| line.contains(LINE));
        lines
            .filter(|line| !line.contains("left out of the log"))
            .count() as u64
    };
    until("all lines to be accounted for", || {
        let log = agent.log();
        (written(&log) + summed_up(&log) == TIMES).then_some(())
    });
    let log = agent.log();
    assert!(written(&log) >= 20 && summed_up(&log) > 0, "{log}");
    let left_out = [
        ("wellhead_stage", "policy"),
        ("wellhead_reason", "log_lines"),
    ];
    let counted = agent
        .metrics()
        .sum("wellhead_agent_discards_total", &left_out);
    assert_eq!(counted, summed_up(&log));
}
