//! Reading TCP sockets.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{
        bpf_get_current_task_btf, bpf_get_socket_cookie, bpf_jiffies64, bpf_skc_to_tcp_sock,
    },
};
use wellhead_common::{
    Sixteen,
    maps::{Limited, ListenerKey, Process, Retransmits, Traffic},
    record::{Socket, tcp_flag},
};

use crate::{
    kernel::{
        JIFFIES_PER_SECOND, Struct, address, cgroup_id, cgroup_id_of_untyped, current_comm, field,
        offset, present, prototype, sixteen_bytes, task_comm,
    },
    packet::mapped,
    retransmits,
};

const IPPROTO_TCP: u16 = 6;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `RCV_SHUTDOWN | SEND_SHUTDOWN`: what `close(2)` sets first.
const SHUTDOWN_MASK: u8 = 3;
/// Bits of `sk_cgrp_data.val` that are not set in a pointer: `is_data` and `no_refcnt`.
const NOT_A_CGROUP: u64 = 3;
/// Values of `enum tcp_chrono` (`include/linux/tcp.h`), and the bits they are in.
const CHRONO_NONE: u8 = 0;
const CHRONO_BUSY: u8 = 1;
const CHRONO_RECEIVE_WINDOW: u8 = 2;
const CHRONO_TYPE: u8 = 3;
/// Bit of `SOCK_DONE` in `skc_flags` (`include/net/sock.h`): the peer's FIN was received and counted as one byte.
const SOCK_DONE: u64 = 1 << 1;

/// The address family of a TCP socket; nothing for any other.
#[inline(always)]
pub(crate) fn tcp_family(sock: Struct) -> Option<u16> {
    // SAFETY: `sock` is a `struct sock`.
    let (protocol, family): (u16, u16) = unsafe {
        (
            field(sock, &offset::SOCK_PROTOCOL),
            field(sock, &offset::SOCK_FAMILY),
        )
    };
    let is_tcp = protocol == IPPROTO_TCP && (family == AF_INET || family == AF_INET6);
    is_tcp.then_some(family)
}

/// What a connection is known by while it is open.
#[inline(always)]
pub(crate) fn id(sock: Struct) -> u64 {
    if prototype::SOCKET_COOKIES.load() == 0 {
        return sock as u64;
    }
    // The helper is for a socket's first: where there is a cookie, it is a field like any other.
    // SAFETY: `sock` is a `struct sock`.
    let cookie: u64 = unsafe { field(sock, &offset::SOCK_COOKIE) };
    if cookie != 0 {
        return cookie;
    }
    // SAFETY: the helper takes any socket the verifier knows.
    unsafe { bpf_get_socket_cookie(sock.cast_mut().cast()) }
}

/// The local port, which `skc_num` does not tell any more at the end.
#[inline(always)]
pub(crate) fn local_port(tcp: Struct) -> u16 {
    // SAFETY: `tcp` is a `struct tcp_sock`.
    u16::from_be(unsafe { field(tcp, &offset::TCP_SPORT) })
}

/// Under what a listener on this local port would be known.
#[inline(always)]
pub(crate) fn listener_key(sock: Struct, port: u16) -> ListenerKey {
    ListenerKey {
        netns: netns(sock),
        port: u32::from(port),
    }
}

/// What the connection has carried so far, and what held it up.
#[inline(always)]
pub(crate) fn traffic(sock: Struct, tcp: Struct, id: u64, snapshot: u32) -> Traffic {
    // SAFETY: `sock` is a `struct sock`, `tcp` a `struct tcp_sock`.
    unsafe {
        let done = field::<u64>(sock, &offset::SOCK_FLAGS) & SOCK_DONE != 0;
        let sent: u64 = field(tcp, &offset::TCP_BYTES_SENT);
        let again: u64 = field(tcp, &offset::TCP_BYTES_RETRANS);
        let received: u64 = field(tcp, &offset::TCP_BYTES_RECEIVED);
        let retransmits: u32 = field(tcp, &offset::TCP_TOTAL_RETRANS);
        Traffic {
            bytes_sent: sent.saturating_sub(again),
            bytes_received: received.saturating_sub(u64::from(done)),
            segments_sent: field(tcp, &offset::TCP_SEGS_OUT),
            segments_received: field(tcp, &offset::TCP_SEGS_IN),
            retransmits,
            because: if retransmits == 0 {
                Retransmits::default()
            } else {
                retransmits::seen(id)
            },
            out_of_order: if present(&offset::TCP_OUT_OF_ORDER) {
                field(tcp, &offset::TCP_OUT_OF_ORDER)
            } else {
                0
            },
            limited: limited(tcp),
            snapshot,
        }
    }
}

