//! Attempts that fail because a packet of the handshake is dropped on this node, and by whom.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt},
};
use serde_json::{Value, json};
use wellhead::identity::PodUpdate;
use wellhead::telemetry::{
    catalogue::{Attr, Metric},
    snapshot::Snapshot,
};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    snapshot::{self, number, of_resource, points, total},
    workload,
};

use crate::{
    failures::{begin, error_of},
    lost_ends,
    paths::{self, SERVER, Way, at_server, between_pods},
    pods::Container,
};

const OWN_OUTPUT: u16 = 8_081;
const FORWARD: u16 = 8_082;
const PEERS_INPUT: u16 = 8_083;
const PEERS_OUTPUT: u16 = 8_084;
const FORWARD_BACK: u16 = 8_085;
const CLOSED: u16 = 8_086;
/// A firewall answers in the peer's place.
const REJECTED: u16 = 8_087;
/// Likewise, as kube-proxy does for a Service without endpoints: with a message of ICMP, which comes while `connect` is at work. Before
/// 5.14 the kernel does not tell of it.
const UNREACHABLE: u16 = 8_088;

/// An address of nobody, translated on the way to a port whose packets are dropped in the peer pod.
const SERVICE: &str = "10.96.0.10:80";

/// Attempts at each port: over IPv4, over IPv6.
const ATTEMPTS: usize = 3;

const LOSSES: Way = Way {
    client: "
table inet wh {
    chain out {
        type filter hook output priority 0
        tcp dport 8081 drop
    }
}",
    node: "
table inet wh {
    chain forward {
        type filter hook forward priority 0
        tcp dport 8082 drop
        tcp sport 8085 drop
        tcp dport 8087 reject with tcp reset
        tcp dport 8088 reject with icmpx type port-unreachable
    }
}
table ip nat {
    chain before {
        type nat hook prerouting priority -100
        ip daddr 10.96.0.10 tcp dport 80 dnat to 10.3.0.2:8083
    }
}",
    server: "
table inet wh {
    chain in {
        type filter hook input priority 0
        tcp dport 8083 drop
    }
    chain out {
        type filter hook output priority 0
        tcp sport 8084 drop
    }
}",
    commands: "",
};

/// The workload: attempts at ports, packets of which are dropped in five places, and at one that nobody listens on.
pub(crate) fn attempts(_arguments: &[String]) -> Result<Value> {
    between_pods(LOSSES, ask, || {
        let listeners: Vec<TcpListener> =
            [OWN_OUTPUT, FORWARD, PEERS_INPUT, PEERS_OUTPUT, FORWARD_BACK]
                .into_iter()
                .map(|port| TcpListener::bind(("::", port)))
                .collect::<std::io::Result<_>>()?;
        Ok(Box::new(move || {
            drop(listeners);
            Ok(())
        }))
    })?;
    Ok(json!({}))
}

fn ask() -> Result<()> {
    let lost = [OWN_OUTPUT, FORWARD, PEERS_INPUT, PEERS_OUTPUT, FORWARD_BACK];
    let mut under_way = Vec::new();
    for address in SERVER {
        for port in lost {
            for _ in 0..ATTEMPTS {
                under_way.push(attempt(at_server(address, port)?)?);
            }
        }
        for port in refused(tells_reasons()?) {
            for _ in 0..ATTEMPTS {
                let error = error_of(&attempt(at_server(address, *port)?)?)?;
                ensure!(error == Errno::CONNREFUSED, "{error} instead of refused");
            }
        }
    }
    for _ in 0..ATTEMPTS {
        under_way.push(attempt(SERVICE.parse()?)?);
    }
    for attempt in under_way {
        let error = error_of(&attempt)?;
        ensure!(error == Errno::TIMEDOUT, "{error} instead of a timeout");
    }
    Ok(())
}

/// One that gives up when the SYN would be sent a third time, after three seconds: on a slow machine the first may be on its way when the
/// second is sent.
fn attempt(to: SocketAddr) -> Result<OwnedFd> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    sockopt::set_tcp_user_timeout(&socket, 1_500)?;
    begin(socket, to)
}

pub(crate) fn are_why_attempts_fail() -> Result<()> {
    if !paths::programs_are_there("lost_handshakes_are_why_attempts_fail", &["ip", "nft"])? {
        return Ok(());
    }
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&["connect_failed"])?;
    workload::run(&cgroup, "lost_handshakes", &[])?;
    let expected = expected(tells_reasons()?);
    let all = expected.iter().map(|lost| number(lost.attempts)).sum();
    let read = live.snapshot_when("all failures", |snapshot| {
        total(snapshot, Metric::TcpConnectionFailures, &[]) >= all
    })?;
    assert_eq!(total(&read, Metric::TcpConnectionFailures, &[]), all);
    let told = live.told(events)?;
    for lost in expected {
        let port = lost.port.to_string();
        let of_port = |reason| {
            let having = [
                (Attr::DestinationPort, port.as_str()),
                (Attr::ErrorType, lost.error),
                (Attr::DropReason, reason),
            ];
            total(&read, Metric::TcpConnectionFailures, &having)
        };
        let found: i64 = lost.reasons.iter().copied().map(of_port).sum();
        assert_eq!(found, number(lost.attempts), "{lost:?}");
        let events = told.iter().filter(|event| {
            event["network.peer.port"] == lost.port
                && event["error.type"] == lost.error
                && event["wellhead.tcp.verdict"] == lost.verdict
                && lost
                    .reasons
                    .iter()
                    .any(|reason| event["wellhead.drop.reason"] == *reason)
        });
        assert_eq!(events.count(), lost.attempts, "events of {lost:?}");
    }
    Ok(())
}

