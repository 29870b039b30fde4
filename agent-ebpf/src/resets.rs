//! Connections that this end resets. Those that the peer resets end with an error that says so.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use wellhead_common::{
    counts,
    maps::Process,
    record::{Kind, TcpOpen, role},
};

use crate::{
    kernel::{Struct, captured, field, offset},
    output::{NETWORK, count, write_header},
    socket::{Ends, id, local_port, sock_cgroup_id, tcp_family, tcp_sock, write_ends},
    state,
    tcp::TCP_LISTEN,
};

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb[, enum sk_rst_reason reason])`
#[btf_tracepoint(function = "tcp_send_reset")]
pub(crate) fn tcp_send_reset(context: BtfTracePointContext) -> i32 {
    let sock: Struct = context.arg(0);
    if sock.is_null() {
        // There is no socket: nobody listens there.
        return 0;
    }
    let Some(family) = tcp_family(sock) else {
        return 0;
    };
    let Some(now) = state::working() else {
        return 0;
    };
    // What is half open, or waits for late segments, has no whole socket.
    let Some(tcp) = tcp_sock(sock) else { return 0 };
    let cgroup_id = sock_cgroup_id(sock);
    // SAFETY: `sock` is a `struct sock`.
    let state: u8 = unsafe { field(sock, &offset::SOCK_STATE) };
    if i32::from(state) == TCP_LISTEN || !captured(cgroup_id) {
        return 0;
    }
    let ends = Ends {
        id: id(sock),
        family,
        local_port: local_port(tcp),
    };
    let kind = Kind::TcpReset;
    let Some(mut room) = NETWORK.room::<TcpOpen>() else {
        count(counts::lost(kind));
        return 0;
    };
    let record = room.record();
    write_header(
        &mut record.header,
        kind,
        size_of::<TcpOpen>(),
        (now, cgroup_id),
    );
    let socket = &mut record.socket;
    socket.role = role::UNKNOWN;
    socket.flags = 0;
    socket.owner = Process::default();
    socket.started_ns = 0;
    socket.established_ns = 0;
    write_ends(socket, sock, &ends);
    NETWORK.send(room, kind);
    0
}
