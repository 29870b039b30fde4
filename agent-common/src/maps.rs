//! Keys and values of the kernel maps.

use crate::Sixteen;

/// A process as a kernel program saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// Process id (`tgid`) in the initial namespace; 0 where unknown.
    pub pid: u32,
    /// Real user id.
    pub uid: u32,
    /// Its name when seen.
    pub comm: Sixteen,
}

/// What a TCP connection has carried, and what held it up. All of it only grows; what has 32 bits starts again at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Traffic {
    /// Application bytes sent, each counted once.
    pub bytes_sent: u64,
    /// Application bytes received in order.
    pub bytes_received: u64,
    /// Segments sent, retransmitted ones and bare acknowledgements included.
    pub segments_sent: u32,
    /// Segments received.
    pub segments_received: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Those of them of which the reason was seen.
    pub because: Retransmits,
    /// Segments received out of order.
    pub out_of_order: u32,
    /// For how long there was something to send, in milliseconds.
    pub limited: Limited,
    /// Number of the snapshot that told this; 0 if none did.
    pub snapshot: u32,
}

/// Why segments were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Retransmits {
    /// Before the connection was established: a SYN, or a SYN-ACK.
    pub handshake: u32,
    /// No acknowledgement came in time.
    pub timeout: u32,
    /// To learn whether the last segments arrived (RFC 8985, section 7).
    pub probe: u32,
    /// Acknowledgements told that they were lost.
    pub fast: u32,
}

/// How long data waited for what, in milliseconds; one excludes the other (`enum tcp_chrono`, `include/linux/tcp.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Limited {
    /// The network: data was on its way.
    pub busy: u32,
    /// The peer's receive window.
    pub receive_window: u32,
    /// Room in the send buffer, as large as it may become.
    pub send_buffer: u32,
}

/// What is remembered of a TCP connection while it is open. Key: see [`crate::record::Socket::id`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// Boot clock when the connection was begun.
    pub started_ns: u64,
    /// Boot clock when it reached ESTABLISHED; 0 before.
    pub established_ns: u64,
    /// Who opened it, or who listens.
    pub owner: Process,
    /// One of the roles in [`crate::record::role`].
    pub role: u16,
    /// An error number that was told to whoever connects, before ESTABLISHED; 0 for none.
    pub error: u16,
    /// Bits of [`crate::record::tcp_flag`] to put on its next record.
    pub flags: u32,
    /// What snapshots told of its traffic.
    pub reported: Traffic,
}

/// Key of the table of listening sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ListenerKey {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Local port, host byte order.
    pub port: u32,
}

/// Key that makes a process's exit count once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessKey {
    /// Process id in the initial namespace.
    pub pid: u64,
    /// Boot clock when the process started.
    pub start_ns: u64,
}

/// A signal that a process got, and who sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SignalSeen {
    /// Boot clock when it was sent; 0 if none was.
    pub sent_ns: u64,
    /// cgroup v2 id of who sent it; 0 if that was the kernel.
    pub sender_cgroup_id: u64,
    /// Who sent it, a process id in the initial namespace; 0 if that was the kernel.
    pub sender_pid: u32,
    /// Real user id of who sent it.
    pub sender_uid: u32,
    /// Which.
    pub signal: u32,
    /// Why: `si_code` of sigaction(2).
    pub code: i32,
    /// Name of who sent it.
    pub sender: Sixteen,
}

/// The last signals of their kind that a process got. Key: its process id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Signals {
    /// One that programs may answer, and that asks them to end: `SIGTERM`, `SIGINT`, `SIGHUP`, `SIGQUIT`.
    pub asked: SignalSeen,
    /// Any other that ends whoever does not answer it.
    pub forced: SignalSeen,
}

/// What records that found their ring full were about: what their loss is counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct SpillKey {
    /// cgroup v2 id; 0 where there was no room even by cgroup.
    pub cgroup_id: u64,
    /// The remote address of a connection, the name of a process; 0 where there was no room for that.
    pub subject: Sixteen,
    /// Value of [`state::SPILL_EPOCH`] at the time.
    pub epoch: u32,
    /// A [`crate::record::Kind`].
    pub kind: u32,
    /// Status of an exit; socket error of a connection, of a failed one with bit 31 if its program shut it down.
    pub status: u32,
    /// One of [`crate::record::role`].
    pub role: u16,
    /// The port that was connected to.
    pub port: u16,
}

/// Bit of [`SpillKey::status`]: see there.
pub const SPILL_SHUT_DOWN: u32 = 1 << 31;

