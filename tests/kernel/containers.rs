//! The lives of containers: cgroups named as a runtime names them, entered as a runtime enters them.

use std::{
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{Live, LiveEvents, settings},
    cgroup::CgroupGuard,
    require, snapshot, workload,
};

use crate::{oom, pods::Container};

/// The workload: what a runtime's init does last.
pub(crate) fn become_program(arguments: &[String]) -> Result<Value> {
    let (program, rest) = arguments.split_first().context("which program?")?;
    Err(Command::new(program).args(rest).exec().into())
}

/// A container, and its cgroup.
struct Life {
    id: String,
    cgroup: CgroupGuard,
}

impl Life {
    /// A number that no other test uses.
    fn begin(number: u32) -> Result<Self> {
        let id = Container::numbered(u32::MAX - 100 - number).id().to_owned();
        let cgroup = CgroupGuard::at(&format!("docker-{id}.scope"))?;
        Ok(Self { id, cgroup })
    }

    /// Enters it, executes this program once more, as a runtime does, and becomes another one.
    fn command(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--workload", "become", program]);
        command.args(arguments).stdout(Stdio::null());
        workload::enter(&mut command, &[&self.cgroup])?;
        Ok(command)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<ExitStatus> {
        Ok(self.command(program, arguments)?.status()?)
    }
}

/// Each container starts and ends once, with its own program and that one's end, whatever else is executed in it.
pub(crate) fn start_and_end() -> Result<()> {
    let live = Live::start(settings(None))?;
    let events = live.collect_events(&["container.start", "container.exit"])?;
    let [ends, killed, visited] = [0, 1, 2].map(Life::begin);
    let (ends, killed, visited) = (ends?, killed?, visited?);
    let status = ends.run("/bin/sh", &["-c", "/bin/true; /bin/false; exit 3"])?;
    ensure!(status.code() == Some(3), "{status}");
    let status = killed.run("/bin/sh", &["-c", "kill -9 $$"])?;
    ensure!(status.signal() == Some(libc::SIGKILL), "{status}");
    let mut main = visited.command("/bin/sleep", &["600"])?.spawn()?;
    // Executed by now: whoever comes next is a visitor.
    live.snapshot_when("the main process", |read| {
        let having = [(Attr::ProcessExecutableName, "sleep")];
        let mut points = snapshot::points(read, Metric::ProcessExecs, &having);
        points.any(|point| is_of(read, point.resource, &visited.id))
    })?;
    visited.run("/bin/sh", &["-c", "exit 1"])?;
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&main),
        rustix::process::Signal::TERM,
    )?;
    main.wait()?;
    let lives = [&ends, &killed, &visited].map(|life| life.id.clone());
    drop((ends, killed, visited));
    let told = told_of(live, events, &lives)?;
    for (id, expected) in lives.iter().zip([
        json!([["start", "sh"], ["exit", "sh", 3, null, null]]),
        json!([["start", "sh"], ["exit", "sh", null, "SIGKILL", null]]),
        json!([["start", "sleep"], ["exit", "sleep", null, "SIGTERM", null]]),
    ]) {
        assert_eq!(shown(&told, id), expected, "{told:#?}");
    }
    Ok(())
}

/// A container that the kernel kills for memory says so.
pub(crate) fn killed_for_memory() -> Result<()> {
    let live = Live::start(settings(None))?;
    let events = live.collect_events(&["container.start", "container.exit"])?;
    let greedy = Life::begin(3)?;
    let limited = match oom::limit(&greedy.cgroup) {
        Ok(limited) => limited,
        Err(error) => {
            let test = "containers_killed_for_memory";
            require::skip(test, &format_args!("memory cannot be limited: {error:#}"));
            return Ok(());
        }
    };
    let id = greedy.id.clone();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--workload", "eat_memory"]);
    let entered: Vec<&CgroupGuard> = [&greedy.cgroup].into_iter().chain(&limited).collect();
    workload::enter(&mut command, &entered)?;
    let status = command.status()?;
    ensure!(status.signal() == Some(libc::SIGKILL), "{status}");
    drop(greedy);
    let told = told_of(live, events, std::slice::from_ref(&id))?;
    let name = workload::own_name()?;
    let name = name.to_str().context("UTF-8")?;
    let expected = json!([["start", name], ["exit", name, null, "SIGKILL", true]]);
    assert_eq!(shown(&told, &id), expected, "{told:#?}");
    Ok(())
}

