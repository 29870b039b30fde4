//! Reading TCP sockets.

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock},
    },
};
use wellhead_common::{
    limits::COMM,
    maps::{ListenerKey, Process, Traffic},
    record::{Socket, tcp_flag},
};

use crate::kernel::{
    Struct, address, cgroup_id, cgroup_id_of_untyped, field, offset, present, prototype,
};

const IPPROTO_TCP: u16 = 6;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `RCV_SHUTDOWN | SEND_SHUTDOWN`: what `close(2)` sets first.
const SHUTDOWN_MASK: u8 = 3;
/// Bits of `sk_cgrp_data.val` that are not set in a pointer: `is_data` and `no_refcnt`.
const NOT_A_CGROUP: u64 = 3;
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

/// What the connection has carried so far.
#[inline(always)]
pub(crate) fn traffic(sock: Struct, tcp: Struct, snapshot: u32) -> Traffic {
    // SAFETY: `sock` is a `struct sock`, `tcp` a `struct tcp_sock`.
    unsafe {
        let done = field::<u64>(sock, &offset::SOCK_FLAGS) & SOCK_DONE != 0;
        let sent: u64 = field(tcp, &offset::TCP_BYTES_SENT);
        let again: u64 = field(tcp, &offset::TCP_BYTES_RETRANS);
        let received: u64 = field(tcp, &offset::TCP_BYTES_RECEIVED);
        Traffic {
            bytes_sent: sent.saturating_sub(again),
            bytes_received: received.saturating_sub(u64::from(done)),
            segments_sent: field(tcp, &offset::TCP_SEGS_OUT),
            segments_received: field(tcp, &offset::TCP_SEGS_IN),
            retransmits: field(tcp, &offset::TCP_TOTAL_RETRANS),
            snapshot,
        }
    }
}

/// The remote address; IPv4 as IPv4-mapped IPv6.
#[inline(always)]
pub(crate) fn remote_address(sock: Struct, family: u16) -> [u8; 16] {
    // SAFETY: `sock` is a `struct sock`.
    unsafe {
        if family == AF_INET {
            mapped(field(sock, &offset::SOCK_DADDR))
        } else {
            in6_addr(sock, &offset::SOCK_V6_DADDR)
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

/// Writes what is read from the socket itself; after what is known of the connection, whose flags it adds to.
#[inline(always)]
pub(crate) fn write_ends(socket: &mut Socket, sock: Struct, tcp: Struct, family: u16) {
    socket.id = id(sock);
    socket.netns = netns(sock);
    socket.family = family;
    // SAFETY: `sock` is a `struct sock`, `tcp` a `struct tcp_sock`.
    unsafe {
        socket.local_port = local_port(tcp);
        socket.remote_port = u16::from_be(field(sock, &offset::SOCK_DPORT));
        if is_shut_down(sock) {
            socket.flags |= tcp_flag::SHUT_DOWN;
        }
        socket.local_address = if family == AF_INET {
            mapped(field(sock, &offset::SOCK_RCV_SADDR))
        } else {
            in6_addr(sock, &offset::SOCK_V6_RCV_SADDR)
        };
    }
    socket.remote_address = remote_address(sock, family);
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
unsafe fn in6_addr(sock: Struct, at: &Global<u32>) -> [u8; 16] {
    // SAFETY: the verifier allows loads of any width inside an array of integers.
    unsafe {
        let start = address(sock, at).cast::<u64>();
        let high = core::ptr::read_volatile(start).to_ne_bytes();
        let low = core::ptr::read_volatile(start.add(1)).to_ne_bytes();
        core::mem::transmute([high, low])
    }
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

#[inline(always)]
pub(crate) fn current_process() -> Process {
    Process {
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: bpf_get_current_uid_gid() as u32,
        comm: bpf_get_current_comm().unwrap_or([0; COMM]),
    }
}
