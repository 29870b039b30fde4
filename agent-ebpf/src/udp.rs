//! Datagrams, counted by who exchanges them with whom.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    macros::map,
    maps::HashMap,
};
use wellhead_common::{
    counts,
    maps::{UdpKey, UdpValue, state, udp_protocol},
    record::role,
};

use crate::{
    output::{add_atomically, count},
    packet::{Packet, UDP_HEADER, Way, load},
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

/// Of those that found no room there, by whose they were alone. The loader sets its size, and makes an entry of nobody's for each
/// epoch.
#[map]
static UDP_REST: HashMap<UdpKey, UdpValue> = HashMap::with_max_entries(1, 0);

/// Counts a packet of UDP.
#[inline(always)]
pub(crate) fn add_up(packet: &Packet) {
    let Packet {
        skb, way, ref ends, ..
    } = *packet;
    let (local, remote) = (ends.local_port, ends.remote_port);
    let role = role_of(skb, local, remote);
    let port = if role == role::DESTINATION {
        local
    } else {
        remote
    };
    let payload_at = packet.transport.header + UDP_HEADER;
    let is_quic = port == HTTPS
        && load::<u8>(skb, payload_at).is_some_and(|first| first & QUIC_FIXED_BIT != 0);
    let key = UdpKey {
        cgroup_id: packet.cgroup_id,
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
    let (length, segments) = unsafe { ((*skb).len, (*skb).gso_segs) };
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
        cgroup_id: packet.cgroup_id,
        epoch: key.epoch,
        ..UdpKey::default()
    };
    if !add_to_rest(&key, &value) {
        key.cgroup_id = 0;
        add_to_rest(&key, &value);
    }
}

/// Which end of a conversation the socket is, for which UDP has no name: it asked if it is connected, or if its port is one that
/// the kernel chose for it.
#[inline(always)]
fn role_of(skb: *mut __sk_buff, local: u16, remote: u16) -> u16 {
    if local < FIRST_UNPRIVILEGED && remote >= FIRST_UNPRIVILEGED {
        return role::DESTINATION;
    }
    if remote < FIRST_UNPRIVILEGED && local >= FIRST_UNPRIVILEGED {
        return role::SOURCE;
    }
    // SAFETY: a read of the packet's description, which the verifier checks for null.
    let is_connected = unsafe {
        let sock = (*skb).__bindgen_anon_2.sk;
        !sock.is_null() && (*sock).state == CONNECTED
    };
    if is_connected || local >= FIRST_EPHEMERAL {
        role::SOURCE
    } else {
        role::DESTINATION
    }
}

#[inline(never)]
fn add(key: &UdpKey, value: &UdpValue) -> bool {
    add_in(&UDP_FLOWS, key, value)
}

#[inline(never)]
fn add_to_rest(key: &UdpKey, value: &UdpValue) -> bool {
    add_in(&UDP_REST, key, value)
}

/// Says whether there was room.
#[inline(always)]
fn add_in(map: &HashMap<UdpKey, UdpValue>, key: &UdpKey, value: &UdpValue) -> bool {
    if add_to(map, key, value) {
        return true;
    }
    // Another CPU may have been quicker.
    map.insert(key, value, u64::from(BPF_NOEXIST)).is_ok() || add_to(map, key, value)
}

#[inline(always)]
fn add_to(map: &HashMap<UdpKey, UdpValue>, key: &UdpKey, value: &UdpValue) -> bool {
    let Some(entry) = map.get_ptr_mut(key) else {
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
