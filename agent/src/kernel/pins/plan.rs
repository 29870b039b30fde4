//! What to do with what an earlier agent left.

use std::{collections::HashSet, io, os::fd::AsFd as _, path::Path};

use aya::maps::{Array, Map, MapData, MapInfo};
use wellhead_common::maps::state;

use super::{
    LAYOUT, Pins,
    directory::{is_directory, is_ours, remove},
};
use crate::kernel::{
    ProbeSettings, bpf,
    maps::{COUNTS, MAPS, MapSpec, STATE},
    steering::Steering,
};

/// What to do with what an earlier agent left.
pub(in crate::kernel) struct Plan {
    /// The generation to work from now on.
    pub(in crate::kernel) generation: u64,
    /// Its programs are there and stay; otherwise they are attached and then the switch is turned.
    pub(in crate::kernel) is_adopted: bool,
    /// Maps of earlier generations that this one does not use, the oldest first.
    pub(in crate::kernel) left: Vec<Left>,
    /// What happened between the last agent and this one is not known.
    pub(in crate::kernel) gap: bool,
}

/// A map of an earlier generation.
pub(in crate::kernel) struct Left {
    pub(in crate::kernel) spec: &'static MapSpec,
    pub(in crate::kernel) map: MapData,
    /// Whether its programs work until the switch is turned; otherwise it was turned before, by an agent that did not come to
    /// read everything.
    pub(in crate::kernel) is_written: bool,
}

impl Plan {
    /// Nothing is pinned.
    pub(in crate::kernel) const UNPINNED: Self = Self {
        generation: 1,
        is_adopted: false,
        left: Vec::new(),
        gap: false,
    };

    /// Logs what becomes of an earlier agent's programs, if there are any.
    pub(in crate::kernel) fn tell(&self) {
        let generation = self.generation;
        if self.is_adopted {
            tracing::info!(generation, "an earlier agent's programs go on working");
        } else if generation > 1 {
            tracing::info!(generation, "an earlier agent's programs are replaced");
        }
    }
}

impl Pins {
    /// Looks at what is there, and makes the places of the generation that is to work. What cannot be used is removed.
    pub(in crate::kernel) fn plan(
        &self,
        settings: &ProbeSettings,
        fingerprint: u64,
    ) -> io::Result<Plan> {
        let Some(mut steering) = self.steering(settings) else {
            return self.start_anew("what is pinned is not what this version can go on with");
        };
        if !steering.is_attended() {
            return self.start_anew("the last agent stopped too long ago");
        }
        let working = steering.get(state::GENERATION);
        let counts = &COUNTS;
        let counts_fit = self.fits(counts, working, settings);
        let has_programs = is_directory(&self.generation_directory(working));
        let is_adopted = has_programs
            && steering.get(state::FINGERPRINT) == fingerprint
            && own_maps().all(|spec| self.fits(spec, working, settings))
            && counts_fit;
        if !counts_fit {
            // Before anything is changed: the programs at work count elsewhere, and are not to be taken over.
            let unknown = steering.set(state::FINGERPRINT, 0);
            unknown.map_err(io::Error::other)?;
            remove(&self.map(working, counts))?;
            // They are of the cells that are gone.
            for cell in 0..wellhead_common::counts::CELLS {
                let slot = state::ACKNOWLEDGED + cell;
                steering.set(slot, 0).map_err(io::Error::other)?;
            }
        }
        // Of agents that ended before they turned the switch: attached, and never at work.
        for unfinished in self.generations()?.into_iter().filter(|it| *it > working) {
            self.remove_generation(unfinished)?;
        }
        if !has_programs {
            tracing::warn!("the pinned programs are gone: what happened since then is not known");
        }
        let generation = if is_adopted { working } else { working + 1 };
        self.make_generation(generation)?;
        if !is_adopted {
            self.share(working, generation, settings)?;
        }
        Ok(Plan {
            generation,
            is_adopted,
            left: self.left_of_others(generation, working)?,
            gap: !has_programs,
        })
    }

