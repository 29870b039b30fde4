//! From one generation of programs to the next: the switch, and what maps that had to be made anew are to hold.

use std::{collections, os::fd::AsFd as _};

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError, RingBuf},
};
use wellhead_common::maps::{Connection, Process, state};

use super::{
    bpf,
    maps::MAPS,
    pins::{Plan, Replaced},
    steering::Steering,
};

/// What an agent with maps of other sizes left to be read.
#[derive(Default)]
pub(super) struct Leftovers {
    /// Rings by name, to be drained before the new ones.
    pub(super) rings: Vec<(&'static str, RingBuf<MapData>)>,
    /// Its spill map.
    pub(super) spill: Option<MapData>,
}

/// Lets the new programs work: until now they returned at once, from now on those of the old generation do.
pub(super) fn turn_switch(
    object: &mut Ebpf,
    steering: &mut Steering,
    plan: Plan,
    fingerprint: u64,
) -> Result<Leftovers, MapError> {
    steering.attend()?;
    if plan.is_adopted {
        return Ok(Leftovers::default());
    }
    let mut leftovers = Leftovers::default();
    let mut copies = Vec::new();
    for replaced in plan.replaced {
        sort(replaced, object, &mut leftovers, &mut copies);
    }
    for copy in &mut copies {
        copy.copy_all();
    }
    steering.set(state::GENERATION, plan.generation)?;
    // Second: whoever finds the one without the other attaches programs anew.
    steering.set(state::FINGERPRINT, fingerprint)?;
    bpf::wait_for_programs();
    for copy in &mut copies {
        copy.catch_up();
    }
    Ok(leftovers)
}

/// Decides what becomes of a replaced map.
fn sort(
    Replaced { name, map }: Replaced,
    object: &mut Ebpf,
    leftovers: &mut Leftovers,
    copies: &mut Vec<Copy>,
) {
    let spec = MAPS.iter().find(|spec| spec.name == name);
    let has_layout = |map: &MapData| {
        let info = map.info();
        info.is_ok_and(|info| spec.is_some_and(|spec| spec.has_layout_of(&info)))
    };
    if !has_layout(&map) {
        tracing::warn!(
            map = name,
            "another version's map is given up with what it holds"
        );
        return;
    }
    match name {
        "IDENTITY_RING" | "PROCESS_RING" | "NETWORK_RING" => {
            if let Ok(ring) = Map::from_map_data(map).and_then(RingBuf::try_from) {
                leftovers.rings.push((name, ring));
            }
        }
        "SPILL" => leftovers.spill = Some(map),
        "CONNECTIONS" => copies.extend(Copy::connections(map, object)),
        "LISTENERS" => copies.extend(Copy::listeners(map, object)),
        _ => {}
    }
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
