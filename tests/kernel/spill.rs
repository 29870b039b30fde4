//! Floods that find their ring full: the events' details are lost, their totals are not.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wellhead::counters::{Discard, RecordKind};
use wellhead::kernel::ProbeSettings;
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::{PointValue, Snapshot};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    require::say,
    snapshot, workload,
};

/// Listeners, so that there are enough pairs of ports.
const PORTS: usize = 10;
const UP: usize = 100;
const DOWN: usize = 200;

/// Connections of the flood; `WELLHEAD_TEST_CONNECTIONS` says how many.
fn connections() -> Result<usize> {
    match env::var("WELLHEAD_TEST_CONNECTIONS") {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(50_000),
    }
}

/// The workload: opens and closes that many connections, one after another, to each port in turn.
pub(crate) fn flood(arguments: &[String]) -> Result<Value> {
    let all: usize = arguments.first().context("how many?")?.parse()?;
    netns::isolate()?;
    let mut ports = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..PORTS {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        ports.push(listener.local_addr()?.port());
        servers.push(thread::spawn(move || serve(&listener, all / PORTS)));
    }
    for number in 0..all {
        let mut stream = TcpStream::connect(("127.0.0.1", ports[number % PORTS]))?;
        stream.write_all(&[b'u'; UP])?;
        stream.read_exact(&mut [0; DOWN])?;
    }
    for server in servers {
        let done = server.join();
        done.map_err(|_panic| anyhow::anyhow!("a server panicked"))??;
    }
    Ok(json!({}))
}

fn serve(listener: &TcpListener, connections: usize) -> Result<()> {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept()?;
        stream.read_exact(&mut [0; UP])?;
        stream.write_all(&[b'd'; DOWN])?;
        ensure!(stream.read(&mut [0])? == 0, "more than was sent");
    }
    Ok(())
}

/// With room for every kind of loss, nothing but details is lost.
pub(crate) fn connections_are_counted() -> Result<()> {
    let (live, all) = flooded(settings(None).spill)?;
    let read = live.snapshot()?;
    for reporter in ["source", "destination"] {
        let (sent, received) = if reporter == "source" {
            (UP, DOWN)
        } else {
            (DOWN, UP)
        };
        let check = |metric, more: &[_], expected: usize| {
            let having = [&[(Attr::Reporter, reporter)], more].concat();
            let found = snapshot::total(&read, metric, &having);
            let what = format!("{metric:?} {having:?}");
            check_count(&live, &what, found, snapshot::number(expected));
        };
        check(Metric::TcpConnectionsOpened, &[], all);
        check(Metric::TcpConnectionsClosed, &[], all);
        if skipped(&live) > 0 {
            continue;
        }
        check(Metric::TcpConnectionsActive, &[], 0);
        check(
            Metric::TcpIo,
            &[(Attr::NetworkIoDirection, "transmit")],
            all * sent,
        );
        check(
            Metric::TcpIo,
            &[(Attr::NetworkIoDirection, "receive")],
            all * received,
        );
    }
    assert_eq!(live.counters.discards(Discard::KernelSpillFull), 0);
    check_losses(&live, &read, all)
}

/// Without room even for that, totals lose their peers and nothing else.
pub(crate) fn totals_outlive_a_full_map() -> Result<()> {
    // The entries that are always there, and one.
    let (live, all) = flooded(13)?;
    let read = live.snapshot()?;
    let check = |metric, expected: usize| {
        assert_eq!(
            snapshot::total(&read, metric, &[]),
            snapshot::number(expected),
            "{metric:?}"
        );
    };
    check(Metric::TcpConnectionsOpened, 2 * all);
    check(Metric::TcpConnectionsClosed, 2 * all);
    check(Metric::TcpConnectionsActive, 0);
    check(Metric::TcpIo, 2 * all * (UP + DOWN));
    let coarse = live.counters.discards(Discard::KernelSpillFull);
    ensure!(coarse > 0, "the map was never full");
    say(format_args!(
        "  {coarse} losses counted without their peers"
    ));
    check_losses(&live, &read, all)
}

/// Runs of the programs that the kernel skipped, as newer kernels do with a program that was preempted: what these would
/// have told, nobody can add up.
fn skipped(live: &Live) -> i64 {
    i64::try_from(live.counters.discards(Discard::KernelRecursion)).unwrap_or(i64::MAX)
}