/// How long it waited for what (`tcp_get_info_chrono_stats`, `net/ipv4/tcp.c`).
#[inline(always)]
fn limited(tcp: Struct) -> Limited {
    let known = present(&offset::TCP_CHRONO_STAT)
        && present(&offset::TCP_CHRONO_START)
        && present(&offset::TCP_CHRONO_TYPE);
    if !known || JIFFIES_PER_SECOND.load() == 0 {
        return Limited::default();
    }
    // SAFETY: `tcp` is a `struct tcp_sock`; an array of three.
    let (kind, mut busy, mut receive_window, mut send_buffer): (u8, u32, u32, u32) = unsafe {
        let stat = address(tcp, &offset::TCP_CHRONO_STAT).cast::<u32>();
        (
            field(tcp, &offset::TCP_CHRONO_TYPE),
            stat.read_volatile(),
            stat.add(1).read_volatile(),
            stat.add(2).read_volatile(),
        )
    };
    let kind = kind & CHRONO_TYPE;
    if kind != CHRONO_NONE {
        // SAFETY: a helper without arguments; `tcp` as above.
        let running = unsafe {
            let since: u32 = field(tcp, &offset::TCP_CHRONO_START);
            (bpf_jiffies64() as u32).wrapping_sub(since)
        };
        match kind {
            CHRONO_BUSY => busy = busy.wrapping_add(running),
            CHRONO_RECEIVE_WINDOW => receive_window = receive_window.wrapping_add(running),
            _ => send_buffer = send_buffer.wrapping_add(running),
        }
    }
    Limited {
        busy: milliseconds(busy),
        receive_window: milliseconds(receive_window),
        send_buffer: milliseconds(send_buffer),
    }
}

#[inline(always)]
fn milliseconds(jiffies: u32) -> u32 {
    if jiffies == 0 {
        // Divisions take long, and mostly there is nothing to divide.
        return 0;
    }
    let per_second = u64::from(JIFFIES_PER_SECOND.load());
    // Checked, so that the compiler does not.
    (u64::from(jiffies) * 1_000)
        .checked_div(per_second)
        .unwrap_or(0) as u32
}

/// The least round-trip time of late in microseconds; 0 for none (`tcp_min_rtt`, `include/net/tcp.h`).
#[inline(always)]
pub(crate) fn min_rtt_us(tcp: Struct) -> u32 {
    if !present(&offset::TCP_RTT_MIN) {
        return 0;
    }
    // The best of three samples is the first; in it, the value follows the time (`include/linux/win_minmax.h`).
    // SAFETY: `tcp` is a `struct tcp_sock`.
    let value = unsafe {
        address(tcp, &offset::TCP_RTT_MIN)
            .cast::<u32>()
            .add(1)
            .read_volatile()
    };
    if value == u32::MAX { 0 } else { value }
}

/// The remote address; IPv4 as IPv4-mapped IPv6.
#[inline(always)]
pub(crate) fn remote_address(sock: Struct, family: u16) -> Sixteen {
    // SAFETY: `sock` is a `struct sock`.
    unsafe {
        if family == AF_INET {
            mapped(field(sock, &offset::SOCK_DADDR))
        } else {
            sixteen_bytes(sock, &offset::SOCK_V6_DADDR)
        }
    }
}

