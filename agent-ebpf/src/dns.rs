//! Messages of DNS, by the port they are sent to and answered from: their first bytes, for the daemon to read. Of servers nothing is
//! told: a look-up is its asker's.

use core::arch::asm;

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_load_bytes},
};
use wellhead_common::{
    counts,
    limits::DNS_PAYLOAD,
    record::{DNS_FIXED, Dns, Kind, dns_flag},
};

use crate::{
    output::{PAYLOAD, count, write_header},
    packet::{Packet, TCP, Transport, UDP, UDP_HEADER, Way, load},
};

/// Up to four ports, sixteen bits each; 0 stands for none, and for all of them while the feature is off.
#[unsafe(no_mangle)]
static DNS_PORTS: Global<u64> = Global::new(0);

/// Tells of a packet to or from a server.
#[inline(always)]
pub(crate) fn tell(packet: &Packet) {
    let Packet {
        skb,
        way,
        transport,
        ref ends,
        ..
    } = *packet;
    let Some(start) = payload_start(skb, transport) else {
        count(counts::READ_FAILED);
        return;
    };
    // SAFETY: a read of the packet's description.
    let length = unsafe { (*skb).len }.saturating_sub(start);
    if length == 0 {
        // Segments of TCP that carry nothing.
        return;
    }
    let kind = Kind::Dns;
    let Some(mut room) = PAYLOAD.room::<Dns>() else {
        count(counts::lost(kind));
        return;
    };
    let record = room.record();
    let from = (packet.boot_ns, packet.cgroup_id);
    write_header(&mut record.header, kind, size_of::<Dns>(), from);
    // SAFETY: the helper takes any packet.
    record.socket = unsafe { bpf_get_socket_cookie(skb.cast()) };
    record.length = length;
    record.captured = copy(skb, start, length, &mut record.payload);
    record.header.length = DNS_FIXED as u32 + record.captured;
    record.flags = match way {
        Way::Out => dns_flag::EGRESS,
        Way::In => 0,
    } | match transport.protocol {
        TCP => dns_flag::TCP,
        _ => 0,
    };
    record.local_port = ends.local_port;
    record.remote_port = ends.remote_port;
    record.local_address = ends.local_address;
    record.remote_address = ends.remote_address;
    PAYLOAD.send(room, kind);
}

/// Whether servers are asked at this port.
#[inline(always)]
pub(crate) fn is_port_of_servers(port: u16) -> bool {
    let ports = DNS_PORTS.load();
    let is = |shift: u32| port != 0 && (ports >> shift) as u16 == port;
    is(0) || is(16) || is(32) || is(48)
}

/// Where what is carried begins.
#[inline(always)]
fn payload_start(packet: *mut __sk_buff, transport: Transport) -> Option<u32> {
    if transport.protocol == UDP {
        return Some(transport.header + UDP_HEADER);
    }
    // The length of TCP's own header, in words (RFC 9293, section 3.1).
    let words = load::<u8>(packet, transport.header + 12)? >> 4;
    Some(transport.header + u32::from(words) * 4)
}

/// Copies as much as there is room for, and returns how much that is.
#[inline(always)]
fn copy(packet: *mut __sk_buff, start: u32, length: u32, to: &mut [u8; DNS_PAYLOAD]) -> u32 {
    // One less than it is, which has nine bits: so the verifier sees that it is neither nothing nor too much. In assembly, because
    // the compiler sees it, too, and would leave that out.
    let mut less = u64::from(length.min(DNS_PAYLOAD as u32).max(1)) - 1;
    // SAFETY: one instruction on one register.
    unsafe { asm!("{less} &= 511", less = inout(reg) less) };
    let wanted = less as u32 + 1;
    // SAFETY: the verifier checks that there is room for so much.
    let result =
        unsafe { bpf_skb_load_bytes(packet.cast(), start, to.as_mut_ptr().cast(), wanted) };
    if result == 0 {
        return wanted;
    }
    count(counts::READ_FAILED);
    0
}
