//! Handshakes of which a packet was dropped, by the first sequence number of whoever connects: translations change addresses and
//! ports on the way, that never. It is the same in the SYN, in each that is sent again, and plus one in what acknowledges it.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_probe_read_kernel, macros::map, maps::LruHashMap};
use wellhead_common::maps::{DropKey, LostHandshake};

use crate::{
    drops::{ETH_P_IP, is_whole},
    kernel::{Struct, field, offset},
    packet::{SOCK_RAW, TCP},
};

/// Bits of a TCP header's flags (RFC 9293, section 3.1).
const SYN: u8 = 1 << 1;
const ACK: u8 = 1 << 4;
/// Kinds of packets that are copies, whose originals went on (`include/uapi/linux/if_packet.h`): one that was flooded to a device of
/// another address, and one for whoever listens in on what is sent. They are the lowest bits of a byte.
const OTHERHOST: u8 = 3;
const OUTGOING: u8 = 4;
const KINDS: u8 = 0b111;
/// Length of an IPv6 header.
const IPV6_HEADER: usize = 40;

/// Why, of those lately dropped. The loader sets its size.
#[map]
static LOST_HANDSHAKES: LruHashMap<u32, LostHandshake> = LruHashMap::with_max_entries(1, 0);

/// Remembers why a packet is dropped, if it is one of a handshake.
#[inline(always)]
pub(crate) fn note(packet: Struct, protocol: u16, key: &DropKey) {
    let Some(sequence) = initial_sequence(packet, protocol) else {
        return;
    };
    if is_held_by_raw_socket(packet) {
        return;
    }
    let lost = LostHandshake {
        location: key.location,
        reason: key.reason,
        reserved: 0,
    };
    // The map gives up its oldest entry for a new one; should that fail, the reason stays unknown.
    let _known = LOST_HANDSHAKES.insert(&sequence, &lost, u64::from(BPF_ANY));
}

/// Whether it is a copy for somebody who takes in all of TCP, of which what was not read is dropped as the socket is closed.
#[inline(always)]
fn is_held_by_raw_socket(packet: Struct) -> bool {
    // SAFETY: `packet` is a `struct sk_buff`; of a socket no more is read than it has.
    unsafe {
        let sock: Struct = field(packet, &offset::SKB_SK);
        !sock.is_null() && is_whole(sock) && field::<u16>(sock, &offset::SOCK_TYPE) == SOCK_RAW
    }
}

/// Of the connecting end's SYN, or of the SYN-ACK that answers it. Extensions of IPv6 are not looked through.
#[inline(always)]
fn initial_sequence(packet: Struct, protocol: u16) -> Option<u32> {
    // SAFETY: `packet` is a `struct sk_buff`; the helper reads nothing that is not there.
    unsafe {
        let kind: u8 = field(packet, &offset::SKB_TYPE);
        if matches!(kind & KINDS, OTHERHOST | OUTGOING) {
            return None;
        }
        let head: Struct = field(packet, &offset::SKB_HEAD);
        let at: u16 = field(packet, &offset::SKB_NETWORK_HEADER);
        let network = head.add(usize::from(at));
        let start = bpf_probe_read_kernel(network.cast::<[u8; 10]>()).ok()?;
        let (carries, length) = if protocol == ETH_P_IP {
            (start[9], usize::from(start[0] & 0xf) * 4)
        } else {
            (start[6], IPV6_HEADER)
        };
        if carries != TCP {
            return None;
        }
        let [_, sequence, acknowledged, flags] =
            bpf_probe_read_kernel(network.add(length).cast::<[u32; 4]>()).ok()?;
        match flags.to_ne_bytes()[1] & (SYN | ACK) {
            SYN => Some(u32::from_be(sequence)),
            both if both == SYN | ACK => Some(u32::from_be(acknowledged).wrapping_sub(1)),
            _ => None,
        }
    }
}
