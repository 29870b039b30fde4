//! Reading the store, in two steps: how it stands is copied where it is owned, which is quick; putting that in order is
//! left to whoever asked.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::Store;
use super::sets::Set;
use super::value::Cell;
use crate::identity::{OwnerId, Resolution, Resource};
use crate::telemetry::catalogue::Metric;
use crate::telemetry::snapshot::{Family, Point, Snapshot};

/// How the store stood at one moment, not in order yet.
#[derive(Debug)]
pub struct Reading {
    series: Vec<Frozen>,
    /// Time and resources, and families that are not the store's: they come after its own.
    rest: Snapshot,
}

/// One series.
#[derive(Debug)]
struct Frozen {
    metric: Metric,
    resource: u32,
    set: u32,
    owner: OwnerId,
    start: u64,
    attributes: Set,
    value: Cell,
}

impl Reading {
    /// What is appended to it.
    pub fn rest_mut(&mut self) -> &mut Snapshot {
        &mut self.rest
    }

    /// Puts it in order, which depends only on what was counted, in which order.
    pub fn into_snapshot(self) -> Snapshot {
        let Self { mut series, rest } = self;
        series.sort_unstable_by_key(|frozen| {
            (frozen.metric, frozen.resource, frozen.set, frozen.owner)
        });
        let mut families: Vec<Family> = Vec::new();
        let mut last = None;
        for frozen in series {
            let key = (frozen.metric, frozen.resource, frozen.set);
            let family = match families.last_mut() {
                Some(family) if family.metric == frozen.metric => family,
                _ => {
                    families.push(Family {
                        metric: frozen.metric,
                        points: Vec::new(),
                    });
                    let Some(family) = families.last_mut() else {
                        continue;
                    };
                    family
                }
            };
            match family.points.last_mut() {
                // Two owners that turned out to be the same.
                Some(point) if last == Some(key) => frozen.merge_into(point),
                _ => family.points.push(frozen.into_point()),
            }
            last = Some(key);
        }
        families.extend(rest.families);
        Snapshot { families, ..rest }
    }
}

/// A reading that is in order already.
impl From<Snapshot> for Reading {
    fn from(rest: Snapshot) -> Self {
        Self {
            series: Vec::new(),
            rest,
        }
    }
}

impl Frozen {
    fn into_point(self) -> Point {
        Point {
            resource: self.resource as usize,
            attributes: self.attributes,
            start_unix_nano: self.start,
            value: self.value.into_point(self.metric),
        }
    }

    fn merge_into(self, point: &mut Point) {
        point.start_unix_nano = point.start_unix_nano.min(self.start);
        point.value.add(&self.value.into_point(self.metric));
    }
}

impl Store {
    /// Copies every series as it is at `now`. Series whose resource is still pending are left out; the node's
    /// resource comes first.
    pub fn read(
        &self,
        now: u64,
        resolve: impl FnMut(OwnerId) -> Resolution,
        node: Arc<Resource>,
    ) -> Reading {
        let (resources, by_owner) = resources(self.owners.keys().copied().collect(), resolve, node);
        let mut series = Vec::with_capacity(self.index.len());
        for held in self.slots.iter().filter_map(|slot| slot.series.as_ref()) {
            let Some(resource) = by_owner.get(&held.owner) else {
                continue;
            };
            series.push(Frozen {
                metric: held.metric,
                resource: *resource,
                set: held.set,
                owner: held.owner,
                start: held.start,
                attributes: self.sets.get(held.set),
                value: held.value.clone(),
            });
        }
        let rest = Snapshot {
            time_unix_nano: now,
            resources,
            families: Vec::new(),
        };
        Reading { series, rest }
    }

    /// What all series of a metric of whole units stand at together.
    pub fn sum(&self, metric: Metric) -> i64 {
        let series = self.slots.iter().filter_map(|slot| slot.series.as_ref());
        series
            .filter(|series| series.metric == metric)
            .map(|series| series.value.units())
            .sum()
    }
}

/// Resolves owners in order of their ids; those with equal resources share an index.
fn resources(
    mut owners: Vec<OwnerId>,
    mut resolve: impl FnMut(OwnerId) -> Resolution,
    node: Arc<Resource>,
) -> (Vec<Arc<Resource>>, HashMap<OwnerId, u32>) {
    owners.sort_unstable();
    let hasher = RandomState::new();
    let hash = |resource: &Resource| hasher.hash_one((&resource.attributes, &resource.labels));
    let mut known = HashMap::from([(hash(&node), vec![0])]);
    let mut by_owner = HashMap::from([(OwnerId::NODE, 0)]);
    let mut resources = vec![node];
    for owner in owners.into_iter().filter(|owner| *owner != OwnerId::NODE) {
        let Resolution::Ready(resource) = resolve(owner) else {
            continue;
        };
        let same_hash: &mut Vec<u32> = known.entry(hash(&resource)).or_default();
        let index = same_hash
            .iter()
            .copied()
            .find(|index| resources.get(*index as usize) == Some(&resource));
        let index = index.unwrap_or_else(|| {
            let index = u32::try_from(resources.len()).unwrap_or(u32::MAX);
            resources.push(resource);
            same_hash.push(index);
            index
        });
        by_owner.insert(owner, index);
    }
    (resources, by_owner)
}
