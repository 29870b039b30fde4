//! From one generation of programs to the next: the switch, and what maps that had to be made anew are to hold.

use std::{collections, os::fd::AsFd as _};

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError, RingBuf},
};
use wellhead_common::maps::{Connection, Process, state};

use super::{
    Clock, bpf,
    pins::{Left, Plan},
    steering::Steering,
};

/// What an agent with maps of other sizes left to be read.
#[derive(Default)]
pub(super) struct Leftovers {
    /// Rings by name, to be drained before the new ones, the oldest first.
    pub(super) rings: Vec<(&'static str, RingBuf<MapData>)>,
    /// Spill maps.
    pub(super) spills: Vec<MapData>,
    /// Maps of what is counted without telling of each, by name.
    pub(super) tallies: Vec<(&'static str, MapData)>,
    /// When these programs took over from others, if they did.
    pub(super) switched: Option<Switched>,
}

/// When new programs took over from others, on the boot clock: the switch was turned between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switched {
    /// None of the new had told anything yet.
    pub before: u64,
    /// None of the old tells anything but what it was about to tell already.
    pub after: u64,
}

/// Lets the new programs work: until now they returned at once, from now on those of the old generation do.
pub(super) fn turn_switch(
    object: &mut Ebpf,
    steering: &mut Steering,
    plan: Plan,
    fingerprint: u64,
) -> Result<Leftovers, MapError> {
    steering.attend()?;
    let mut leftovers = Leftovers::default();
    let mut copies = Vec::new();
    for left in plan.left {
        let is_written = left.is_written;
        // Otherwise it was copied before, and since then connections have ended that it still has.
        if let Some(copy) = sort(left, object, &mut leftovers).filter(|_| is_written) {
            copies.push(copy);
        }
    }
    for copy in &mut copies {
        copy.copy_all();
    }
    if plan.is_adopted {
        return Ok(leftovers);
    }
    // Of neither generation, should this agent end before it has noted its own below.
    steering.set(state::FINGERPRINT, 0)?;
    // Nothing else in between: an event that is told by both is known by how close to this they tell it.
    let before = Clock::boot_ns();
    steering.set(state::GENERATION, plan.generation)?;
    let after = Clock::boot_ns();
    leftovers.switched = (plan.generation > 1).then_some(Switched { before, after });
    // Second: whoever finds the one without the other attaches programs anew.
    steering.set(state::FINGERPRINT, fingerprint)?;
    bpf::wait_for_programs();
    for copy in &mut copies {
        copy.catch_up();
    }
    Ok(leftovers)
}

/// Decides what becomes of a map of an earlier generation.
fn sort(left: Left, object: &mut Ebpf, leftovers: &mut Leftovers) -> Option<Copy> {
    let Left { spec, map, .. } = left;
    if !map.info().is_ok_and(|info| spec.has_layout_of(&info)) {
        tracing::warn!(
            map = spec.name,
            "another version's map is given up with what it holds"
        );
        return None;
    }
    match spec.name {
        "IDENTITY_RING" | "PROCESS_RING" | "NETWORK_RING" | "PAYLOAD_RING" => {
            if let Ok(ring) = Map::from_map_data(map).and_then(RingBuf::try_from) {
                leftovers.rings.push((spec.name, ring));
            }
        }
        "SPILL" => leftovers.spills.push(map),
        "DROPS" | "DROPS_REST" | "UDP_FLOWS" | "UDP_REST" => {
            leftovers.tallies.push((spec.name, map));
        }
        "CONNECTIONS" => return Copy::connections(map, object),
        "LISTENERS" => return Copy::listeners(map, object),
        _ => {}
    }
    None
}

type Entries<const VALUE: usize> = HashMap<MapData, [u8; 8], [u8; VALUE]>;

/// A map whose entries are copied to another size of it.
enum Copy {
    Connections(Pair<{ size_of::<Connection>() }>),
    Listeners(Pair<{ size_of::<Process>() }>),
}

struct Pair<const VALUE: usize> {
    old: Entries<VALUE>,
    new: Entries<VALUE>,
    copied: collections::HashMap<[u8; 8], [u8; VALUE]>,
}

impl Copy {
    fn connections(old: MapData, object: &mut Ebpf) -> Option<Self> {
        Pair::new(old, object, "CONNECTIONS").map(Self::Connections)
    }

    fn listeners(old: MapData, object: &mut Ebpf) -> Option<Self> {
        Pair::new(old, object, "LISTENERS").map(Self::Listeners)
    }

    fn copy_all(&mut self) {
        match self {
            Self::Connections(pair) => pair.copy_all(),
            Self::Listeners(pair) => pair.copy_all(),
        }
    }

    fn catch_up(&mut self) {
        match self {
            Self::Connections(pair) => pair.catch_up(),
            Self::Listeners(pair) => pair.catch_up(),
        }
    }
}

impl<const VALUE: usize> Pair<VALUE> {
    fn new(old: MapData, object: &mut Ebpf, name: &str) -> Option<Self> {
        let new = object.map(name).and_then(map_data)?;
        let new = MapData::from_fd(new.fd().as_fd().try_clone_to_owned().ok()?).ok()?;
        Some(Self {
            old: HashMap::try_from(Map::from_map_data(old).ok()?).ok()?,
            new: HashMap::try_from(Map::from_map_data(new).ok()?).ok()?,
            copied: collections::HashMap::new(),
        })
    }

    /// While the old programs work: everything there is.
    fn copy_all(&mut self) {
        for entry in &self.old {
            let Ok((key, value)) = entry else { continue };
            // The new map may be too small: what does not fit is met again by a snapshot.
            if self.new.insert(key, value, NO_EXIST).is_ok() {
                self.copied.insert(key, value);
            }
        }
    }

    /// After them: what came, changed and went since.
    fn catch_up(&mut self) {
        let mut left = std::mem::take(&mut self.copied);
        for entry in &self.old {
            let Ok((key, value)) = entry else { continue };
            let flags = match left.remove(&key) {
                None => NO_EXIST,
                // A connection that was being opened when it was copied may be open now.
                Some(copied) if copied != value => EXIST,
                Some(_) => continue,
            };
            // Fails if the new programs know better already.
            let _known_better = self.new.insert(key, value, flags);
        }
        for key in left.into_keys() {
            let _absent_is_fine = self.new.remove(&key);
        }
    }
}

/// `BPF_NOEXIST` and `BPF_EXIST` of include/uapi/linux/bpf.h.
const NO_EXIST: u64 = 1;
const EXIST: u64 = 2;

fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::HashMap(data) | Map::LruHashMap(data) => Some(data),
        _ => None,
    }
}
