//! How an agent ends, and what it leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Agent, Need, Programs, Receiver, attribute, finish, ready, text, until, wellhead,
};

/// With a receiver that answers, an agent is to be gone by then.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn sigterm_delivers_the_last_data() {
    delivers_the_last_data(Signal::TERM);
}

#[test]
fn sigint_delivers_the_last_data() {
    delivers_the_last_data(Signal::INT);
}

fn delivers_the_last_data(signal: Signal) {
    if !ready(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::builder()
        .export_to(&receiver, "grpc")
        .set("otlp.interval", "60s")
        .set("traces.process", "on")
        .start();
    let program = Programs::new().link("/bin/true", "true");
    program.run_times(12, &[]);
    assert_eq!(receiver.requests().len(), 0, "the interval has not passed");
    let stopped = agent.stop(signal, SOON);
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);

    let ours =
        |point: &&Value| attribute(point, "process.executable.name") == program.name.as_str();
    let points = receiver.last_points();
    let count = |name: &str| -> u64 {
        let points = points
            .iter()
            .filter(ours)
            .filter(|point| text(point, "name") == name);
        points.filter_map(|point| point["value"].as_u64()).sum()
    };
    assert_eq!(count("wellhead.process.execs"), 12, "{}", stopped.log);
    assert_eq!(count("wellhead.process.exits"), 12);
    assert_eq!(receiver.spans().iter().filter(ours).count(), 12);
}

#[test]
fn nothing_stays_in_the_kernel() {
    if !ready(&[Need::Program("bpftool")]) {
        return;
    }
    let agent = Agent::start();
    let (programs, maps) = (
        ids_of(agent.pid(), "prog_id:"),
        ids_of(agent.pid(), "map_id:"),
    );
    let names = names_in_kernel("prog", &programs);
    // The kernel keeps 15 characters.
    for name in [
        "sched_process_e",
        "sched_process_f",
        "inet_sock_set_s",
        "cgroup_mkdir",
    ] {
        assert!(
            names.iter().any(|known| known.starts_with(name)),
            "{name}: {names:?}"
        );
    }
    assert!(names_in_kernel("map", &maps).len() > 3);

    let directory = agent.directory.clone();
    let busy = uninstall(&directory);
    busy.check(75, &["another wellhead agent", "wellhead.lock"]);
    let stopped = agent.stop(Signal::TERM, SOON);
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    until("the programs and maps to be gone", || {
        let left = names_in_kernel("prog", &programs).len() + names_in_kernel("map", &maps).len();
        (left == 0).then_some(())
    });
}

#[test]
fn uninstall_removes_what_is_left() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("run");
    let start = || Agent::builder().directory(&directory).start();
    let socket = directory.join("wellhead.sock");

    let agent = start();
    assert!(socket.exists());
    agent.stop(Signal::TERM, SOON);
    assert!(!socket.exists(), "a clean stop takes its socket along");
    uninstall(&directory).check(0, &[]);
    assert!(!directory.exists());
    let again = uninstall(&directory);
    again.check(0, &[]);
    assert_eq!(again.stdout, "nothing to remove\n");

    // After kill -9 the socket is still there, and somebody's file as well.
    start().stop(Signal::KILL, SOON);
    assert!(socket.exists());
    fs::write(directory.join("notes"), "mine").expect("written");
    let kept = uninstall(&directory);
    kept.check(0, &[]);
    assert!(kept.stdout.contains("has other files"), "{}", kept.stdout);
    assert!(!socket.exists() && directory.join("notes").exists());
}

#[test]
fn it_starts_after_kill_9() {
    if !ready(&[]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let start = || Agent::builder().directory(&home.path().join("run")).start();
    let program = Programs::new().link("/bin/true", "true");
    for _ in 0..2 {
        let agent = start();
        program.run_times(4, &[]);
        let name = [("process_executable_name", &*program.name)];
        assert_eq!(
            agent.metrics().sum("wellhead_process_execs_total", &name),
            4
        );
        let stopped = agent.stop(Signal::KILL, SOON);
        assert_eq!(stopped.code, None);
    }
}

fn uninstall(directory: &Path) -> crate::support::Finished {
    let setting = format!("runtime_directory={}", directory.display());
    finish(&mut wellhead(&["uninstall", "--set", &setting]))
}

/// The ids of the programs or maps that a process holds.
fn ids_of(pid: u32, key: &str) -> BTreeSet<u64> {
    let directory = format!("/proc/{pid}/fdinfo");
    let files = fs::read_dir(directory).expect("the agent is there");
    let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let ids: BTreeSet<u64> = texts
        .filter_map(|text| {
            let id = text.lines().find_map(|line| line.strip_prefix(key))?;
            id.trim().parse().ok()
        })
        .collect();
    assert!(!ids.is_empty(), "{key}");
    ids
}

/// The names of those that the kernel still knows, as bpftool tells them.
fn names_in_kernel(kind: &str, ids: &BTreeSet<u64>) -> Vec<String> {
    let output = Command::new("bpftool")
        .args(["--json", kind, "list"])
        .output();
    let list: Value = serde_json::from_slice(&output.expect("bpftool").stdout).expect("JSON");
    let all = list.as_array().cloned().unwrap_or_default();
    let ours = all
        .iter()
        .filter(|item| item["id"].as_u64().is_some_and(|id| ids.contains(&id)));
    ours.map(|item| text(item, "name").to_owned()).collect()
}
