//! The addresses of one object, as they are read.

use std::collections::HashSet;

use super::object::Address;

/// Addresses read of one object, whatever it says it has. The table keeps fewer: [`ObjectKind::most_addresses`].
///
/// [`ObjectKind::most_addresses`]: super::object::ObjectKind::most_addresses
pub const MOST_READ: usize = 4_096;

/// Up to so many, looking at each is faster than a set.
const FEW: usize = 16;

/// Addresses, each once.
#[derive(Debug, Default)]
pub struct Addresses {
    found: Vec<Address>,
    /// The same, once they are many.
    known: HashSet<Address>,
}

impl Addresses {
    /// Adds one that is not there yet.
    pub fn add(&mut self, address: Address) {
        if self.is_full() {
            return;
        }
        let is_new = if self.found.len() < FEW {
            !self.found.contains(&address)
        } else {
            if self.known.is_empty() {
                self.known.extend(&self.found);
            }
            self.known.insert(address)
        };
        if is_new {
            self.found.push(address);
        }
    }

    /// Whether no more are taken.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MOST_READ
    }

    /// There are hundreds of thousands of such lists, so none is longer than it has to be.
    pub fn into_vec(mut self) -> Vec<Address> {
        self.found.shrink_to_fit();
        self.found
    }
}

/// Those of `all` that are not among `others`.
pub(super) fn without<'a>(
    all: &'a [Address],
    others: &'a [Address],
) -> impl Iterator<Item = &'a Address> {
    let many = (others.len() > FEW).then(|| others.iter().collect::<HashSet<_>>());
    all.iter().filter(move |address| match &many {
        Some(many) => !many.contains(address),
        None => !others.contains(address),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn numbered(number: usize) -> Address {
        let bits = u32::try_from(number).unwrap();
        Address::any_port(IpAddr::V4(Ipv4Addr::from_bits(bits)))
    }

    #[test]
    fn each_once_and_not_too_many() {
        for (count, expected) in [(0, 0), (5, 5), (FEW + 3, FEW + 3), (100_000, MOST_READ)] {
            let mut addresses = Addresses::default();
            for number in (0..count).chain(0..count) {
                addresses.add(numbered(number));
            }
            let found = addresses.into_vec();
            let in_order: Vec<_> = (0..expected).map(numbered).collect();
            assert_eq!(found, in_order);
        }
    }

    #[test]
    fn what_is_missing() {
        for count in [3, 100] {
            let all: Vec<_> = (0..count + 2).map(numbered).collect();
            let missing: Vec<_> = without(&all, &all[1..=count]).collect();
            assert_eq!(missing, [&all[0], &all[count + 1]]);
        }
    }
}
