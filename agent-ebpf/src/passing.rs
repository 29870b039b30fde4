//! Packets as they pass the root of the cgroup tree: those of every socket of every network namespace, with its owner. The only
//! programs that run for each packet, of TCP as well, so there is one for each direction, whoever asked for it.

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    helpers::generated::{bpf_sk_fullsock, bpf_skb_cgroup_id},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use wellhead_common::counts;

use crate::{
    dns,
    kernel::captured,
    output::count,
    packet::{Packet, SOCK_RAW, TCP, Transport, UDP, Way},
    state, udp,
};

/// Whether datagrams are counted; else only messages of DNS are looked for.
#[unsafe(no_mangle)]
static COUNT_DATAGRAMS: Global<u32> = Global::new(1);

/// What is sent. Always lets it pass.
#[cgroup_skb]
pub(crate) fn packet_egress(context: SkBuffContext) -> i32 {
    look_at(&context, Way::Out);
    1
}

/// What is received. Always lets it pass.
#[cgroup_skb]
pub(crate) fn packet_ingress(context: SkBuffContext) -> i32 {
    look_at(&context, Way::In);
    1
}

/// Whether it is a copy for a socket that takes in whatever is of its protocol (`SOCK_RAW`), beside the one it is for.
#[inline(always)]
fn is_for_raw_socket(skb: *mut __sk_buff) -> bool {
    // SAFETY: reads of the packet's description and of its socket's, which the verifier checks for null.
    unsafe {
        let sock = (*skb).__bindgen_anon_2.sk;
        if sock.is_null() {
            return false;
        }
        let sock = bpf_sk_fullsock(sock);
        !sock.is_null() && (*sock).type_ == u32::from(SOCK_RAW)
    }
}

/// Of what nobody asked for no more is read than its protocol and ports, and no helper is called.
#[inline(always)]
fn look_at(context: &SkBuffContext, way: Way) {
    let skb = context.skb.skb;
    let Some(transport) = Transport::of(skb) else {
        return;
    };
    let is_counted = match transport.protocol {
        UDP => COUNT_DATAGRAMS.load() != 0,
        TCP => false,
        _ => return,
    };
    let Some(ports) = transport.ports(skb) else {
        if is_counted && state::working().is_some() {
            count(counts::READ_FAILED);
        }
        return;
    };
    let server = match way {
        Way::Out => ports.1,
        Way::In => ports.0,
    };
    let is_told = dns::is_port_of_servers(server);
    if !is_counted && !is_told {
        return;
    }
    let Some(boot_ns) = state::working() else {
        return;
    };
    if way == Way::In && transport.protocol == UDP && is_for_raw_socket(skb) {
        return;
    }
    // SAFETY: the helper takes any packet.
    let cgroup_id = unsafe { bpf_skb_cgroup_id(skb) };
    if !captured(cgroup_id) {
        return;
    }
    let Some(ends) = transport.ends(skb, ports, way) else {
        count(counts::READ_FAILED);
        return;
    };
    let packet = Packet {
        skb,
        way,
        transport,
        ends,
        cgroup_id,
        boot_ns,
    };
    if is_counted {
        udp::add_up(&packet);
    }
    if is_told {
        dns::tell(&packet);
    }
}
