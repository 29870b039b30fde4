//! TCP connections, from state changes alone: nothing runs per packet.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::bpf_skc_to_tcp_sock,
    },
    macros::{btf_tracepoint, map},
    maps::{HashMap, LruHashMap},
    programs::BtfTracePointContext,
};
use wellhead_common::{
    counts,
    limits::COMM,
    maps::{Connection, ListenerKey, Process},
    record::{Kind, Socket, TcpClose, TcpOpen, role, tcp_flag},
};

use crate::{
    kernel::{Struct, address, captured, cgroup_id, field, offset, present},
    output::{NETWORK, count, write_header},
};

const IPPROTO_TCP: u16 = 6;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// States of `include/net/tcp_states.h`.
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
const TCP_LISTEN: i32 = 10;

/// `RCV_SHUTDOWN | SEND_SHUTDOWN`: what `close(2)` sets first.
const SHUTDOWN_MASK: u8 = 3;
/// Bit of `SOCK_DONE` in `skc_flags` (`include/net/sock.h`): the peer's FIN was received and counted as one byte.
const SOCK_DONE: u64 = 1 << 1;

/// What stands for a connection that was open before the programs were attached.
static UNSEEN: Connection = Connection {
    started_ns: 0,
    established_ns: 0,
    owner: Process {
        pid: 0,
        uid: 0,
        comm: [0; COMM],
    },
    role: role::UNKNOWN as u32,
    flags: tcp_flag::OLDER_THAN_AGENT,
};

/// Open connections, by the address of their socket. The loader sets its size.
#[map]
static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(1, 0);

/// Who listens on a port: the last that called `listen(2)`.
#[map]
static LISTENERS: LruHashMap<ListenerKey, Process> = LruHashMap::with_max_entries(1, 0);

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(context: BtfTracePointContext) -> i32 {
    let sock: Struct = context.arg(0);
    let old = context.arg::<u64>(1) as i32;
    let new = context.arg::<u64>(2) as i32;
    // SAFETY: `sock` is a `struct sock`.
    let (protocol, family): (u16, u16) = unsafe {
        (
            field(sock, &offset::SOCK_PROTOCOL),
            field(sock, &offset::SOCK_FAMILY),
        )
    };
    if protocol != IPPROTO_TCP || (family != AF_INET && family != AF_INET6) {
        return 0;
    }
    match (old, new) {
        (_, TCP_SYN_SENT) => begun(sock),
        (_, TCP_LISTEN) => listening(sock),
        (TCP_SYN_SENT | TCP_SYN_RECV, TCP_ESTABLISHED) => established(sock, old, family),
        (TCP_CLOSE, TCP_CLOSE) => {}
        (TCP_LISTEN, TCP_CLOSE) => listening_ended(sock),
        (_, TCP_CLOSE) => ended(sock, old, family),
        _ => {}
    }
    0
}

/// `connect(2)` was called: this is the only moment at which the caller is `current`.
#[inline(always)]
fn begun(sock: Struct) {
    if !captured(sock_cgroup_id(sock)) {
        return;
    }
    let connection = Connection {
        started_ns: now(),
        established_ns: 0,
        owner: current_process(),
        role: u32::from(role::SOURCE),
        flags: 0,
    };
    if !remember(sock, &connection) {
        count(counts::MAP_FULL);
    }
}

#[inline(always)]
fn listening(sock: Struct) {
    // SAFETY: `sock` is a `struct sock`.
    let port: u16 = unsafe { field(sock, &offset::SOCK_NUM) };
    let key = ListenerKey {
        netns: netns(sock),
        port: u32::from(port),
    };
    // The map gives up its oldest entry for a new one; should that fail, the owner stays unknown.
    let _owner_known = LISTENERS.insert(&key, &current_process(), u64::from(BPF_ANY));
}

#[inline(always)]
fn listening_ended(sock: Struct) {
    let Some(tcp) = tcp_sock(sock) else { return };
    // SAFETY: `tcp` is a `struct tcp_sock`.
    let port = u16::from_be(unsafe { field(tcp, &offset::TCP_SPORT) });
    let key = ListenerKey {
        netns: netns(sock),
        port: u32::from(port),
    };
    // Another socket may still listen on the port; then its owner is unknown until it listens again.
    let _absent_is_fine = LISTENERS.remove(&key);
}

