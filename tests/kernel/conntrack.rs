//! Where translated connections really go, asked of the kernel's connection tracking.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::{Value, json};
use wellhead::counters::{Counters, Discard, LookUp};
use wellhead::kernel::{
    Conntrack, ConntrackError, Feature, FeatureReport, FeatureStatus, NetworkNamespace,
    NetworkNamespaces, ProbeSettings, Probes, Transport, WantConntrack, host_network_namespace,
};
use wellhead_tests::{capture, cgroup::CgroupGuard, netns, require, require::say, workload};

use crate::{
    services::CONNECTIONS,
    sock_diag::{LIMIT, Meeting, find},
};

/// Look-ups that are timed.
const TIMED: usize = 20_000;

/// Connections where nothing is tracked.
const UNTRACKED: usize = 50;

/// A connection, as whoever opened it sees it, and where it went.
#[derive(Debug)]
struct Flow {
    kind: String,
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
    backend: SocketAddr,
}

impl Flow {
    fn read(told: &Value) -> Result<Self> {
        let text = |key: &str| told[key].as_str().context("a text");
        let kind = text("kind")?.to_owned();
        Ok(Self {
            transport: if kind == "datagram" {
                Transport::Udp
            } else {
                Transport::Tcp
            },
            kind,
            local: text("local")?.parse()?,
            remote: text("remote")?.parse()?,
            backend: text("backend")?.parse()?,
        })
    }

    fn ask(&self, asked: &mut Asked) -> Result<Option<SocketAddr>, ConntrackError> {
        asked.translated(self.transport, self.local, self.remote)
    }

    /// What is to be answered.
    fn expected(&self) -> Option<SocketAddr> {
        (self.backend != self.remote).then_some(self.backend)
    }
}

/// Connection tracking, and what came of asking it.
struct Asked {
    conntrack: Conntrack,
    counters: Counters,
}

impl Asked {
    fn open(namespace: &NetworkNamespace) -> Result<Self, ConntrackError> {
        Ok(Self {
            conntrack: Conntrack::open_in(namespace)?,
            counters: Counters::default(),
        })
    }

