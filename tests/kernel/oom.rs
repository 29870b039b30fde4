//! Processes that the kernel kills for memory.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use wellhead::identity::scan::find_mount;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::{CgroupGuard, unique_name},
    require, snapshot, workload,
};

const LIMIT: &str = "16777216";
const TWICE_THE_LIMIT: usize = 32 << 20;

/// The workload: writes to more memory than it may have.
pub(crate) fn eat_memory(_arguments: &[String]) -> Result<Value> {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while eaten.len() * (1 << 20) < TWICE_THE_LIMIT {
        // Not all zero: that memory would not be there before it is written.
        let mut piece = Vec::new();
        piece.try_reserve_exact(1 << 20)?;
        piece.resize(1 << 20, 1);
        eaten.push(piece);
    }
    Ok(json!({ "pieces": eaten.len() }))
}

pub(crate) fn names_its_victim() -> Result<()> {
    let test = "oom_kill_names_its_victim";
    let cgroup = CgroupGuard::at(&format!("wellhead.slice/{}.scope", unique_name()))?;
    let limited = match limit(&cgroup) {
        Ok(limited) => limited,
        Err(error) => {
            require::skip(test, &format_args!("memory cannot be limited: {error:#}"));
            return Ok(());
        }
    };
    let live = Live::start(settings(Some(cgroup.id())))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--workload", "eat_memory"]);
    match &limited {
        Some(version_1) => workload::enter(&mut command, &[&cgroup, version_1])?,
        None => workload::enter(&mut command, &[&cgroup])?,
    }
    let status = command.status()?;
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");

    let name = workload::own_name()?;
    let having = [(Attr::ProcessExecutableName, name.to_str().context("UTF-8")?)];
    let slice = |snapshot: &_| -> Option<(String, i64)> {
        let mut points = snapshot::points(snapshot, Metric::ProcessOomKills, &having);
        let point = points.find(|point| {
            let resource = snapshot::resource(snapshot, point);
            resource.and_then(|resource| snapshot::of_resource(resource, "wellhead.slice"))
                == Some("wellhead.slice".to_owned())
        })?;
        Some(("wellhead.slice".to_owned(), snapshot::total_of(point)))
    };
    let read = live.snapshot_when("the kill", |snapshot| slice(snapshot).is_some())?;
    assert_eq!(slice(&read), Some(("wellhead.slice".to_owned(), 1)));
    let killed = [having[0], (Attr::ProcessSignal, "SIGKILL")];
    assert_eq!(snapshot::total(&read, Metric::ProcessExits, &killed), 1);
    live.ensure_nothing_lost()
}

/// Limits the memory of the cgroup, or makes a limited version 1 cgroup to be entered besides it.
pub(crate) fn limit(cgroup: &CgroupGuard) -> Result<Option<CgroupGuard>> {
    if let Some(memory) = own_version_1_memory()? {
        let limited = CgroupGuard::below(&memory, &unique_name())?;
        limited.write("memory.limit_in_bytes", LIMIT)?;
        return Ok(Some(limited));
    }
    let root = find_mount()?.path;
    let parent = cgroup.path().parent().context("a parent")?;
    for above in [root.as_path(), parent] {
        fs::write(above.join("cgroup.subtree_control"), "+memory")?;
    }
    cgroup.write("memory.max", LIMIT)?;
    let swap = cgroup.path().join("memory.swap.max");
    if swap.exists() {
        fs::write(swap, "0")?;
    }
    Ok(None)
}

/// This process's own cgroup in the version 1 memory hierarchy, if there is one.
fn own_version_1_memory() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let is_memory = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        words.get(2) == Some(&"cgroup")
            && words
                .get(3)
                .is_some_and(|options| options.split(',').any(|one| one == "memory"))
    };
    let Some(mount) = mounts
        .lines()
        .find(is_memory)
        .and_then(|line| line.split(' ').nth(1))
    else {
        return Ok(None);
    };
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let path = fields.next()?;
        controllers
            .split(',')
            .any(|one| one == "memory")
            .then_some(path)
    });
    let path = path.context("no memory controller of this process")?;
    Ok(Some(Path::new(mount).join(path.trim_start_matches('/'))))
}
