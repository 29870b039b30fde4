//! What addresses are called, by the answers programs got before they connected.

use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use crate::aged_map::AgedMap;
use crate::events::dns::lookups::{Lookup, LookupEnd};
use crate::hash::HashMap;

const SECOND_NS: u64 = 1_000_000_000;

/// Seconds an answer holds at the least: programs use one whose time to live is 0 or 1 for all the addresses in it, one after the other.
const SHORTEST_TTL: u32 = 30;
/// Seconds an answer holds at the most: addresses pass to others without the one who was told them long ago asking again.
const LONGEST_TTL: u32 = 3_600;

/// How much longer a name is kept than its answer holds. A connection is named when it is established, and Linux tries that
/// for 127 s by default (`net.ipv4.tcp_syn_retries` = 6) from when a program, perhaps in the answer's last second, took the address.
const HANDSHAKE_NS: u64 = 127 * SECOND_NS;

/// An address, as the programs of a cgroup know it.
type Place = (u64, IpAddr);

#[derive(Debug)]
struct Known {
    name: Arc<str>,
    /// Of the name.
    number: u64,
    /// Boot clock.
    until_ns: u64,
}

/// Names of addresses. Each address has the name that was answered last: where many names have the same address, as with a CDN,
/// a connection may be called by another than its own.
///
/// Names are per cgroup: the programs of another may ask other servers, or live where the same addresses are others'. The same text is
/// kept once.
#[derive(Debug)]
pub(super) struct Names {
    by_place: AgedMap<Place, Known>,
    /// All names: how many addresses have each, and its number, which no other ever had.
    uses: HashMap<Arc<str>, (usize, u64)>,
    numbers: u64,
    evicted: u64,
}

impl Names {
    /// Remembers the names of `capacity` addresses, but always of one.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            by_place: AgedMap::new(capacity),
            uses: HashMap::default(),
            numbers: 0,
            evicted: 0,
        }
    }

    /// Takes in what a look-up found, if that says what an address is called: answers to a question for addresses, without an error.
    /// A [`Lookup`] was asked for, so nobody can plant names by answers alone.
    pub(super) fn learn_from(&mut self, lookup: &Lookup) {
        if let LookupEnd::Answered { rcode: 0, .. } = lookup.end
            && lookup.question.is_for_addresses()
        {
            let took_ns = lookup.took_ns.unwrap_or_default();
            let now_boot_ns = lookup.asked_boot_ns.saturating_add(took_ns);
            let Lookup {
                cgroup_id,
                question,
                answers,
                ..
            } = lookup;
            self.learn(*cgroup_id, &question.name, answers, now_boot_ns);
        }
    }

    /// These addresses are called `name`, for so many seconds each. Only for answers that somebody asked for, see [`Self::learn_from`].
    ///
    /// Addresses that every machine has are left out: servers answer with them to say that there is nothing.
    pub(super) fn learn(
        &mut self,
        cgroup_id: u64,
        name: &Arc<str>,
        answers: &[(IpAddr, u32)],
        now_boot_ns: u64,
    ) {
        self.forget_old(now_boot_ns);
        for (address, ttl) in answers {
            let address = address.to_canonical();
            if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
                continue;
            }
            let ttl_ns = u64::from((*ttl).clamp(SHORTEST_TTL, LONGEST_TTL)) * SECOND_NS;
            let until_ns = now_boot_ns.saturating_add(ttl_ns + HANDSHAKE_NS);
            self.insert((cgroup_id, address), name, until_ns, now_boot_ns);
        }
    }

    /// What an address is called at this time, if that is known.
    pub(super) fn name(
        &self,
        cgroup_id: u64,
        address: IpAddr,
        now_boot_ns: u64,
    ) -> Option<&Arc<str>> {
        let known = self.by_place.get(&(cgroup_id, address.to_canonical()))?;
        (known.until_ns > now_boot_ns).then_some(&known.name)
    }

    /// The number of what [`Self::name`] tells, which tells it from every other name; 0 for none.
    pub(super) fn number(&self, cgroup_id: u64, address: IpAddr, now_boot_ns: u64) -> u64 {
        let known = self.by_place.get(&(cgroup_id, address.to_canonical()));
        let current = known.filter(|known| known.until_ns > now_boot_ns);
        current.map_or(0, |known| known.number)
    }

    /// Addresses whose name had to be forgotten for others', though it still held; since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Number of addresses with a name.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    fn insert(&mut self, place: Place, name: &Arc<str>, until_ns: u64, now_boot_ns: u64) {
        let (name, number) = self.intern(name);
        if let Some(before) = self.by_place.remove(&place) {
            self.release(before.name);
        }
        let known = Known {
            name,
            number,
            until_ns,
        };
        if let Some((_, oldest)) = self.by_place.insert(place, known) {
            if oldest.until_ns > now_boot_ns {
                self.evicted += 1;
            }
            self.release(oldest.name);
        }
    }

    /// Forgets the oldest as long as they no longer hold. One that does keeps those behind it, at most until there is no room.
    fn forget_old(&mut self, now_boot_ns: u64) {
        let is_over = |known: &Known| known.until_ns <= now_boot_ns;
        while let Some((_, known)) = self.by_place.pop_oldest_if(is_over) {
            self.release(known.name);
        }
    }

    fn intern(&mut self, name: &Arc<str>) -> (Arc<str>, u64) {
        match self.uses.entry(Arc::clone(name)) {
            Entry::Occupied(mut entry) => {
                let (uses, number) = entry.get_mut();
                *uses += 1;
                let number = *number;
                (Arc::clone(entry.key()), number)
            }
            Entry::Vacant(entry) => {
                self.numbers += 1;
                entry.insert((1, self.numbers));
                (Arc::clone(name), self.numbers)
            }
        }
    }

    fn release(&mut self, name: Arc<str>) {
        if let Entry::Occupied(mut entry) = self.uses.entry(name) {
            let (uses, _) = entry.get_mut();
            *uses -= 1;
            if *uses == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
