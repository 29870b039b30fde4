//! cgroup ids are unique within a hierarchy only: a version 1 cgroup with the id of a version 2 one must not replace it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::{CgroupGuard, unique_name},
    require, snapshot, workload,
};

/// Cgroups of one hierarchy that may be made in search of an id.
const TRIES: u32 = 30_000;
/// Version 2 cgroups any of which may be met: ids of other hierarchies come in strides.
const TARGETS: u32 = 60;

pub(crate) fn of_hierarchies() -> Result<()> {
    let test = "v1_ids_do_not_collide";
    let hierarchies = version_1()?;
    if hierarchies.is_empty() {
        require::skip(test, &"no version 1 hierarchy is mounted");
        return Ok(());
    }
    // Attached before either cgroup exists: both are reported.
    let live = Live::start(settings(None))?;
    for hierarchy in &hierarchies {
        let Some((target, twin)) = collide(hierarchy)? else {
            continue;
        };
        require::say(format_args!(
            "id {}: {} and {}",
            target.id(),
            target.path().display(),
            twin.path().display()
        ));
        assert_eq!(target.id(), twin.id());
        workload::run(&target, "sleep", &["0"])?;
        return check(&live, &target);
    }
    require::skip(test, &"no ids of the hierarchies here meet");
    Ok(())
}

/// The process in the version 2 cgroup belongs to that cgroup's container.
fn check(live: &Live, target: &CgroupGuard) -> Result<()> {
    let name = workload::own_name()?;
    let having = [(Attr::ProcessExecutableName, name.to_str().context("UTF-8")?)];
    let read = live.snapshot_when("the exit", |snapshot| {
        snapshot::total(snapshot, Metric::ProcessExits, &having) >= 1
    })?;
    for metric in [Metric::ProcessExecs, Metric::ProcessExits] {
        let mut points = snapshot::points(&read, metric, &having);
        let point = points.next().context("a point")?;
        assert!(points.next().is_none(), "one resource has it all");
        let resource = snapshot::resource(&read, point).context("a resource")?;
        let id = snapshot::of_resource(resource, "container.id").context("a container")?;
        let path = target.path().to_string_lossy().into_owned();
        assert!(
            path.ends_with(&format!("{id}.scope")),
            "{metric:?}: {id} of {path}"
        );
    }
    Ok(())
}

/// A version 2 cgroup and a version 1 cgroup with the same id, each named as another container's.
fn collide(hierarchy: &Path) -> Result<Option<(CgroupGuard, CgroupGuard)>> {
    let base = unique_name();
    let container = |number: u32| format!("cri-containerd-{number:064x}.scope");
    let parent = CgroupGuard::below(hierarchy, &base)?;
    let probe = CgroupGuard::below(parent.path(), &container(0))?.id();
    let version_2 = CgroupGuard::at(&base)?;
    // The version 2 ids have to be the later ones.
    let mut targets: Vec<CgroupGuard> = Vec::new();
    for number in 1..TRIES {
        let target = CgroupGuard::below(version_2.path(), &container(number))?;
        if target.id() > probe {
            targets.push(target);
        }
        if targets.len() >= TARGETS as usize {
            break;
        }
    }
    let last = targets.last().map_or(0, CgroupGuard::id);
    for number in TRIES..2 * TRIES {
        let twin = CgroupGuard::below(parent.path(), &container(number))?;
        if let Some(found) = targets.iter().position(|target| target.id() == twin.id()) {
            // Dropped before its children, a parent stays; so they hold on to theirs.
            let target = targets.swap_remove(found).with_parent(version_2);
            return Ok(Some((target, twin.with_parent(parent))));
        }
        if twin.id() > last {
            break;
        }
    }
    Ok(None)
}

/// Mount points of version 1 hierarchies.
fn version_1() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next() == Some("cgroup")).then(|| PathBuf::from(place))
    };
    Ok(mounts.lines().filter_map(mount).collect())
}
