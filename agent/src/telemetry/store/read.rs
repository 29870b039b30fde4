//! Reading the store into a snapshot.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::value::Cell;
use super::{Series, Store};
use crate::identity::{OwnerId, Resolution, Resource};
use crate::telemetry::catalogue::Metric;
use crate::telemetry::snapshot::{Family, Point, Snapshot};

impl Store {
    /// Reads every series at `now`. Series whose resource is still pending are left out; the node's
    /// resource comes first. The order depends only on what was counted, in which order.
    pub fn snapshot(
        &self,
        now: u64,
        resolve: impl FnMut(OwnerId) -> Resolution,
        node: Arc<Resource>,
    ) -> Snapshot {
        let (resources, by_owner) = resources(self.owners.keys().copied().collect(), resolve, node);
        let mut readings: Vec<_> = self
            .slots
            .iter()
            .filter_map(|slot| slot.series.as_ref())
            .filter_map(|series| Some((by_owner.get(&series.owner).copied()?, series)))
            .collect();
        readings
            .sort_by_key(|(resource, series)| (series.metric, *resource, series.set, series.owner));

        let mut families: Vec<Family> = Vec::new();
        for same in readings.chunk_by(|(a_resource, a), (b_resource, b)| {
            (a.metric, a_resource, a.set) == (b.metric, b_resource, b.set)
        }) {
            let Some((metric, point)) = self.point(same) else {
                continue;
            };
            match families.last_mut() {
                Some(family) if family.metric == metric => family.points.push(point),
                _ => families.push(Family {
                    metric,
                    points: vec![point],
                }),
            }
        }
        Snapshot {
            time_unix_nano: now,
            resources,
            families,
        }
    }

    /// What all series of a metric of whole units stand at together.
    pub fn sum(&self, metric: Metric) -> i64 {
        let series = self.slots.iter().filter_map(|slot| slot.series.as_ref());
        series
            .filter(|series| series.metric == metric)
            .map(|series| series.value.units())
            .sum()
    }

    /// One point of the series that share metric, resource and attributes: one, unless two owners
    /// turned out to be the same.
    fn point(&self, same: &[(usize, &Series)]) -> Option<(Metric, Point)> {
        let ((resource, first), others) = same.split_first()?;
        let mut value: Cell = first.value.clone();
        let mut start = first.start;
        for (_, other) in others {
            value.merge(&other.value);
            start = start.min(other.start);
        }
        let point = Point {
            resource: *resource,
            attributes: self.sets.get(first.set),
            start_unix_nano: start,
            value: value.into_point(first.metric),
        };
        Some((first.metric, point))
    }
}

/// Resolves owners in order of their ids; those with equal resources share an index.
fn resources(
    mut owners: Vec<OwnerId>,
    mut resolve: impl FnMut(OwnerId) -> Resolution,
    node: Arc<Resource>,
) -> (Vec<Arc<Resource>>, HashMap<OwnerId, usize>) {
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
        let same_hash = known.entry(hash(&resource)).or_default();
        let index = same_hash
            .iter()
            .copied()
            .find(|index| resources.get(*index) == Some(&resource));
        let index = index.unwrap_or_else(|| {
            resources.push(resource);
            same_hash.push(resources.len() - 1);
            resources.len() - 1
        });
        by_owner.insert(owner, index);
    }
    (resources, by_owner)
}
