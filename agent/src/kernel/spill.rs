//! Taking out of the kernel what records that found their ring full would have told.

use aya::maps::{HashMap, Map, MapData, MapError};
use wellhead_common::{
    maps::{DropKey, LostHandshake, SpillKey, SpillValue, UdpKey, UdpValue},
    record::Kind,
};

/// The spill map.
pub(super) struct SpillMap(HashMap<MapData, [u8; KEY], [u8; VALUE]>);

const KEY: usize = size_of::<SpillKey>();
const VALUE: usize = size_of::<SpillValue>();

/// The kinds that are spilled.
pub(super) const SPILLED: [Kind; 6] = [
    Kind::Fork,
    Kind::Exec,
    Kind::Exit,
    Kind::OomKill,
    Kind::TcpClose,
    Kind::TcpConnectFailed,
];

impl SpillMap {
    /// Makes the entries that always have to be there, so that nothing can be lost for want of room.
    pub(super) fn new(map: HashMap<MapData, [u8; KEY], [u8; VALUE]>) -> Result<Self, MapError> {
        let mut spill = Self(map);
        for kind in SPILLED {
            for epoch in [0, 1] {
                let key = SpillKey {
                    epoch,
                    kind: kind as u32,
                    ..SpillKey::default()
                };
                if spill.0.get(&as_bytes(&key), 0).is_err() {
                    spill.0.insert(as_bytes(&key), [0; VALUE], 0)?;
                }
            }
        }
        Ok(spill)
    }

    /// Reads all of a map that nobody writes to any more.
    pub(super) fn read_all(map: MapData) -> Vec<(SpillKey, SpillValue)> {
        let map = Map::from_map_data(map).and_then(HashMap::try_from);
        let Ok(map) = map else { return Vec::new() };
        let mut spill = Self(map);
        [spill.take(0), spill.take(1)].concat()
    }

    /// Takes out everything written in an epoch, which no program writes to any more.
    pub(super) fn take(&mut self, epoch: u32) -> Vec<(SpillKey, SpillValue)> {
        let keys: Vec<[u8; KEY]> = self.0.keys().filter_map(Result::ok).collect();
        let mut taken = Vec::new();
        for bytes in keys {
            let key: SpillKey = from_bytes(bytes);
            if key.epoch != epoch {
                continue;
            }
            let Ok(value) = self.0.get(&bytes, 0) else {
                continue;
            };
            // Removed first: should the agent die in between, nothing is counted twice.
            let cleared = if is_permanent(&key) {
                self.0.insert(bytes, [0; VALUE], 0)
            } else {
                self.0.remove(&bytes)
            };
            let value: SpillValue = from_bytes(value);
            if cleared.is_ok() && value.records > 0 {
                taken.push((key, value));
            }
        }
        taken.sort_unstable_by_key(|(key, _)| *key);
        taken
    }
}

fn is_permanent(key: &SpillKey) -> bool {
    *key == SpillKey {
        epoch: key.epoch,
        kind: key.kind,
        ..SpillKey::default()
    }
}

/// Plain integers without padding, which `wellhead_common` asserts.
pub(super) trait Plain: Copy {}
impl Plain for SpillKey {}
impl Plain for SpillValue {}
impl Plain for DropKey {}
impl Plain for LostHandshake {}
impl Plain for UdpKey {}
impl Plain for UdpValue {}
impl Plain for u64 {}

pub(super) fn as_bytes<T: Plain, const N: usize>(value: &T) -> [u8; N] {
    const { assert!(size_of::<T>() == N) };
    // SAFETY: as long as said, and without padding.
    unsafe { std::ptr::from_ref(value).cast::<[u8; N]>().read() }
}

pub(super) fn from_bytes<T: Plain, const N: usize>(bytes: [u8; N]) -> T {
    const { assert!(size_of::<T>() == N) };
    // SAFETY: as long as said; any bytes are valid integers, and the read may be unaligned.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_way_through_bytes() {
        let key = SpillKey {
            cgroup_id: 1,
            subject: wellhead_common::Sixteen::new(*b"0123456789abcdef"),
            epoch: 2,
            kind: 3,
            status: 4,
            role: 5,
            port: 6,
        };
        let bytes: [u8; KEY] = as_bytes(&key);
        assert_eq!(from_bytes::<SpillKey, KEY>(bytes), key);
        assert!(!is_permanent(&key));
        let permanent = SpillKey {
            epoch: 1,
            kind: 8,
            ..SpillKey::default()
        };
        assert!(is_permanent(&permanent));
    }
}
