//! Sockets that live other than by connect, accept and close: each of their connections is told once, and whole.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, connect, connect_unspec, getsockname, socket},
};
use serde_json::{Value, json};
use wellhead::events::{Body, Connection, Role};
use wellhead_tests::{
    capture::{Tap, settings},
    cgroup::CgroupGuard,
    netns, workload,
};

use crate::failures::{Silent, local_port};

/// The workload. Returns, of every connection made, the ends as `[role, local port, remote port, sent, received]`.
pub(crate) fn all(_arguments: &[String]) -> Result<Value> {
    netns::isolate()?;
    let mut ends = Vec::new();
    self_connected(&mut ends)?;
    never_accepted(&mut ends)?;
    let refused = socket_used_again(&mut ends)?;
    Ok(json!({ "ends": ends, "refused": refused }))
}

type Ends = Vec<(&'static str, u16, u16, u64, u64)>;

fn both_ends(ends: &mut Ends, client: u16, server: u16, up: u64, down: u64) {
    ends.push(("source", client, server, up, down));
    ends.push(("destination", server, client, down, up));
}

/// A socket that connects to itself, by both sides opening at once: it is its own other end.
fn self_connected(ends: &mut Ends) -> Result<()> {
    let one = tcp_socket()?;
    bind(&one, &local(0))?;
    let port = port_of(&one)?;
    connect(&one, &local(port))?;
    let mut stream = TcpStream::from(one);
    stream.write_all(&[0; 70])?;
    stream.read_exact(&mut [0; 70])?;
    ends.push(("source", port, port, 70, 70));
    Ok(())
}

/// A connection that nobody accepts before the listener is gone.
fn never_accepted(ends: &mut Ends) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?.port();
    let mut stream = TcpStream::connect(local(server))?;
    stream.write_all(&[0; 30])?;
    // The other end has them all, which on a slow machine takes a moment.
    while not_acknowledged(&stream)? > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    drop(listener);
    ensure!(stream.read(&mut [0]).is_err(), "no reset came");
    both_ends(ends, stream.local_addr()?.port(), server, 30, 0);
    Ok(())
}

/// One socket: refused, then connected, then disconnected and connected elsewhere. Returns the port that refused.
fn socket_used_again(ends: &mut Ends) -> Result<u16> {
    let refused = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let one = tcp_socket()?;
    let error = connect(&one, &local(refused)).err();
    ensure!(error == Some(Errno::CONNREFUSED), "{error:?}");
    for (up, down) in [(11, 12), (13, 14)] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = listener.local_addr()?.port();
        connect(&one, &local(server))?;
        let (mut accepted, _) = listener.accept()?;
        rustix::io::write(&one, &vec![0; up])?;
        accepted.read_exact(&mut vec![0; up])?;
        accepted.write_all(&vec![0; down])?;
        while rustix::io::ioctl_fionread(&one)? < down as u64 {
            thread::sleep(Duration::from_millis(1));
        }
        both_ends(ends, port_of(&one)?, server, up as u64, down as u64);
        connect_unspec(&one)?;
        ensure!(accepted.read(&mut [0]).is_err(), "no reset came");
    }
    Ok(refused)
}

/// Bytes that were sent and not yet acknowledged (`SIOCOUTQ`, tcp(7)).
fn not_acknowledged(stream: &TcpStream) -> Result<libc::c_int> {
    let mut bytes = 0;
    // SAFETY: the socket is open, and the kernel writes one `int` where the last argument points.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    ensure!(result == 0, "{}", io::Error::last_os_error());
    Ok(bytes)
}

fn tcp_socket() -> Result<OwnedFd> {
    Ok(socket(AddressFamily::INET, SocketType::STREAM, None)?)
}

fn local(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn port_of(socket: &OwnedFd) -> Result<u16> {
    Ok(SocketAddrV4::try_from(getsockname(socket)?)?.port())
}

pub(crate) fn lives_are_told_once() -> Result<()> {
    let cgroup = CgroupGuard::new()?;
    let mut tap = Tap::attach(&settings(Some(cgroup.id())))?;
    let said = workload::run(&cgroup, "tcp_odd", &[])?;
    let mut expected: Vec<Value> = said["ends"].as_array().context("a list")?.clone();
    let count = expected.len();
    tap.read_until("all ends", |tap| Ok(tell(tap)?.closed.len() >= count))?;
    let mut told = tell(&tap)?;
    for list in [&mut expected, &mut told.closed, &mut told.opened] {
        list.sort_by_key(Value::to_string);
    }
    assert_eq!(told.closed, expected);
    let opened: Vec<Value> = expected
        .iter()
        .map(|end| json!([end[0], end[1], end[2]]))
        .collect();
    assert_eq!(told.opened, opened);
    assert_eq!(told.refused, [said["refused"].clone()]);
    Ok(())
}

/// An attempt under way when the programs are attached: they see only that it succeeds.
pub(crate) fn begun_before_the_programs() -> Result<()> {
    let silent = Silent::new()?;
    let attempt = silent.attempt()?;
    let port = local_port(&attempt)?;
    let mut tap = Tap::attach(&settings(None))?;
    // The next retransmission, after a second, finds room in the queue.
    let _queued = silent.answer()?;
    let is_told = |connection: &Connection| connection.local.port() == port;
    tap.read_until("it opened", |tap| {
        let events = tap.events()?;
        Ok(events
            .iter()
            .any(|(event, _)| matches!(&event.body, Body::TcpOpen(open) if is_told(open))))
    })?;
    let events = tap.events()?;
    let told: Vec<&Connection> = events
        .iter()
        .filter_map(|(event, _)| match &event.body {
            Body::TcpOpen(open) if is_told(open) => Some(open),
            _ => None,
        })
        .collect();
    let [open] = told[..] else {
        anyhow::bail!("told {} times", told.len());
    };
    assert_eq!(open.role, Some(Role::Source));
    assert_eq!((open.owner, open.connect_ns()), (None, None));
    Ok(())
}

/// What was told, in the workload's form.
#[derive(Default)]
struct Told {
    opened: Vec<Value>,
    closed: Vec<Value>,
    refused: Vec<Value>,
}

fn tell(tap: &Tap) -> Result<Told> {
    let mut told = Told::default();
    for (event, _) in tap.events()? {
        match event.body {
            Body::TcpOpen(open) => {
                let (role, local, remote) = end(&open);
                told.opened.push(json!([role, local, remote]));
            }
            Body::TcpClose(close) => {
                let (role, local, remote) = end(&close.connection);
                let (sent, received) = (close.totals.bytes_sent, close.totals.bytes_received);
                told.closed
                    .push(json!([role, local, remote, sent, received]));
            }
            Body::TcpConnectFailed(failure) => {
                ensure!(failure.errno == libc::ECONNREFUSED, "{failure:?}");
                told.refused.push(failure.connection.remote.port().into());
            }
            _ => {}
        }
    }
    Ok(told)
}

fn end(connection: &Connection) -> (&'static str, u16, u16) {
    let role = match connection.role {
        Some(Role::Source) => "source",
        Some(Role::Destination) => "destination",
        None => "unknown",
    };
    (role, connection.local.port(), connection.remote.port())
}
