//! Containers that live for a few milliseconds, in cgroups named as kubelet's systemd driver names them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{DEADLINE, Live, settings},
    cgroup::CgroupGuard,
    snapshot, workload,
};

const PODS: u32 = 200;

/// The workload: a life of so many milliseconds.
pub(crate) fn sleep(arguments: &[String]) -> Result<Value> {
    let milliseconds = arguments.first().context("how long?")?.parse()?;
    thread::sleep(Duration::from_millis(milliseconds));
    Ok(json!({}))
}

/// A container's id and its pod's UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Container {
    id: String,
    pod: String,
}

impl Container {
    pub(crate) fn numbered(number: u32) -> Self {
        let process = std::process::id();
        Self {
            id: format!("{process:032x}{number:032x}"),
            pod: format!("{process:08x}-0000-4000-8000-{number:012x}"),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Its pod's UID.
    pub(crate) fn pod(&self) -> &str {
        &self.pod
    }

    /// Where the systemd driver puts a burstable pod's container.
    pub(crate) fn cgroup(&self) -> String {
        let pod = self.pod.replace('-', "_");
        let slice = format!("kubepods-burstable-pod{pod}.slice");
        let scope = format!("cri-containerd-{}.scope", self.id);
        format!("kubepods.slice/kubepods-burstable.slice/{slice}/{scope}")
    }
}

pub(crate) fn of_short_life() -> Result<()> {
    let live = Live::start(settings(None))?;
    let kinds = ["exec", "exit"];
    let events = live.collect_events(&kinds)?;
    let containers: Vec<Container> = (0..PODS).map(Container::numbered).collect();
    for container in &containers {
        live_and_die(container)?;
    }
    let name = workload::own_name()?;
    let name = name.to_str().context("UTF-8")?;
    let having = [(Attr::ProcessExecutableName, name)];
    let read = live.snapshot_when("all exits", |snapshot| {
        snapshot::total(snapshot, Metric::ProcessExits, &having) >= i64::from(PODS)
    })?;
    for metric in [Metric::ProcessExecs, Metric::ProcessExits] {
        let mut counted = BTreeMap::new();
        for point in snapshot::points(&read, metric, &having) {
            let resource = snapshot::resource(&read, point).context("a resource")?;
            let of = |key| snapshot::of_resource(resource, key).unwrap_or_default();
            let container = (of("container.id"), of("k8s.pod.uid"));
            *counted.entry(container).or_insert(0) += snapshot::total_of(point);
        }
        let expected = containers.iter().map(|container| {
            let Container { id, pod } = container.clone();
            ((id, pod), 1)
        });
        assert_eq!(counted, expected.collect(), "{metric:?}");
    }
    let mut told: BTreeMap<&str, Vec<Container>> = BTreeMap::new();
    let lines: Vec<Value> = live
        .stop(events)?
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()?;
    for line in &lines {
        let text = |of: &str, key: &str| line[of][key].as_str().unwrap_or_default().to_owned();
        if text("attributes", "process.executable.name") == name {
            let event = line["name"].as_str().context("a name")?;
            told.entry(event).or_default().push(Container {
                id: text("resource", "container.id"),
                pod: text("resource", "k8s.pod.uid"),
            });
        }
    }
    let expected: BTreeSet<Container> = containers.into_iter().collect();
    for kind in kinds {
        let event = format!("wellhead.process.{kind}");
        let found = told.get(event.as_str()).map_or(&[][..], Vec::as_slice);
        assert_eq!(found.len(), PODS as usize, "{event}");
        assert_eq!(
            found.iter().cloned().collect::<BTreeSet<_>>(),
            expected,
            "{event}"
        );
    }
    Ok(())
}

/// Of a pod that nobody tells of, records wait as long as its metadata may still come, and then count for the container.
pub(crate) fn of_an_unknown_pod() -> Result<()> {
    // A number that no other test uses.
    let container = Container::numbered(u32::MAX - 1);
    let cgroup = CgroupGuard::at(&container.cgroup())?;
    let (live, _pods) = Live::start_in_cluster(settings(Some(cgroup.id())))?;
    let runs = 3;
    for _ in 0..runs {
        workload::run(&cgroup, "sleep", &["1"])?;
    }
    let counted = || -> Result<i64> {
        let read = live.snapshot()?;
        Ok(snapshot::total(&read, Metric::ProcessExits, &[]))
    };
    ensure!(counted()? == 0, "nothing waited");
    let start = std::time::Instant::now();
    while counted()? < runs {
        ensure!(start.elapsed() < 3 * DEADLINE, "they wait for ever");
        thread::sleep(Duration::from_millis(100));
    }
    ensure!(counted()? == runs);
    // What comes later does not wait any more.
    workload::run(&cgroup, "sleep", &["1"])?;
    live.snapshot_when("the next", |read| {
        snapshot::total(read, Metric::ProcessExits, &[]) == runs + 1
    })?;
    Ok(())
}

/// The cgroup is made just before the process, and removed as soon as it was waited for.
fn live_and_die(container: &Container) -> Result<()> {
    let cgroup = CgroupGuard::at(&container.cgroup())?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--workload", "sleep", "5"])
        .stdout(std::process::Stdio::null());
    workload::enter(&mut command, &[&cgroup])?;
    let status = command.status()?;
    ensure!(status.success(), "it ended: {status}");
    Ok(())
}
