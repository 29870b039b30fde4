//! State changes that interrupt a state change, of which the kernel skips the program: they are told all the same.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::io::Errno;
use rustix::net::sockopt::{self, set_socket_linger};
use serde_json::{Value, json};
use wellhead::counters::RecordKind;
use wellhead::kernel::ProbeSettings;
use wellhead_common::record::Kind;
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    netns, require,
    require::say,
    steps::Steps,
    workload,
};

use crate::failures::Silent;

/// As many as keep the processors busy with system calls that change states.
const THREADS: usize = 4;

/// Attempts under way: each ends by a timer, whose interrupt comes whatever the processor is doing.
const ATTEMPTS: usize = 2_000;

/// How long to wait until it happens this often. On 5.10 it never does: there a program can interrupt itself.
const PATIENCE: Duration = Duration::from_secs(20);
const OFTEN: u64 = 20;

/// How often all of it is done before something that is missing is more than chance.
const ROUNDS: usize = 5;

const CONNECTIONS: [RecordKind; 3] = [
    RecordKind::TcpOpen,
    RecordKind::TcpClose,
    RecordKind::TcpConnectFailed,
];

/// The workload: connections that are opened and reset at once, beside attempts that time out, until it is told to stop.
pub(crate) fn resets(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    netns::isolate()?;
    crate::many_live::allow_all_files()?;
    share_the_processors()?;
    let silent = Silent::new()?;
    let stop = AtomicBool::new(false);
    let (opened, failed) = thread::scope(|scope| {
        let failing = scope.spawn(|| time_out(&silent, &stop));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| open_and_reset(&stop)))
            .collect();
        let told = steps.hear("stop");
        stop.store(true, Ordering::Relaxed);
        // What keeps the silent one silent.
        let mut opened = 1;
        for thread in threads {
            opened += thread.join().map_err(|_panic| anyhow!("it panicked"))??;
        }
        let failed = failing.join().map_err(|_panic| anyhow!("it panicked"))??;
        told.map(|_| (opened, failed))
    })?;
    drop(silent);
    netns::until_connections_ended()?;
    Ok(json!({ "opened": opened, "failed": failed }))
}

/// Guests run their tests at a real-time priority. This load never sleeps, and the kernel's own threads, which end what
/// times out, would not get to run beside it.
fn share_the_processors() -> Result<()> {
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: `ordinary` outlives the call. It is for the calling thread and those it starts from here on.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const ordinary) };
    ensure!(result == 0, io::Error::last_os_error());
    Ok(())
}

fn time_out(silent: &Silent, stop: &AtomicBool) -> Result<u64> {
    let mut attempts = VecDeque::new();
    let mut failed = 0;
    while !stop.load(Ordering::Relaxed) || !attempts.is_empty() {
        while attempts.len() < ATTEMPTS && !stop.load(Ordering::Relaxed) {
            let attempt = silent.attempt()?;
            // The first retransmission, after a second, finds that the time is over.
            sockopt::set_tcp_user_timeout(&attempt, 100)?;
            attempts.push_back(attempt);
        }
        match attempts.front().map(sockopt::socket_error) {
            Some(Ok(Err(Errno::TIMEDOUT))) => {
                attempts.pop_front();
                failed += 1;
            }
            Some(Ok(Err(error)) | Err(error)) => return Err(error.into()),
            _ => thread::sleep(Duration::from_millis(1)),
        }
    }
    Ok(failed)
}

fn open_and_reset(stop: &AtomicBool) -> Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        let source = TcpStream::connect(listener.local_addr()?)?;
        set_socket_linger(&source, Some(Duration::ZERO))?;
        let _destination = listener.accept()?;
        drop(source);
        opened += 1;
    }
    Ok(opened)
}

/// In one of a few rounds every change is told. A burst of timers that interrupts the first or last few instructions of the first
/// program is told by nobody, which the kernel counts, and so is what preempts both programs since Linux 7.0; and now and then on 6.18 a
/// burst of timers of which it counts nothing.
pub(crate) fn state_changes_are_told() -> Result<()> {
    let mut missing = Vec::new();
    for _ in 0..ROUNDS {
        match one_round()? {
            None => return Ok(()),
            Some(what) => {
                say(format_args!("  {what}; once more"));
                missing.push(what);
            }
        }
    }
    bail!("in no round everything was told: {missing:#?}");
}

/// What was told instead of what happened, if that is not the same. It is never more, and of changes that system calls make none is
/// missing unless the kernel says that it skipped a program.
fn one_round() -> Result<Option<String>> {
    let cgroup = CgroupGuard::new()?;
    let mut tap = Tap::attach(&ProbeSettings {
        network_ring: 16 << 20,
        ..settings(Some(cgroup.id()))
    })?;
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "resets", &[steps.path()?])?;
    let start = Instant::now();
    while tap.probes.programs.taken_over() < OFTEN && start.elapsed() < PATIENCE {
        tap.drain();
        thread::sleep(Duration::from_millis(5));
    }
    steps.say("stop", "")?;
    let made = running.finish()?;
    let made = |what: &str| made[what].as_u64().context("a number");
    let (opened, failed) = (made("opened")?, made("failed")?);
    tap.drain();
    let programs = &tap.probes.programs;
    let taken_over = programs.taken_over();
    let skipped: u64 = programs
        .stats()
        .iter()
        .map(|program| program.recursion_misses)
        .sum();
    if taken_over == 0 {
        require::skip(
            "nested_state_changes_are_told",
            &format_args!(
                "no state change of {opened} connections and {failed} attempts interrupted another"
            ),
        );
    } else {
        say(format_args!(
            "  {taken_over} state changes interrupted others, among {opened} connections and {failed} attempts"
        ));
    }
    let mut told = BTreeMap::<_, u64>::new();
    for (event, _) in tap.events()? {
        if CONNECTIONS.contains(&event.kind()) {
            *told.entry(event.kind().as_str()).or_default() += 1;
        }
    }
    let lost =
        [Kind::TcpOpen, Kind::TcpClose, Kind::TcpConnectFailed].map(|kind| programs.lost(kind));
    let expected = CONNECTIONS.map(RecordKind::as_str);
    let expected: BTreeMap<_, _> = expected
        .into_iter()
        .zip([2 * opened, 2 * opened, failed])
        .collect();
    for (kind, happened) in &expected {
        let told = told.get(kind).copied().unwrap_or_default();
        let by_timers = *kind == RecordKind::TcpConnectFailed.as_str();
        ensure!(
            told == *happened || told < *happened && (by_timers || skipped > 0),
            "{told} {kind} instead of {happened}, while the kernel skipped {skipped} runs"
        );
    }
    Ok((told != expected).then(|| {
        format!(
            "{told:?} instead of {expected:?}; {skipped} runs were skipped, {lost:?} lost, {} turned away",
            programs.turned_away()
        )
    }))
}
