//! The kernel's own count of TCP connections, in a namespace where every state is known.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::{Value, json};
use wellhead::kernel::{
    ConnectionTable, LiveTcp, LiveTcpError, NamespaceError, NetworkNamespace, NetworkNamespaces,
    TcpCounts, TcpState, count_tcp, live_tcp_connections,
};
use wellhead_tests::{
    capture::{DEADLINE, Tap, settings},
    cgroup::CgroupGuard,
    execute, netns,
    require::{say, skip},
    workload,
};

use crate::tcp_states::{self, Connections};

/// More network namespaces than a test machine has.
pub(crate) const LIMIT: usize = 4096;

const PAUSE: Duration = Duration::from_millis(5);

const MANY: usize = 10_000;
const NAMESPACES: usize = 100;
const PER_NAMESPACE: usize = 10;

/// Where a workload says that it is ready, and learns that it may end.
pub(crate) struct Meeting(tempfile::TempDir);

impl Meeting {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub(crate) fn path(&self) -> Result<&str> {
        self.0.path().to_str().context("UTF-8")
    }

    /// What the workload said when all was set up.
    pub(crate) fn wait(&self) -> Result<Value> {
        let start = Instant::now();
        loop {
            match fs::read_to_string(self.0.path().join("ready")) {
                Ok(said) => return Ok(serde_json::from_str(&said)?),
                Err(_not_yet) => ensure!(start.elapsed() < DEADLINE, "it is never ready"),
            }
            thread::sleep(PAUSE);
        }
    }

    pub(crate) fn end(&self) -> Result<()> {
        Ok(fs::write(self.0.path().join("end"), "")?)
    }