/// Ports at which attempts are refused.
fn refused(tells_reasons: bool) -> &'static [u16] {
    let all = &[CLOSED, REJECTED, UNREACHABLE];
    if tells_reasons { all } else { &all[..2] }
}

/// What is told of attempts at a port.
#[derive(Debug)]
struct Lost {
    port: u16,
    attempts: usize,
    error: &'static str,
    /// One of them, by the kernel.
    reasons: &'static [&'static str],
    verdict: &'static str,
}

/// Before 5.17 the kernel tells no reasons, but where it happened.
fn expected(tells_reasons: bool) -> Vec<Lost> {
    let [of_filter, of_nobody]: [&[&str]; 2] = if tells_reasons {
        [&["NETFILTER_DROP"], &["NO_SOCKET"]]
    } else {
        [&["nf_hook_slow"], &["tcp_v4_rcv", "tcp_v6_rcv"]]
    };
    let dropped = |port, attempts| Lost {
        port,
        attempts,
        error: "timed_out",
        reasons: of_filter,
        verdict: "local",
    };
    let of_refused = refused(tells_reasons).iter().map(|port| {
        let (reasons, verdict) = if *port == CLOSED {
            (of_nobody, "peer")
        } else {
            (of_filter, "local")
        };
        Lost {
            error: "connection_refused",
            reasons,
            verdict,
            ..dropped(*port, 2 * ATTEMPTS)
        }
    });
    [OWN_OUTPUT, FORWARD, PEERS_INPUT, PEERS_OUTPUT, FORWARD_BACK]
        .map(|port| dropped(port, 2 * ATTEMPTS))
        .into_iter()
        .chain([dropped(80, ATTEMPTS)])
        .chain(of_refused)
        .collect()
}

/// Whether the kernel does (`kfree_skb_reason`).
fn tells_reasons() -> Result<bool> {
    let name = rustix::system::uname();
    let release = name.release().to_str()?;
    let mut numbers = release.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("a release of another form: {release}");
    };
    Ok((major, minor) >= (5, 17))
}

/// Attempts at a port of the own namespace that nobody listens on.
pub(crate) const UNHEARD: usize = 5;

/// The workload: a connection, by which the namespace is known, and attempts whose packets are dropped in it.
pub(crate) fn unheard(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let source = TcpStream::connect(to)?;
    drop((source, listener.accept()?, listener));
    netns::until_connections_ended()?;
    for _ in 0..UNHEARD {
        let error = error_of(&attempt(to)?)?;
        ensure!(error == Errno::CONNREFUSED, "{error} instead of refused");
    }
    Ok(json!({}))
}

/// Why the kernel drops an attempt over IPv4 that nobody listens for.
pub(crate) fn reason_of_nobody() -> Result<&'static str> {
    let (reason, place) = ("NO_SOCKET", "tcp_v4_rcv");
    Ok(if tells_reasons()? { reason } else { place })
}

pub(crate) fn drops_are_the_pods() -> Result<()> {
    // A number that no other test uses.
    let container = Container::numbered(u32::MAX - 4);
    let cgroup = CgroupGuard::at(&container.cgroup())?;
    let (live, pods) = Live::start_in_cluster_with(settings(Some(cgroup.id())), |pipeline| {
        pipeline.snapshot_interval = Duration::from_millis(200);
    })?;
    pods.blocking_send(PodUpdate::Applied(Box::new(lost_ends::pod(&container))))?;
    workload::run(&cgroup, "unheard", &[])?;
    let reason = reason_of_nobody()?;
    let of_pod = |snapshot: &Snapshot| -> i64 {
        let having = [(Attr::DropReason, reason)];
        points(snapshot, Metric::PacketDrops, &having)
            .filter(|point| {
                let resource = snapshot::resource(snapshot, point);
                let of = |key| resource.and_then(|resource| of_resource(resource, key));
                of("k8s.pod.name").is_some() && of("k8s.container.name").is_none()
            })
            .map(snapshot::total_of)
            .sum()
    };
    let expected = number(UNHEARD);
    let read = live.snapshot_when("drops of the pod", |read| of_pod(read) >= expected)?;
    assert_eq!(of_pod(&read), expected);
    Ok(())
}