    /// Has the programs of all generations stop, as far as possible: nobody will read what they write.
    pub(in crate::kernel) fn stand_down(&self, settings: &ProbeSettings) -> io::Result<()> {
        if let Some(mut steering) = self.steering(settings) {
            return steering
                .set(state::SERVE_UNTIL, 0)
                .map_err(io::Error::other);
        }
        for generation in self.generations()? {
            self.remove_generation(generation)?;
        }
        Ok(())
    }

    fn steering(&self, settings: &ProbeSettings) -> Option<Steering> {
        steering_at(&self.map(0, &STATE), settings)
    }

    fn fits(&self, spec: &MapSpec, generation: u64, settings: &ProbeSettings) -> bool {
        let map = MapInfo::from_pin(self.map(generation, spec));
        map.is_ok_and(|map| spec.fits(&map, settings))
    }

    /// Removes everything. `why` is told if there was anything.
    fn start_anew(&self, why: &str) -> io::Result<Plan> {
        let generations = self.generations()?;
        let gap = !generations.is_empty();
        if gap {
            tracing::warn!("{why}: what happened since then is not known");
        }
        for generation in generations {
            self.remove_generation(generation)?;
        }
        let maps = self.directory.join("maps");
        remove(&maps)?;
        super::make_directory(&maps)?;
        self.make_generation(1)?;
        Ok(Plan {
            gap,
            ..Plan::UNPINNED
        })
    }

    /// Pins the maps of one generation that the next one can use as they are in its place, too.
    fn share(&self, from: u64, to: u64, settings: &ProbeSettings) -> io::Result<()> {
        for spec in own_maps().filter(|spec| self.fits(spec, from, settings)) {
            let map = MapData::from_pin(self.map(from, spec)).map_err(io::Error::other)?;
            bpf::pin(map.fd().as_fd(), &self.map(to, spec))?;
        }
        Ok(())
    }

    /// The maps of all other generations that this one does not use.
    fn left_of_others(&self, generation: u64, working: u64) -> io::Result<Vec<Left>> {
        let id = |generation, spec| {
            let map = MapInfo::from_pin(self.map(generation, spec));
            map.map(|map| map.id()).ok()
        };
        let mut known: HashSet<u32> = own_maps().filter_map(|spec| id(generation, spec)).collect();
        let mut left = Vec::new();
        for other in self
            .generations()?
            .into_iter()
            .filter(|it| *it != generation)
        {
            for spec in own_maps() {
                let Some(id) = id(other, spec) else { continue };
                let map = MapData::from_pin(self.map(other, spec));
                if let (true, Ok(map)) = (known.insert(id), map) {
                    left.push(Left {
                        spec,
                        map,
                        is_written: other == working,
                    });
                }
            }
        }
        Ok(left)
    }
}

/// Has programs that an earlier agent pinned below `root` stop, where this one cannot use that directory: it captures by itself,
/// and nothing is to be counted again by the next that can.
pub(in crate::kernel) fn stand_down_below(root: &Path, settings: &ProbeSettings) {
    let layout = root.join(LAYOUT);
    if !is_ours(&layout).unwrap_or(false) {
        return;
    }
    let steering = steering_at(&layout.join("maps").join(STATE.name), settings);
    if let Some(Err(error)) = steering.map(|mut it| it.set(state::SERVE_UNTIL, 0)) {
        tracing::warn!(%error, "programs of an earlier agent cannot be stopped: what they capture may be counted twice");
    }
}

fn steering_at(path: &Path, settings: &ProbeSettings) -> Option<Steering> {
    if !STATE.fits(&MapInfo::from_pin(path).ok()?, settings) {
        return None;
    }
    let map = Map::from_map_data(MapData::from_pin(path).ok()?).ok()?;
    Some(Steering::new(Array::try_from(map).ok()?))
}

/// The maps each generation has, which may be another's as well.
fn own_maps() -> impl Iterator<Item = &'static MapSpec> {
    let pinned = MAPS.iter().filter(|spec| spec.is_pinned());
    pinned.filter(|spec| !spec.is_shared())
}
