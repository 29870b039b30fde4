//! IP address → who that is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::settings::PeerAddresses;
use super::workload::Workload;
use crate::aged_map::AgedMap;

/// The other end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A pod, as the workload it is part of, or a node: `*.k8s.workload.*`.
    Workload(Arc<Workload>),
    /// A Service.
    Service {
        /// Its name and namespace.
        service: Arc<Workload>,
        /// Who answered for it, where that is known.
        backend: Option<Arc<Workload>>,
    },
    /// Anything else, by what to call it: `*.address`. The name of a configured range, `localhost`, `external`, or
    /// the address itself where the configuration wants it.
    Address(Arc<str>),
}

/// Names addresses that are no pods.
#[derive(Debug)]
pub struct PeerNames {
    /// Longest prefix first.
    ranges: Vec<(Cidr, Arc<str>)>,
    /// Addresses as text; `None` where all of them are `external`.
    texts: Option<AgedMap<IpAddr, Arc<str>>>,
    external: Arc<str>,
}

impl PeerNames {
    /// Names by range (name, address, length of the prefix), and otherwise as `addresses` says, keeping at most
    /// `capacity` addresses as text.
    pub fn new(ranges: &[(String, IpAddr, u8)], addresses: PeerAddresses, capacity: usize) -> Self {
        let named = |(name, address, length): &(String, IpAddr, u8)| {
            (Cidr::new(*address, *length), name.as_str().into())
        };
        let mut ranges: Vec<(Cidr, Arc<str>)> = ranges.iter().map(named).collect();
        let localhost: Arc<str> = "localhost".into();
        ranges.push((
            Cidr::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
            Arc::clone(&localhost),
        ));
        ranges.push((Cidr::new(Ipv6Addr::LOCALHOST.into(), 128), localhost));
        // Stable: of equal prefixes the configured one, which came first, wins.
        ranges.sort_by_key(|(cidr, _)| std::cmp::Reverse(cidr.length));
        Self {
            ranges,
            texts: (addresses == PeerAddresses::Ip).then(|| AgedMap::new(capacity)),
            external: "external".into(),
        }
    }

    /// What to call this address. Among ranges the longest prefix wins.
    pub fn name(&mut self, address: IpAddr) -> Arc<str> {
        let address = address.to_canonical();
        let range = self.ranges.iter().find(|(cidr, _)| cidr.contains(address));
        match range {
            Some((_, name)) => Arc::clone(name),
            None => self.text(address),
        }
    }

    fn text(&mut self, address: IpAddr) -> Arc<str> {
        let Some(texts) = &mut self.texts else {
            return Arc::clone(&self.external);
        };
        if let Some(text) = texts.get(&address) {
            return Arc::clone(text);
        }
        let text: Arc<str> = address.to_string().into();
        // A cache: what makes room is only written out again next time.
        drop(texts.insert(address, Arc::clone(&text)));
        text
    }
}

/// A range of addresses. IPv4 and IPv6 ranges never overlap: mapped addresses count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cidr {
    is_ipv4: bool,
    /// The address's bits, first bit highest.
    bits: u128,
    length: u8,
}

impl Cidr {
    fn new(address: IpAddr, length: u8) -> Self {
        let canonical = address.to_canonical();
        let is_mapped = address.is_ipv6() && canonical.is_ipv4();
        let (is_ipv4, bits) = bits_of(if is_mapped && length < 96 {
            address
        } else {
            canonical
        });
        let length = if is_mapped && is_ipv4 {
            length - 96
        } else {
            length
        };
        Self {
            is_ipv4,
            bits,
            length: length.min(if is_ipv4 { 32 } else { 128 }),
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        let (is_ipv4, bits) = bits_of(address);
        let differing = (bits ^ self.bits)
            .checked_shr(128 - u32::from(self.length))
            .unwrap_or(0);
        is_ipv4 == self.is_ipv4 && differing == 0
    }
}

fn bits_of(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (false, address.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{Cidr, PeerNames};
    use crate::identity::settings::PeerAddresses;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn check(ranges: &[(&str, &str, u8)], addresses: PeerAddresses, expected: &[(&str, &str)]) {
        let ranges: Vec<_> = ranges
            .iter()
            .map(|(name, address, length)| ((*name).to_owned(), ip(address), *length))
            .collect();
        let mut names = PeerNames::new(&ranges, addresses, 2);
        for (address, expected) in expected {
            let found = names.name(ip(address)).to_string();
            assert_eq!(&found, expected, "{address} in {ranges:?}");
        }
    }

    #[test]
    fn without_ranges() {
        let common = [
            ("127.0.0.53", "localhost"),
            ("::1", "localhost"),
            ("::ffff:127.0.0.1", "localhost"),
        ];
        for addresses in [PeerAddresses::Name, PeerAddresses::Ip] {
            check(&[], addresses, &common);
        }
        check(
            &[],
            PeerAddresses::Name,
            &[
                ("192.0.2.1", "external"),
                ("2001:db8::1", "external"),
                ("0.0.0.0", "external"),
            ],
        );
        check(
            &[],
            PeerAddresses::Ip,
            &[
                ("::ffff:192.0.2.1", "192.0.2.1"),
                ("2001:db8::1", "2001:db8::1"),
                ("::2", "::2"),
            ],
        );
    }

    #[test]
    fn the_longest_prefix_wins() {
        check(
            &[
                ("all", "0.0.0.0", 0),
                ("ten", "10.0.0.0", 8),
                ("db", "10.2.3.4", 32),
                ("six", "2001:db8::", 32),
                ("net", "10.2.0.9", 16),
            ],
            PeerAddresses::Ip,
            &[
                ("10.2.3.4", "db"),
                ("10.2.3.5", "net"),
                ("10.3.0.1", "ten"),
                ("11.0.0.1", "all"),
                ("127.0.0.1", "localhost"),
                ("2001:db8:ffff::1", "six"),
                ("2001:db9::1", "2001:db9::1"),
            ],
        );
        check(
            &[("lo", "127.0.0.0", 8)],
            PeerAddresses::Name,
            &[("127.0.0.1", "lo"), ("::1", "localhost")],
        );
        check(
            &[("six", "::", 0)],
            PeerAddresses::Name,
            &[("2001:db8::1", "six"), ("192.0.2.1", "external")],
        );
        check(
            &[("mapped", "::ffff:192.0.2.0", 120)],
            PeerAddresses::Name,
            &[("192.0.2.9", "mapped"), ("192.0.3.9", "external")],
        );
    }

    #[test]
    fn text_is_shared() {
        let mut names = PeerNames::new(&[], PeerAddresses::Ip, 8);
        let texts = [(); 2].map(|()| names.name(ip("192.0.2.1")));
        assert!(Arc::ptr_eq(&texts[0], &texts[1]));
    }

    proptest! {
        #[test]
        fn a_range_holds_what_shares_its_prefix(bits in any::<u32>(), other in any::<u32>(), length in 0_u8..=32) {
            let cidr = Cidr::new(IpAddr::V4(bits.into()), length);
            let shared = (bits ^ other).leading_zeros() >= u32::from(length);
            prop_assert_eq!(cidr.contains(IpAddr::V4(other.into())), shared);
        }

        #[test]
        fn any_prefix_length_is_bearable(address in any::<IpAddr>(), length in any::<u8>()) {
            let cidr = Cidr::new(address, length);
            prop_assert_eq!(cidr.contains(address.to_canonical()), cidr.is_ipv4 == address.to_canonical().is_ipv4());
        }
    }
}
