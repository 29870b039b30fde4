//! Sockets in every TCP state, in numbers that are known, in the calling process's network namespace.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::net::{AddressFamily, SocketType, sockopt};
use wellhead::kernel::{TcpState, count_tcp};
use wellhead_tests::{capture::DEADLINE, netns};

const ESTABLISHED: [(&str, &str, usize); 3] = [
    (V4, V4, 7),
    (V6, V6, 5),
    // IPv4 into a socket of IPv6.
    (ANY, V4, 2),
];
const HALF_CLOSED: [(&str, usize); 2] = [(V4, 4), (V6, 3)];
/// Closed at one end, so nobody's there: full sockets for a while.
const ORPHANS: [(&str, usize); 2] = [(V4, 3), (V6, 2)];
/// The same, but the kernel keeps remains only.
const REMAINS: [(&str, usize); 2] = [(V4, 6), (V6, 1)];
const TIME_WAIT: [(&str, usize); 2] = [(V4, 8), (V6, 1)];
const FIN_WAIT1: usize = 2;
const CLOSING: usize = 3;
const LAST_ACK: usize = 4;
/// Waiting to be accepted: sockets that no process holds.
const UNACCEPTED: usize = 1;
const SYN_SENT: usize = 1;

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";
const ANY: &str = "[::]:0";

/// Live sockets by state.
pub(crate) const EXPECTED: [(TcpState, u64); 6] = [
    (TcpState::Established, 2 * (7 + 5 + 2) + 2 + 2),
    (TcpState::FinWait1, 2),
    (TcpState::FinWait2, 7 + 5 + 3 + 4),
    (TcpState::CloseWait, 7 + 5 + 7),
    (TcpState::LastAck, 4),
    (TcpState::Closing, 3),
];

/// Remains that the kernel calls FIN_WAIT2.
pub(crate) const REMAINS_IN_FIN_WAIT2: u64 = 7;

/// Time-wait, listening and connecting sockets.
pub(crate) const LEFT_OUT: [u64; 3] = [8 + 1, 5, 1];

/// Connections that stay open as long as this.
#[derive(Default)]
pub(crate) struct Connections {
    listeners: Vec<TcpListener>,
    streams: Vec<TcpStream>,
}

impl Connections {
    /// Over IPv4, never accepted: their other ends have no descriptor.
    pub(crate) fn unaccepted(number: usize) -> Result<Self> {
        let listener = TcpListener::bind(V4)?;
        rustix::net::listen(&listener, i32::try_from(number)?)?;
        let address = listener.local_addr()?;
        let streams = (0..number).map(|_| TcpStream::connect(address));
        Ok(Self {
            streams: streams.collect::<io::Result<_>>()?,
            listeners: vec![listener],
        })
    }
}

/// Makes them all.
pub(crate) fn all() -> Result<Connections> {
    let mut made = Connections::default();
    let keep = &mut made.streams;
    let [v4, v6, any, small] = [V4, V6, ANY, V4].map(TcpListener::bind);
    let (v4, v6, any, small) = (v4?, v6?, any?, small?);
    // What is sent to it soon has to wait at the sender.
    sockopt::set_socket_recv_buffer_size(&small, 4096)?;

    for (listener, (_, destination, number)) in [&v4, &v6, &any].into_iter().zip(ESTABLISHED) {
        for _ in 0..number {
            keep.extend(pair_to(listener, destination)?);
        }
    }
    for (listener, (_, number)) in [&v4, &v6].into_iter().zip(HALF_CLOSED) {
        for _ in 0..number {
            let [source, destination] = pair(listener)?;
            source.shutdown(Shutdown::Write)?;
            keep.extend([source, destination]);
        }
    }
    // Beyond the minute that remains are kept for, an orphan stays a socket for the rest of the time.
    netns::set("ipv4/tcp_fin_timeout", "120")?;
    close_sources([&v4, &v6], ORPHANS, keep)?;
    wait_for_fin_wait2(
        (HALF_CLOSED.iter().chain(&ORPHANS))
            .map(|(_, number)| number)
            .sum(),
    )?;
    netns::set("ipv4/tcp_fin_timeout", "60")?;
    close_sources([&v4, &v6], REMAINS, keep)?;
    let mut destinations = Vec::new();
    close_sources([&v4, &v6], TIME_WAIT, &mut destinations)?;
    drop(destinations);

    for _ in 0..FIN_WAIT1 {
        keep.extend(stuck_fin(&small)?);
    }
    for _ in 0..CLOSING {
        let [source, destination] = stuck_fin(&small)?;
        destination.shutdown(Shutdown::Write)?;
        keep.extend([source, destination]);
    }
    for _ in 0..LAST_ACK {
        let [mut source, destination] = pair(&small)?;
        destination.shutdown(Shutdown::Write)?;
        fill(&mut source)?;
        wait_for_end(&source)?;
        source.shutdown(Shutdown::Write)?;
        keep.extend([source, destination]);
    }
    let full = full_listener(keep)?;
    made.listeners = vec![v4, v6, any, small, full];
    Ok(made)
}