/// A container that is started again and again under its id while nobody reads: cgroups are told before what happened in them.
pub(crate) fn started_again_unread() -> Result<()> {
    const RUNS: usize = 4;
    let live = Live::start(settings(None))?;
    let events = live.collect_events(&["container.start", "container.exit"])?;
    let id = live.while_nobody_reads(|| -> Result<String> {
        let mut id = String::new();
        for _ in 0..RUNS {
            let again = Life::begin(4)?;
            let status = again.run("/bin/sh", &["-c", "exit 7"])?;
            ensure!(status.code() == Some(7), "{status}");
            id.clone_from(&again.id);
        }
        Ok(id)
    })?;
    let read = live.snapshot_when("every end", |read| {
        ended(read, &id) >= snapshot::number(RUNS)
    })?;
    assert_eq!(ended(&read, &id), snapshot::number(RUNS));
    let told = stop(live, events)?;
    let run = [json!(["start", "sh"]), json!(["exit", "sh", 7, null, null])];
    let expected: Value = (0..RUNS).flat_map(|_| run.clone()).collect();
    assert_eq!(shown(&told, &id), expected, "{told:#?}");
    Ok(())
}

/// How many ends of a container are counted.
fn ended(read: &Snapshot, id: &str) -> i64 {
    let points = snapshot::points(read, Metric::ContainerExits, &[]);
    let own = points.filter(|point| is_of(read, point.resource, id));
    own.map(snapshot::total_of).sum()
}

/// What a process uses is that of the container it is in, also if it was moved there and executed nothing.
pub(crate) fn moved_with_what_they_use() -> Result<()> {
    const MOVED: &str = "kt-moved";
    let live = Live::start(settings(None))?;
    let (before, after) = (Life::begin(30)?, Life::begin(31)?);
    let directory = tempfile::tempdir()?;
    let sleep = ["sleep", "600000"];
    let mut moved = workload::named(directory.path(), MOVED, &before.cgroup, &sleep)?.spawn()?;
    let memory_of = |read: &Snapshot, life: &Life| -> i64 {
        let having = [(Attr::ProcessExecutableName, MOVED)];
        let points = snapshot::points(read, Metric::ProcessMemoryUsage, &having);
        let of_life = points.filter(|point| is_of(read, point.resource, &life.id));
        of_life.map(snapshot::total_of).sum()
    };
    live.snapshot_when("its memory where it began", |read| {
        memory_of(read, &before) > 0
    })?;
    after
        .cgroup
        .write("cgroup.procs", &moved.id().to_string())?;
    let read = live.snapshot_when("its memory where it is", |read| memory_of(read, &after) > 0)?;
    assert_eq!(memory_of(&read, &before), 0);
    moved.kill()?;
    moved.wait()?;
    live.snapshot_when("it to have none", |read| memory_of(read, &after) == 0)?;
    Ok(())
}

/// Whether something is a container's.
fn is_of(read: &Snapshot, resource: usize, container: &str) -> bool {
    let resource = read.resources.get(resource);
    let id = resource.and_then(|resource| snapshot::of_resource(resource, "container.id"));
    id.as_deref() == Some(container)
}

/// What was told by the time that all these containers were counted as ended, once each.
fn told_of(live: Live, events: LiveEvents, ids: &[String]) -> Result<Vec<Value>> {
    let read = live.snapshot_when("the ends", |read| ids.iter().all(|id| ended(read, id) >= 1))?;
    for id in ids {
        assert_eq!(ended(&read, id), 1, "{id}");
    }
    stop(live, events)
}

/// Stops it and returns all events, with whose they are.
fn stop(live: Live, events: LiveEvents) -> Result<Vec<Value>> {
    let lines = live.stop(events)?;
    let lines = lines.iter().map(|line| Ok(serde_json::from_str(line)?));
    lines.collect()
}

/// A container's events: what, its program, and of an end code, signal and whether it was for memory. Each says how long something took.
fn shown(told: &[Value], id: &str) -> Value {
    let own = told
        .iter()
        .filter(|event| event["resource"]["container.id"] == id);
    own.map(|event| {
        let name = event["name"].as_str().unwrap_or_default();
        let of = |key: &str| event["attributes"][key].clone();
        assert!(of("wellhead.duration").as_u64() > Some(0), "{event}");
        let executable = of("process.executable.name");
        if name == "wellhead.container.start" {
            json!(["start", executable])
        } else {
            let (code, signal) = (of("process.exit.code"), of("wellhead.process.signal"));
            json!([
                "exit",
                executable,
                code,
                signal,
                of("wellhead.container.oom_killed")
            ])
        }
    })
    .collect()
}
