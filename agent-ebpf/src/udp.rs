//! Datagrams, counted as they pass the root of the cgroup tree: every socket of every network namespace, with its owner. The only
//! programs that run for each packet, of TCP as well: of what is not UDP they look at one byte.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    helpers::generated::{bpf_skb_cgroup_id, bpf_skb_load_bytes},
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
    drops::{ETH_P_IP, ETH_P_IPV6},
    kernel::captured,
    output::{add_atomically, count},
    state as steering,
};

/// Numbers of protocols and of extensions of IPv6 (`include/uapi/linux/in.h`, `in6.h`).
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
/// More extensions than anybody sends.
const EXTENSIONS: usize = 4;

const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;

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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

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

/// Where a packet is from and to.
struct Addresses {
    source: [u8; 16],
    destination: [u8; 16],
    /// Where the header of UDP begins.
    header: u32,
}

#[inline(always)]
fn take_in(context: &SkBuffContext, way: Way) {
    let packet = context.skb.skb;
    let Some(addresses) = udp_addresses(packet) else {
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
    // The ports and the first byte of what they carry.
    let Some(start) = load::<[u8; 9]>(packet, addresses.header).or_else(|| {
        load::<[u8; 8]>(packet, addresses.header).map(|header| {
            let mut start = [0; 9];
            start[..8].copy_from_slice(&header);
            start
        })
    }) else {
        count(counts::READ_FAILED);
        return;
    };
    let [s0, s1, d0, d1, _, _, _, _, first] = start;
    let (source, destination) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let (local, remote, address) = match way {
        Way::Out => (source, destination, addresses.destination),
        Way::In => (destination, source, addresses.source),
    };
    let role = role_of(packet, local, remote);
    let port = if role == role::DESTINATION {
        local
    } else {
        remote
    };
    let is_quic = port == HTTPS && first & QUIC_FIXED_BIT != 0;
    let key = UdpKey {
        cgroup_id,
        remote_address: address,
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
    let payload = u64::from(length.saturating_sub(addresses.header + UDP_HEADER));
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

/// Where a datagram is from and to; nothing for packets of other protocols.
#[inline(always)]
fn udp_addresses(packet: *mut __sk_buff) -> Option<Addresses> {
    // SAFETY: a read of the packet's description.
    let protocol = u16::from_be(unsafe { (*packet).protocol } as u16);
    if protocol == ETH_P_IP {
        // Of what is not UDP no more is looked at than this.
        if byte(packet, 9)? != UDP {
            return None;
        }
        let header: [u8; 20] = load(packet, 0)?;
        let length = u32::from(header[0] & 0xf) * 4;
        if length < IPV4_HEADER {
            return None;
        }
        let mut source = [0; 16];
        let mut destination = [0; 16];
        source[10] = 0xff;
        source[11] = 0xff;
        source[12..].copy_from_slice(&header[12..16]);
        destination[10] = 0xff;
        destination[11] = 0xff;
        destination[12..].copy_from_slice(&header[16..20]);
        return Some(Addresses {
            source,
            destination,
            header: length,
        });
    }
    if protocol != ETH_P_IPV6 {
        return None;
    }
    let mut next = byte(packet, 6)?;
    let mut header = IPV6_HEADER;
    for _ in 0..EXTENSIONS {
        if next != HOP_BY_HOP && next != ROUTING && next != DESTINATION_OPTIONS {
            break;
        }
        let [following, words]: [u8; 2] = load(packet, header)?;
        next = following;
        header += (u32::from(words) + 1) * 8;
    }
    if next != UDP {
        return None;
    }
    Some(Addresses {
        source: load(packet, 8)?,
        destination: load(packet, 24)?,
        header,
    })
}

/// One byte, without a call where the packet's beginning can be read.
#[inline(always)]
fn byte(packet: *mut __sk_buff, offset: usize) -> Option<u8> {
    // SAFETY: the verifier checks that what is read lies before the end.
    unsafe {
        let (start, end) = ((*packet).data as usize, (*packet).data_end as usize);
        if start + offset + 1 <= end {
            return Some(*((start + offset) as *const u8));
        }
    }
    load(packet, offset as u32)
}

/// Copies a part of the packet.
#[inline(always)]
fn load<T: Copy>(packet: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes as many bytes as the value has, or fails.
    let result = unsafe {
        bpf_skb_load_bytes(
            packet.cast(),
            offset,
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
        )
    };
    // SAFETY: it was written.
    (result == 0).then(|| unsafe { value.assume_init() })
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
