//! Reading packets as they pass a cgroup. They begin with the header of IP, whatever protocol they are of.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};

use wellhead_common::Sixteen;

use crate::drops::{ETH_P_IP, ETH_P_IPV6};

/// Numbers of protocols and of extensions of IPv6 (`include/uapi/linux/in.h`, `in6.h`).
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// What a socket is that takes in whatever is of a protocol (`include/linux/net.h`).
pub(crate) const SOCK_RAW: u16 = 3;
/// More extensions than anybody sends.
const EXTENSIONS: usize = 4;

const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
/// Beyond this no header begins.
const FURTHEST: u32 = 0xfff;

pub(crate) const UDP_HEADER: u32 = 8;

/// Which way a packet goes, seen from the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

/// A packet that passes a socket whose owner is captured.
pub(crate) struct Packet {
    pub(crate) skb: *mut __sk_buff,
    pub(crate) way: Way,
    pub(crate) transport: Transport,
    pub(crate) ends: Ends,
    pub(crate) cgroup_id: u64,
    /// When, on the boot clock.
    pub(crate) boot_ns: u64,
}

/// What carries a packet, and where its header begins.
#[derive(Clone, Copy)]
pub(crate) struct Transport {
    pub(crate) protocol: u8,
    pub(crate) header: u32,
    is_ipv4: bool,
}

/// Both ends of a packet, seen from the socket.
pub(crate) struct Ends {
    pub(crate) local_address: Sixteen,
    pub(crate) remote_address: Sixteen,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
}

impl Transport {
    /// Of what carries most packets no more is read than two bytes, and no helper is called.
    #[inline(always)]
    pub(crate) fn of(packet: *mut __sk_buff) -> Option<Self> {
        // SAFETY: a read of the packet's description.
        let protocol = u16::from_be(unsafe { (*packet).protocol } as u16);
        if protocol == ETH_P_IP {
            let [first, protocol] = bytes::<{ IPV4_HEADER as usize }, 2>(packet, [0, 9])?;
            let header = u32::from(first & 0xf) * 4;
            return (header >= IPV4_HEADER).then_some(Self {
                protocol,
                header,
                is_ipv4: true,
            });
        }
        if protocol != ETH_P_IPV6 {
            return None;
        }
        let [mut protocol] = bytes::<{ IPV6_HEADER as usize }, 1>(packet, [6])?;
        let mut header = IPV6_HEADER;
        for _ in 0..EXTENSIONS {
            let is_fragment = protocol == FRAGMENT;
            let is_extension =
                protocol == HOP_BY_HOP || protocol == ROUTING || protocol == DESTINATION_OPTIONS;
            if !is_extension && !is_fragment {
                break;
            }
            let [next, words, high, low]: [u8; 4] = load(packet, header)?;
            // Only the first has the ports. The length of its header is not said (RFC 8200, section 4.5).
            if is_fragment && (high, low & !0b111) != (0, 0) {
                return None;
            }
            protocol = next;
            header += if is_fragment {
                8
            } else {
                (u32::from(words) + 1) * 8
            };
        }
        (header <= FURTHEST).then_some(Self {
            protocol,
            header,
            is_ipv4: false,
        })
    }

    /// Source and destination port, which UDP and TCP have in the same place.
    #[inline(always)]
    pub(crate) fn ports(self, packet: *mut __sk_buff) -> Option<(u16, u16)> {
        let header = self.header & FURTHEST;
        // SAFETY: the verifier checks that what is read lies before the end.
        let direct = unsafe {
            let (start, end) = ((*packet).data as usize, (*packet).data_end as usize);
            let at = start + header as usize;
            (at + 4 <= end).then(|| (at as *const u32).read_unaligned())
        };
        let both: u32 = match direct {
            Some(both) => both,
            None => load(packet, header)?,
        };
        let [s0, s1, d0, d1] = both.to_ne_bytes();
        Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
    }

    /// Both ends, for a packet that goes this way.
    #[inline(always)]
    pub(crate) fn ends(
        self,
        packet: *mut __sk_buff,
        (source_port, destination_port): (u16, u16),
        way: Way,
    ) -> Option<Ends> {
        let (source, destination) = if self.is_ipv4 {
            let [source, destination]: [u32; 2] = load(packet, 12)?;
            (mapped(source), mapped(destination))
        } else {
            load::<(Sixteen, Sixteen)>(packet, 8)?
        };
        Some(match way {
            Way::Out => Ends {
                local_address: source,
                remote_address: destination,
                local_port: source_port,
                remote_port: destination_port,
            },
            Way::In => Ends {
                local_address: destination,
                remote_address: source,
                local_port: destination_port,
                remote_port: source_port,
            },
        })
    }
}

/// An IPv4 address in network byte order, as IPv4-mapped IPv6.
#[inline(always)]
pub(crate) fn mapped(address: u32) -> Sixteen {
    let [a, b, c, d] = address.to_ne_bytes();
    Sixteen::of_words([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])])
}

/// Bytes at these places of a header that has `LENGTH`; without a call where the packet's beginning can be read, and that is nearly
/// always.
#[inline(always)]
fn bytes<const LENGTH: usize, const COUNT: usize>(
    packet: *mut __sk_buff,
    places: [usize; COUNT],
) -> Option<[u8; COUNT]> {
    let mut found = [0; COUNT];
    // SAFETY: the verifier checks that what is read lies before the end.
    unsafe {
        let (start, end) = ((*packet).data as usize, (*packet).data_end as usize);
        // The whole header: of less than two bytes the verifier does not understand the comparison.
        if start + LENGTH <= end {
            for (found, place) in found.iter_mut().zip(places) {
                *found = *((start + place) as *const u8);
            }
            return Some(found);
        }
    }
    for (found, place) in found.iter_mut().zip(places) {
        *found = load(packet, place as u32)?;
    }
    Some(found)
}

/// Copies a part of the packet.
#[inline(always)]
pub(crate) fn load<T: Copy>(packet: *mut __sk_buff, offset: u32) -> Option<T> {
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