/// The handshake is done. A client's connection is known, unless it was begun before the programs were attached or found
/// the map full; a server's starts here.
#[inline(always)]
fn established(sock: Struct, old: i32, family: u16) {
    let cgroup_id = sock_cgroup_id(sock);
    if !captured(cgroup_id) {
        return;
    }
    let Some(tcp) = tcp_sock(sock) else { return };
    let key = sock as u64;
    let at = now();
    // An entry that is established already is left from another socket at this address, whose end was missed.
    let begun = CONNECTIONS.get_ptr(&key).is_some_and(|connection| {
        // SAFETY: the look-up returned a valid entry.
        unsafe { (*connection).established_ns == 0 }
    });
    if !begun {
        let connection = if old == TCP_SYN_SENT {
            // Since when and whose is not known any more: who runs now is not who connected.
            Connection {
                started_ns: 0,
                established_ns: at,
                owner: Process::default(),
                role: u32::from(role::SOURCE),
                flags: 0,
            }
        } else {
            Connection {
                started_ns: at,
                established_ns: at,
                owner: listener(sock, tcp),
                role: u32::from(role::DESTINATION),
                flags: 0,
            }
        };
        if !remember(sock, &connection) {
            // A client's was counted when it was begun.
            if old != TCP_SYN_SENT {
                count(counts::MAP_FULL);
            }
            return;
        }
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(&key) else {
        return;
    };
    // SAFETY: the look-up returned a valid entry, and only this socket's state changes write to it.
    let connection = unsafe { &mut *connection };
    connection.established_ns = at;
    let sent = NETWORK.put::<TcpOpen>(Kind::TcpOpen, |record| {
        write_header(
            &mut record.header,
            Kind::TcpOpen,
            size_of::<TcpOpen>(),
            cgroup_id,
        );
        record.header.boot_ns = at;
        write_connection(&mut record.socket, connection);
        write_ends(&mut record.socket, sock, tcp, family);
    });
    if !sent {
        connection.flags |= tcp_flag::OPEN_LOST;
    }
}

/// Who listens on the port of an accepted connection.
#[inline(always)]
fn listener(sock: Struct, tcp: Struct) -> Process {
    // SAFETY: `tcp` is a `struct tcp_sock`.
    let port = u16::from_be(unsafe { field(tcp, &offset::TCP_SPORT) });
    let key = ListenerKey {
        netns: netns(sock),
        port: u32::from(port),
    };
    // SAFETY: the value is copied at once.
    unsafe { LISTENERS.get(&key) }.copied().unwrap_or_default()
}

/// The connection or the attempt is over; all its counters are final.
#[inline(always)]
fn ended(sock: Struct, old: i32, family: u16) {
    let cgroup_id = sock_cgroup_id(sock);
    if !captured(cgroup_id) {
        return;
    }
    let Some(tcp) = tcp_sock(sock) else { return };
    let key = sock as u64;
    let Some(connection) = CONNECTIONS.get_ptr(&key) else {
        // An attempt that was not seen to begin, or a socket that was never more than half open, is not ours to report.
        if old != TCP_SYN_SENT && old != TCP_SYN_RECV {
            report_end(
                Kind::TcpClose,
                sock,
                tcp,
                (old, family, cgroup_id),
                |socket| {
                    write_connection(socket, &UNSEEN);
                },
            );
        }
        return;
    };
    // SAFETY: the look-up returned a valid entry, and only this socket's state changes write to it.
    let connection = unsafe { &*connection };
    let kind = if connection.established_ns == 0 {
        Kind::TcpConnectFailed
    } else {
        Kind::TcpClose
    };
    report_end(kind, sock, tcp, (old, family, cgroup_id), |socket| {
        write_connection(socket, connection)
    });
    let _absent_is_fine = CONNECTIONS.remove(&key);
}

#[inline(always)]
fn report_end(
    kind: Kind,
    sock: Struct,
    tcp: Struct,
    (old, family, cgroup_id): (i32, u16, u64),
    write_connection: impl FnOnce(&mut Socket),
) {
    // SAFETY: `sock` is a `struct sock`, `tcp` a `struct tcp_sock`.
    NETWORK.put::<TcpClose>(kind, |record| unsafe {
        write_header(&mut record.header, kind, size_of::<TcpClose>(), cgroup_id);
        write_connection(&mut record.socket);
        write_ends(&mut record.socket, sock, tcp, family);
        let done = field::<u64>(sock, &offset::SOCK_FLAGS) & SOCK_DONE != 0;
        let sent: u64 = field(tcp, &offset::TCP_BYTES_SENT);
        let again: u64 = field(tcp, &offset::TCP_BYTES_RETRANS);
        let received: u64 = field(tcp, &offset::TCP_BYTES_RECEIVED);
        record.bytes_sent = sent.saturating_sub(again);
        record.bytes_received = received.saturating_sub(u64::from(done));
        record.segments_sent = field(tcp, &offset::TCP_SEGS_OUT);
        record.segments_received = field(tcp, &offset::TCP_SEGS_IN);
        record.retransmits = field(tcp, &offset::TCP_TOTAL_RETRANS);
        // The kernel keeps it times eight.
        record.srtt_us = field::<u32>(tcp, &offset::TCP_SRTT) >> 3;
        record.error = field(sock, &offset::SOCK_ERROR);
        record.last_state = old as u32;
    });
}

/// Keeps a connection; says whether there was room.
#[inline(always)]
fn remember(sock: Struct, connection: &Connection) -> bool {
    CONNECTIONS
        .insert(&(sock as u64), connection, u64::from(BPF_ANY))
        .is_ok()
}

#[inline(always)]
fn write_connection(socket: &mut Socket, connection: &Connection) {
    socket.role = connection.role as u16;
    socket.flags = connection.flags;
    socket.owner = connection.owner;
    socket.started_ns = connection.started_ns;
    socket.established_ns = connection.established_ns;
}

/// Writes what is read from the socket itself; after [`write_connection`], whose flags it adds to.
#[inline(always)]
fn write_ends(socket: &mut Socket, sock: Struct, tcp: Struct, family: u16) {
    socket.id = sock as u64;
    socket.netns = netns(sock);
    socket.family = family;
    // SAFETY: `sock` is a `struct sock`, `tcp` a `struct tcp_sock`.
    unsafe {
        socket.local_port = u16::from_be(field(tcp, &offset::TCP_SPORT));
        socket.remote_port = u16::from_be(field(sock, &offset::SOCK_DPORT));
        if field::<u8>(sock, &offset::SOCK_SHUTDOWN) & SHUTDOWN_MASK == SHUTDOWN_MASK {
            socket.flags |= tcp_flag::SHUT_DOWN;
        }
        if family == AF_INET {
            socket.local_address = mapped(field(sock, &offset::SOCK_RCV_SADDR));
            socket.remote_address = mapped(field(sock, &offset::SOCK_DADDR));
        } else {
            socket.local_address = in6_addr(sock, &offset::SOCK_V6_RCV_SADDR);
            socket.remote_address = in6_addr(sock, &offset::SOCK_V6_DADDR);
        }
    }
}

/// An IPv4 address in network byte order, as IPv4-mapped IPv6.
#[inline(always)]
fn mapped(address: u32) -> [u8; 16] {
    let [a, b, c, d] = address.to_ne_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// # Safety
/// `sock` must be a `struct sock`, `at` the offset of a `struct in6_addr` in it.
#[inline(always)]
unsafe fn in6_addr(sock: Struct, at: &aya_ebpf::Global<u32>) -> [u8; 16] {
    // SAFETY: the verifier allows loads of any width inside an array of integers.
    unsafe {
        let start = address(sock, at).cast::<u64>();
        let high = core::ptr::read_volatile(start).to_ne_bytes();
        let low = core::ptr::read_volatile(start.add(1)).to_ne_bytes();
        core::mem::transmute([high, low])
    }
}

#[inline(always)]
fn tcp_sock(sock: Struct) -> Option<Struct> {
    // SAFETY: the helper returns null for anything but a TCP socket.
    let tcp: Struct = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut().cast()) }
        .cast_const()
        .cast();
    (!tcp.is_null()).then_some(tcp)
}

/// The cgroup the socket was made in: its owner, whoever happens to be running.
#[inline(always)]
fn sock_cgroup_id(sock: Struct) -> u64 {
    if !present(&offset::SOCK_CGROUP) {
        return 0;
    }
    // SAFETY: `sock` is a `struct sock`.
    unsafe { cgroup_id(field(sock, &offset::SOCK_CGROUP)) }
}

#[inline(always)]
fn netns(sock: Struct) -> u32 {
    // SAFETY: `sock` is a `struct sock`.
    unsafe {
        let net: Struct = field(sock, &offset::SOCK_NET);
        field(net, &offset::NET_INUM)
    }
}

#[inline(always)]
fn current_process() -> Process {
    Process {
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: bpf_get_current_uid_gid() as u32,
        comm: bpf_get_current_comm().unwrap_or([0; COMM]),
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { aya_ebpf::helpers::bpf_ktime_get_boot_ns() }
}
