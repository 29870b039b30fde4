//! Connection attempts that fail, each for a reason of its own.

use std::{
    env,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, accept, bind, connect, eth, getsockname, listen,
        socket, socket_with, sockopt,
    },
};
use serde_json::{Value, json};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns,
    snapshot::{self, number},
    workload,
};

use crate::icmp::Router;

const ICMP_NET_UNREACHABLE: u8 = 0;
const ICMP_HOST_UNREACHABLE: u8 = 1;

/// Attempts of each kind that reach the state machine, what they are called, and where to look.
const EXPECTED: &[(&str, i64, &str)] = &[
    ("aborted", ABORTED + KILLED, "local"),
    ("host_unreachable", 3, "network"),
    ("network_unreachable", 3, "network"),
    // Its listener is on this node, and has a full queue.
    ("timed_out", 1, "peer"),
    ("address_not_available", 4, "local"),
];

const ABORTED: i64 = 5;
/// Under way when their process is killed.
const KILLED: i64 = 2;

pub(crate) fn all(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    // The kernel drops copies of packets for which a sniffer has no room: nothing fails of it.
    let _sniffer = full_sniffer()?;
    let silent = Silent::new()?;
    for _ in 0..ABORTED {
        drop(silent.attempt()?);
    }
    let killed = attempts_of_the_killed(silent.port)?;
    let router = Router::new()?;
    for (code, expected) in [
        (ICMP_HOST_UNREACHABLE, Errno::HOSTUNREACH),
        (ICMP_NET_UNREACHABLE, Errno::NETUNREACH),
    ] {
        for _ in 0..3 {
            let attempt = silent.attempt()?;
            router.refuse(local_port(&attempt)?, silent.port, code)?;
            let error = error_of(&attempt)?;
            ensure!(error == expected, "{error} instead of {expected}");
        }
    }
    // The first retransmission, after a second, finds that the time is over.
    let attempt = silent.attempt()?;
    sockopt::set_tcp_user_timeout(&attempt, 100)?;
    let error = error_of(&attempt)?;
    ensure!(error == Errno::TIMEDOUT, "{error} instead of a timeout");
    drop(attempt);
    exhaust_ports()?;
    Ok(json!({ "killed": killed }))
}

/// One that never reads, and has room for little.
fn full_sniffer() -> Result<OwnedFd> {
    let sniffer = socket(AddressFamily::PACKET, SocketType::RAW, Some(eth::ALL))?;
    sockopt::set_socket_recv_buffer_size(&sniffer, 1)?;
    Ok(sniffer)
}

/// Kills a process while its attempts are under way; returns which it was.
fn attempts_of_the_killed(port: u16) -> Result<u32> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--workload", "attempt_and_wait", &port.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("a pipe")?;
    output.read_exact(&mut [0])?;
    child.kill()?;
    child.wait()?;
    Ok(child.id())
}

/// The workload: attempts that nobody answers, until it is killed.
pub(crate) fn attempt_and_wait(arguments: &[String]) -> Result<Value> {
    let port = arguments.first().context("which port?")?.parse()?;
    let attempts = (0..KILLED).map(|_| attempt_at(port));
    let _under_way: Vec<OwnedFd> = attempts.collect::<Result<_>>()?;
    io::stdout().write_all(b".")?;
    io::stdout().flush()?;
    loop {
        thread::park();
    }
}

/// Attempts while the only local port is taken by a connection to the same place.
fn exhaust_ports() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    netns::set("ipv4/ip_local_port_range", "50000 50000")?;
    let _taken = TcpStream::connect(to)?;
    for _ in 0..4 {
        let attempt = TcpStream::connect(to).map(drop);
        let kind = attempt.map_err(|error| error.kind());
        ensure!(kind == Err(io::ErrorKind::AddrNotAvailable), "{kind:?}");
    }
    Ok(())
}