/// What records that found their ring full would have told, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SpillValue {
    /// How many.
    pub records: u64,
    /// Those of them whose connection's open was not told either.
    pub opens: u64,
    /// Application bytes sent that no snapshot told.
    pub bytes_sent: u64,
    /// Likewise received.
    pub bytes_received: u64,
    /// Likewise segments sent.
    pub segments_sent: u64,
    /// Likewise received.
    pub segments_received: u64,
    /// Likewise sent again.
    pub retransmits: u64,
    /// And why, in the order of [`Retransmits`].
    pub because: [u64; 4],
    /// Likewise received out of order.
    pub out_of_order: u64,
    /// Milliseconds, in the order of [`Limited`].
    pub limited: [u64; 3],
}

/// Key of packets the kernel dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct DropKey {
    /// cgroup v2 id of the socket they were for or from; 0 where unknown.
    pub cgroup_id: u64,
    /// Where in the kernel it happened, where the kernel tells no reason (before 5.17); otherwise 0.
    pub location: u64,
    /// Inode number of the network namespace; 0 where unknown.
    pub netns: u32,
    /// A value of `enum skb_drop_reason`, or of a subsystem's (`include/net/dropreason.h`).
    pub reason: u32,
    /// Value of [`state::TALLY_EPOCH`] at the time.
    pub epoch: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Why a packet of a handshake was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LostHandshake {
    /// As in [`DropKey`].
    pub location: u64,
    /// As in [`DropKey`].
    pub reason: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Key of datagrams exchanged with a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct UdpKey {
    /// cgroup v2 id of the socket.
    pub cgroup_id: u64,
    /// The peer's address, IPv4-mapped if it is one of IPv4; 0 where there was no room for it.
    pub remote_address: Sixteen,
    /// Value of [`state::TALLY_EPOCH`] at the time.
    pub epoch: u32,
    /// Port of the end that did not ask.
    pub port: u16,
    /// One of [`crate::record::role`].
    pub role: u8,
    /// One of [`udp_protocol`].
    pub protocol: u8,
}

/// What datagrams carry.
pub mod udp_protocol {
    /// Not known.
    pub const NONE: u8 = 0;
    /// QUIC, as its port and first byte say.
    pub const QUIC: u8 = 1;
}

/// Datagrams exchanged with a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UdpValue {
    /// Bytes they carried, sent.
    pub bytes_sent: u64,
    /// Likewise received.
    pub bytes_received: u64,
    /// How many were sent.
    pub datagrams_sent: u64,
    /// Likewise received.
    pub datagrams_received: u64,
}

/// Slots of the array by which the daemon steers the programs. They only read it.
pub mod state {
    /// The generation of programs that works; those of another return at once.
    pub const GENERATION: u32 = 0;
    /// Boot clock until which the programs work: the daemon moves it on while it lives.
    pub const SERVE_UNTIL: u32 = 1;
    /// Which entries of the spill map are written now; the daemon takes out the others.
    pub const SPILL_EPOCH: u32 = 2;
    /// Number of the running snapshot.
    pub const SNAPSHOT: u32 = 3;
    /// What the working programs were made from; the daemon's own.
    pub const FINGERPRINT: u32 = 4;
    /// What [`crate::counts::TAKEN_OVER`] was when the working programs were made; the daemon's own.
    pub const TAKEN_OVER_BEFORE: u32 = 5;
    /// Which entries of the maps of drops and datagrams are written now; the daemon takes out the others.
    pub const TALLY_EPOCH: u32 = 6;
    /// From here on, for each counter cell, what earlier daemons took notice of; the daemon's own.
    pub const ACKNOWLEDGED: u32 = 16;
    /// Number of slots. All keep their places, and those before are for later versions: an array of another length cannot be
    /// gone on with.
    pub const SLOTS: u32 = ACKNOWLEDGED + crate::counts::CELLS;
}

const _: () = assert!(size_of::<Process>() == 24);
const _: () = assert!(size_of::<Traffic>() == 64);
const _: () = assert!(size_of::<SpillKey>() == 40);
const _: () = assert!(size_of::<SpillValue>() == 120);
const _: () = assert!(size_of::<Connection>() == 112);
const _: () = assert!(size_of::<ListenerKey>() == 8);
const _: () = assert!(size_of::<ProcessKey>() == 16);
const _: () = assert!(size_of::<SignalSeen>() == 48);
const _: () = assert!(size_of::<Signals>() == 96);
const _: () = assert!(size_of::<DropKey>() == 32);
const _: () = assert!(size_of::<UdpKey>() == 32);
const _: () = assert!(size_of::<UdpValue>() == 32);
