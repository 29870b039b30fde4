//! TCP connections, from state changes alone: nothing runs per packet.

use aya_ebpf::{
    bindings::BPF_ANY,
    macros::{btf_tracepoint, map},
    maps::HashMap,
    programs::BtfTracePointContext,
};
use wellhead_common::{
    Sixteen, counts,
    maps::{
        Connection, Limited, Process, Retransmits, SPILL_SHUT_DOWN, SpillKey, SpillValue, Traffic,
    },
    record::{Kind, Socket, TcpClose, TcpOpen, role, tcp_flag},
};

use crate::{
    kernel::{Struct, captured, field, offset},
    listeners::{LISTENERS, listening, listening_ended},
    nested,
    output::{NETWORK, count, write_header},
    retransmits,
    socket::{
        Ends, current_process, id, is_shut_down, listener_key, local_port, min_rtt_us,
        remote_address, sock_cgroup_id, tcp_family, tcp_sock, traffic, write_ends,
    },
    spill::spill,
    state,
};

/// States of `include/net/tcp_states.h`.
pub(crate) const TCP_ESTABLISHED: i32 = 1;
pub(crate) const TCP_SYN_SENT: i32 = 2;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
pub(crate) const TCP_LISTEN: i32 = 10;

/// What stands for a connection of which nothing is known when it ends: it was open before the programs were attached,
/// and no snapshot met it.
const UNMET: Connection = Connection {
    started_ns: 0,
    established_ns: 0,
    owner: Process {
        pid: 0,
        uid: 0,
        comm: Sixteen::of_words([0; 2]),
    },
    role: role::UNKNOWN,
    error: 0,
    flags: tcp_flag::OLDER_THAN_AGENT | tcp_flag::UNMET,
    reported: UNREPORTED,
};

/// Of a connection that no snapshot told of yet.
pub(crate) const UNREPORTED: Traffic = Traffic {
    bytes_sent: 0,
    bytes_received: 0,
    segments_sent: 0,
    segments_received: 0,
    retransmits: 0,
    because: Retransmits {
        handshake: 0,
        timeout: 0,
        probe: 0,
        fast: 0,
    },
    out_of_order: 0,
    limited: Limited {
        busy: 0,
        receive_window: 0,
        send_buffer: 0,
    },
    snapshot: 0,
};

/// Open connections, by [`id`]. The loader sets its size.
#[map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(1, 0);

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(context: BtfTracePointContext) -> i32 {
    if let Some(change) = Change::of(&context) {
        nested::begin();
        change.take_in();
        nested::end();
    }
    0
}

/// The same where it interrupts the program above, which the kernel then skips. Attached second, so that it finds the
/// other done, unless it is the other that waits for this one.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn nested_set_state(context: BtfTracePointContext) -> i32 {
    if let Some(change) = Change::of(&context)
        && nested::is_interrupting()
    {
        count(counts::TAKEN_OVER);
        change.take_in();
    }
    0
}

/// A change of state that tells something.
struct Change {
    sock: Struct,
    old: i32,
    new: i32,
}

impl Change {
    /// Half of all changes are ways a connection takes to its end: of those nothing is done at all.
    #[inline(always)]
    fn of(context: &BtfTracePointContext) -> Option<Self> {
        let old = context.arg::<u64>(1) as i32;
        let new = context.arg::<u64>(2) as i32;
        let tells = match new {
            TCP_SYN_SENT | TCP_LISTEN | TCP_ESTABLISHED => true,
            TCP_CLOSE => old != TCP_CLOSE,
            _ => false,
        };
        tells.then(|| Self {
            sock: context.arg(0),
            old,
            new,
        })
    }

