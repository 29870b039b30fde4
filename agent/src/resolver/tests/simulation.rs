//! What a large cluster costs: 5 000 nodes and 150 000 pods, of which a hundred come and a hundred go every second.
//!
//! Not a test: it takes minutes and prints. By name:
//!
//! ```text
//! cargo test --release -p wellhead --lib -- --ignored --exact --nocapture resolver::tests::simulation::resolver
//! ```
//!
//! `WELLHEAD_TEST_AGENTS` says how many agents there are instead of fifty.
//!
//! The agents are in a process of their own, so that what is measured of the resolver is the resolver's.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::super::board::BoardLimits;
use super::support::Rig;
use crate::identity::Workload;
use crate::identity::cluster::{
    Address, ClusterObject, ClusterTable, ClusterUpdate, Moment, ObjectKind, Source,
};
use crate::identity::remote::{RemoteSettings, ResolverClient};
use crate::kernel::Clock;
use crate::memory;
use crate::tls::ClientFiles;

const NODES: u32 = 5_000;
const PODS: u32 = 150_000;
const SERVICES: u32 = 4_000;
const PODS_PER_WORKLOAD: u32 = 25;
const CHURN: u32 = 100;
/// Objects that an agent knows at most with `memory_budget: 384MiB`.
const ROOM: usize = 172_032;
const MEASURED: Duration = Duration::from_mins(1);
const CONNECTED: &str = "agents connected";
const HOW_MANY: &str = "WELLHEAD_TEST_AGENTS";
const ADDRESS: &str = "WELLHEAD_TEST_RESOLVER";

fn uid() -> Arc<str> {
    let mut text = format!("{:032x}", fastrand::u128(..));
    for hyphen in [8, 13, 18, 23] {
        text.insert(hyphen, '-');
    }
    text.into()
}

fn object(kind: ObjectKind, name: &Arc<Workload>, ip: u32) -> ClusterObject {
    ClusterObject {
        kind,
        uid: uid(),
        name: Arc::clone(name),
        addresses: vec![Address {
            ip: IpAddr::V4(Ipv4Addr::from_bits(ip)),
            port: None,
        }],
        since: Timestamp::from_second(1_790_000_000 + i64::from(ip % 1_000_000)).ok(),
        finished: false,
    }
}

fn named(kind: &str, number: u32) -> Arc<Workload> {
    Arc::new(Workload {
        namespace: format!("team-{:03}-production", number % 200).into(),
        name: format!("{}-service-{number:05}", kind.to_lowercase()).into(),
        kind: kind.into(),
    })
}

/// Bytes of this process in memory.
fn resident(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Seconds of processor time this process has used.
fn used() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
    f64::from(ticks) / 100.0
}

fn mib(bytes: u64) -> String {
    format!(
        "{:.1} MiB",
        f64::from(u32::try_from(bytes >> 10).unwrap()) / 1024.0
    )
}

fn say(what: &str, value: impl std::fmt::Display) {
    println!("{what:<58} {value}");
}

/// The other process, until this is dropped.
struct Agents(Child);

impl Agents {
    fn start(rig: &Rig) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("resolver::tests::simulation::agents")
            .env(ADDRESS, rig.address.to_string())
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }
}

/// Waits until the agents say that they are connected, and goes on reading: whoever cannot write any more ends.
async fn connected(output: ChildStdout) {
    let (connected, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut connected = Some(connected);
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.contains("agent:") {
                say(line.trim(), "");
            }
            if line.contains(CONNECTED)
                && let Some(connected) = connected.take()
            {
                connected.send(()).unwrap();
            }
        }
    });
    told.await.unwrap();
}

