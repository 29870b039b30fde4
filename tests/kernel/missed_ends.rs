//! Ends that no program told of: connections are not active for ever, and the table of open ones does not fill up.

use std::{
    ffi::CStr,
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::UnshareFlags;
use serde_json::{Value, json};
use wellhead::counters::Discard;
use wellhead::kernel::{
    NAMESPACES, ProbeSettings, Probes, TcpState, count_tcp, live_tcp_connections,
};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead::telemetry::snapshot::{PointValue, Snapshot};
use wellhead_common::maps::state::SERVE_UNTIL;
use wellhead_tests::{
    capture::{DEADLINE, Live, settings},
    cgroup::CgroupGuard,
    netns,
    pinned::PinnedMap,
    require::skip,
    snapshot::{points, total, total_of},
    steps::Steps,
    workload,
};

use crate::{failures::Silent, many_live, missed_none, restart::PinGuard};

/// Connections, each with two ends here.
const PAIRS: usize = 100;
const ENDS: usize = 2 * PAIRS;
/// Attempts that are given up unseen, and others that go on.
const GIVEN_UP: usize = 3;
const GOING_ON: usize = 2;
/// What keeps them waiting: both ends of a connection that is not accepted.
const QUEUED: usize = 2;

const PAUSE: Duration = Duration::from_millis(5);

/// The workload: closes its connections when it is told to, and then `stays` or `goes`.
pub(crate) fn end_unseen(arguments: &[String]) -> Result<Value> {
    let [steps, after] = arguments else {
        anyhow::bail!("where, and what then?");
    };
    let steps = Steps::at(steps);
    netns::isolate()?;
    let pairs = many_live::pairs(PAIRS)?;
    steps.say("open", "")?;
    steps.hear("close")?;
    drop(pairs);
    wait_for(0, 0)?;
    steps.say("closed", "")?;
    if after == "stays" {
        steps.hear("end")?;
    }
    Ok(json!({}))
}

/// The workload: the same beside attempts to connect, some of which it gives up.
pub(crate) fn leave_unseen(arguments: &[String]) -> Result<Value> {
    let steps = Steps::at(arguments.first().context("where?")?);
    netns::isolate()?;
    let pairs = many_live::pairs(PAIRS)?;
    let silent = Silent::new()?;
    let attempts =
        |number: usize| -> Result<Vec<_>> { (0..number).map(|_| silent.attempt()).collect() };
    let (given_up, going_on) = (attempts(GIVEN_UP)?, attempts(GOING_ON)?);
    steps.say("open", "")?;
    steps.hear("close")?;
    drop((pairs, given_up));
    wait_for(QUEUED as u64, GOING_ON as u64)?;
    steps.say("closed", "")?;
    steps.hear("end")?;
    drop(going_on);
    Ok(json!({}))
}

/// Waits until so many connections and attempts are left in this network namespace.
fn wait_for(live: u64, attempts: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let counts = count_tcp(&TcpState::CONNECTING_OR_LIVE)?;
        if (counts.live(), counts.of(TcpState::SynSent)) == (live, attempts) {
            return Ok(());
        }
        ensure!(start.elapsed() < DEADLINE, "{counts:?} are left");
        thread::sleep(PAUSE);
    }
}

/// An agent whose programs stay when it goes.
fn start(settings: &ProbeSettings) -> Result<Live> {
    Live::start_with(settings.clone(), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(200);
        // Who is missing twice is gone, wherever that was.
        pipeline.missing_patience = Duration::ZERO;
    })
}

fn pinned(cgroup: &CgroupGuard, pins: &Path) -> ProbeSettings {
    ProbeSettings {
        pin_directory: Some(pins.to_owned()),
        ..settings(Some(cgroup.id()))
    }
}

/// Whether this kernel lets programs know sockets by their cookies.
fn knows_cookies(test: &str) -> Result<bool> {
    let probes = Probes::attach(&settings(None))?;
    let knows = probes.programs.connection_table().is_some();
    if !knows {
        skip(test, &"the programs do not know sockets by their cookies");
    }
    Ok(knows)
}

/// The programs stand still, as if nobody had attended to them for ten minutes, while `act` runs.
fn standing_still(steering: &PinnedMap, act: impl FnOnce() -> Result<()>) -> Result<u64> {
    let until = steering.slot(SERVE_UNTIL)?;
    steering.set_slot(SERVE_UNTIL, 1)?;
    act().map(|()| until)
}

fn active(read: &Snapshot) -> i64 {
    total(read, Metric::TcpConnectionsActive, &[])
}

fn completeness(read: &Snapshot) -> Option<f64> {
    let having = [(Attr::Signal, "tcp")];
    let point = points(read, Metric::AgentCompleteness, &having).next()?;
    match point.value {
        PointValue::Float(ratio) => Some(ratio),
        _ => None,
    }
}

/// The workload: a test that takes an agent to whom no process is hidden; says whether none is.
pub(crate) fn in_full_view(arguments: &[String]) -> Result<Value> {
    leave_out_what_is_hidden()?;
    let is_complete = live_tcp_connections(NAMESPACES, None)?.is_complete();
    if is_complete {
        match arguments.first().context("which?")?.as_str() {
            "gap" => of_a_gap("goes")?,
            "leftovers" => under_an_earlier_agent()?,
            "crowd" => missed_none::in_a_crowd()?,
            other => anyhow::bail!("not expected: {other}"),
        }
    }
    Ok(json!({ "complete": is_complete }))
}