    #[inline(always)]
    fn take_in(self) {
        let Self { sock, old, new } = self;
        let Some(family) = tcp_family(sock) else {
            return;
        };
        match (old, new) {
            (_, TCP_SYN_SENT) => begun(sock),
            (_, TCP_LISTEN) => listening(sock, family),
            (TCP_SYN_SENT | TCP_SYN_RECV, TCP_ESTABLISHED) => established(sock, old, family),
            (TCP_LISTEN, TCP_CLOSE) => listening_ended(sock),
            (_, TCP_CLOSE) => ended(sock, old, family),
            _ => {}
        }
    }
}

/// `connect(2)` was called: this is the only moment at which the caller is `current`.
#[inline(always)]
fn begun(sock: Struct) {
    let Some(now) = state::working() else { return };
    if !captured(sock_cgroup_id(sock)) {
        return;
    }
    let connection = Connection {
        started_ns: now,
        established_ns: 0,
        owner: current_process(),
        role: role::SOURCE,
        error: 0,
        flags: 0,
        reported: UNREPORTED,
    };
    if !remember(id(sock), &connection) {
        count(counts::MAP_FULL);
    }
}

/// The handshake is done. A client's connection is known, unless it was begun before the programs were attached or found
/// the map full; a server's starts here.
#[inline(always)]
fn established(sock: Struct, old: i32, family: u16) {
    let Some(at) = state::working() else { return };
    let cgroup_id = sock_cgroup_id(sock);
    if !captured(cgroup_id) {
        return;
    }
    let key = id(sock);
    // Still the local port as it was bound (`listening` reads it, too).
    // SAFETY: `sock` is a `struct sock`.
    let local_port: u16 = unsafe { field(sock, &offset::SOCK_NUM) };
    let connection = match begun_before(key, at) {
        Some(connection) => connection,
        None => {
            let connection = met_established(sock, key, old, (local_port, at));
            if !remember(key, &connection) {
                // A client's was counted when it was begun.
                if old != TCP_SYN_SENT {
                    count(counts::MAP_FULL);
                }
                return;
            }
            connection
        }
    };
    let ends = Ends {
        id: key,
        family,
        local_port,
    };
    if let Some(mut room) = NETWORK.room::<TcpOpen>() {
        let (record, kind) = (room.record(), Kind::TcpOpen);
        let about = (at, cgroup_id);
        write_header(&mut record.header, kind, size_of::<TcpOpen>(), about);
        write_connection(&mut record.socket, &connection);
        write_ends(&mut record.socket, sock, &ends);
        NETWORK.send(room, kind);
    } else {
        count(counts::lost(Kind::TcpOpen));
        // The next snapshot, or its end, tells that it was opened.
        if let Some(connection) = CONNECTIONS.get_ptr_mut(&key) {
            // SAFETY: the look-up returned a valid entry, and only this socket's state changes write to it.
            unsafe { (*connection).flags |= tcp_flag::OPEN_LOST };
        }
    }
}

/// The connection that this socket has begun; it is established from now on. An entry that is established already is left from
/// another socket at this address, whose end was missed.
#[inline(always)]
fn begun_before(key: u64, at: u64) -> Option<Connection> {
    let connection = CONNECTIONS.get_ptr_mut(&key)?;
    // SAFETY: the look-up returned a valid entry, and only this socket's state changes write to it.
    let connection = unsafe { &mut *connection };
    if connection.established_ns != 0 {
        return None;
    }
    connection.established_ns = at;
    Some(*connection)
}

/// A connection that is first met as it is established: a server's, or one that was begun before the programs were attached.
#[inline(always)]
fn met_established(sock: Struct, id: u64, old: i32, (local_port, at): (u16, u64)) -> Connection {
    let connection = Connection {
        started_ns: 0,
        established_ns: at,
        owner: Process::default(),
        role: role::SOURCE,
        error: 0,
        flags: 0,
        reported: UNREPORTED,
    };
    if old == TCP_SYN_SENT {
        // Since when and whose is not known any more: who runs now is not who connected.
        return connection;
    }
    // SAFETY: `tcp` is a `struct tcp_sock`.
    let again: u32 =
        tcp_sock(sock).map_or(0, |tcp| unsafe { field(tcp, &offset::TCP_TOTAL_RETRANS) });
    if again != 0 {
        retransmits::accepted_after(id, again);
    }
    let key = listener_key(sock, local_port);
    Connection {
        started_ns: at,
        // SAFETY: the value is copied at once.
        owner: unsafe { LISTENERS.get(&key) }.copied().unwrap_or_default(),
        role: role::DESTINATION,
        ..connection
    }
}

