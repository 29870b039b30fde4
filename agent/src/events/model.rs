//! What happened, in the daemon's own types. Text borrows from the record.

use std::net::{IpAddr, SocketAddr};

use wellhead_common::maps::{self, Traffic};

use super::dns::Packet;
use super::process::{Exec, Exit, Fork, Found, Freed, OomKill};
use crate::counters::RecordKind;
use crate::kernel::TcpState;

/// Something that happened on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When, on the boot clock.
    pub boot_ns: u64,
    /// cgroup v2 id of whom it concerns; 0 where unknown.
    pub cgroup_id: u64,
    /// What.
    pub body: Body<'a>,
}

impl Event<'_> {
    /// The kind of record it came from.
    pub fn kind(&self) -> RecordKind {
        match self.body {
            Body::CgroupMade(_) => RecordKind::CgroupMkdir,
            Body::CgroupRemoved(_) => RecordKind::CgroupRmdir,
            Body::CgroupEntered(_) => RecordKind::CgroupAttach,
            Body::Fork(_) => RecordKind::Fork,
            Body::Exec(_) => RecordKind::Exec,
            Body::Exit(_) => RecordKind::Exit,
            Body::Freed(_) => RecordKind::Freed,
            Body::OomKill(_) => RecordKind::OomKill,
            Body::TcpOpen(_) => RecordKind::TcpOpen,
            Body::TcpClose(_) => RecordKind::TcpClose,
            Body::TcpConnectFailed(_) => RecordKind::TcpConnectFailed,
            Body::TcpSnapshot(_) | Body::TcpAttempt(_) => RecordKind::TcpSnapshot,
            Body::Found(_) => RecordKind::Task,
            Body::TcpReset(_) => RecordKind::TcpReset,
            Body::TcpListener(_) => RecordKind::TcpListener,
            Body::TcpListen(_) => RecordKind::TcpListen,
            Body::Dns(_) => RecordKind::Dns,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A cgroup was made.
    CgroupMade(Cgroup<'a>),
    /// A cgroup was removed.
    CgroupRemoved(Cgroup<'a>),
    /// A process was moved into a cgroup.
    CgroupEntered(Cgroup<'a>),
    /// A process was made.
    Fork(Fork),
    /// A process executes another program.
    Exec(Exec<'a>),
    /// A process ended.
    Exit(Exit),
    /// The kernel let go of a process that ended.
    Freed(Freed),
    /// The kernel chose a victim to free memory.
    OomKill(OomKill),
    /// A connection reached ESTABLISHED.
    TcpOpen(Connection),
    /// A connection ended.
    TcpClose(ConnectionEnd),
    /// A connection attempt ended before ESTABLISHED.
    TcpConnectFailed(ConnectionEnd),
    /// A connection is open, and this is what it has carried so far.
    TcpSnapshot(ConnectionEnd),
    /// A process was there already.
    Found(Found),
    /// This end reset a connection, which may be over already: its role and owner are not told.
    TcpReset(Connection),
    /// A socket listens, and this is who waits there.
    TcpListener(Listener),
    /// A socket begins to listen.
    TcpListen(Listener),
    /// An attempt to open a connection is under way.
    TcpAttempt(Connection),
    /// A packet to or from a server of DNS.
    Dns(Packet<'a>),
}

/// The cgroup of an event about cgroups; its id is the event's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup<'a> {
    /// Path below the root of the hierarchy; `None` if the record could not hold it whole.
    pub path: Option<&'a str>,
}

/// Which end of a connection the socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It connected.
    Source,
    /// It was accepted.
    Destination,
}

/// A process that owns a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOwner {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Its name when it connected or listened, NUL-padded.
    pub comm: [u8; 16],
}

/// One end of a TCP connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a bit of the record, independent of the others"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The same for all events of this end while the connection lives.
    pub socket_id: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Which end this is; `None` if neither was seen being opened.
    pub role: Option<Role>,
    /// Who connected or listens, where known.
    pub owner: Option<SocketOwner>,
    /// Boot clock when it was begun, where known.
    pub started_ns: Option<u64>,
    /// Boot clock when it reached ESTABLISHED, where it did and that is known.
    pub established_ns: Option<u64>,
    /// It was already open when it was first met.
    pub older_than_agent: bool,
    /// It was first met as it ended: it was never told of as open.
    pub unmet: bool,
    /// The event that it was opened found its ring full, and nothing told of it since: it is to be counted now.
    pub open_lost: bool,
    /// The program itself shut the socket down.
    pub shut_down: bool,
}

impl Connection {
    /// How long the handshake took, for the end that connected.
    pub fn connect_ns(&self) -> Option<u64> {
        if self.role != Some(Role::Source) {
            return None;
        }
        Some(self.established_ns?.saturating_sub(self.started_ns?))
    }

    /// The port that was connected to.
    pub fn destination_port(&self) -> u16 {
        match self.role {
            Some(Role::Destination) => self.local.port(),
            Some(Role::Source) | None => self.remote.port(),
        }
    }
}

/// A connection, or an attempt, that ended; or a connection as a snapshot found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// Which connection.
    pub connection: Connection,
    /// What it carried.
    pub totals: Totals,
    /// What snapshots told of that before; of a connection older than the agent also what nobody told.
    pub reported: Traffic,
    /// Socket error (`errno`), 0 for none.
    pub errno: i32,
    /// The state it ended in, or is in, where that is known.
    pub state: Option<TcpState>,
    /// What it carried and its error are not known (no BTF).
    pub lifecycle_only: bool,
    /// The first sequence number of all, of an attempt that failed, where it is known.
    pub initial_sequence: Option<u32>,
}

impl ConnectionEnd {
    /// Whether its handshake was over, as its last state tells.
    pub fn handshake_over(&self) -> bool {
        self.state
            .is_some_and(|state| TcpState::LIVE.contains(&state))
    }
}

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The same for all events of this socket.
    pub socket_id: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Where it listens.
    pub local: SocketAddr,
    /// Who holds it, where known.
    pub owner: Option<SocketOwner>,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// How many may; one more is let in.
    pub limit: u32,
    /// Connections that were turned away since it began to listen; a 32-bit counter of the kernel.
    pub drops: u32,
    /// SYN-ACKs that were sent again, as far as that was seen; likewise.
    pub syn_ack_retransmits: u32,
}

