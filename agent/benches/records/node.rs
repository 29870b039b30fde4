//! A node of 250 pods in a cluster of a thousand workloads, and what goes on there.

use std::net::IpAddr;
use std::sync::Arc;

use wellhead::identity::cluster::{Address, ClusterObject, ClusterUpdate, ObjectKind};
use wellhead::identity::{ContainerInfo, PodInfo, PodUpdate, ServiceLabels, Workload};
use wellhead::recording::Told;
use wellhead_common::record::role;

use super::written::{By, Records, Socket};

/// Boot clock.
pub(crate) const NOW: u64 = 1_000_000_000_000;

const PODS: u16 = 250;
/// Workloads elsewhere that each pod talks to.
const PEERS: u16 = 8;
const EVENTS: u32 = 60_000;
const OPEN: u32 = 10_000;

/// What identity is told.
pub(crate) fn told() -> Vec<Told> {
    let cgroups = (0..PODS).map(|number| (cgroup(number), path(number)));
    let root = (1, "/".to_owned());
    vec![
        Told::Cgroups {
            started_ns: NOW,
            complete: true,
            cgroups: std::iter::once(root).chain(cgroups).collect(),
        },
        Told::Pods(PodUpdate::Restarted((0..PODS).map(pod).collect())),
        Told::Cluster(ClusterUpdate::Restarted {
            kind: ObjectKind::Pod,
            objects: (0..1_000).map(elsewhere).collect(),
        }),
        Told::Cluster(empty(ObjectKind::Service)),
        Told::Cluster(empty(ObjectKind::Endpoints)),
        Told::Cluster(empty(ObjectKind::Node)),
    ]
}

fn empty(kind: ObjectKind) -> ClusterUpdate {
    ClusterUpdate::Restarted {
        kind,
        objects: Vec::new(),
    }
}

fn cgroup(pod: u16) -> u64 {
    1_000 + u64::from(pod)
}

fn uid(pod: u16) -> String {
    format!("00000000-0000-4000-8000-{pod:012x}")
}

fn container(pod: u16) -> String {
    format!("{pod:064x}")
}

fn path(pod: u16) -> String {
    format!("/kubepods/burstable/pod{}/{}", uid(pod), container(pod))
}

fn workload(name: String) -> Arc<Workload> {
    Arc::new(Workload {
        namespace: "shop".into(),
        name: name.into(),
        kind: "Deployment".into(),
    })
}

fn pod(number: u16) -> PodInfo {
    PodInfo {
        uid: uid(number).into(),
        namespace: "shop".into(),
        name: format!("checkout-7d9c5b7f4-{number:05}").into(),
        config_hash: None,
        ips: vec![IpAddr::from(address(number))],
        host_network: false,
        finished: false,
        node_name: Some("node-a".into()),
        start_time: None,
        ready_since: None,
        owners: Vec::new(),
        workload: workload(format!("checkout-{}", number % 50)),
        containers: vec![ContainerInfo {
            name: "checkout".into(),
            ids: vec![container(number).into()],
            ..ContainerInfo::default()
        }],
        labels: ServiceLabels::default(),
        resource_annotations: Vec::new(),
        metadata_attributes: Vec::new(),
    }
}

fn address(pod: u16) -> [u8; 4] {
    let [high, low] = pod.to_be_bytes();
    [10, 1, high, low]
}

fn peer(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [10, 2, high, low]
}

fn elsewhere(number: u16) -> ClusterObject {
    ClusterObject {
        kind: ObjectKind::Pod,
        uid: format!("peer-{number}").into(),
        name: workload(format!("backend-{}", number % 200)),
        addresses: vec![Address::any_port(IpAddr::from(peer(number)))],
        since: None,
        finished: false,
    }
}

/// Who does the next thing, each in turn.
fn by(number: u32) -> (By, u16) {
    let pod = u16::try_from(number % u32::from(PODS)).unwrap_or_default();
    let by = By {
        boot_ns: NOW + u64::from(number) * 1_000,
        cgroup: cgroup(pod),
    };
    (by, pod)
}

/// Of an end that connects to a workload elsewhere.
fn socket(number: u32, pod: u16) -> Socket {
    let turn = number / u32::from(PODS) % u32::from(PEERS);
    let to = u16::try_from(turn).unwrap_or_default() * 100 + pod % 100;
    let port = u16::try_from(32_768 + number % 28_000).unwrap_or_default();
    Socket {
        id: 1_000_000 + u64::from(number),
        local: (address(pod), port),
        remote: (peer(to), 8080),
        role: role::SOURCE,
        pid: 100 + u32::from(pod),
    }
}

pub(crate) fn processes() -> Records {
    let mut records = Records::default();
    for number in 0..EVENTS / 3 {
        let (by, _) = by(number);
        let pid = 10_000 + number;
        records.fork(by, pid, 1);
        let program = ["/bin/sh", "/usr/bin/curl", "/usr/bin/env"][number as usize % 3];
        records.exec(
            by,
            pid,
            program,
            "sh\0-c\0exec /usr/local/bin/check --all\0",
        );
        records.exit(by, pid, by.boot_ns);
        records.freed(by, pid, by.boot_ns);
    }
    records
}

pub(crate) fn connections() -> Records {
    let mut records = Records::default();
    for number in 0..EVENTS / 2 {
        let (by, pod) = by(number);
        let socket = socket(number, pod);
        records.open(by, socket);
        records.close(by, socket);
    }
    records
}

/// The first round opens them.
pub(crate) fn snapshots() -> Records {
    let mut records = Records::default();
    for number in 0..OPEN {
        let (by, pod) = by(number);
        records.snapshot(by, socket(EVENTS + number, pod));
    }
    records
}

pub(crate) fn mixed() -> Records {
    connections().among(&processes().among(&snapshots()))
}
