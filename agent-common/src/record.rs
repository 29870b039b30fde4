//! Records in the rings.
//!
//! Every record starts with a [`Header`]. Integers are in the machine's byte order, times are
//! `bpf_ktime_get_boot_ns` nanoseconds, process ids are those of the initial namespace, ports are in host byte order and
//! IPv4 addresses are IPv4-mapped IPv6. Records that end in text are sent only as long as the text is.

mod kind;
mod process;

pub use self::{kind::Kind, process::*};
use crate::{
    Sixteen,
    limits::{CGROUP_PATH, DNS_PAYLOAD},
    maps::{Process, Traffic},
};

/// The part all records share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u32,
    /// Length of the whole record in bytes.
    pub length: u32,
    /// When it happened.
    pub boot_ns: u64,
    /// cgroup v2 id of whom it concerns; 0 where unknown.
    pub cgroup_id: u64,
}

/// A cgroup was made, removed, or given a process.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Cgroup {
    /// `cgroup_id` is the cgroup's own.
    pub header: Header,
    /// The process that was moved (attach); 0 otherwise.
    pub pid: u32,
    /// Length of `path` without its NUL.
    pub path_length: u32,
    /// Path below the root of the hierarchy.
    pub path: [u8; CGROUP_PATH],
}

/// The ends of a TCP connection and whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Socket {
    /// The same in all records of one connection: the socket's cookie, or where the kernel does not tell it to tracing
    /// programs (before 5.12) the socket's address, which is used again afterwards.
    pub id: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Local port.
    pub local_port: u16,
    /// Local address.
    pub local_address: Sixteen,
    /// Remote address.
    pub remote_address: Sixteen,
    /// Remote port.
    pub remote_port: u16,
    /// One of [`role`].
    pub role: u16,
    /// Bits of [`tcp_flag`].
    pub flags: u32,
    /// Who connected, or who listens.
    pub owner: Process,
    /// When the connection was begun; 0 where unknown.
    pub started_ns: u64,
    /// When it reached ESTABLISHED; 0 if it never did or that is unknown.
    pub established_ns: u64,
}

/// Which end of a connection a socket is.
pub mod role {
    /// Neither end was seen being opened.
    pub const UNKNOWN: u16 = 0;
    /// It connected.
    pub const SOURCE: u16 = 1;
    /// It was accepted.
    pub const DESTINATION: u16 = 2;
}

/// Bits of [`Socket::flags`].
pub mod tcp_flag {
    /// The connection was already open when it was first met.
    pub const OLDER_THAN_AGENT: u32 = 1;
    /// Its open record found the ring full.
    pub const OPEN_LOST: u32 = 1 << 1;
    /// The program closed the socket itself (`SHUTDOWN_MASK` is set).
    pub const SHUT_DOWN: u32 = 1 << 2;
    /// It was met only as it ended: nothing was told of it before.
    pub const UNMET: u32 = 1 << 3;
    /// Only that and when it was opened and ended is known: what it carried and its error are not.
    pub const LIFECYCLE_ONLY: u32 = 1 << 8;
}

/// A connection reached ESTABLISHED.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpOpen {
    /// `cgroup_id` is the socket's.
    pub header: Header,
    /// Which connection.
    pub socket: Socket,
}

/// A connection, or an attempt at one, ended; or is open still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpClose {
    /// `cgroup_id` is the socket's.
    pub header: Header,
    /// Which connection.
    pub socket: Socket,
    /// What it has carried.
    pub traffic: Traffic,
    /// How much of that earlier snapshots told; for a connection older than the agent, also what it had carried before.
    pub reported: Traffic,
    /// Smoothed round-trip time in microseconds; 0 where none was measured.
    pub srtt_us: u32,
    /// Socket error (`errno`); 0 for none.
    pub error: u32,
    /// TCP state it was closed from, or is in (`include/net/tcp_states.h`).
    pub state: u32,
    /// Least round-trip time of late in microseconds (`net.ipv4.tcp_min_rtt_wlen`); 0 where none was measured.
    pub min_rtt_us: u32,
    /// The first sequence number of all, of an attempt that failed; 0 otherwise.
    pub initial_sequence: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A socket that listens. As it begins to, nobody waits there yet: the last four are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpListener {
    /// `cgroup_id` is the socket's.
    pub header: Header,
    /// See [`Socket::id`].
    pub id: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Port it listens on.
    pub port: u16,
    /// Address it listens on.
    pub address: Sixteen,
    /// Who holds it.
    pub owner: Process,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// How many may; one more is let in.
    pub limit: u32,
    /// Connections that were turned away since it began to listen; starts again at 0.
    pub drops: u32,
    /// SYN-ACKs sent again since, as far as the programs saw it; starts again at 0.
    pub syn_ack_retransmits: u32,
}

/// A packet to or from a server of DNS. Bytes of `payload` that were not captured are arbitrary.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Dns {
    /// `cgroup_id` is that of the socket that asks.
    pub header: Header,
    /// Its cookie.
    pub socket: u64,
    /// Bytes the packet carries.
    pub length: u32,
    /// How many of them are in `payload`.
    pub captured: u32,
    /// Bits of [`dns_flag`].
    pub flags: u32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// Local address.
    pub local_address: Sixteen,
    /// Remote address.
    pub remote_address: Sixteen,
    /// The first bytes it carries.
    pub payload: [u8; DNS_PAYLOAD],
}

/// Bits of [`Dns::flags`].
pub mod dns_flag {
    /// The socket sent it.
    pub const EGRESS: u32 = 1;
    /// It is a segment of TCP, not a datagram.
    pub const TCP: u32 = 1 << 1;
}

/// Size of [`Dns`] without what it carries.
pub const DNS_FIXED: usize = 80;

/// Size of [`Cgroup`] without its text.
pub const CGROUP_FIXED: usize = 32;

const _: () = assert!(size_of::<Header>() == 24);
const _: () = assert!(size_of::<Cgroup>() == CGROUP_FIXED + CGROUP_PATH);
const _: () = assert!(size_of::<Socket>() == 96);
const _: () = assert!(size_of::<TcpOpen>() == 120);
const _: () = assert!(size_of::<TcpClose>() == 272);
const _: () = assert!(size_of::<TcpListener>() == 96);
const _: () = assert!(size_of::<Dns>() == DNS_FIXED + DNS_PAYLOAD);
