//! Connections that were open before the agent, and what open ones carry.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::RecordKind;
use wellhead::events::{Body, Role, Totals};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::Snapshot;
use wellhead_tests::{
    capture::{Live, Tap, settings},
    cgroup::CgroupGuard,
    netns, snapshot,
    steps::Steps,
    workload,
};

use crate::pods::Container;

pub(crate) const CONNECTIONS: usize = 200;
/// Bytes in both directions at the start, and in each later round.
pub(crate) const FIRST: (usize, usize) = (1_000, 400);
pub(crate) const ROUND: (usize, usize) = (10, 5);
pub(crate) const ROUNDS: usize = 3;

/// The workload: keeps connections open, sends a little whenever it is told to, and closes them.
pub(crate) fn long_lived(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    let netns = netns::isolate()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut pairs = Vec::new();
    for _ in 0..CONNECTIONS {
        let source = TcpStream::connect(("127.0.0.1", port))?;
        pairs.push((source, listener.accept()?.0));
    }
    exchange(&mut pairs, FIRST)?;
    steps.say("open", &port.to_string())?;
    for _ in 0..ROUNDS {
        steps.hear("go")?;
        exchange(&mut pairs, ROUND)?;
        steps.say("sent", "")?;
    }
    steps.hear("go")?;
    drop(pairs);
    netns::until_connections_ended()?;
    Ok(json!({ "netns": netns }))
}

fn exchange(pairs: &mut [(TcpStream, TcpStream)], (up, down): (usize, usize)) -> Result<()> {
    for (source, destination) in pairs {
        source.write_all(&vec![b'u'; up])?;
        destination.read_exact(&mut vec![0; up])?;
        destination.write_all(&vec![b'd'; down])?;
        source.read_exact(&mut vec![0; down])?;
    }
    Ok(())
}

/// What is counted of the workload's connections, source and destination.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    opened: [i64; 2],
    active: [i64; 2],
    closed: [i64; 2],
    sent: [i64; 2],
    received: [i64; 2],
}

impl Counted {
    fn of(read: &Snapshot, port: &str) -> Self {
        let both = |metric, direction: Option<&'static str>| {
            ["source", "destination"].map(|reporter| {
                let mut having = vec![(Attr::Reporter, reporter), (Attr::DestinationPort, port)];
                having.extend(direction.map(|direction| (Attr::NetworkIoDirection, direction)));
                snapshot::total(read, metric, &having)
            })
        };
        Self {
            opened: both(Metric::TcpConnectionsOpened, None),
            active: both(Metric::TcpConnectionsActive, None),
            closed: both(Metric::TcpConnectionsClosed, None),
            sent: both(Metric::TcpIo, Some("transmit")),
            received: both(Metric::TcpIo, Some("receive")),
        }
    }

    /// All connections open after this many rounds, counted from the start or from when the agent came.
    fn open(opened: i64, first: (usize, usize), rounds: usize) -> Self {
        let all = snapshot::number(CONNECTIONS);
        let carried = |first: usize, round: usize| all * snapshot::number(first + rounds * round);
        let (up, down) = (carried(first.0, ROUND.0), carried(first.1, ROUND.1));
        Self {
            opened: [opened; 2],
            active: [all; 2],
            closed: [0; 2],
            sent: [up, down],
            received: [down, up],
        }
    }

    fn closed(self) -> Self {
        Self {
            active: [0; 2],
            closed: [snapshot::number(CONNECTIONS); 2],
            ..self
        }
    }
}

fn start(cgroup: &CgroupGuard) -> Result<Live> {
    Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(300);
    })
}

/// Every round shows while the connections are open, and the end adds nothing to it.
fn follow(
    live: &Live,
    steps: &Steps,
    port: &str,
    (opened, first): (i64, (usize, usize)),
) -> Result<()> {
    for round in 0..=ROUNDS {
        let expected = Counted::open(opened, first, round);
        let what = format!("round {round}");
        let read = live.snapshot_when(&what, |read| Counted::of(read, port) == expected);
        if let Err(error) = read {
            let found = Counted::of(&*live.snapshot()?, port);
            anyhow::bail!("{error}: {found:?} instead of {expected:?}");
        }
        steps.say("go", "")?;
        if round < ROUNDS {
            steps.hear("sent")?;
        }
    }
    let expected = Counted::open(opened, first, ROUNDS).closed();
    let all_closed = |read: &Snapshot| Counted::of(read, port).closed == expected.closed;
    let read = live.snapshot_when("the ends", all_closed)?;
    assert_eq!(Counted::of(&read, port), expected);
    live.ensure_nothing_lost()
}

