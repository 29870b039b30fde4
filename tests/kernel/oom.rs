//! Processes that the kernel kills for memory.

use std::{
    ffi::OsStr,
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::identity::scan::find_mount;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::{CgroupGuard, unique_name},
    require, snapshot, workload,
};

const LIMIT: &str = "16777216";
/// A limit counts as hit when less than that is left.
const SLACK: u64 = (256 << 10) + (16 << 20) / 128;
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
    let kills = kills_of(&cgroup)?;
    let log = KernelLog::open();
    let live = Live::start(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&["process.oom_kill"])?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--workload", "eat_memory"]);
    match &limited {
        Some(version_1) => workload::enter(&mut command, &[&cgroup, version_1])?,
        None => workload::enter(&mut command, &[&cgroup])?,
    }
    let mut victim = command.spawn()?;
    let status = victim.wait()?;
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
    live.ensure_nothing_lost()?;
    // Of the version 2 hierarchy it is known where the limit is.
    assert_eq!(kills_of(&cgroup)?, kills.map(|before| before + 1));
    let told = live.told(events)?;
    let [event] = &told[..] else {
        anyhow::bail!("{} events", told.len());
    };
    check_event(event, victim.id(), &name)?;
    if let Some(line) = log.and_then(|log| log.told_of(victim.id())) {
        check_figures(event, &line)?;
    } else {
        require::say("note: the kernel's log tells nothing, so the figures were not compared");
    }
    Ok(())
}

fn check_event(event: &Value, pid: u32, name: &OsStr) -> Result<()> {
    assert_eq!(event["process.pid"], pid, "{event}");
    assert_eq!(event["process.executable.name"], *name.to_string_lossy());
    let figure = |key: &str| {
        event[key]
            .as_u64()
            .with_context(|| format!("{key}: {event}"))
    };
    let limit: u64 = LIMIT.parse()?;
    assert_eq!(figure("wellhead.oom.limit")?, limit);
    assert_eq!(event["wellhead.oom.scope"], "cgroup");
    let charged = figure("wellhead.oom.usage")?;
    ensure!((limit - SLACK..=limit).contains(&charged), "{event}");
    let own = figure("wellhead.process.memory.anonymous")?;
    ensure!((limit / 2..=limit).contains(&own), "{event}");
    figure("wellhead.process.memory.file")?;
    figure("wellhead.process.memory.shared")?;
    Ok(())
}

/// The kernel looks at the victim's memory at the same time as the programs. Newer ones (7.x) add up what single processors have
/// not added yet, up to a batch each.
fn check_figures(event: &Value, line: &str) -> Result<()> {
    const BATCH: u64 = 32 * 4096;
    let apart = BATCH * u64::try_from(std::thread::available_parallelism()?.get())?;
    for (key, word) in [
        ("wellhead.process.memory.anonymous", "anon-rss:"),
        ("wellhead.process.memory.file", "file-rss:"),
        ("wellhead.process.memory.shared", "shmem-rss:"),
    ] {
        let after = line
            .split(word)
            .nth(1)
            .with_context(|| format!("{word} in {line}"))?;
        let (figure, _) = after.split_once("kB").context("a unit")?;
        let logged = figure.parse::<u64>()? << 10;
        let told = event[key].as_u64().context("a figure")?;
        ensure!(
            told.abs_diff(logged) <= apart,
            "{key}: {told}, but the kernel logs {line}"
        );
    }
    Ok(())
}

/// How often the kernel has killed in a cgroup; `None` where its memory is another hierarchy's.
fn kills_of(cgroup: &CgroupGuard) -> Result<Option<u64>> {
    let Ok(events) = fs::read_to_string(cgroup.path().join("memory.events")) else {
        return Ok(None);
    };
    let kills = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    Ok(Some(kills.context("oom_kill")?.parse()?))
}

/// What the kernel logs from now on.
struct KernelLog(fs::File);

impl KernelLog {
    fn open() -> Option<Self> {
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let mut file = options.open("/dev/kmsg").ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self(file))
    }

    /// The line of who was killed.
    fn told_of(mut self, pid: u32) -> Option<String> {
        let wanted = format!("Killed process {pid} ");
        // One read is one line; one that was overwritten meanwhile is an error, and so is the end.
        for _ in 0..10_000 {
            let mut line = vec![0; 8 << 10];
            match self.0.read(&mut line) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&line[..length]).into_owned();
                    if text.contains(&wanted) {
                        return Some(text);
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return None,
            }
        }
        None
    }
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