    fn translated(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Option<SocketAddr>, ConntrackError> {
        self.conntrack
            .translated(transport, local, remote, &self.counters)
    }

    /// How many were translated, untranslated, unknown; none ever fails.
    fn counted(&self) -> [u64; 3] {
        let &[translated, untranslated, unknown, failed] = LookUp::ALL else {
            unreachable!("the outcomes");
        };
        assert_eq!(self.counters.look_ups(failed), 0);
        assert_eq!(self.counters.discards(Discard::IdentityConntrackFailed), 0);
        [translated, untranslated, unknown].map(|outcome| self.counters.look_ups(outcome))
    }
}

/// Whether conntrack can be asked here. Guests have few modules.
fn is_there(test: &str) -> Result<bool> {
    match Conntrack::open() {
        Err(error @ ConntrackError::Absent) => require::skip_if_bare(test, &error),
        opened => {
            opened?;
            Ok(true)
        }
    }
}

pub(crate) fn real_destinations() -> Result<()> {
    let test = "conntrack_real_destinations";
    if !is_there(test)? || !require::program(test, "iptables")? {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    let meeting = Meeting::new()?;
    let running = workload::start(&cgroup, "services", &[meeting.path()?])?;
    let told = meeting.wait()?;
    let namespaces = NetworkNamespaces::discover(LIMIT)?;
    let node = find(&namespaces, told["netns"].as_u64().context("netns")?)?;
    let flows = told["flows"].as_array().context("a list")?;
    let flows: Vec<Flow> = flows.iter().map(Flow::read).collect::<Result<_>>()?;

    let mut conntrack = Asked::open(node)?;
    let before = entries(node)?;
    each_is_found(&mut conntrack, &flows)?;
    let (translated, direct) = (4 * CONNECTIONS as u64, 2 * CONNECTIONS as u64);
    assert_eq!(conntrack.counted(), [translated, direct, 0]);
    other_views(&mut conntrack, &flows)?;
    unknown(&mut conntrack, &flows)?;
    cost(&mut conntrack, &flows)?;
    conntrack.counted();
    // Datagrams are forgotten after half a minute, but nothing may come.
    let after = entries(node)?;
    ensure!(after <= before, "{before} entries, then {after}");

    meeting.end()?;
    running.finish()?;
    // The namespace lives on by its descriptor, and what was known of its connections.
    each_is_found(&mut conntrack, &flows).context("after the end")
}

fn each_is_found(conntrack: &mut Asked, flows: &[Flow]) -> Result<()> {
    let mut backends: BTreeMap<(&str, SocketAddr), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for flow in flows {
        let found = flow.ask(conntrack)?;
        if found != flow.expected() {
            wrong.push(format!("{found:?} for {flow:?}"));
        }
        *backends.entry((&flow.kind, flow.backend)).or_default() += 1;
    }
    ensure!(wrong.is_empty(), "{} wrong: {}", wrong.len(), wrong[0]);
    for ((kind, backend), number) in &backends {
        say(format_args!(
            "  {kind}: {number} reached {backend}, all found"
        ));
    }
    let of = |kind: &str| backends.keys().filter(|(of, _)| *of == kind).count();
    assert_eq!(["pod", "pod_ipv6", "node"].map(of), [2; 3], "both backends");
    assert_eq!(backends.values().sum::<usize>(), 6 * CONNECTIONS);
    Ok(())
}

/// The same connections as dual-stack sockets see them, and from their other ends.
fn other_views(conntrack: &mut Asked, flows: &[Flow]) -> Result<()> {
    for flow in flows {
        let [local, remote] = [flow.local, flow.remote].map(mapped);
        let found = conntrack.translated(flow.transport, local, remote)?;
        ensure!(found == flow.expected(), "mapped: {found:?} for {flow:?}");
        let found = conntrack.translated(flow.transport, flow.backend, flow.local)?;
        ensure!(found.is_none(), "from the backend: {found:?} for {flow:?}");
    }
    Ok(())
}

fn mapped(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(IpAddr::V6(ip), address.port())
}

/// Connections nobody made.
fn unknown(conntrack: &mut Asked, flows: &[Flow]) -> Result<()> {
    let [translated, untranslated, unknown] = conntrack.counted();
    for flow in flows {
        let elsewhere = SocketAddr::new(flow.remote.ip(), 9);
        let found = conntrack.translated(flow.transport, flow.local, elsewhere)?;
        ensure!(found.is_none(), "to the port 9: {found:?} for {flow:?}");
        let other = match flow.transport {
            Transport::Tcp => Transport::Udp,
            Transport::Udp => Transport::Tcp,
        };
        let found = conntrack.translated(other, flow.local, flow.remote)?;
        ensure!(found.is_none(), "by {other:?}: {found:?} for {flow:?}");
        // No packet can have both.
        let local = match flow.local.ip() {
            IpAddr::V4(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), flow.local.port()),
            IpAddr::V6(_) => SocketAddr::from(([127, 0, 0, 1], flow.local.port())),
        };
        let found = conntrack.translated(flow.transport, local, flow.remote)?;
        ensure!(found.is_none(), "of two families: {found:?} for {flow:?}");
    }
    let unknown = unknown + 3 * flows.len() as u64;
    assert_eq!(conntrack.counted(), [translated, untranslated, unknown]);
    Ok(())
}

fn cost(conntrack: &mut Asked, flows: &[Flow]) -> Result<()> {
    let nobody = SocketAddr::from(([192, 0, 2, 1], 1));
    let mut time = |what: &str, remote: Option<SocketAddr>| -> Result<()> {
        let mut times = Vec::with_capacity(TIMED);
        let ipv4 = flows.iter().filter(|flow| flow.local.is_ipv4());
        for flow in ipv4.cycle().take(TIMED) {
            let start = Instant::now();
            conntrack.translated(flow.transport, flow.local, remote.unwrap_or(flow.remote))?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let mean = times.iter().sum::<Duration>() / u32::try_from(TIMED)?;
        let [median, late, last] = [TIMED / 2, TIMED * 99 / 100, TIMED - 1].map(|at| times[at]);
        say(format_args!(
            "  {what}: {mean:.1?} each (median {median:.1?}, 99 % {late:.1?}, longest {last:.1?})"
        ));
        Ok(())
    };
    time("look-ups of entries", None)?;
    time("look-ups of what is unknown", Some(nobody))
}

/// How many entries there are.
fn entries(namespace: &NetworkNamespace) -> Result<u64> {
    let read = || fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    Ok(namespace.run_inside(read)??.trim().parse()?)
}

/// The workload: asks in a namespace without rules, where the kernel tracks nothing.
pub(crate) fn untracked(_: &[String]) -> Result<Value> {
    netns::isolate()?;
    let namespaces = NetworkNamespaces::discover(1)?;
    let own = &namespaces.found[0];
    let mut conntrack = Asked::open(own)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let remote = listener.local_addr()?;
    let mut held = Vec::new();
    for _ in 0..UNTRACKED {
        let stream = TcpStream::connect(remote)?;
        let found = conntrack.translated(Transport::Tcp, stream.local_addr()?, remote)?;
        ensure!(found.is_none(), "{found:?}");
        held.push((stream, listener.accept()?));
    }
    let [_, _, unknown] = conntrack.counted();
    Ok(json!({ "unknown": unknown, "entries": entries(own)? }))
}

pub(crate) fn asking_tracks_nothing() -> Result<()> {
    let test = "conntrack_asking_tracks_nothing";
    if !is_there(test)? {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    let said = workload::run(&cgroup, "untracked", &[])?;
    assert_eq!(said, json!({ "unknown": UNTRACKED, "entries": 0 }));
    Ok(())
}

fn conntrack_wanted() -> ProbeSettings {
    ProbeSettings {
        conntrack: WantConntrack::Yes,
        ..capture::settings(None)
    }
}

/// What everybody is told of the feature.
fn report(features: &[FeatureStatus]) -> Result<FeatureReport> {
    let reports = FeatureReport::all(features).into_iter();
    let mut reports = reports.filter(|report| report.feature == Feature::Conntrack.as_str());
    reports.next().context("a feature")
}

/// The workload: opens it as the agent does, in a network namespace of its own or the given one, without a capability.
pub(crate) fn conntrack_without(arguments: &[String]) -> Result<Value> {
    let [place, lacking] = arguments else {
        bail!("where, and without which?");
    };
    let lacking = match lacking.as_str() {
        "nothing" => CapabilitySet::empty(),
        "CAP_NET_ADMIN" => CapabilitySet::NET_ADMIN,
        "CAP_SYS_ADMIN" => CapabilitySet::SYS_ADMIN,
        "CAP_SYS_PTRACE" => CapabilitySet::SYS_PTRACE,
        other => bail!("not expected: {other}"),
    };
    if place == "elsewhere" {
        netns::isolate()?;
    }
    let mut sets = capabilities(None)?;
    sets.effective.remove(lacking);
    sets.permitted.remove(lacking);
    set_capabilities(None, sets)?;
    let host = host_network_namespace().map(|host| host.inode()).ok();
    let probes = Probes::attach(&conntrack_wanted())?;
    let report = report(&probes.features)?;
    Ok(json!({ "host": host, "open": probes.conntrack.is_some(), "report": report }))
}

pub(crate) fn without_privilege() -> Result<()> {
    let test = "conntrack_without_privilege";
    if !is_there(test)? {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    let host = host_network_namespace()?.inode();
    let check = |place: &str, lacking: &str, expected: Option<&str>| -> Result<()> {
        let said = workload::run(&cgroup, "conntrack_without", &[place, lacking])?;
        let report = &said["report"];
        assert_eq!(said["open"], expected.is_none(), "{said}");
        assert_eq!(report["wanted"], true, "{said}");
        let Some(expected) = expected else {
            assert_eq!(said["host"], host, "{said}");
            assert_eq!(report["state"], "on", "{said}");
            assert_eq!(report["mechanism"], "ctnetlink", "{said}");
            return Ok(());
        };
        assert_eq!(report["state"], "unknown", "{said}");
        assert_eq!(report["mechanism"], "none", "{said}");
        let reason = report["reason"].as_str().context("a reason")?;
        say(format_args!("  {place} without {lacking}: {reason}"));
        ensure!(reason.contains(expected), "{reason}");
        let missing = report["missing_capabilities"]
            .as_array()
            .context("a list")?;
        let is_told = missing.iter().any(|name| name == lacking);
        assert_eq!(is_told, lacking == "CAP_NET_ADMIN", "{said}");
        Ok(())
    };
    check("here", "nothing", None)?;
    check("elsewhere", "nothing", None)?;
    // In the host's network namespace neither is needed.
    check("here", "CAP_SYS_ADMIN", None)?;
    check("here", "CAP_SYS_PTRACE", None)?;
    for place in ["here", "elsewhere"] {
        check(place, "CAP_NET_ADMIN", Some("CAP_NET_ADMIN"))?;
    }
    check("elsewhere", "CAP_SYS_ADMIN", Some("CAP_SYS_ADMIN"))?;
    check("elsewhere", "CAP_SYS_PTRACE", Some("CAP_SYS_PTRACE"))
}
