//! Taking out of the kernel what its programs count without telling of each: dropped packets and datagrams.

use std::net::IpAddr;
use std::sync::Arc;

use aya::maps::{HashMap, Map, MapData};
use serde::{Deserialize, Serialize};
use wellhead_common::Sixteen;
use wellhead_common::maps::{DropKey, UdpKey, UdpValue};

use super::drop_reasons::DropReasons;
use super::spill::{Plain, as_bytes, from_bytes};

/// What was counted since it was taken last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallied {
    /// Packets that were dropped.
    pub drops: Vec<Dropped>,
    /// Datagrams.
    pub udp: Vec<UdpFlow>,
}

/// Packets that were dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// cgroup v2 id of the socket they were for or from; 0 where unknown.
    pub cgroup_id: u64,
    /// Inode number of the network namespace; 0 where unknown.
    pub netns: u32,
    /// Why, as the kernel calls it.
    pub reason: Arc<str>,
    /// How many.
    pub packets: u64,
}

/// Datagrams exchanged with a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpFlow {
    /// cgroup v2 id of the socket; 0 where there was no room for it.
    pub cgroup_id: u64,
    /// The peer, where there was room for it.
    pub remote: Option<IpAddr>,
    /// Port of the end that did not ask.
    pub port: u16,
    /// One of [`wellhead_common::record::role`].
    pub role: u8,
    /// One of [`wellhead_common::maps::udp_protocol`].
    pub protocol: u8,
    /// Bytes they carried, sent.
    pub bytes_sent: u64,
    /// Likewise received.
    pub bytes_received: u64,
    /// How many were sent.
    pub datagrams_sent: u64,
    /// Likewise received.
    pub datagrams_received: u64,
}

type DropTally = Tally<{ size_of::<DropKey>() }, { size_of::<u64>() }>;
type UdpTally = Tally<{ size_of::<UdpKey>() }, { size_of::<UdpValue>() }>;

/// Where the programs count.
#[derive(Debug)]
pub struct Tallies {
    drops: [DropTally; 2],
    udp: [UdpTally; 2],
    /// Of earlier agents, whose programs write no more.
    left: Vec<(&'static str, MapData)>,
    reasons: DropReasons,
}

/// Which part of them is taken.
#[derive(Clone, Copy, Debug)]
pub struct TallyEpoch(pub(super) u32);

impl Tallies {
    /// Of drops and of datagrams, the maps that they are counted in, and those for what found no room there.
    pub(super) fn new(
        ([drops, drops_rest], [udp, udp_rest]): ([MapData; 2], [MapData; 2]),
        left: Vec<(&'static str, MapData)>,
    ) -> Option<Self> {
        let nothing = |epoch| DropKey {
            epoch,
            ..DropKey::default()
        };
        let nobody = |epoch| UdpKey {
            epoch,
            ..UdpKey::default()
        };
        Some(Self {
            drops: [
                Tally::new(drops)?,
                Tally::new(drops_rest)?.with_permanent(nothing),
            ],
            udp: [
                Tally::new(udp)?,
                Tally::new(udp_rest)?.with_permanent(nobody),
            ],
            left,
            reasons: DropReasons::default(),
        })
    }

    /// Says what the kernel calls the reasons for drops.
    pub(super) fn know_reasons(&mut self, reasons: DropReasons) {
        self.reasons = reasons;
    }

    /// Takes out what was counted in an epoch, in which no program counts any more. Blocks: each entry takes three calls.
    pub fn take(&mut self, epoch: TallyEpoch) -> Tallied {
        let of_drops = |key: &DropKey| key.epoch == epoch.0;
        let of_udp = |key: &UdpKey| key.epoch == epoch.0;
        let drops = self.drops.iter_mut();
        let mut drops: Vec<(DropKey, u64)> = drops.flat_map(|map| map.take(of_drops)).collect();
        let udp = self.udp.iter_mut();
        let mut udp: Vec<(UdpKey, UdpValue)> = udp.flat_map(|map| map.take(of_udp)).collect();
        for (name, map) in self.left.drain(..) {
            if name.starts_with("DROPS") {
                let left = DropTally::new(map).map(|mut left| left.take(|_| true));
                drops.extend(left.unwrap_or_default());
            } else {
                let left = UdpTally::new(map).map(|mut left| left.take(|_| true));
                udp.extend(left.unwrap_or_default());
            }
        }
        // Entries that are always there may stand for nothing.
        drops.retain(|(_, packets)| *packets > 0);
        udp.retain(|(_, value)| *value != UdpValue::default());
        // In an order that does not depend on where the kernel keeps them.
        drops.sort_unstable_by_key(|(key, _)| *key);
        udp.sort_unstable_by_key(|(key, _)| *key);
        Tallied {
            drops: drops
                .into_iter()
                .map(|(key, packets)| Dropped {
                    cgroup_id: key.cgroup_id,
                    netns: key.netns,
                    reason: self.reasons.name(key.location, key.reason),
                    packets,
                })
                .collect(),
            udp: udp
                .into_iter()
                .map(|(key, value)| flow(&key, &value))
                .collect(),
        }
    }
}

fn flow(key: &UdpKey, value: &UdpValue) -> UdpFlow {
    let is_known = key.remote_address != Sixteen::default();
    UdpFlow {
        cgroup_id: key.cgroup_id,
        remote: is_known.then(|| IpAddr::from(key.remote_address.bytes()).to_canonical()),
        port: key.port,
        role: key.role,
        protocol: key.protocol,
        bytes_sent: value.bytes_sent,
        bytes_received: value.bytes_received,
        datagrams_sent: value.datagrams_sent,
        datagrams_received: value.datagrams_received,
    }
}

/// A map of such counts.
#[derive(Debug)]
struct Tally<const KEY: usize, const VALUE: usize> {
    map: HashMap<MapData, [u8; KEY], [u8; VALUE]>,
    /// Entries that are always there, so that nothing can be lost for want of room.
    permanent: Vec<[u8; KEY]>,
}

impl<const KEY: usize, const VALUE: usize> Tally<KEY, VALUE> {
    fn new(map: MapData) -> Option<Self> {
        let map = Map::from_map_data(map).and_then(HashMap::try_from).ok()?;
        Some(Self {
            map,
            permanent: Vec::new(),
        })
    }

    /// Makes an entry for each epoch that stays. Where the feature is off there is room for none, and nothing counts.
    fn with_permanent<K: Plain>(mut self, key: impl Fn(u32) -> K) -> Self {
        for epoch in [0, 1] {
            let key = as_bytes(&key(epoch));
            // An earlier agent may have made it.
            let is_there = self.map.get(&key, 0).is_ok();
            if is_there || self.map.insert(key, [0; VALUE], 0).is_ok() {
                self.permanent.push(key);
            }
        }
        self
    }

    fn take<K: Plain, V: Plain>(&mut self, is_meant: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let keys: Vec<[u8; KEY]> = self.map.keys().filter_map(Result::ok).collect();
        let mut taken = Vec::new();
        for bytes in keys {
            let key: K = from_bytes(bytes);
            if !is_meant(&key) {
                continue;
            }
            let Ok(value) = self.map.get(&bytes, 0) else {
                continue;
            };
            // Removed first: should the agent die in between, nothing is counted twice.
            let cleared = if self.permanent.contains(&bytes) {
                self.map.insert(bytes, [0; VALUE], 0)
            } else {
                self.map.remove(&bytes)
            };
            if cleared.is_ok() {
                taken.push((key, from_bytes(value)));
            }
        }
        taken
    }
}
