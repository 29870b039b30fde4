//! Connections that come and go as fast as they can: none of them is taken for one whose end was missed.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use wellhead::counters::Discard;
use wellhead::kernel::ProbeSettings;
use wellhead::telemetry::catalogue::Metric;
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    require::{self, say},
    snapshot::total,
    steps::Steps,
    workload,
};

use crate::{failures::Silent, many_live};

/// Connections that stay, so that walking through the table takes a while.
const HELD: usize = 2_000;
/// Of those that come and go, so many at once in each thread.
const AT_ONCE: usize = 200;
const LASTS: Duration = Duration::from_secs(8);

/// The workload: connections over IPv4 and IPv6, reset or closed in good order, accepted or not, and attempts that are
/// given up, beside connections that stay; until it is told to stop.
pub(crate) fn crowd(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    netns::isolate()?;
    netns::set("ipv4/tcp_tw_reuse", "1")?;
    let held = many_live::pairs(HELD)?;
    let stop = AtomicBool::new(false);
    let [v4, v6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let (opened, attempts) = thread::scope(|scope| {
        let stop = &stop;
        let threads = [(v4, true), (v6, true), (v4, false)]
            .map(|(address, reset)| scope.spawn(move || come_and_go(address, reset, stop)));
        let giving_up = scope.spawn(|| give_up(stop));
        let told = steps.say("crowded", "").and_then(|()| steps.hear("stop"));
        stop.store(true, Ordering::Relaxed);
        let mut opened = 0;
        for thread in threads {
            opened += thread.join().map_err(|_panic| anyhow!("it panicked"))??;
        }
        let attempts = giving_up
            .join()
            .map_err(|_panic| anyhow!("it panicked"))??;
        told.map(|_| (opened, attempts))
    })?;
    steps.hear("close")?;
    drop(held);
    Ok(json!({ "opened": opened, "attempts": attempts }))
}

fn come_and_go(address: IpAddr, reset: bool, stop: &AtomicBool) -> Result<usize> {
    let listener = TcpListener::bind(SocketAddr::new(address, 0))?;
    let (mut sources, mut destinations) = (VecDeque::new(), VecDeque::new());
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        let source = TcpStream::connect(listener.local_addr()?)?;
        if reset {
            set_socket_linger(&source, Some(Duration::ZERO))?;
        } else {
            // Ports of connections in good order stay taken for a while.
            thread::sleep(Duration::from_millis(1));
        }
        sources.push_back(source);
        opened += 1;
        // Some wait to be accepted.
        if sources.len() - destinations.len() > 20 {
            destinations.push_back(listener.accept()?.0);
        }
        if sources.len() > AT_ONCE {
            sources.pop_front();
            destinations.pop_front();
        }
    }
    Ok(opened)
}

fn give_up(stop: &AtomicBool) -> Result<usize> {
    let silent = Silent::new()?;
    let mut attempts = VecDeque::new();
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        attempts.push_back(silent.attempt()?);
        made += 1;
        if attempts.len() > AT_ONCE {
            attempts.pop_front();
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(made)
}

/// The crowd is too much for a guest that is emulated.
pub(crate) fn is_left_out(test: &str) -> bool {
    require::left_out_if_bare(test, &"an emulated machine is too slow for a crowd")
}

pub(crate) fn in_a_crowd() -> Result<()> {
    if is_left_out("missed_none_in_a_crowd") {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    // Nothing is to be lost: it would have the agent look for connections that are gone.
    let probes = ProbeSettings {
        network_ring: 32 << 20,
        ..settings(Some(cgroup.id()))
    };
    let live = Live::start_with(probes, |pipeline| {
        pipeline.snapshot_interval = Duration::from_secs(1);
        // Whoever is missing twice counts as gone, attempts too.
        pipeline.missing_patience = Duration::ZERO;
    })?;
    let missed = || live.counters.discards(Discard::KernelEndMissed);
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "crowd", &[steps.path()?])?;
    steps.hear("crowded")?;
    let start = Instant::now();
    while start.elapsed() < LASTS {
        live.snapshot()?;
        ensure!(missed() == 0, "{} are taken for gone", missed());
        thread::sleep(Duration::from_millis(100));
    }
    steps.say("stop", "")?;
    let held = i64::try_from(2 * HELD)?;
    let active = |read: &_| total(read, Metric::TcpConnectionsActive, &[]);
    let read = live.snapshot_when("those that stay", |read| active(read) == held);
    let read = read.with_context(|| {
        format!(
            "{} are active",
            live.snapshot().map_or(-1, |read| active(&read))
        )
    })?;
    let shown = total(&read, Metric::TcpConnectionsOpened, &[]);
    steps.say("close", "")?;
    let made = running.finish()?;
    say(format_args!(
        "  {} connections and {} attempts came and went; {shown} opened at either end",
        made["opened"], made["attempts"]
    ));
    live.snapshot_when("none", |read| active(read) == 0)?;
    assert_eq!(missed(), 0);
    Ok(())
}