/// Found is as expected; less, by no more than was skipped, where the kernel skipped runs of the programs.
fn check_count(live: &Live, what: &str, found: i64, expected: i64) {
    let skipped = skipped(live);
    if skipped == 0 {
        assert_eq!(found, expected, "{what}");
        return;
    }
    say(format_args!(
        "  {what}: {found} of {expected}, and the kernel skipped {skipped} runs"
    ));
    assert!(found <= expected, "{what}: {found}, more than {expected}");
    assert!(
        found + skipped >= expected,
        "{what}: {found} of {expected}, {skipped} skipped"
    );
}

/// A flood over the smallest ring there is, read to its end: one half as it comes, the other only afterwards.
fn flooded(spill: u32) -> Result<(Live, usize)> {
    let all = connections()?;
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(ProbeSettings {
        network_ring: u32::try_from(rustix::param::page_size())?,
        spill,
        ..settings(Some(cgroup.id()))
    })?;
    let half = (all / 2).to_string();
    workload::run(&cgroup, "flood", &[&half])?;
    live.while_nobody_reads(|| workload::run(&cgroup, "flood", &[&half]))?;
    let ends = snapshot::number(2 * all);
    live.snapshot_when("all ends", |read| {
        snapshot::total(read, Metric::TcpConnectionsClosed, &[]) + skipped(&live) >= ends
    })?;
    Ok((live, all))
}

/// What was read and what was lost is what was made, and completeness says so.
fn check_losses(live: &Live, read: &Snapshot, all: usize) -> Result<()> {
    let both = |kind| {
        let (read, lost) = (live.counters.records(kind), live.counters.lost(kind));
        say(format_args!(
            "  {}: {read} read, {lost} lost",
            kind.as_str()
        ));
        let found = i64::try_from(read + lost).unwrap_or(i64::MAX);
        check_count(live, kind.as_str(), found, snapshot::number(2 * all));
        (read, lost)
    };
    let (opens, closes) = (both(RecordKind::TcpOpen), both(RecordKind::TcpClose));
    ensure!(closes.1 > 0, "no end was lost, so nothing was shown");
    let consumed = opens.0 + closes.0;
    let missing = opens.1 + closes.1 + live.counters.skipped(RecordKind::TcpClose);
    let exactly = |records: u64| u32::try_from(records).map(f64::from);
    let expected = exactly(consumed)? / exactly(consumed + missing)?;
    let signal = [(Attr::Signal, "tcp")];
    let point = snapshot::points(read, Metric::AgentCompleteness, &signal).next();
    let point = point.context("completeness of tcp")?;
    let PointValue::Float(found) = point.value else {
        anyhow::bail!("{point:?}");
    };
    ensure!(
        (found - expected).abs() < 1e-12,
        "completeness {found}, not {expected}"
    );
    ensure!(found < 1.0, "complete");
    Ok(())
}

/// Processes whose events found their ring full are counted all the same.
pub(crate) fn processes_are_counted() -> Result<()> {
    let processes = crate::storm::processes()?;
    let cgroup = CgroupGuard::new()?;
    let directory = tempfile::tempdir()?;
    let place = directory.path().to_str().context("UTF-8")?;
    let live = Live::start(ProbeSettings {
        process_ring: u32::try_from(rustix::param::page_size())?,
        ..settings(Some(cgroup.id()))
    })?;
    let number = processes.to_string();
    live.while_nobody_reads(|| workload::run(&cgroup, "storm", &[place, &number]))?;
    let all = i64::try_from(processes)?;
    // The storm itself executes and ends too.
    let read = live.snapshot_when("all exits", |read| {
        snapshot::total(read, Metric::ProcessExits, &[]) + skipped(&live) > all
    })?;
    let lost: u64 = [RecordKind::Fork, RecordKind::Exec, RecordKind::Exit]
        .map(|kind| live.counters.lost(kind))
        .iter()
        .sum();
    ensure!(lost > 0, "nothing was lost, so nothing was shown");
    say(format_args!("  {lost} records lost"));
    assert_eq!(snapshot::total(&read, Metric::ProcessForks, &[]), all);
    assert_eq!(snapshot::total(&read, Metric::ProcessExecs, &[]), all + 1);
    assert_eq!(snapshot::total(&read, Metric::ProcessExits, &[]), all + 1);
    let succeeded = [(Attr::ProcessExitCode, "0")];
    assert_eq!(
        snapshot::total(&read, Metric::ProcessExits, &succeeded),
        all + 1
    );
    Ok(())
}