    /// The workload's side.
    pub(crate) fn meet(directory: &str, said: &Value) -> Result<()> {
        let directory = Path::new(directory);
        fs::write(directory.join("draft"), said.to_string())?;
        fs::rename(directory.join("draft"), directory.join("ready"))?;
        while !directory.join("end").exists() {
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The workload: sockets in every state, until it may end.
pub(crate) fn all_states(arguments: &[String]) -> Result<Value> {
    let directory = arguments.first().context("where?")?;
    let netns = netns::isolate()?;
    let held = tcp_states::all()?;
    Meeting::meet(directory, &json!({ "netns": netns }))?;
    drop(held);
    Ok(json!({}))
}

/// The workload: connections as many as asked for.
pub(crate) fn many_connections(arguments: &[String]) -> Result<Value> {
    let [directory, connections] = arguments else {
        anyhow::bail!("where and how many?");
    };
    let netns = netns::isolate()?;
    netns::set("core/somaxconn", "65535")?;
    let held = Connections::unaccepted(connections.parse()?)?;
    Meeting::meet(directory, &json!({ "netns": netns }))?;
    drop(held);
    Ok(json!({}))
}

/// The workload: processes with a network namespace of their own each, and a few connections in it.
pub(crate) fn many_namespaces(arguments: &[String]) -> Result<Value> {
    let directory = arguments.first().context("where?")?;
    let children: Vec<i32> = (0..NAMESPACES)
        .map(|child| {
            execute::fork(|| hold_namespace(&Path::new(directory).join(child.to_string())))
        })
        .collect::<std::io::Result<_>>()?;
    let mut inodes = Vec::new();
    for (child, pid) in children.iter().enumerate() {
        let ready = Path::new(directory).join(child.to_string());
        while !ready.exists() {
            thread::sleep(PAUSE);
        }
        inodes.push(fs::metadata(format!("/proc/{pid}/ns/net")).map(|link| inode(&link))?);
    }
    // It never ends by itself: with its cgroup, the children end too.
    Meeting::meet(directory, &json!(inodes))?;
    Ok(json!({}))
}

fn inode(link: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(link)
}

fn hold_namespace(ready: &Path) -> i32 {
    let held = netns::isolate().and_then(|_inode| Connections::unaccepted(PER_NAMESPACE));
    if held.is_ok() && fs::write(ready, "").is_ok() {
        loop {
            thread::park();
        }
    }
    1
}

pub(crate) fn every_state() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let meeting = Meeting::new()?;
    let running = workload::start(&cgroup, "all_states", &[meeting.path()?])?;
    let netns = meeting.wait()?["netns"].as_u64().context("netns")?;
    let namespaces = NetworkNamespaces::discover(LIMIT)?;
    let theirs = find(&namespaces, netns)?;

    let expected = tcp_states::EXPECTED;
    // The last segments may be on their way.
    let start = Instant::now();
    let mut counts = theirs.run_inside(|| count_tcp(&TcpState::LIVE))??;
    while by_state(&counts) != expected && start.elapsed() < DEADLINE {
        thread::sleep(PAUSE);
        counts = theirs.run_inside(|| count_tcp(&TcpState::LIVE))??;
    }
    assert_eq!(by_state(&counts), expected);
    let total: u64 = expected.iter().map(|(_, number)| number).sum();
    assert_eq!(counts.live(), total);
    // What must not be counted is there.
    assert_eq!(
        counts.of(TcpState::TimeWait),
        tcp_states::REMAINS_IN_FIN_WAIT2
    );
    assert_eq!(counts.of(TcpState::Listen), 0);
    let others = [TcpState::TimeWait, TcpState::Listen, TcpState::SynSent];
    let left_out = theirs.run_inside(|| count_tcp(&others))??;
    assert_eq!(
        others.map(|state| left_out.of(state)),
        tcp_states::LEFT_OUT,
        "{others:?}"
    );
    assert_eq!(left_out.live(), 0);
    // The same from all namespaces at once.
    assert_eq!(count_in(&live_tcp_connections(LIMIT, None)?, netns)?, total);
    meeting.end()?;
    running.finish()?;
    Ok(())
}

fn by_state(counts: &TcpCounts) -> [(TcpState, u64); 6] {
    TcpState::LIVE.map(|state| (state, counts.of(state)))
}

pub(crate) fn find(namespaces: &NetworkNamespaces, netns: u64) -> Result<&NetworkNamespace> {
    let mut found = namespaces.found.iter().filter(|one| one.inode() == netns);
    let one = found.next().context("the namespace is not found")?;
    ensure!(found.next().is_none(), "the namespace is found twice");
    Ok(one)
}

fn count_in(live: &LiveTcp, netns: u64) -> Result<u64> {
    let found = live.namespaces.iter().find(|(inode, _)| *inode == netns);
    match &found.context("the namespace is not found")?.1 {
        Ok(counts) => Ok(counts.live()),
        Err(error) => anyhow::bail!("{error}"),
    }
}

pub(crate) fn ten_thousand() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let meeting = Meeting::new()?;
    let arguments = [meeting.path()?, &MANY.to_string()];
    let running = workload::start(&cgroup, "many_connections", &arguments)?;
    let netns = meeting.wait()?["netns"].as_u64().context("netns")?;
    let namespaces = NetworkNamespaces::discover(LIMIT)?;
    let theirs = find(&namespaces, netns)?;
    let start = Instant::now();
    let counts = theirs.run_inside(|| count_tcp(&TcpState::LIVE))??;
    say(format_args!(
        "  {MANY} connections counted in {:.1?}",
        start.elapsed()
    ));
    let both_ends = 2 * MANY as u64;
    assert_eq!(counts.of(TcpState::Established), both_ends);
    assert_eq!(counts.live(), both_ends);
    meeting.end()?;
    running.finish()?;
    Ok(())
}

/// The same sockets by name: nobody in the agent's table is missing, and what that costs beside counting them.
pub(crate) fn roll_of_ten_thousand() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let tap = Tap::attach(&settings(Some(cgroup.id())))?;
    let Some(table) = tap.probes.programs.connection_table() else {
        skip(
            "sock_diag_roll_of_ten_thousand",
            &"the programs do not know sockets by their cookies",
        );
        return Ok(());
    };
    let meeting = Meeting::new()?;
    let arguments = [meeting.path()?, &MANY.to_string()];
    let running = workload::start(&cgroup, "many_connections", &arguments)?;
    let netns = meeting.wait()?["netns"].as_u64().context("netns")?;
    let measure = |table: Option<&ConnectionTable>| {
        // Peak memory of this process begins anew (proc(5)).
        fs::write("/proc/self/clear_refs", "5")?;
        let (start, before) = (Instant::now(), peak_kib()?);
        let live = live_tcp_connections(LIMIT, table)?;
        Ok::<_, anyhow::Error>((live, start.elapsed(), peak_kib()?.saturating_sub(before)))
    };
    let (_, counting, counting_kib) = measure(None)?;
    let (live, calling, calling_kib) = measure(Some(&table))?;
    say(format_args!(
        "  {} sockets counted in {counting:.1?} and {counting_kib} KiB, then by name in {calling:.1?} and {calling_kib} KiB more",
        2 * MANY
    ));
    assert_eq!(live.missing.as_deref(), Some(&[][..]));
    assert_eq!(count_in(&live, netns)?, 2 * MANY as u64);
    meeting.end()?;
    running.finish()?;
    Ok(())
}