/// What a connection carried over its life, and what held it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Application bytes sent, each once.
    pub bytes_sent: u64,
    /// Application bytes received in order.
    pub bytes_received: u64,
    /// Segments sent, acknowledgements and retransmissions included.
    pub segments_sent: u64,
    /// Segments received.
    pub segments_received: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Those of them of which it is known why.
    pub because: Because,
    /// Segments received out of order.
    pub out_of_order: u64,
    /// Milliseconds for which there was something to send.
    pub limited: Limited,
    /// Smoothed round-trip time in microseconds, where one was measured.
    pub srtt_us: Option<u32>,
    /// Least round-trip time of late in microseconds, likewise.
    pub min_rtt_us: Option<u32>,
}

/// Segments sent again, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Because {
    /// The SYN or SYN-ACK was not answered.
    pub handshake: u64,
    /// No acknowledgement came in time.
    pub timeout: u64,
    /// To learn whether the last segments arrived.
    pub probe: u64,
    /// Acknowledgements told that they were lost.
    pub fast: u64,
}

impl Because {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.handshake + self.timeout + self.probe + self.fast
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            handshake: wrapped(self.handshake, earlier.handshake),
            timeout: wrapped(self.timeout, earlier.timeout),
            probe: wrapped(self.probe, earlier.probe),
            fast: wrapped(self.fast, earlier.fast),
        }
    }
}

/// Milliseconds for which data waited, by for what; one excludes the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// The network: it was on its way.
    pub busy: u64,
    /// The peer's receive window.
    pub receive_window: u64,
    /// Room in the send buffer.
    pub send_buffer: u64,
}

impl Limited {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            busy: wrapped(self.busy, earlier.busy),
            receive_window: wrapped(self.receive_window, earlier.receive_window),
            send_buffer: wrapped(self.send_buffer, earlier.send_buffer),
        }
    }
}

impl From<&Traffic> for Totals {
    fn from(traffic: &Traffic) -> Self {
        let (because, limited) = (&traffic.because, &traffic.limited);
        Self {
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
            segments_sent: u64::from(traffic.segments_sent),
            segments_received: u64::from(traffic.segments_received),
            retransmits: u64::from(traffic.retransmits),
            because: Because {
                handshake: u64::from(because.handshake),
                timeout: u64::from(because.timeout),
                probe: u64::from(because.probe),
                fast: u64::from(because.fast),
            },
            out_of_order: u64::from(traffic.out_of_order),
            limited: Limited {
                busy: u64::from(limited.busy),
                receive_window: u64::from(limited.receive_window),
                send_buffer: u64::from(limited.send_buffer),
            },
            srtt_us: None,
            min_rtt_us: None,
        }
    }
}

impl Totals {
    /// As narrow as the kernel has it; of the counters that start again at 0 there, nothing is lost.
    pub(crate) fn narrow(&self) -> Traffic {
        Traffic {
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            segments_sent: lower_half(self.segments_sent),
            segments_received: lower_half(self.segments_received),
            retransmits: lower_half(self.retransmits),
            because: maps::Retransmits {
                handshake: lower_half(self.because.handshake),
                timeout: lower_half(self.because.timeout),
                probe: lower_half(self.because.probe),
                fast: lower_half(self.because.fast),
            },
            out_of_order: lower_half(self.out_of_order),
            limited: maps::Limited {
                busy: lower_half(self.limited.busy),
                receive_window: lower_half(self.limited.receive_window),
                send_buffer: lower_half(self.limited.send_buffer),
            },
            snapshot: 0,
        }
    }

    /// What came on top of an earlier reading of the same connection.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            bytes_sent: self.bytes_sent.saturating_sub(earlier.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(earlier.bytes_received),
            segments_sent: wrapped(self.segments_sent, earlier.segments_sent),
            segments_received: wrapped(self.segments_received, earlier.segments_received),
            retransmits: wrapped(self.retransmits, earlier.retransmits),
            because: self.because.since(&earlier.because),
            out_of_order: wrapped(self.out_of_order, earlier.out_of_order),
            limited: self.limited.since(&earlier.limited),
            srtt_us: self.srtt_us,
            min_rtt_us: self.min_rtt_us,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
fn lower_half(count: u64) -> u32 {
    count as u32
}

/// The difference of two readings of a 32-bit counter of the kernel, which starts again at 0.
fn wrapped(later: u64, earlier: u64) -> u64 {
    later.wrapping_sub(earlier) & u64::from(u32::MAX)
}

/// An address without the IPv4-mapped form.
pub(super) fn canonical(address: [u8; 16]) -> IpAddr {
    IpAddr::from(address).to_canonical()
}
