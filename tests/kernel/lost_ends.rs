//! Ends that found their ring full, of connections that are not counted: their pod is not known yet, or no snapshot met them.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::RecordKind;
use wellhead::events::Body;
use wellhead::identity::{ContainerInfo, PodInfo, PodUpdate, ServiceLabels, Workload};
use wellhead::kernel::ProbeSettings;
use wellhead::telemetry::catalogue::Metric;
use wellhead_common::record::Kind;
use wellhead_tests::{
    capture::{DEADLINE, Live, Tap, settings},
    cgroup::CgroupGuard,
    netns, snapshot,
    steps::Steps,
    workload,
};

use crate::{many_live, pods::Container};

/// Connections; the ends of both sides fill the smallest ring several times.
const CONNECTIONS: usize = 100;

/// Between two connections, so that the reader keeps up with the smallest ring.
const PAUSE: Duration = Duration::from_millis(10);

/// The workload: opens connections slowly, and closes them all at once when told to.
pub(crate) fn close_at_once(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("which steps?")?);
    netns::isolate()?;
    let pairs = many_live::pairs_with_pauses(CONNECTIONS, PAUSE)?;
    steps.hear("close")?;
    drop(pairs);
    netns::until_connections_ended()?;
    Ok(json!({}))
}

/// Once the pod is told of, all its connections are counted as opened and closed, and none as active.
pub(crate) fn of_a_pod_not_known_yet() -> Result<()> {
    // A number that no other test uses.
    let container = Container::numbered(u32::MAX);
    let cgroup = CgroupGuard::at(&container.cgroup())?;
    let (live, pods) = Live::start_in_cluster(ProbeSettings {
        network_ring: u32::try_from(rustix::param::page_size())?,
        ..settings(Some(cgroup.id()))
    })?;
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "close_at_once", &[steps.path()?])?;

    let ends = 2 * CONNECTIONS as u64;
    let start = Instant::now();
    while live.counters.records(RecordKind::TcpOpen) < ends {
        ensure!(start.elapsed() < DEADLINE, "waited in vain for the opens");
        thread::sleep(PAUSE);
    }
    live.while_nobody_reads(|| {
        steps.say("close", "")?;
        running.finish()
    })?;
    let waiting = live.snapshot()?;
    let lost = live.counters.lost(RecordKind::TcpClose);
    ensure!(lost > 0, "no end was lost, so nothing was shown");
    let opened = snapshot::total(&waiting, Metric::TcpConnectionsOpened, &[]);
    ensure!(opened == 0, "{opened} did not wait for their pod");

    pods.blocking_send(PodUpdate::Applied(Box::new(pod(&container))))?;
    let ends = i64::try_from(ends)?;
    let read = live.snapshot_when("all opens", |read| {
        snapshot::total(read, Metric::TcpConnectionsOpened, &[]) >= ends
    })?;
    let total = |metric| snapshot::total(&read, metric, &[]);
    assert_eq!(total(Metric::TcpConnectionsOpened), ends);
    assert_eq!(total(Metric::TcpConnectionsClosed), ends);
    assert_eq!(
        total(Metric::TcpConnectionsActive),
        0,
        "{lost} ends were lost"
    );
    Ok(())
}

/// Of connections that are older than the programs and that no snapshot met, each end is told or counted as lost.
pub(crate) fn of_connections_nobody_met() -> Result<()> {
    let (cgroup, steps) = (CgroupGuard::new()?, Steps::new()?);
    let running = workload::start(&cgroup, "long_lived", &[steps.path()?])?;
    steps.hear("open")?;
    let mut tap = Tap::attach(&ProbeSettings {
        network_ring: u32::try_from(rustix::param::page_size())?,
        ..settings(Some(cgroup.id()))
    })?;
    for _ in 0..crate::live::ROUNDS {
        steps.say("go", "")?;
        steps.hear("sent")?;
    }
    steps.say("go", "")?;
    running.finish()?;
    tap.drain();
    let mut told = 0;
    for (event, _) in tap.events()? {
        if let Body::TcpClose(end) = event.body {
            ensure!(end.connection.unmet, "{end:?}");
            told += 1;
        }
    }
    let lost = tap.probes.programs.lost(Kind::TcpClose);
    ensure!(lost > 0, "no end was lost, so nothing was shown");
    assert_eq!(told + lost, 2 * crate::live::CONNECTIONS as u64);
    Ok(())
}

/// A pod of one container, in the namespace `shop`.
pub(crate) fn pod(container: &Container) -> PodInfo {
    let [namespace, name] = ["shop", "web-0"].map(Arc::<str>::from);
    let workload = Workload {
        namespace: Arc::clone(&namespace),
        name: Arc::clone(&name),
        kind: "Pod".into(),
    };
    PodInfo {
        uid: container.pod().into(),
        namespace,
        name,
        config_hash: None,
        ips: Vec::new(),
        host_network: false,
        finished: false,
        node_name: None,
        start_time: None,
        ready_since: None,
        owners: Vec::new(),
        workload: Arc::new(workload),
        containers: vec![ContainerInfo {
            name: "app".into(),
            ids: vec![container.id().into()],
            ..ContainerInfo::default()
        }],
        labels: ServiceLabels::default(),
        resource_annotations: Vec::new(),
        metadata_attributes: Vec::new(),
    }
}
