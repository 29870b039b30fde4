//! More processes alive than are remembered.

use std::{process::Child, time::Duration};

use anyhow::{Context as _, Result, ensure};
use wellhead::counters::Discard;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    snapshot, workload,
};

/// So many are remembered.
const ROOM: usize = 16;
const CROWD: usize = 2 * ROOM;

/// Who had to make room has no memory in the metric any more, and has it again when there is room; nobody keeps any that ended.
pub(crate) fn make_room_for_a_while() -> Result<()> {
    let (cgroup, directory) = (CgroupGuard::new()?, tempfile::tempdir()?);
    let live = Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(100);
        pipeline.processes = ROOM;
    })?;
    let start = |name: &str| -> Result<Child> {
        let sleep = ["sleep", "600000"];
        Ok(workload::named(directory.path(), name, &cgroup, &sleep)?.spawn()?)
    };
    let memory_of = |name: &'static str, what: &str, done: fn(i64) -> bool| {
        live.snapshot_when(what, |read| {
            let having = [(Attr::ProcessExecutableName, name)];
            done(snapshot::total(read, Metric::ProcessMemoryUsage, &having))
        })
    };
    let end = |mut child: Child| -> Result<()> {
        child.kill()?;
        child.wait()?;
        Ok(())
    };
    let elder = start("kt-elder")?;
    memory_of("kt-elder", "the first one's memory", |bytes| bytes > 0)?;
    let crowd: Vec<Child> = (0..CROWD)
        .map(|_| start("kt-crowd"))
        .collect::<Result<_>>()
        .context("a crowd")?;
    memory_of("kt-crowd", "memory of the crowd", |bytes| bytes > 0)?;
    memory_of("kt-elder", "its memory to be given back", |bytes| {
        bytes == 0
    })?;
    crowd.into_iter().try_for_each(end)?;
    memory_of("kt-elder", "it to be found again", |bytes| bytes > 0)?;
    memory_of("kt-crowd", "the crowd to be gone", |bytes| bytes == 0)?;
    end(elder)?;
    memory_of("kt-elder", "its end", |bytes| bytes == 0)?;
    let made_room = live.counters.discards(Discard::IdentityTableFull);
    ensure!(made_room > 0, "nobody had to make room");
    Ok(())
}