/// The connection or the attempt is over; all its counters are final.
#[inline(always)]
fn ended(sock: Struct, old: i32, family: u16) {
    let Some(now) = state::working() else { return };
    let cgroup_id = sock_cgroup_id(sock);
    if !captured(cgroup_id) {
        return;
    }
    let Some(tcp) = tcp_sock(sock) else { return };
    let key = id(sock);
    let ends = Ends {
        id: key,
        family,
        local_port: local_port(tcp),
    };
    let end = End {
        sock,
        tcp,
        ends,
        now,
        cgroup_id,
        state: old as u32,
    };
    let known = take_out(key);
    // An attempt that was not seen to begin, or a socket that was never more than half open, is not ours to report.
    if known.is_none() && (old == TCP_SYN_SENT || old == TCP_SYN_RECV) {
        return;
    }
    let connection = known.unwrap_or(UNMET);
    let kind =
        if connection.established_ns == 0 && connection.flags & tcp_flag::OLDER_THAN_AGENT == 0 {
            Kind::TcpConnectFailed
        } else {
            Kind::TcpClose
        };
    let told = end.tell(kind, &connection);
    if !told && known.is_some() {
        end.spill(kind, &connection);
    } else if !told {
        // One that nobody knows of has no totals that could be lost, but its event is.
        count(counts::lost(kind));
    }
    // SAFETY: `tcp` is a `struct tcp_sock`.
    if unsafe { field::<u32>(tcp, &offset::TCP_TOTAL_RETRANS) } != 0 {
        retransmits::forget(key);
    }
}

/// What is known of a connection that ends, which is not in the map any more.
#[inline(always)]
fn take_out(key: u64) -> Option<Connection> {
    let connection = CONNECTIONS.get_ptr(&key)?;
    // SAFETY: the look-up returned a valid entry. A copy, because its place may be used again once it is removed: then it
    // must not be read any more, though a snapshot on another CPU may just have put a newer entry in its place.
    let connection = unsafe { *connection };
    // Before its end is told: what is neither in the map nor told soon after was lost (the daemon relies on it).
    let _absent_is_fine = CONNECTIONS.remove(&key);
    Some(connection)
}

/// A connection that ends.
struct End {
    sock: Struct,
    tcp: Struct,
    ends: Ends,
    now: u64,
    cgroup_id: u64,
    /// The state it was in.
    state: u32,
}

impl End {
    /// Says whether there was room.
    #[inline(always)]
    fn tell(&self, kind: Kind, connection: &Connection) -> bool {
        let Some(mut room) = NETWORK.room::<TcpClose>() else {
            return false;
        };
        let record = room.record();
        let about = (self.now, self.cgroup_id);
        write_header(&mut record.header, kind, size_of::<TcpClose>(), about);
        write_connection(&mut record.socket, connection);
        write_ends(&mut record.socket, self.sock, &self.ends);
        write_totals(record, self.sock, self.tcp, connection);
        record.state = self.state;
        if kind as u32 == Kind::TcpConnectFailed as u32 {
            // Nothing was acknowledged.
            // SAFETY: `tcp` is a `struct tcp_sock`.
            record.initial_sequence = unsafe { field(self.tcp, &offset::TCP_SND_UNA) };
            record.error = attempts_error(record.error, connection);
        }
        NETWORK.send(room, kind);
        true
    }

