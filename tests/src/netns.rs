//! Network namespaces. They live as long as the process that made one, so nothing is left behind.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::UnshareFlags;

/// Gives the calling process, which has one thread, a network namespace of its own with nothing but loopback in it.
/// Returns its inode number.
///
/// # Errors
/// Not permitted, or loopback does not come up.
pub fn isolate() -> Result<u64> {
    // SAFETY: a new network namespace shares no memory or descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare")?;
    bring_up_loopback().context("loopback")?;
    Ok(fs::metadata("/proc/self/ns/net")?.ino())
}

/// Writes a sysctl of the calling process's network namespace, such as `ipv4/ip_local_port_range`.
///
/// # Errors
/// There is no such sysctl, or it does not take the value.
pub fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).with_context(|| format!("write {value} to {path}"))
}

/// Waits until no TCP connection of the calling thread's network namespace is left but in TIME_WAIT. What the last packets do
/// may be left to `ksoftirqd`, which on an emulated processor runs seconds later; kernels before 6.5 leave all to it once
/// it has been woken.
///
/// # Errors
/// Some stay open for a minute.
pub fn until_connections_ended() -> Result<()> {
    let start = Instant::now();
    while open_connections()? > 0 {
        ensure!(
            start.elapsed() < Duration::from_mins(1),
            "connections stay open"
        );
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn open_connections() -> Result<usize> {
    let mut open = 0;
    for name in ["tcp", "tcp6"] {
        let path = format!("/proc/thread-self/net/{name}");
        let sockets = fs::read_to_string(&path).context(path)?;
        let states = sockets
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(3));
        open += states
            .filter(|state| ![TIME_WAIT, LISTEN].contains(state))
            .count();
    }
    Ok(open)
}

/// States of `include/net/tcp_states.h`, as `/proc/net/tcp` writes them.
const TIME_WAIT: &str = "06";
const LISTEN: &str = "0A";

/// Gives loopback of the calling process's network namespace another address.
///
/// # Errors
/// The kernel refuses.
pub fn add_address(address: Ipv4Addr) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo:1") {
        *to = (*from).cast_signed();
    }
    let address = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default(),
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: both are plain memory, and an address is no longer than the place for one.
    request.ifr_ifru.ifru_addr =
        unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) };
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request is a whole `ifreq` and outlives the call.
    match unsafe { libc::ioctl(fd, libc::SIOCSIFADDR, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn bring_up_loopback() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or_default();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request is a whole `ifreq` and outlives the call.
    match unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
