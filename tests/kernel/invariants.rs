//! The agent's check of itself: its active connections against the kernel's own count, where that is known to differ and
//! where it must not.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::{Value, json};
use wellhead::kernel::{Hooks, ProbeSettings};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    snapshot::{points, total, total_of},
    workload,
};

/// Held at both ends, and older than the agent.
const OLDER: usize = 10;
/// Not yet accepted when the agent starts.
const WAITING: usize = 3;
/// Closed at one end when the agent starts, so nobody's there.
const ORPHANS: usize = 2;
/// Opened under the agent's eyes.
const NEWER: usize = 5;
/// Room for connections where it is not enough.
const ROOM: u32 = 16;

type Pair = (TcpStream, TcpStream);

/// A listener and both ends of connections to it.
struct Local {
    listener: TcpListener,
    pairs: Vec<Pair>,
}

impl Local {
    fn new() -> Result<Self> {
        Ok(Self {
            listener: TcpListener::bind("127.0.0.1:0")?,
            pairs: Vec::new(),
        })
    }

    fn connect(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(self.listener.local_addr()?)?)
    }

    fn open(&mut self, number: usize) -> Result<()> {
        for _ in 0..number {
            self.pairs
                .push((self.connect()?, self.listener.accept()?.0));
        }
        Ok(())
    }

    /// Connections whose source is closed and whose destination is not.
    fn orphans(&self, number: usize) -> Result<Vec<TcpStream>> {
        let destinations = (0..number).map(|_| {
            let source = self.connect()?;
            let destination = self.listener.accept()?.0;
            drop(source);
            ensure!(destination.peek(&mut [0])? == 0, "data came");
            Ok(destination)
        });
        destinations.collect()
    }
}

/// The agent in this process, which sees the process's own cgroup and network namespace and no other.
fn start(cgroup: &str, rung: &str, connections: u32) -> Result<Live> {
    let held = capabilities(None)?;
    let mut fewer = held;
    // Nobody else's namespace can be entered without, so what others do is not in the result.
    fewer.effective -= CapabilitySet::SYS_ADMIN;
    fewer.permitted -= CapabilitySet::SYS_ADMIN;
    set_capabilities(None, fewer)?;
    let refused = match rung {
        "first" => Vec::new(),
        "iter/tcp" => vec!["live_listeners"],
        other => anyhow::bail!("not expected: {other}"),
    };
    let settings = ProbeSettings {
        connections,
        hooks: Hooks {
            refused,
            ..Hooks::default()
        },
        ..settings(Some(cgroup.parse()?))
    };
    Live::start_with(settings, |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(100);
    })
}

fn drift(read: &Snapshot, invariant: &str) -> Option<i64> {
    let having = [(Attr::Invariant, invariant)];
    points(read, Metric::AgentInvariantDrift, &having)
        .next()
        .map(total_of)
}

/// Waits until so many connections are active, and so many of them more than the kernel counts.
fn expect(live: &Live, what: &str, active: usize, against_kernel: i64) -> Result<()> {
    let found = |read: &Snapshot| {
        let active = total(read, Metric::TcpConnectionsActive, &[]);
        (active, drift(read, "tcp_active_kernel"))
    };
    let expected = (i64::try_from(active)?, Some(against_kernel));
    let read = live.snapshot_when(what, |read| found(read) == expected);
    let read = read.with_context(|| {
        let found = live.snapshot().map(|read| found(&read));
        format!("{found:?} instead of {expected:?}")
    })?;
    for invariant in ["tcp_balance", "tcp_active_series"] {
        assert_eq!(drift(&read, invariant), Some(0), "{what}: {invariant}");
    }
    Ok(())
}

/// The workload: an agent beside connections of every age.
pub(crate) fn of_every_age(arguments: &[String]) -> Result<Value> {
    let [cgroup, rung] = arguments else {
        anyhow::bail!("whose and by which way?");
    };
    netns::isolate()?;
    // An orphan stays a whole socket where it has to be kept for longer than remains are.
    netns::set("ipv4/tcp_fin_timeout", "120")?;
    let mut older = Local::new()?;
    older.open(OLDER)?;
    older.pairs[0].0.shutdown(Shutdown::Write)?;
    older.pairs[1].1.shutdown(Shutdown::Write)?;
    let orphans = older.orphans(ORPHANS)?;
    let waiting: Vec<TcpStream> = (0..WAITING)
        .map(|_| older.connect())
        .collect::<Result<_>>()?;

    let live = start(cgroup, rung, 4_096)?;
    let by_socket = points(
        &*live.snapshot()?,
        Metric::AgentFeature,
        &[(Attr::Mechanism, "iter/tcp")],
    )
    .next()
    .is_some();
    ensure!(by_socket || rung == "first", "it is another way");
    // What no process holds is met only where sockets are told one by one.
    let unheld = if by_socket { 0 } else { ORPHANS + WAITING };
    let all = 2 * (OLDER + ORPHANS + WAITING);
    expect(&live, "older", all - unheld, -i64::try_from(unheld)?)?;

    for source in waiting {
        older.pairs.push((source, older.listener.accept()?.0));
    }
    drop(orphans);
    let known = 2 * (OLDER + WAITING);
    expect(&live, "accepted, and orphans gone", known, 0)?;

    let mut newer = Local::new()?;
    newer.open(NEWER)?;
    newer.pairs[0].0.shutdown(Shutdown::Write)?;
    let orphans = newer.orphans(ORPHANS)?;
    let waiting = newer.connect()?;
    let known = known + 2 * (NEWER + ORPHANS + 1);
    expect(&live, "newer", known, 0)?;

    drop((older, newer, orphans, waiting));
    expect(&live, "none", 0, 0)?;
    Ok(json!({}))
}

/// The workload: an agent that has room for some of the connections.
pub(crate) fn beyond_room(arguments: &[String]) -> Result<Value> {
    let cgroup = arguments.first().context("whose?")?;
    netns::isolate()?;
    let live = start(cgroup, "first", ROOM)?;
    let room = usize::try_from(ROOM)?;
    let mut local = Local::new()?;
    expect(&live, "none", 0, 0)?;
    local.open(room / 2 + 4)?;
    expect(&live, "too many", room, -8)?;
    // What is left finds room.
    local.pairs.truncate(room / 2);
    expect(&live, "as many as there is room for", room, 0)?;
    Ok(json!({}))
}

pub(crate) fn at_rest(rung: &str) -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let id = cgroup.id().to_string();
    workload::run(&cgroup, "of_every_age", &[&id, rung]).map(drop)
}

pub(crate) fn wrong_table() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let id = cgroup.id().to_string();
    workload::run(&cgroup, "beyond_room", &[&id]).map(drop)
}
