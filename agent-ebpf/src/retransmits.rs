//! Why segments are sent again. How often, the kernel counts for each socket itself; the reasons only this program sees.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use wellhead_common::maps::Retransmits;

use crate::{
    kernel::{Struct, address, field, offset, present, prototype},
    socket::{id, tcp_family, tcp_sock},
    state,
    tcp::TCP_SYN_SENT,
};

/// `TCP_CA_Recovery` and `TCP_CA_Loss` (`enum tcp_ca_state`, `include/uapi/linux/tcp.h`), and the bits of `icsk_ca_state`.
const RECOVERY: u8 = 3;
const LOSS: u8 = 4;
const CA_STATE: u8 = 0x1f;
/// Of `icsk_pending` (`include/net/inet_connection_sock.h`): no timer is armed, as while the one for retransmission is handled;
/// and that of a tail loss probe is armed, or handled: outside of recovery it is not for anything else that segments are sent again.
const NO_TIMER: u8 = 0;
const LOSS_PROBE: u8 = 5;

/// What was sent again of connections of which anything was, and of listeners: their SYN-ACKs. By [`id`]. It gives up the
/// oldest for new ones; then the reason is not known, as it is not for what was before the agent.
#[map]
static RETRANSMITS: LruHashMap<u64, Retransmits> = LruHashMap::with_max_entries(1, 0);

/// `tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb[, int err])`
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub(crate) fn tcp_retransmit_skb(context: BtfTracePointContext) -> i32 {
    let sock: Struct = context.arg(0);
    let packet: Struct = context.arg(1);
    if prototype::RETRANSMIT_HAS_ERROR.load() != 0 && context.arg::<u64>(2) as i32 != 0 {
        return 0;
    }
    if sock.is_null() || packet.is_null() || state::working().is_none() {
        return 0;
    }
    let Some(tcp) = tcp_sock(sock) else { return 0 };
    let Some(entry) = entry(id(sock)) else {
        return 0;
    };
    // SAFETY: `sock` is a `struct sock`, `tcp` a `struct tcp_sock`.
    let (state, congestion, timer): (u8, u8, u8) = unsafe {
        (
            field(sock, &offset::SOCK_STATE),
            field(tcp, &offset::TCP_CA_STATE),
            field(tcp, &offset::TCP_PENDING),
        )
    };
    let segments = segments(packet);
    // SAFETY: the look-up returned a valid entry. The socket is locked, so nobody else adds to it.
    let seen = unsafe { &mut *entry };
    if i32::from(state) == TCP_SYN_SENT {
        seen.handshake += segments;
    } else if timer == LOSS_PROBE && congestion & CA_STATE < RECOVERY {
        seen.probe += segments;
    } else if timer == NO_TIMER && congestion & CA_STATE == LOSS {
        seen.timeout += segments;
    } else {
        seen.fast += segments;
    }
    0
}

/// `tcp_retransmit_synack(const struct sock *sk, const struct request_sock *req)`: counted for the listener, because there is no
/// socket for the connection yet.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub(crate) fn tcp_retransmit_synack(context: BtfTracePointContext) -> i32 {
    let sock: Struct = context.arg(0);
    if sock.is_null() || tcp_family(sock).is_none() || state::working().is_none() {
        return 0;
    }
    if let Some(entry) = entry(id(sock)) {
        // SAFETY: the look-up returned a valid entry. Two CPUs may lose one of two that are sent at once: atomic addition of
        // 32 bits is not among what the compiler makes for all kernels.
        unsafe { (*entry).handshake += 1 };
    }
    0
}

/// What is known of a connection or a listener, if anything was sent again.
#[inline(always)]
pub(crate) fn seen(id: u64) -> Retransmits {
    // SAFETY: the value is copied at once.
    unsafe { RETRANSMITS.get(&id) }.copied().unwrap_or_default()
}

/// Nobody asks for it any more.
#[inline(always)]
pub(crate) fn forget(id: u64) {
    let _absent_is_fine = RETRANSMITS.remove(&id);
}

/// A connection was established whose SYN-ACK was sent so often again.
#[inline(always)]
pub(crate) fn accepted_after(id: u64, handshake: u32) {
    let seen = Retransmits {
        handshake,
        ..Retransmits::default()
    };
    let _full_is_fine = RETRANSMITS.insert(&id, &seen, u64::from(BPF_ANY));
}

#[inline(always)]
fn entry(id: u64) -> Option<*mut Retransmits> {
    if let Some(entry) = RETRANSMITS.get_ptr_mut(&id) {
        return Some(entry);
    }
    let _another_was_quicker =
        RETRANSMITS.insert(&id, &Retransmits::default(), u64::from(BPF_NOEXIST));
    RETRANSMITS.get_ptr_mut(&id)
}

/// How many segments a buffer is sent as (`tcp_skb_pcount`, `include/net/tcp.h`).
#[inline(always)]
fn segments(packet: Struct) -> u32 {
    if !present(&offset::SKB_CB) || !present(&offset::TCP_CB_SEGMENTS) {
        return 1;
    }
    // SAFETY: `packet` is a `struct sk_buff`; in its control block TCP keeps a `struct tcp_skb_cb`.
    let segments: u16 =
        unsafe { field(address(packet, &offset::SKB_CB), &offset::TCP_CB_SEGMENTS) };
    u32::from(segments)
}