/// Likewise the local address.
#[inline(always)]
pub(crate) fn local_address(sock: Struct, family: u16) -> Sixteen {
    // SAFETY: `sock` is a `struct sock`.
    unsafe {
        if family == AF_INET {
            mapped(field(sock, &offset::SOCK_RCV_SADDR))
        } else {
            sixteen_bytes(sock, &offset::SOCK_V6_RCV_SADDR)
        }
    }
}

/// Whether the program closed the socket itself.
#[inline(always)]
pub(crate) fn is_shut_down(sock: Struct) -> bool {
    // SAFETY: `sock` is a `struct sock`.
    let shut: u8 = unsafe { field(sock, &offset::SOCK_SHUTDOWN) };
    shut & SHUTDOWN_MASK == SHUTDOWN_MASK
}

/// What is known of a socket before its record is written.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) id: u64,
    pub(crate) family: u16,
    pub(crate) local_port: u16,
}

/// Writes what is read from the socket itself; after what is known of the connection, whose flags it adds to.
#[inline(always)]
pub(crate) fn write_ends(socket: &mut Socket, sock: Struct, ends: &Ends) {
    let Ends {
        id,
        family,
        local_port,
    } = *ends;
    socket.id = id;
    socket.netns = netns(sock);
    socket.family = family;
    socket.local_port = local_port;
    // SAFETY: `sock` is a `struct sock`.
    unsafe {
        socket.remote_port = u16::from_be(field(sock, &offset::SOCK_DPORT));
        if is_shut_down(sock) {
            socket.flags |= tcp_flag::SHUT_DOWN;
        }
    }
    socket.local_address = local_address(sock, family);
    socket.remote_address = remote_address(sock, family);
}

#[inline(always)]
pub(crate) fn tcp_sock(sock: Struct) -> Option<Struct> {
    // SAFETY: the helper returns null for anything but a TCP socket.
    let tcp: Struct = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut().cast()) }
        .cast_const()
        .cast();
    (!tcp.is_null()).then_some(tcp)
}

/// The cgroup the socket was made in: its owner, whoever happens to be running.
#[inline(always)]
pub(crate) fn sock_cgroup_id(sock: Struct) -> u64 {
    if present(&offset::SOCK_CGROUP) {
        // SAFETY: `sock` is a `struct sock`.
        return unsafe { cgroup_id(field(sock, &offset::SOCK_CGROUP)) };
    }
    if !present(&offset::SOCK_CGROUP_TAGGED) {
        return 0;
    }
    // SAFETY: `sock` is a `struct sock`.
    let value: u64 = unsafe { field(sock, &offset::SOCK_CGROUP_TAGGED) };
    // As `sock_cgroup_ptr` does (`include/linux/cgroup.h`): a class of `net_cls` or a priority of `net_prio` took its place.
    if value == 0 || value & NOT_A_CGROUP != 0 {
        return 0;
    }
    // SAFETY: a pointer to a `struct cgroup` whose type the verifier does not know.
    unsafe { cgroup_id_of_untyped(value as Struct) }
}

#[inline(always)]
pub(crate) fn netns(sock: Struct) -> u32 {
    // SAFETY: `sock` is a `struct sock`.
    unsafe {
        let net: Struct = field(sock, &offset::SOCK_NET);
        field(net, &offset::NET_INUM)
    }
}

/// Whose process a task is.
///
/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
pub(crate) unsafe fn process_of(task: Struct) -> Process {
    // SAFETY: as said.
    unsafe {
        let credentials: Struct = field(task, &offset::TASK_CRED);
        Process {
            pid: field(task, &offset::TASK_TGID),
            uid: field(credentials, &offset::CRED_UID),
            comm: task_comm(task),
        }
    }
}

#[inline(always)]
pub(crate) fn current_process() -> Process {
    if prototype::CURRENT_TASK.load() == 0 {
        return Process {
            pid: (bpf_get_current_pid_tgid() >> 32) as u32,
            uid: bpf_get_current_uid_gid() as u32,
            comm: current_comm(),
        };
    }
    // SAFETY: the helper has no arguments, and returns a `struct task_struct`.
    unsafe { process_of(bpf_get_current_task_btf().cast_const().cast()) }
}
