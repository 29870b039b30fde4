//! Where the kernel has no BTF: TCP connections from the classic tracepoint of their state changes.
//!
//! It tells addresses and states and no more. Whose a connection is, is known where `connect(2)` is seen; an accepted one
//! is nobody's.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid},
    macros::{map, tracepoint},
    maps::HashMap,
    programs::TracePointContext,
};
use wellhead_common::{
    classic::ClassicConnection,
    counts,
    maps::Process,
    record::{Kind, Socket, TcpClose, TcpOpen, role, tcp_flag},
};

use crate::{
    classic::{at, lost, now, put, read},
    kernel::{captured, current_comm},
    output::{NETWORK, count},
};

const IPPROTO_TCP: u16 = 6;

/// States of `include/net/tcp_states.h`.
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
const TCP_LISTEN: i32 = 10;

/// Open connections, by the address of their socket. The loader sets its size.
#[map]
static CLASSIC_CONNECTIONS: HashMap<u64, ClassicConnection> = HashMap::with_max_entries(1, 0);

/// `inet_sock_set_state(const void *skaddr, int oldstate, int newstate, __u16 sport, __u16 dport, __u16 family,
/// __u16 protocol, __u8 saddr[4], __u8 daddr[4], __u8 saddr_v6[16], __u8 daddr_v6[16])`
#[tracepoint]
pub(crate) fn classic_inet_sock_set_state(context: TracePointContext) -> u32 {
    if read::<u16>(&context, &at::TP_SOCK_PROTOCOL) != IPPROTO_TCP {
        return 0;
    }
    let old: i32 = read(&context, &at::TP_SOCK_OLD_STATE);
    let new: i32 = read(&context, &at::TP_SOCK_NEW_STATE);
    match (old, new) {
        (_, TCP_SYN_SENT) => begun(&context),
        (TCP_SYN_SENT | TCP_SYN_RECV, TCP_ESTABLISHED) => established(&context, old),
        (TCP_CLOSE | TCP_LISTEN, TCP_CLOSE) => {}
        (_, TCP_CLOSE) => ended(&context, old),
        _ => {}
    }
    0
}

/// `connect(2)` was called: this is the only moment at which the caller is `current`.
#[inline(always)]
fn begun(context: &TracePointContext) {
    // SAFETY: a helper without arguments.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    if !captured(cgroup_id) {
        return;
    }
    let connection = ClassicConnection {
        started_ns: now(),
        established_ns: 0,
        cgroup_id,
        owner: Process {
            pid: (bpf_get_current_pid_tgid() >> 32) as u32,
            uid: bpf_get_current_uid_gid() as u32,
            comm: current_comm(),
        },
        role: u32::from(role::SOURCE),
        flags: 0,
    };
    remember(context, &connection);
}

/// The handshake is done. A client's connection is known, unless it was begun before the programs were attached or found
/// the map full; a server's starts here.
#[inline(always)]
fn established(context: &TracePointContext, old: i32) {
    let key: u64 = read(context, &at::TP_SOCK_ADDRESS);
    let at = now();
    // An entry that is established already is left from another socket at this address, whose end was missed.
    let begun = CLASSIC_CONNECTIONS.get_ptr(&key).is_some_and(|connection| {
        // SAFETY: the look-up returned a valid entry.
        unsafe { (*connection).established_ns == 0 }
    });
    if !begun {
        if !captured(0) {
            return;
        }
        let accepted = old != TCP_SYN_SENT;
        let connection = ClassicConnection {
            started_ns: if accepted { at } else { 0 },
            role: u32::from(if accepted {
                role::DESTINATION
            } else {
                role::SOURCE
            }),
            ..ClassicConnection::default()
        };
        if !remember(context, &connection) {
            return;
        }
    }
    let Some(connection) = CLASSIC_CONNECTIONS.get_ptr_mut(&key) else {
        return;
    };
    // SAFETY: the look-up returned a valid entry, and only this socket's state changes write to it.
    let connection = unsafe { &mut *connection };
    connection.established_ns = at;
    let about = (at, connection.cgroup_id);
    let sent = put::<TcpOpen>(&NETWORK, Kind::TcpOpen, about, |record| {
        write_socket(&mut record.socket, context, connection);
    });
    if !sent {
        connection.flags |= tcp_flag::OPEN_LOST;
        count(counts::lost(Kind::TcpOpen));
    }
}

/// The connection or the attempt is over.
#[inline(always)]
fn ended(context: &TracePointContext, old: i32) {
    let key: u64 = read(context, &at::TP_SOCK_ADDRESS);
    let Some(connection) = CLASSIC_CONNECTIONS.get_ptr(&key) else {
        // An attempt that was not seen to begin, or a socket that was never more than half open, is not ours to report.
        if old != TCP_SYN_SENT && old != TCP_SYN_RECV && captured(0) {
            let unseen = ClassicConnection {
                flags: tcp_flag::OLDER_THAN_AGENT | tcp_flag::UNMET,
                ..ClassicConnection::default()
            };
            report_end(context, Kind::TcpClose, &unseen);
        }
        return;
    };
    // SAFETY: the look-up returned a valid entry. A copy, because its place may be used again once it is removed.
    let connection = unsafe { *connection };
    // Before its end is told: what is neither in the map nor told soon after was lost (the daemon relies on it).
    let _absent_is_fine = CLASSIC_CONNECTIONS.remove(&key);
    let kind = if connection.established_ns == 0 {
        Kind::TcpConnectFailed
    } else {
        Kind::TcpClose
    };
    report_end(context, kind, &connection);
}

#[inline(always)]
fn report_end(context: &TracePointContext, kind: Kind, connection: &ClassicConnection) {
    let about = (now(), connection.cgroup_id);
    let sent = put::<TcpClose>(&NETWORK, kind, about, |record| {
        write_socket(&mut record.socket, context, connection);
    });
    // One that nobody knows of has no totals that could be lost.
    if !sent && connection.flags & tcp_flag::UNMET == 0 {
        let opens = u64::from(connection.flags & tcp_flag::OPEN_LOST != 0);
        lost(kind, connection.cgroup_id, opens);
    }
}

/// Keeps a connection; says whether there was room.
#[inline(always)]
fn remember(context: &TracePointContext, connection: &ClassicConnection) -> bool {
    let key: u64 = read(context, &at::TP_SOCK_ADDRESS);
    let kept = CLASSIC_CONNECTIONS
        .insert(&key, connection, u64::from(BPF_ANY))
        .is_ok();
    // A client's connection that is met again when established was counted when it was begun.
    if !kept && connection.started_ns != 0 {
        count(counts::MAP_FULL);
    }
    kept
}

#[inline(always)]
fn write_socket(socket: &mut Socket, context: &TracePointContext, connection: &ClassicConnection) {
    socket.id = read(context, &at::TP_SOCK_ADDRESS);
    socket.family = read(context, &at::TP_SOCK_FAMILY);
    socket.local_port = read(context, &at::TP_SOCK_SPORT);
    socket.remote_port = read(context, &at::TP_SOCK_DPORT);
    // IPv4 addresses are there as IPv4-mapped IPv6.
    socket.local_address = read(context, &at::TP_SOCK_SADDR);
    socket.remote_address = read(context, &at::TP_SOCK_DADDR);
    socket.role = connection.role as u16;
    socket.flags = connection.flags | tcp_flag::LIFECYCLE_ONLY;
    socket.owner = connection.owner;
    socket.started_ns = connection.started_ns;
    socket.established_ns = connection.established_ns;
}
