//! Reading the store, in two steps: how it stands is copied where it is owned, which is quick; putting that in order is
//! left to whoever asked.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::ended::Ends;
use super::sets::Set;
use super::{Series, SeriesId, Store, value};
use crate::identity::{OwnerId, Resolution, Resource};
use crate::telemetry::catalogue::Metric;
use crate::telemetry::snapshot::{Ended, Family, Point, PointValue, Snapshot};

/// How the store stood at one moment, not in order yet.
#[derive(Debug)]
pub struct Reading {
    series: Vec<ReadSeries>,
    /// Series whose resource is not known yet.
    pending: Vec<SeriesId>,
    /// Where the resource of an owner is.
    by_owner: HashMap<OwnerId, u32>,
    /// Time and resources, and families that are not the store's: they come after its own.
    rest: Snapshot,
}

/// One series.
#[derive(Debug)]
pub struct ReadSeries {
    /// Of which metric.
    pub metric: Metric,
    resource: u32,
    set: u32,
    owner: OwnerId,
    /// Which one.
    pub series: SeriesId,
    changed: u64,
    /// Since when it counts, nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// Since when it does not any more; 0 if it goes on.
    pub end_unix_nano: u64,
    attributes: Set,
    /// What it stands at.
    pub value: PointValue,
}

/// What tells points from each other.
type Key = (Metric, u32, u32);

impl Reading {
    /// When it was taken, nanoseconds since the Unix epoch.
    pub fn time_unix_nano(&self) -> u64 {
        self.rest.time_unix_nano
    }

    /// What is appended to it.
    pub fn rest_mut(&mut self) -> &mut Snapshot {
        &mut self.rest
    }

    /// Changes series, or leaves them out.
    pub fn retain(&mut self, keep: impl FnMut(&mut ReadSeries) -> bool) {
        self.series.retain_mut(keep);
    }

    /// Series that are not in it because their resource is not known yet.
    pub fn pending(&self) -> &[SeriesId] {
        &self.pending
    }

    /// Puts it in order, which depends only on what was counted, in which order.
    pub fn into_snapshot(self) -> Snapshot {
        let Self {
            mut series,
            rest: mut snapshot,
            pending: _,
            by_owner: _,
        } = self;
        let others = std::mem::take(&mut snapshot.families);
        // Those that go on come first.
        series.sort_unstable_by_key(|read| (read.key(), read.end_unix_nano, read.owner));
        let mut series = series.into_iter().peekable();
        let mut last = None;
        while let Some(read) = series.next() {
            let key = read.key();
            let before = last.filter(|(known, _)| *known == key);
            if read.end_unix_nano > 0 {
                let later = series.peek().is_some_and(|next| next.key() == key);
                let goes_on_of = before.map(|(_, owner)| owner);
                snapshot.ended.push(read.into_ended(goes_on_of, later));
                continue;
            }
            last = Some((key, read.owner));
            let points = snapshot.points_of(read.metric);
            match points.last_mut() {
                // Two owners that turned out to be the same.
                Some(point) if before.is_some() => {
                    let joined = (point.series, read.series);
                    read.merge_into(point);
                    snapshot.joined.push(joined);
                }
                _ => points.push(read.into_point()),
            }
        }
        snapshot.families.extend(others);
        snapshot
    }
}

impl Snapshot {
    /// The points of the last family, which is begun if it is another one.
    fn points_of(&mut self, metric: Metric) -> &mut Vec<Point> {
        if self
            .families
            .last()
            .is_none_or(|last| last.metric != metric)
        {
            self.families.push(Family {
                metric,
                points: Vec::new(),
            });
        }
        let last = self.families.len() - 1;
        &mut self.families[last].points
    }
}

/// A reading that is in order already.
impl From<Snapshot> for Reading {
    fn from(rest: Snapshot) -> Self {
        Self {
            series: Vec::new(),
            pending: Vec::new(),
            by_owner: HashMap::new(),
            rest,
        }
    }
}

impl ReadSeries {
    fn key(&self) -> Key {
        (self.metric, self.resource, self.set)
    }

    fn into_point(self) -> Point {
        Point {
            resource: self.resource as usize,
            attributes: self.attributes,
            start_unix_nano: self.start_unix_nano,
            value: self.value,
            series: self.series,
        }
    }

    /// `goes_on_of` is the owner of a series with the same key that goes on; `later` says that one ended after this.
    fn into_ended(self, goes_on_of: Option<OwnerId>, later: bool) -> Ended {
        let is_alone = goes_on_of.is_none_or(|owner| owner == self.owner);
        Ended {
            metric: self.metric,
            end_unix_nano: self.end_unix_nano,
            changed: is_alone.then_some(self.changed),
            goes_on: goes_on_of.is_some() || later,
            point: self.into_point(),
        }
    }

    fn merge_into(self, point: &mut Point) {
        point.start_unix_nano = point.start_unix_nano.min(self.start_unix_nano);
        point.value.add(&self.value);
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
        let mut reading = Reading {
            series: Vec::with_capacity(self.index.len()),
            pending: Vec::new(),
            by_owner,
            rest: Snapshot {
                time_unix_nano: now,
                resources,
                ..Snapshot::default()
            },
        };
        for (slot, held) in (0_u32..).zip(&self.slots) {
            if let Some(series) = &held.series {
                let generation = held.generation;
                let id = SeriesId { slot, generation };
                self.copy(&mut reading, (id, 0), series);
            }
        }
        reading
    }

    /// The same for export: series that ended are in it too, until they are among those that were told.
    pub fn read_for_export(
        &mut self,
        told: &[SeriesId],
        now: u64,
        resolve: impl FnMut(OwnerId) -> Resolution,
        node: Arc<Resource>,
    ) -> Reading {
        let gone = self.ends.as_mut().map(|ends| ends.remove(told));
        for ended in gone.into_iter().flatten() {
            self.release(&ended.series);
        }
        self.readings += 1;
        let mut reading = self.read(now, resolve, node);
        reading.rest.number = self.readings;
        for ended in self.ends.iter().flat_map(Ends::iter) {
            self.copy(&mut reading, (ended.id, ended.end), &ended.series);
        }
        reading
    }

    fn copy(&self, reading: &mut Reading, (id, end): (SeriesId, u64), series: &Series) {
        let Some(resource) = reading.by_owner.get(&series.owner) else {
            return reading.pending.push(id);
        };
        reading.series.push(ReadSeries {
            metric: series.metric,
            resource: *resource,
            set: series.set,
            owner: series.owner,
            series: id,
            changed: series.changed,
            start_unix_nano: series.start,
            end_unix_nano: end,
            attributes: self.sets.get(series.set),
            value: series.value.clone(),
        });
    }

    /// What all series of a metric of whole units stand at together.
    pub fn sum(&self, metric: Metric) -> i64 {
        let series = self.slots.iter().filter_map(|slot| slot.series.as_ref());
        series
            .filter(|series| series.metric == metric)
            .map(|series| value::units(&series.value))
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