/// From now on this process, which has one thread, has a `/proc` that lists what it may look at and nothing else: on a machine
/// that is itself somebody's sandbox, not even root may look at everything.
fn leave_out_what_is_hidden() -> Result<()> {
    // SAFETY: a new mount namespace shares no memory or descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.context("unshare")?;
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c"").context("private")?;
    mount(c"proc", c"/proc", c"proc", 0, c"hidepid=ptraceable").context("/proc")
}

fn mount(what: &CStr, to: &CStr, kind: &CStr, flags: u64, options: &CStr) -> io::Result<()> {
    // SAFETY: all strings end with NUL and outlive the call.
    let result = unsafe {
        libc::mount(
            what.as_ptr(),
            to.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs a test for which the agent has to see all processes.
pub(crate) fn seen_by_all_means(test: &str, which: &str) -> Result<()> {
    if which == "crowd" && missed_none::is_left_out(test) {
        return Ok(());
    }
    let home = CgroupGuard::new()?;
    let said = workload::run(&home, "in_full_view", &[which])?;
    if said["complete"] == false {
        skip(
            test,
            &"some network namespaces or processes cannot be looked at",
        );
    }
    Ok(())
}

/// The agent and its programs stand still, and connections end meanwhile. Their network namespace stays or goes.
pub(crate) fn of_a_gap(after: &str) -> Result<()> {
    if !knows_cookies("missed_ends_of_a_gap")? {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    let pins = PinGuard::new("gap");
    let live = start(&pinned(&cgroup, pins.directory()))?;
    let map = |name| PinnedMap::open(pins.directory(), name);
    let (steering, table) = (map("STATE")?, map("CONNECTIONS")?);
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "end_unseen", &[steps.path()?, after])?;
    steps.hear("open")?;
    let ends = i64::try_from(ENDS)?;
    live.snapshot_when("all are active", |read| active(read) == ends)?;
    let mut running = Some(running);
    live.while_nobody_reads(|| {
        standing_still(&steering, || {
            steps.say("close", "")?;
            steps.hear("closed")?;
            if after == "goes" {
                running.take().context("it runs")?.finish()?;
            }
            let left = table.entries()?;
            ensure!(left == ENDS, "{left} entries are left");
            Ok(())
        })
    })?;

    let start = Instant::now();
    let read = live.snapshot_when("none is active", |read| active(read) == 0);
    let missed = live.counters.discards(Discard::KernelEndMissed);
    let read = read.with_context(|| format!("{missed} ends are known to be missed"))?;
    wellhead_tests::require::say(format_args!("  noticed in {:.1?}", start.elapsed()));
    assert_eq!(missed, ENDS as u64);
    assert_eq!(table.entries()?, 0);
    assert_eq!(total(&read, Metric::TcpConnectionsOpened, &[]), ends);
    assert_eq!(total(&read, Metric::TcpConnectionsClosed, &[]), 0);
    ensure!(completeness(&read) < Some(1.0), "{:?}", completeness(&read));
    for invariant in ["tcp_balance", "tcp_active_series"] {
        let having = [(Attr::Invariant, invariant)];
        let drift: Vec<_> = points(&read, Metric::AgentInvariantDrift, &having)
            .map(total_of)
            .collect();
        assert_eq!(drift, [0], "{invariant}");
    }
    // The pipeline attends to the programs once a second.
    let gaps = || live.counters.discards(Discard::KernelGap);
    while gaps() == 0 {
        ensure!(start.elapsed() < DEADLINE, "the gap is not noticed");
        thread::sleep(PAUSE);
    }
    thread::sleep(Duration::from_secs(2));
    assert_eq!(gaps(), 1, "one for each");
    if let Some(running) = running {
        steps.say("end", "")?;
        running.finish()?;
    }
    Ok(())
}

/// What an earlier agent's programs missed is in the table they left, and nobody follows it.
fn under_an_earlier_agent() -> Result<()> {
    if !knows_cookies("missed_ends_under_an_earlier_agent")? {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    let pins = PinGuard::new("leftovers");
    let settings = pinned(&cgroup, pins.directory());
    let first = start(&settings)?;
    let map = |name| PinnedMap::open(pins.directory(), name);
    let (steering, table) = (map("STATE")?, map("CONNECTIONS")?);
    let steps = Steps::new()?;
    let running = workload::start(&cgroup, "leave_unseen", &[steps.path()?])?;
    steps.hear("open")?;
    let all = i64::try_from(ENDS + QUEUED)?;
    first.snapshot_when("all are active", |read| active(read) == all)?;
    drop(first);
    let until = standing_still(&steering, || {
        steps.say("close", "")?;
        steps.hear("closed").map(drop)
    })?;
    let (gone, left) = (ENDS + GIVEN_UP, QUEUED + GOING_ON);
    assert_eq!(table.entries()?, gone + left);
    // As if that had been a while ago.
    steering.set_slot(SERVE_UNTIL, until)?;

    let second = start(&settings)?;
    let missed = || second.counters.discards(Discard::KernelEndMissed);
    let start = Instant::now();
    while missed() < gone as u64 {
        let missed = missed();
        ensure!(start.elapsed() < DEADLINE, "{missed} were missed");
        thread::sleep(PAUSE);
    }
    // Several snapshots more.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(missed(), gone as u64);
    assert_eq!(table.entries()?, left, "what lives");
    let read = second.snapshot()?;
    assert_eq!(total(&read, Metric::TcpConnectionsOpened, &[]), 0);
    // The one of the two that a process holds.
    assert_eq!(active(&read), 1);
    steps.say("end", "")?;
    running.finish()?;
    Ok(())
}