fn pair(listener: &TcpListener) -> Result<[TcpStream; 2]> {
    let source = TcpStream::connect(listener.local_addr()?)?;
    Ok([source, listener.accept()?.0])
}

/// A connection by way of another address than the one listened on.
fn pair_to(listener: &TcpListener, address: &str) -> Result<[TcpStream; 2]> {
    let mut address: SocketAddr = address.parse()?;
    address.set_port(listener.local_addr()?.port());
    let source = TcpStream::connect(address)?;
    Ok([source, listener.accept()?.0])
}

/// Connections whose sources are closed, while the destinations are not. Waits until these know.
fn close_sources(
    listeners: [&TcpListener; 2],
    numbers: [(&str, usize); 2],
    keep: &mut Vec<TcpStream>,
) -> Result<()> {
    for (listener, (_, number)) in listeners.into_iter().zip(numbers) {
        for _ in 0..number {
            let [source, destination] = pair(listener)?;
            drop(source);
            wait_for_end(&destination)?;
            keep.push(destination);
        }
    }
    Ok(())
}

/// Until the other end's FIN is here.
fn wait_for_end(stream: &TcpStream) -> Result<()> {
    let read = stream.peek(&mut [0])?;
    ensure!(read == 0, "data came instead of the end");
    Ok(())
}

/// Until so many have had their FIN acknowledged, which takes as long as an acknowledgement may be delayed.
fn wait_for_fin_wait2(sockets: usize) -> Result<()> {
    let start = Instant::now();
    while count_tcp(&TcpState::LIVE)?.of(TcpState::FinWait2) != sockets as u64 {
        ensure!(start.elapsed() < DEADLINE, "not all reach FIN_WAIT2");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A connection with a FIN that waits behind data the destination does not read.
fn stuck_fin(listener: &TcpListener) -> Result<[TcpStream; 2]> {
    let [mut source, destination] = pair(listener)?;
    fill(&mut source)?;
    source.shutdown(Shutdown::Write)?;
    Ok([source, destination])
}

/// Sends until there is no more room. A source has much more of it than a destination with a small buffer.
fn fill(source: &mut TcpStream) -> Result<()> {
    source.set_nonblocking(true)?;
    loop {
        match source.write(&[0; 16 << 10]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    source.set_nonblocking(false)?;
    Ok(())
}

/// A listener with as many unaccepted connections as it takes, and one attempt that is not answered.
fn full_listener(keep: &mut Vec<TcpStream>) -> Result<TcpListener> {
    let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    rustix::net::listen(&listener, 0)?;
    let listener = TcpListener::from(listener);
    let address = listener.local_addr()?;
    for _ in 0..UNACCEPTED {
        keep.push(TcpStream::connect(address)?);
    }
    for _ in 0..SYN_SENT {
        let source = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::io::ioctl_fionbio(&source, true)?;
        let error = rustix::net::connect(&source, &address).err();
        ensure!(error == Some(rustix::io::Errno::INPROGRESS), "{error:?}");
        keep.push(TcpStream::from(source));
    }
    Ok(listener)
}