/// A listener whose queue is full: it does not answer.
pub(crate) struct Silent {
    port: u16,
    listener: OwnedFd,
    _queued: Vec<TcpStream>,
}

impl Silent {
    pub(crate) fn new() -> Result<Self> {
        let listener = tcp_socket(SocketFlags::empty())?;
        bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        listen(&listener, 0)?;
        let port = local_port(&listener)?;
        // A queue of length 0 holds one.
        let queued = vec![TcpStream::connect((Ipv4Addr::LOCALHOST, port))?];
        Ok(Self {
            port,
            listener,
            _queued: queued,
        })
    }

    /// An attempt under way.
    pub(crate) fn attempt(&self) -> Result<OwnedFd> {
        attempt_at(self.port)
    }

    /// Takes from the queue what fills it, so that the next attempt is answered.
    pub(crate) fn answer(&self) -> Result<OwnedFd> {
        Ok(accept(&self.listener)?)
    }
}

/// An attempt under way at a port of loopback.
fn attempt_at(port: u16) -> Result<OwnedFd> {
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    begin(tcp_socket(SocketFlags::NONBLOCK)?, to.into())
}

/// Has a socket connect that does not wait for it.
pub(crate) fn begin(socket: OwnedFd, to: SocketAddr) -> Result<OwnedFd> {
    match connect(&socket, &to) {
        Err(Errno::INPROGRESS) => Ok(socket),
        other => anyhow::bail!("not under way: {other:?}"),
    }
}

pub(crate) fn tcp_socket(flags: SocketFlags) -> Result<OwnedFd> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    Ok(socket_with(family, kind, flags, None)?)
}

pub(crate) fn local_port(socket: &OwnedFd) -> Result<u16> {
    let address = SocketAddrV4::try_from(getsockname(socket)?)?;
    Ok(address.port())
}

/// Waits until the attempt has failed, as event loops do.
pub(crate) fn error_of(attempt: &OwnedFd) -> Result<Errno> {
    let mut waiting = [PollFd::new(attempt, PollFlags::OUT)];
    let limit = Timespec::try_from(Duration::from_secs(10))?;
    let ready = poll(&mut waiting, Some(&limit))?;
    ensure!(ready == 1, "the attempt does not fail");
    let error = sockopt::socket_error(attempt)?.err();
    error.context("the attempt does not fail")
}

pub(crate) fn have_their_type() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    let events = live.collect_events(&["connect_failed"])?;
    let said = workload::run(&cgroup, "failures", &[])?;
    let all = EXPECTED.iter().map(|(_, attempts, _)| attempts).sum();
    let read = live.snapshot_when("all failures", |snapshot| {
        snapshot::total(snapshot, Metric::TcpConnectionFailures, &[]) >= all
    })?;
    for (error, attempts, _) in EXPECTED {
        let having = [(Attr::ErrorType, *error), (Attr::Reporter, "source")];
        let found = snapshot::total(&read, Metric::TcpConnectionFailures, &having);
        assert_eq!(found, *attempts, "{error}");
    }
    let found = snapshot::total(&read, Metric::TcpConnectionFailures, &[]);
    assert_eq!(found, all, "failures of other types");
    live.ensure_nothing_lost().context("after the failures")?;
    let told = live.told(events)?;
    for (error, attempts, verdict) in EXPECTED {
        let of_type = told.iter().filter(|event| event["error.type"] == *error);
        let of_type: Vec<_> = of_type.collect();
        assert_eq!(number(of_type.len()), *attempts, "{error}");
        for event in of_type {
            assert_eq!(event["wellhead.tcp.verdict"], *verdict, "{event}");
            assert_eq!(event.get("wellhead.drop.reason"), None, "{event}");
        }
    }
    let of_killed = told
        .iter()
        .filter(|event| event["process.pid"] == said["killed"])
        .count();
    assert_eq!(number(of_killed), KILLED, "by whose they were");
    Ok(())
}