/// The most memory this process had.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("VmHWM")?.parse()?)
}

pub(crate) fn hundred_namespaces() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let meeting = Meeting::new()?;
    let running = workload::start(&cgroup, "many_namespaces", &[meeting.path()?])?;
    let inodes = meeting.wait()?;
    let inodes: Vec<u64> = serde_json::from_value(inodes)?;
    assert_eq!(inodes.len(), NAMESPACES);
    let start = Instant::now();
    let live = live_tcp_connections(LIMIT, None)?;
    let took = start.elapsed();
    let found = live.namespaces.len();
    say(format_args!("  {found} namespaces counted in {took:.1?}"));
    for netns in &inodes {
        assert_eq!(count_in(&live, *netns)?, 2 * PER_NAMESPACE as u64);
    }
    assert_eq!(live.beyond_limit, 0);
    let few = NetworkNamespaces::discover(3)?;
    assert_eq!(few.found.len(), 3);
    // Nobody else makes namespaces in such numbers meanwhile.
    ensure!(few.beyond_limit >= NAMESPACES - 3, "{}", few.beyond_limit);
    drop(running);
    Ok(())
}

/// The workload: counts in a namespace of its own and tries the others, with all capabilities but one.
pub(crate) fn count_without(arguments: &[String]) -> Result<Value> {
    let [lacking, other] = arguments else {
        anyhow::bail!("without which, and where else?");
    };
    let lacking = match lacking.as_str() {
        "CAP_SYS_ADMIN" => CapabilitySet::SYS_ADMIN,
        "all" => CapabilitySet::all(),
        other => anyhow::bail!("not expected: {other}"),
    };
    let other: u64 = other.parse()?;
    let netns = netns::isolate()?;
    let held = Connections::unaccepted(PER_NAMESPACE)?;
    let mut sets = capabilities(None)?;
    sets.effective.remove(lacking);
    sets.permitted.remove(lacking);
    set_capabilities(None, sets)?;
    let live = live_tcp_connections(LIMIT, None)?;
    drop(held);
    let (mut not_permitted, mut message) = (0, None);
    for (inode, result) in &live.namespaces {
        if let Err(error) = result {
            let expected = NamespaceError::NotPermitted { inode: *inode };
            ensure!(
                matches!(
                    error,
                    LiveTcpError::Namespace(NamespaceError::NotPermitted { .. })
                ),
                "another error in namespace {inode}: {error:?}"
            );
            assert_eq!(error.to_string(), expected.to_string());
            not_permitted += 1;
            if *inode == other {
                message = Some(error.to_string());
            }
        }
    }
    Ok(json!({
        "own": count_in(&live, netns)?,
        "first": live.namespaces.first().map(|(inode, _)| *inode) == Some(netns),
        "not_permitted": not_permitted,
        "others": live.namespaces.len() - 1,
        "other": message,
        "hidden": live.hidden_processes,
    }))
}

pub(crate) fn without_privilege() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let here = NetworkNamespaces::discover(1)?.found[0].inode().to_string();

    let said = workload::run(&cgroup, "count_without", &["CAP_SYS_ADMIN", &here])?;
    assert_eq!(said["own"], 2 * PER_NAMESPACE, "{said}");
    assert_eq!(said["first"], true, "{said}");
    assert_eq!(said["not_permitted"], said["others"], "{said}");
    let message = said["other"].as_str().context("it was found")?;
    ensure!(message.contains("CAP_SYS_ADMIN"), "{message}");
    let hidden = said["hidden"].as_u64();

    let said = workload::run(&cgroup, "count_without", &["all", &here])?;
    assert_eq!(said["own"], 2 * PER_NAMESPACE, "{said}");
    assert_eq!(said["not_permitted"], said["others"], "{said}");
    // Processes that may do more are hidden from one that may do nothing.
    ensure!(
        said["hidden"].as_u64() > hidden,
        "{hidden:?} before: {said}"
    );
    Ok(())
}