pub(crate) fn older_connections() -> Result<()> {
    // A number that no other test uses.
    let owner = Container::numbered(u32::MAX - 1);
    let (cgroup, steps) = (CgroupGuard::at(&owner.cgroup())?, Steps::new()?);
    let running = workload::start(&cgroup, "long_lived", &[steps.path()?])?;
    let port = steps.hear("open")?;
    in_the_first_snapshot(&cgroup, &owner, &port)?;
    let live = start(&cgroup)?;
    follow(&live, &steps, &port, (0, (0, 0)))?;
    running.finish()?;
    Ok(())
}

/// All are active, each with its owner, once the first snapshot is complete; there is no second.
fn in_the_first_snapshot(cgroup: &CgroupGuard, owner: &Container, port: &str) -> Result<()> {
    let live = Live::start_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_hours(1);
    })?;
    let ends = 2 * CONNECTIONS as u64;
    let told = |_: &Snapshot| live.counters.records(RecordKind::TcpSnapshot) >= ends;
    let read = live.snapshot_when("the first snapshot", told)?;
    let told = live.counters.records(RecordKind::TcpSnapshot);
    assert_eq!(told, ends, "each end once");
    assert_eq!(Counted::of(&read, port), Counted::open(0, (0, 0), 0));
    for point in snapshot::points(&read, Metric::TcpConnectionsActive, &[]) {
        let resource = snapshot::resource(&read, point).context("a resource")?;
        let pod = snapshot::of_resource(resource, "k8s.pod.uid");
        assert_eq!(pod.as_deref(), Some(owner.pod()), "{resource:?}");
    }
    live.ensure_nothing_lost()
}

pub(crate) fn open_connections() -> Result<()> {
    let (cgroup, steps) = (CgroupGuard::new()?, Steps::new()?);
    let live = start(&cgroup)?;
    let running = workload::start(&cgroup, "long_lived", &[steps.path()?])?;
    let port = steps.hear("open")?;
    follow(&live, &steps, &port, (snapshot::number(CONNECTIONS), FIRST))?;
    running.finish()?;
    Ok(())
}

/// Each is told once in a snapshot, with the process that holds it; and the process itself is told.
pub(crate) fn owners() -> Result<()> {
    let (cgroup, steps) = (CgroupGuard::new()?, Steps::new()?);
    let running = workload::start(&cgroup, "long_lived", &[steps.path()?])?;
    let port: u16 = steps.hear("open")?.parse()?;
    let mut tap = Tap::attach(&settings(Some(cgroup.id())))?;
    tap.probes.live.tell_processes()?;
    tap.probes.live.learn_listeners()?;
    for _ in 0..2 {
        tap.probes.programs.begin_snapshot();
        tap.probes.live.tell_connections()?;
        // Nobody is told twice in one snapshot.
        tap.probes.live.tell_connections()?;
        tap.drain();
    }
    let pid = running.pid();
    let tells_owner = tap
        .probes
        .features
        .iter()
        .any(|status| status.mechanism == "iter/task_file");
    let mut ends = [0, 0];
    let mut processes = 0;
    for (event, _) in tap.events()? {
        match event.body {
            Body::TcpSnapshot(end) => {
                let connection = end.connection;
                assert_eq!(event.cgroup_id, cgroup.id());
                assert!(connection.older_than_agent, "{connection:?}");
                let owner = connection.owner.map(|owner| owner.pid);
                assert_eq!(owner, tells_owner.then_some(pid), "{connection:?}");
                let (role, local) = (connection.role, connection.local.port());
                let expected = if local == port {
                    Role::Destination
                } else {
                    Role::Source
                };
                assert_eq!(role, Some(expected), "{connection:?}");
                assert_eq!(
                    end.totals.since(&Totals::from(&end.reported)).bytes_sent,
                    0,
                    "{connection:?}"
                );
                ends[usize::from(expected == Role::Source)] += 1;
            }
            Body::Found(found) => {
                assert_eq!(found.process.pid, pid);
                processes += 1;
            }
            // Who listens, and whether anybody waits there.
            Body::TcpListener(_) => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
    assert_eq!(ends, [2 * CONNECTIONS; 2], "both ends in both snapshots");
    ensure!(processes == 1, "{processes} processes");
    Ok(())
}