    #[inline(always)]
    fn spill(&self, kind: Kind, connection: &Connection) {
        let is_source = connection.role != role::DESTINATION;
        let total = traffic(self.sock, self.tcp, self.ends.id, 0);
        let told = &connection.reported;
        // Both are loaded, whichever is used: out of two branches the compiler would make one load of a pointer chosen
        // before, of which the verifiers of older kernels do not know what it points to.
        let local_port = self.ends.local_port;
        // SAFETY: `sock` is a `struct sock`.
        let (remote_port, error): (u16, u32) = unsafe {
            (
                u16::from_be(field(self.sock, &offset::SOCK_DPORT)),
                field(self.sock, &offset::SOCK_ERROR),
            )
        };
        let port = if is_source { remote_port } else { local_port };
        let failed = kind as u32 == Kind::TcpConnectFailed as u32;
        let key = SpillKey {
            cgroup_id: self.cgroup_id,
            subject: remote_address(self.sock, self.ends.family),
            epoch: 0,
            kind: 0,
            status: match (failed, is_shut_down(self.sock)) {
                (false, _) => error,
                (true, false) => attempts_error(error, connection),
                (true, true) => attempts_error(error, connection) | SPILL_SHUT_DOWN,
            },
            role: connection.role,
            port,
        };
        let grown = |total: u32, told: u32| u64::from(total.wrapping_sub(told));
        let value = SpillValue {
            records: 1,
            opens: u64::from(connection.flags & tcp_flag::OPEN_LOST != 0),
            bytes_sent: total.bytes_sent.saturating_sub(told.bytes_sent),
            bytes_received: total.bytes_received.saturating_sub(told.bytes_received),
            segments_sent: grown(total.segments_sent, told.segments_sent),
            segments_received: grown(total.segments_received, told.segments_received),
            retransmits: grown(total.retransmits, told.retransmits),
            because: [
                grown(total.because.handshake, told.because.handshake),
                grown(total.because.timeout, told.because.timeout),
                grown(total.because.probe, told.because.probe),
                grown(total.because.fast, told.because.fast),
            ],
            out_of_order: grown(total.out_of_order, told.out_of_order),
            limited: [
                grown(total.limited.busy, told.limited.busy),
                grown(total.limited.receive_window, told.limited.receive_window),
                grown(total.limited.send_buffer, told.limited.send_buffer),
            ],
        };
        spill(kind, key, &value);
    }
}

/// What went wrong with an attempt: the error that it ended with, else one that whoever connects has taken off the socket.
#[inline(always)]
fn attempts_error(last: u32, connection: &Connection) -> u32 {
    if last == 0 {
        u32::from(connection.error)
    } else {
        last
    }
}

/// Writes what a connection has carried, how much of it is told already, and how it is doing; after its ends.
#[inline(always)]
pub(crate) fn write_totals(
    record: &mut TcpClose,
    sock: Struct,
    tcp: Struct,
    connection: &Connection,
) {
    record.traffic = traffic(sock, tcp, record.socket.id, connection.reported.snapshot);
    record.reported = connection.reported;
    record.min_rtt_us = min_rtt_us(tcp);
    record.initial_sequence = 0;
    record.reserved = 0;
    // SAFETY: `sock` is a `struct sock`, `tcp` a `struct tcp_sock`.
    unsafe {
        // The kernel keeps it times eight.
        record.srtt_us = field::<u32>(tcp, &offset::TCP_SRTT) >> 3;
        record.error = field(sock, &offset::SOCK_ERROR);
    }
}

/// Keeps a connection; says whether there was room.
#[inline(always)]
fn remember(key: u64, connection: &Connection) -> bool {
    CONNECTIONS
        .insert(&key, connection, u64::from(BPF_ANY))
        .is_ok()
}

#[inline(always)]
pub(crate) fn write_connection(socket: &mut Socket, connection: &Connection) {
    socket.role = connection.role;
    socket.flags = connection.flags;
    socket.owner = connection.owner;
    socket.started_ns = connection.started_ns;
    socket.established_ns = connection.established_ns;
}
