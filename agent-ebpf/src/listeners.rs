//! Sockets that listen: whose they are, and that they begin to.

use aya_ebpf::{bindings::BPF_ANY, macros::map, maps::LruHashMap};
use wellhead_common::{
    counts,
    maps::{ListenerKey, Process},
    record::{Kind, TcpListener},
};

use crate::{
    kernel::{Struct, captured, field, offset},
    output::{NETWORK, count, write_header},
    socket::{
        current_process, id, listener_key, local_address, local_port, netns, sock_cgroup_id,
        tcp_sock,
    },
    state,
};

/// Who listens on a port: the last that called `listen(2)`.
#[map]
pub(crate) static LISTENERS: LruHashMap<ListenerKey, Process> = LruHashMap::with_max_entries(1, 0);

/// `listen(2)` was called: the caller is `current`.
#[inline(always)]
pub(crate) fn listening(sock: Struct, family: u16) {
    let Some(now) = state::working() else { return };
    // SAFETY: `sock` is a `struct sock`.
    let port: u16 = unsafe { field(sock, &offset::SOCK_NUM) };
    // The map gives up its oldest entry for a new one; should that fail, the owner stays unknown.
    let owner = current_process();
    let key = listener_key(sock, port);
    let _owner_known = LISTENERS.insert(&key, &owner, u64::from(BPF_ANY));
    let (cgroup_id, kind) = (sock_cgroup_id(sock), Kind::TcpListen);
    if !captured(cgroup_id) {
        return;
    }
    let Some(mut room) = NETWORK.room::<TcpListener>() else {
        count(counts::lost(kind));
        return;
    };
    let record = room.record();
    write_listener(record, (kind, now, cgroup_id), (sock, family), owner);
    record.queue = 0;
    record.limit = 0;
    record.drops = 0;
    record.syn_ack_retransmits = 0;
    NETWORK.send(room, kind);
}

/// Writes which socket listens, and whose it is.
#[inline(always)]
pub(crate) fn write_listener(
    record: &mut TcpListener,
    (kind, now, cgroup_id): (Kind, u64, u64),
    (sock, family): (Struct, u16),
    owner: Process,
) {
    let about = (now, cgroup_id);
    write_header(&mut record.header, kind, size_of::<TcpListener>(), about);
    record.id = id(sock);
    record.netns = netns(sock);
    record.family = family;
    // SAFETY: `sock` is a `struct sock`.
    record.port = unsafe { field(sock, &offset::SOCK_NUM) };
    record.address = local_address(sock, family);
    record.owner = owner;
}

/// The socket listens no more.
#[inline(always)]
pub(crate) fn listening_ended(sock: Struct) {
    let Some(tcp) = tcp_sock(sock) else { return };
    // Another socket may still listen on the port; then its owner is unknown until it listens again.
    let _absent_is_fine = LISTENERS.remove(&listener_key(sock, local_port(tcp)));
}
