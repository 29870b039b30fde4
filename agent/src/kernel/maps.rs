//! The maps programs and daemon share: how large each is made, and what it must be like to be taken over from an agent
//! that ran before.

use aya::maps::{MapInfo, MapType};
use wellhead_common::{
    counts,
    maps::{
        Connection, DropKey, ListenerKey, LostHandshake, Process, ProcessKey, Retransmits,
        SpillKey, SpillValue, UdpKey, UdpValue, state,
    },
};

use super::{Feature, ProbeSettings};

/// Which of the object's programs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Those that read the kernel's structures.
    Btf,
    /// Those for kernels without BTF.
    Classic,
}

/// A map of the object.
pub(super) struct MapSpec {
    pub(super) name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    /// Programs of which kind use it; `None`: both.
    used_by: Option<Mode>,
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
    used_by: None,
    feature: None,
    size: |_| 0,
};

/// What programs count. The same for all generations.
pub(super) const COUNTS: MapSpec = MapSpec {
    name: "COUNTS",
    kind: MapType::PerCpuArray,
    key: 4,
    value: 8,
    used_by: None,
    feature: None,
    size: |_| counts::CELLS,
};

/// What the programs are steered by. The same for all generations.
pub(super) const STATE: MapSpec = MapSpec {
    name: "STATE",
    kind: MapType::Array,
    key: 4,
    value: 8,
    used_by: None,
    feature: None,
    size: |_| state::SLOTS,
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
        name: "PAYLOAD_RING",
        feature: Some(Feature::Dns),
        size: |settings| settings.payload_ring,
        ..RING
    },
    COUNTS,
    STATE,
    MapSpec {
        name: "SPILL",
        kind: MapType::Hash,
        key: size_of::<SpillKey>(),
        value: size_of::<SpillValue>(),
        used_by: None,
        feature: None,
        size: |settings| settings.spill,
    },
    MapSpec {
        name: "CONNECTIONS",
        kind: MapType::Hash,
        key: size_of::<u64>(),
        value: size_of::<Connection>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Tcp),
        size: |settings| settings.connections,
    },
    MapSpec {
        name: "LISTENERS",
        kind: MapType::LruHash,
        key: size_of::<ListenerKey>(),
        value: size_of::<Process>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Tcp),
        size: |settings| settings.listeners,
    },
    MapSpec {
        name: "RETRANSMITS",
        kind: MapType::LruHash,
        key: size_of::<u64>(),
        value: size_of::<Retransmits>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Tcp),
        size: |settings| settings.listeners,
    },
    MapSpec {
        name: "DROPS",
        kind: MapType::Hash,
        key: size_of::<DropKey>(),
        value: size_of::<u64>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Drops),
        size: |settings| settings.drops,
    },
    MapSpec {
        name: "DROPS_REST",
        kind: MapType::Hash,
        key: size_of::<DropKey>(),
        value: size_of::<u64>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Drops),
        // Kernels have some hundred reasons.
        size: |_| 512,
    },
    MapSpec {
        name: "LOST_HANDSHAKES",
        kind: MapType::LruHash,
        key: size_of::<u32>(),
        value: size_of::<LostHandshake>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Drops),
        size: |settings| settings.listeners,
    },
    MapSpec {
        name: "UDP_FLOWS",
        kind: MapType::Hash,
        key: size_of::<UdpKey>(),
        value: size_of::<UdpValue>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Udp),
        size: |settings| settings.udp_flows,
    },
    MapSpec {
        name: "UDP_REST",
        kind: MapType::Hash,
        key: size_of::<UdpKey>(),
        value: size_of::<UdpValue>(),
        used_by: Some(Mode::Btf),
        feature: Some(Feature::Udp),
        // For each of a node's containers, twice.
        size: |_| 2_048,
    },
    MapSpec {
        name: "CLASSIC_CONNECTIONS",
        kind: MapType::Hash,
        key: size_of::<u64>(),
        value: 0,
        used_by: Some(Mode::Classic),
        feature: Some(Feature::Tcp),
        size: |settings| settings.connections,
    },
    MapSpec {
        name: "KERNEL_THREADS",
        kind: MapType::Hash,
        key: size_of::<u32>(),
        value: 1,
        used_by: Some(Mode::Classic),
        feature: Some(Feature::Process),
        // A few for each CPU, and more for file systems and drivers.
        size: |_| 16_384,
    },
    MapSpec {
        name: "EXITED",
        kind: MapType::LruHash,
        key: size_of::<ProcessKey>(),
        value: 1,
        used_by: Some(Mode::Btf),
        feature: None,
        size: |_| 1_024,
    },
];

impl MapSpec {
    /// Whether it is pinned: what only classic programs use is not, as they cannot be.
    pub(super) fn is_pinned(&self) -> bool {
        self.used_by != Some(Mode::Classic)
    }

    /// Whether all generations use the same one, always of the same size.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.name, "STATE" | "COUNTS")
    }

    /// Its size under these settings.
    pub(super) fn entries(&self, settings: &ProbeSettings, mode: Mode) -> u32 {
        let wanted = self.used_by.is_none_or(|used_by| used_by == mode)
            && self
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
        self.has_layout_of(map) && map.max_entries() == self.entries(settings, Mode::Btf)
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