impl Drop for Agents {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and prints what it measured"]
async fn resolver() {
    say("memory before anything", mib(resident("self")));
    let rig = Rig::start(BoardLimits::default()).await;
    let workloads: Vec<_> = (0..PODS / PODS_PER_WORKLOAD)
        .map(|number| named("Deployment", number))
        .collect();
    let pods: Vec<_> = (0..PODS)
        .map(|number| {
            object(
                ObjectKind::Pod,
                of(&workloads, number),
                0x0a00_0000 + number,
            )
        })
        .collect();
    // What the generator takes, and the set that a watch keeps: they share the texts with the table.
    let mut known: Vec<_> = pods.iter().map(|pod| Arc::clone(&pod.uid)).collect();
    let mut watched: HashSet<_> = known.iter().cloned().collect();
    let services: Vec<_> = (0..SERVICES)
        .map(|number| {
            object(
                ObjectKind::Service,
                &named("Service", number),
                0x0b00_0000 + number,
            )
        })
        .collect();
    let nodes: Vec<_> = (0..NODES)
        .map(|number| {
            object(
                ObjectKind::Node,
                &named("Node", number),
                0x0c00_0000 + number,
            )
        })
        .collect();
    say("memory with the lists as they come", mib(resident("self")));
    let started = Instant::now();
    for (kind, objects) in [
        (ObjectKind::Node, nodes),
        (ObjectKind::Service, services),
        (ObjectKind::Endpoints, Vec::new()),
        (ObjectKind::Pod, pods),
    ] {
        let update = ClusterUpdate::Restarted { kind, objects };
        rig.updates.send(update).await.unwrap();
    }
    rig.board
        .readiness()
        .wait_for(|ready| *ready)
        .await
        .unwrap();
    say(
        "taking 159 000 objects in",
        format!("{:?}", started.elapsed()),
    );
    memory::release_freed();
    say("memory with the table", mib(resident("self")));

    let mut agents = Agents::start(&rig);
    let connecting = (Instant::now(), used());
    connected(agents.0.stdout.take().unwrap()).await;
    let counted = rig.board.stats.read();
    say("agents", counted.clients);
    say("bytes of a snapshot", mib(counted.bytes / counted.clients));
    let seconds = used() - connecting.1;
    say(
        "processor time for all their snapshots",
        format!("{seconds:.2} s over {:?}", connecting.0.elapsed()),
    );
    say("memory with all agents", mib(resident("self")));

    let before = (
        rig.board.stats.read(),
        used(),
        Instant::now(),
        rig.board.head(),
    );
    churn(&rig, &workloads, &mut known, &mut watched).await;
    let (after, seconds) = (rig.board.stats.read(), used() - before.1);
    let elapsed = before.2.elapsed().as_secs_f64();
    say("churn: deltas", rig.board.head() - before.3);
    let bytes = after.bytes - before.0.bytes;
    say("bytes per agent and minute", mib(bytes / after.clients));
    say("snapshots meanwhile", after.snapshots - before.0.snapshots);
    say(
        "processor",
        format!("{:.2} % of one", seconds / elapsed * 100.0),
    );
    say("memory after the churn", mib(resident("self")));
    assert_eq!(watched.len(), known.len());
    let pid = agents.0.id().to_string();
    say("memory of the process of all agents", mib(resident(&pid)));
}

/// The workload a pod belongs to.
fn of(workloads: &[Arc<Workload>], pod: u32) -> &Arc<Workload> {
    &workloads[(pod / PODS_PER_WORKLOAD) as usize % workloads.len()]
}

/// Pods come and go for as long as is measured.
async fn churn(
    rig: &Rig,
    workloads: &[Arc<Workload>],
    known: &mut [Arc<str>],
    watched: &mut HashSet<Arc<str>>,
) {
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut next = PODS;
    while started.elapsed() < MEASURED {
        tick.tick().await;
        for _ in 0..CHURN / 10 {
            let workload = of(workloads, fastrand::u32(..PODS));
            let new = object(ObjectKind::Pod, workload, 0x0a00_0000 + next % (1 << 23));
            next += 1;
            let at = fastrand::usize(..known.len());
            watched.insert(Arc::clone(&new.uid));
            let uid = std::mem::replace(&mut known[at], Arc::clone(&new.uid));
            watched.remove(&uid);
            // Most of what a watch tells of a pod changes nothing here.
            for _ in 0..4 {
                let update = ClusterUpdate::Applied(Box::new(new.clone()));
                rig.updates.send(update).await.unwrap();
            }
            let kind = ObjectKind::Pod;
            let deleted = ClusterUpdate::Deleted { kind, uid };
            rig.updates.send(deleted).await.unwrap();
        }
    }
}

fn now() -> Moment {
    let clock = Clock::new();
    Moment {
        boot: Clock::boot_ns(),
        unix: clock.now_unix_nano(),
    }
}

/// The other process of the simulation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "part of the simulation"]
async fn agents() {
    let Ok(address) = std::env::var(ADDRESS) else {
        return;
    };
    let settings = RemoteSettings {
        url: format!("http://{address}").parse().unwrap(),
        tls: ClientFiles::default(),
        node_name: "node".to_owned(),
        max_objects: 1_000_000,
    };
    let before = resident("self");
    // As large as an agent's is that has room for all of it; linger in nanoseconds.
    let mut table = ClusterTable::new(ROOM, 120_000_000_000);
    let agents = std::env::var(HOW_MANY).map_or(50, |number| number.parse().unwrap());
    for number in 0..agents {
        let (sender, mut updates) = mpsc::channel(256);
        let (client, mut status) = ResolverClient::new(settings.clone(), sender);
        tokio::spawn(client.run());
        if number == 0 {
            let started = Instant::now();
            let mut turned_away = 0;
            for _ in ObjectKind::ALL {
                if let Some(update) = updates.recv().await {
                    turned_away += table.apply(update, Source::Cluster, now());
                }
            }
            let elapsed = started.elapsed();
            memory::release_freed();
            let grown = mib(resident("self") - before);
            let known = table.len();
            say(
                &format!(
                    "agent: {known} objects in its table take {grown} after {elapsed:?}; {turned_away} found no room"
                ),
                "",
            );
        }
        tokio::spawn(async move { while updates.recv().await.is_some() {} });
        status.wait_for(|status| status.listed).await.unwrap();
    }
    memory::release_freed();
    say(CONNECTED, "");
    std::io::stdout().flush().unwrap();
    std::future::pending::<()>().await;
}
