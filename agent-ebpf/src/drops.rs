//! Packets the kernel drops, counted by why and whose they were.

use aya_ebpf::{
    Global,
    bindings::BPF_NOEXIST,
    macros::{btf_tracepoint, map},
    maps::HashMap,
    programs::BtfTracePointContext,
};
use wellhead_common::{
    counts,
    maps::{DropKey, state},
};

use crate::{
    handshakes,
    kernel::{Struct, field, offset, prototype},
    output::{add_atomically, count},
    socket::{netns, sock_cgroup_id},
    state as steering,
};

/// `ETH_P_IP` and `ETH_P_IPV6`.
pub(crate) const ETH_P_IP: u16 = 0x0800;
pub(crate) const ETH_P_IPV6: u16 = 0x86dd;

/// What stands for a socket that is none: states of `include/net/tcp_states.h`, as bits.
const TIME_WAIT: u32 = 1 << 6;
const NEW_SYN_RECV: u32 = 1 << 12;

/// The reason of what a socket holds as it goes, such as every connection's FIN that was read: nothing got lost. 0 where the kernel
/// has no such reason.
#[unsafe(no_mangle)]
static QUEUE_PURGE: Global<u32> = Global::new(0);

/// Drops since the daemon took them out last. The loader sets its size.
#[map]
static DROPS: HashMap<DropKey, u64> = HashMap::with_max_entries(1, 0);

/// Of those that found no room there, by their reason alone. The loader sets its size, and makes an entry of none for each epoch.
#[map]
static DROPS_REST: HashMap<DropKey, u64> = HashMap::with_max_entries(1, 0);

/// `kfree_skb(struct sk_buff *skb, void *location[, enum skb_drop_reason reason[, struct sock *rx_sk]])`
#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn kfree_skb(context: BtfTracePointContext) -> i32 {
    let packet: Struct = context.arg(0);
    if packet.is_null() {
        return 0;
    }
    // Messages of netlink and of local sockets are freed by the same function.
    // SAFETY: `packet` is a `struct sk_buff`.
    let protocol = u16::from_be(unsafe { field(packet, &offset::SKB_PROTOCOL) });
    if protocol != ETH_P_IP && protocol != ETH_P_IPV6 {
        return 0;
    }
    let arguments = prototype::DROP_ARGUMENTS.load();
    let (reason, location) = if arguments >= 3 {
        (context.arg::<u64>(2) as u32, 0)
    } else {
        (0, context.arg::<u64>(1))
    };
    let purged = QUEUE_PURGE.load();
    if purged != 0 && reason == purged {
        return 0;
    }
    if steering::working().is_none() {
        return 0;
    }
    let (cgroup_id, netns) = if arguments >= 4 {
        whose(packet, context.arg(3))
    } else {
        whose(packet, core::ptr::null())
    };
    let mut key = DropKey {
        cgroup_id,
        location,
        netns,
        reason,
        epoch: steering::get(state::TALLY_EPOCH) as u32,
        reserved: 0,
    };
    handshakes::note(packet, protocol, &key);
    if add(&key) {
        return 0;
    }
    // Without room for whose it was, the reason is counted, and without that, that it was.
    count(counts::DROPS_FULL);
    key.cgroup_id = 0;
    key.netns = 0;
    if !add_to_rest(&key) {
        key.location = 0;
        key.reason = 0;
        add_to_rest(&key);
    }
    0
}

/// The cgroup of the socket it was for or from, else the network namespace of the device it is on.
#[inline(always)]
fn whose(packet: Struct, receiver: Struct) -> (u64, u32) {
    if !receiver.is_null() {
        return (sock_cgroup_id(receiver), netns(receiver));
    }
    // SAFETY: `packet` is a `struct sk_buff`; what is stale in it reads as zero.
    unsafe {
        let sock: Struct = field(packet, &offset::SKB_SK);
        if !sock.is_null() && is_whole(sock) {
            return (sock_cgroup_id(sock), netns(sock));
        }
        let device: Struct = field(packet, &offset::SKB_DEV);
        if device.is_null() {
            return (0, 0);
        }
        let net: Struct = field(device, &offset::DEVICE_NET);
        (0, field(net, &offset::NET_INUM))
    }
}

/// Whether it is more than the beginning of a socket (`sk_fullsock`, `include/net/sock.h`).
#[inline(always)]
pub(crate) fn is_whole(sock: Struct) -> bool {
    // SAFETY: `sock` is a `struct sock`.
    let state: u8 = unsafe { field(sock, &offset::SOCK_STATE) };
    1_u32 << (state & 31) & (TIME_WAIT | NEW_SYN_RECV) == 0
}

#[inline(never)]
fn add(key: &DropKey) -> bool {
    add_in(&DROPS, key)
}

#[inline(never)]
fn add_to_rest(key: &DropKey) -> bool {
    add_in(&DROPS_REST, key)
}

/// Says whether there was room.
#[inline(always)]
fn add_in(map: &HashMap<DropKey, u64>, key: &DropKey) -> bool {
    if add_to(map, key) {
        return true;
    }
    // Another CPU may have been quicker.
    map.insert(key, &1, u64::from(BPF_NOEXIST)).is_ok() || add_to(map, key)
}

#[inline(always)]
fn add_to(map: &HashMap<DropKey, u64>, key: &DropKey) -> bool {
    let Some(packets) = map.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the look-up returned a valid entry; all CPUs only add to it in this way.
    unsafe { add_atomically(packets, 1) };
    true
}
