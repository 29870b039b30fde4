//! The maps programs and daemon share: how large each is made, and what it must be like to be taken over from an agent
//! that ran before.

use aya::maps::{MapInfo, MapType};
use wellhead_common::{
    counts,
    maps::{Connection, ListenerKey, Process, ProcessKey, SpillKey, SpillValue, state},
};

use super::{Feature, ProbeSettings};

/// A map of the object.
pub(super) struct MapSpec {
    pub(super) name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    /// Whose it is; it is made as small as can be while that is off. `None`: all features need it.
    pub(super) feature: Option<Feature>,
    /// Entries, or bytes of a ring, while its feature is on.
    size: fn(&ProbeSettings) -> u32,
}

const RING: MapSpec = MapSpec {
    name: "",
    kind: MapType::RingBuf,
    key: 0,
    value: 0,
    feature: None,
    size: |_| 0,
};

/// All maps that outlive an agent. What is not here is scratch memory of programs.
pub(super) const MAPS: &[MapSpec] = &[
    MapSpec {
        name: "IDENTITY_RING",
        size: |settings| settings.identity_ring,
        ..RING
    },
    MapSpec {
        name: "PROCESS_RING",
        feature: Some(Feature::Process),
        size: |settings| settings.process_ring,
        ..RING
    },
    MapSpec {
        name: "NETWORK_RING",
        feature: Some(Feature::Tcp),
        size: |settings| settings.network_ring,
        ..RING
    },
    MapSpec {
        name: "COUNTS",
        kind: MapType::PerCpuArray,
        key: 4,
        value: 8,
        feature: None,
        size: |_| counts::CELLS,
    },
    MapSpec {
        name: "STATE",
        kind: MapType::Array,
        key: 4,
        value: 8,
        feature: None,
        size: |_| state::SLOTS,
    },
    MapSpec {
        name: "SPILL",
        kind: MapType::Hash,
        key: size_of::<SpillKey>(),
        value: size_of::<SpillValue>(),
        feature: None,
        size: |settings| settings.spill,
    },
    MapSpec {
        name: "CONNECTIONS",
        kind: MapType::Hash,
        key: size_of::<u64>(),
        value: size_of::<Connection>(),
        feature: Some(Feature::Tcp),
        size: |settings| settings.connections,
    },
    MapSpec {
        name: "LISTENERS",
        kind: MapType::LruHash,
        key: size_of::<ListenerKey>(),
        value: size_of::<Process>(),
        feature: Some(Feature::Tcp),
        size: |settings| settings.listeners,
    },
    MapSpec {
        name: "EXITED",
        kind: MapType::LruHash,
        key: size_of::<ProcessKey>(),
        value: 1,
        feature: None,
        size: |_| 1_024,
    },
];

impl MapSpec {
    /// Its size under these settings.
    pub(super) fn entries(&self, settings: &ProbeSettings) -> u32 {
        let wanted = self
            .feature
            .is_none_or(|feature| settings.features.contains(&feature));
        match (wanted, self.kind) {
            (true, _) => (self.size)(settings),
            (false, MapType::RingBuf) => page_size(),
            (false, _) => 1,
        }
    }

    /// Whether a map is what these settings would make. aya takes over pinned maps without looking.
    pub(super) fn fits(&self, map: &MapInfo, settings: &ProbeSettings) -> bool {
        self.has_layout_of(map) && map.max_entries() == self.entries(settings)
    }

    /// Whether entries of a map can be copied to one of this kind.
    pub(super) fn has_layout_of(&self, map: &MapInfo) -> bool {
        map.map_type().is_ok_and(|kind| kind == self.kind)
            && as_usize(map.key_size()) == self.key
            && as_usize(map.value_size()) == self.value
            && map.map_flags() == 0
    }
}

fn as_usize(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn page_size() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(4096)
}
