//! Connection attempts that fail, each for a reason of its own.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, accept, bind, connect, getsockname, listen,
        socket_with, sockopt,
    },
};
use serde_json::{Value, json};
use wellhead::telemetry::catalogue::{Attr, Metric};
use wellhead_tests::{
    capture::{Live, settings},
    cgroup::CgroupGuard,
    netns, snapshot, workload,
};

use crate::icmp::Router;

const ICMP_NET_UNREACHABLE: u8 = 0;
const ICMP_HOST_UNREACHABLE: u8 = 1;

/// Attempts of each kind that reach the state machine, and what they are called.
const EXPECTED: &[(&str, i64)] = &[
    ("aborted", 5),
    ("host_unreachable", 3),
    ("network_unreachable", 3),
    ("timed_out", 1),
    ("address_not_available", 4),
];

pub(crate) fn all(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let silent = Silent::new()?;
    for _ in 0..5 {
        drop(silent.attempt()?);
    }
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
    Ok(json!({ "silent": silent.port }))
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
        let attempt = tcp_socket(SocketFlags::NONBLOCK)?;
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        match connect(&attempt, &to) {
            Err(Errno::INPROGRESS) => Ok(attempt),
            other => anyhow::bail!("not under way: {other:?}"),
        }
    }

    /// Takes from the queue what fills it, so that the next attempt is answered.
    pub(crate) fn answer(&self) -> Result<OwnedFd> {
        Ok(accept(&self.listener)?)
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

/// Waits until the attempt has failed.
pub(crate) fn error_of(attempt: &OwnedFd) -> Result<Errno> {
    for _ in 0..10_000 {
        if let Err(error) = sockopt::socket_error(attempt)? {
            return Ok(error);
        }
        thread::sleep(Duration::from_millis(1));
    }
    anyhow::bail!("the attempt does not fail")
}

pub(crate) fn have_their_type() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let live = Live::start(settings(Some(cgroup.id())))?;
    workload::run(&cgroup, "failures", &[])?;
    let all = EXPECTED.iter().map(|(_, attempts)| attempts).sum();
    let read = live.snapshot_when("all failures", |snapshot| {
        snapshot::total(snapshot, Metric::TcpConnectionFailures, &[]) >= all
    })?;
    for (error, attempts) in EXPECTED {
        let having = [(Attr::ErrorType, *error), (Attr::Reporter, "source")];
        let found = snapshot::total(&read, Metric::TcpConnectionFailures, &having);
        assert_eq!(found, *attempts, "{error}");
    }
    let found = snapshot::total(&read, Metric::TcpConnectionFailures, &[]);
    assert_eq!(found, all, "failures of other types");
    live.ensure_nothing_lost().context("after the failures")
}
