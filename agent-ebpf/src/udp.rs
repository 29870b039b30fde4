//! Datagrams, counted as they pass the root of the cgroup tree: every socket of every network namespace, with its owner. The only
//! programs that run for each packet, of TCP as well: of what is not UDP they look at two bytes.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    helpers::generated::bpf_skb_cgroup_id,
    macros::{cgroup_skb, map},
    maps::HashMap,
    programs::SkBuffContext,
};
use wellhead_common::{
    counts,
    maps::{UdpKey, UdpValue, state, udp_protocol},
    record::role,
};

use crate::{
    kernel::captured,
    output::{add_atomically, count},
    packet::{Transport, UDP, UDP_HEADER, Way, load},
    state as steering,
};

/// `net.ipv4.ip_local_port_range` begins here, if nobody changed it: sockets below it were bound to their port.
const FIRST_EPHEMERAL: u16 = 32_768;
const FIRST_UNPRIVILEGED: u16 = 1_024;
const HTTPS: u16 = 443;
/// The bit that is set in the first byte of every packet of QUIC (RFC 9000, section 17).
const QUIC_FIXED_BIT: u8 = 0x40;
/// `TCP_ESTABLISHED`, which connected sockets of UDP are in as well.
const CONNECTED: u32 = 1;

/// What passed since the daemon took it out last. The loader sets its size.
#[map]
static UDP_FLOWS: HashMap<UdpKey, UdpValue> = HashMap::with_max_entries(1, 0);

/// What is sent. Always lets it pass.
#[cgroup_skb]
pub(crate) fn udp_egress(context: SkBuffContext) -> i32 {
    take_in(&context, Way::Out);
    1
}

/// What is received. Always lets it pass.
#[cgroup_skb]
pub(crate) fn udp_ingress(context: SkBuffContext) -> i32 {
    take_in(&context, Way::In);
    1
}

#[inline(always)]
fn take_in(context: &SkBuffContext, way: Way) {
    let packet = context.skb.skb;
    let Some(transport) = Transport::of(packet).filter(|it| it.protocol == UDP) else {
        return;
    };
    if steering::working().is_none() {
        return;
    }
    // SAFETY: the helper takes any packet.
    let cgroup_id = unsafe { bpf_skb_cgroup_id(packet) };
    if !captured(cgroup_id) {
        return;
    }
    let ends = transport
        .ports(packet)
        .and_then(|ports| transport.ends(packet, ports, way));
    let Some(ends) = ends else {
        count(counts::READ_FAILED);
        return;
    };
    let (local, remote) = (ends.local_port, ends.remote_port);
    let role = role_of(packet, local, remote);
    let port = if role == role::DESTINATION {
        local
    } else {
        remote
    };
    let payload_at = transport.header + UDP_HEADER;
    let is_quic = port == HTTPS
        && load::<u8>(packet, payload_at).is_some_and(|first| first & QUIC_FIXED_BIT != 0);
    let key = UdpKey {
        cgroup_id,
        remote_address: ends.remote_address,
        epoch: steering::get(state::TALLY_EPOCH) as u32,
        port,
        role: role as u8,
        protocol: if is_quic {
            udp_protocol::QUIC
        } else {
            udp_protocol::NONE
        },
    };
    // SAFETY: reads of the packet's description.
    let (length, segments) = unsafe { ((*packet).len, (*packet).gso_segs) };
    let payload = u64::from(length.saturating_sub(payload_at));
    let datagrams = u64::from(segments.max(1));
    let value = match way {
        Way::Out => UdpValue {
            bytes_sent: payload,
            datagrams_sent: datagrams,
            ..UdpValue::default()
        },
        Way::In => UdpValue {
            bytes_received: payload,
            datagrams_received: datagrams,
            ..UdpValue::default()
        },
    };
    if add(&key, &value) {
        return;
    }
    count(counts::UDP_FULL);
    // Whose they were is known, and no more.
    let mut key = UdpKey {
        cgroup_id,
        epoch: key.epoch,
        ..UdpKey::default()
    };
    if !add(&key, &value) {
        key.cgroup_id = 0;
        add(&key, &value);
    }
}

/// Which end of a conversation the socket is, for which UDP has no name: it asked if it is connected, or if its port is one that
/// the kernel chose for it.
#[inline(always)]
fn role_of(packet: *mut __sk_buff, local: u16, remote: u16) -> u16 {
    if local < FIRST_UNPRIVILEGED && remote >= FIRST_UNPRIVILEGED {
        return role::DESTINATION;
    }
    if remote < FIRST_UNPRIVILEGED && local >= FIRST_UNPRIVILEGED {
        return role::SOURCE;
    }
    // SAFETY: a read of the packet's description, which the verifier checks for null.
    let is_connected = unsafe {
        let sock = (*packet).__bindgen_anon_2.sk;
        !sock.is_null() && (*sock).state == CONNECTED
    };
    if is_connected || local >= FIRST_EPHEMERAL {
        role::SOURCE
    } else {
        role::DESTINATION
    }
}

/// Not inlined: it is called with three keys.
#[inline(never)]
fn add(key: &UdpKey, value: &UdpValue) -> bool {
    if add_to(key, value) {
        return true;
    }
    // Another CPU may have been quicker.
    UDP_FLOWS.insert(key, value, u64::from(BPF_NOEXIST)).is_ok() || add_to(key, value)
}

#[inline(always)]
fn add_to(key: &UdpKey, value: &UdpValue) -> bool {
    let Some(entry) = UDP_FLOWS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the look-up returned a valid entry; all CPUs only add to it in this way.
    unsafe {
        add_atomically(&raw mut (*entry).bytes_sent, value.bytes_sent);
        add_atomically(&raw mut (*entry).bytes_received, value.bytes_received);
        add_atomically(&raw mut (*entry).datagrams_sent, value.datagrams_sent);
        add_atomically(
            &raw mut (*entry).datagrams_received,
            value.datagrams_received,
        );
    }
    true
}
