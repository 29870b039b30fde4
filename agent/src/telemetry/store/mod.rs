//! The series store: the single home of metric state. One task owns it; exporters read snapshots.
//!
//! All times are wall-clock nanoseconds since the Unix epoch, given by the caller.

mod ended;
mod exemplars;
mod read;
mod sets;
mod value;

#[cfg(test)]
mod tests;

use std::mem::size_of;
use std::sync::Arc;

use self::ended::Ends;
pub use self::exemplars::Observed;
pub use self::read::{ReadSeries, Reading};
pub use self::sets::AttributesId;
use self::sets::Sets;
pub use self::value::{Buckets, Measurement};
use super::catalogue::{Attr, Instrument, Metric};
use super::snapshot::PointValue;
use crate::counters::{Counters, Discard};
use crate::hash::HashMap;
use crate::identity::{OwnerId, Value};

/// Handle of a series, for updates without a look-up. Safe to keep: after the series has expired it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesId {
    slot: u32,
    generation: u32,
}

impl SeriesId {
    /// The handle of nothing.
    pub const NONE: Self = Self {
        slot: u32::MAX,
        generation: u32::MAX,
    };
}

/// What a series is found by: metric, owner and index of the attribute set.
type Key = (Metric, OwnerId, u32);

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// `None` while the slot waits to be used again.
    series: Option<Series>,
}

#[derive(Debug)]
struct Series {
    metric: Metric,
    owner: OwnerId,
    set: u32,
    start: u64,
    updated: u64,
    /// How many readings were taken for export before it was updated.
    changed: u64,
    value: PointValue,
}

impl Series {
    fn key(&self) -> Key {
        (self.metric, self.owner, self.set)
    }

    /// One that takes what other series could not; it does not count towards the limit.
    fn is_overflow(&self) -> bool {
        self.set == AttributesId::OVERFLOW.index
    }

    /// An up-down counter that is not zero counts things that still exist, however quiet they are.
    fn is_idle(&self, now: u64, idle: u64) -> bool {
        let holds = self.metric.instrument() == Instrument::UpDownCounter
            && self.value != PointValue::Int(0);
        !holds && now.saturating_sub(self.updated) >= idle
    }
}

/// Every series of every metric, bounded by one limit.
///
/// A measurement that would need a series beyond the limit, or beyond what one metric may have, goes to the overflow series of its metric
/// (owner: the node; only attribute: `otel.metric.overflow`) and counts as [`Discard::StoreSeriesLimit`].
/// Series that exist are updated as ever, so every measurement is counted exactly once.
#[derive(Debug)]
pub struct Store {
    limit: usize,
    /// Series of any one metric.
    metric_limit: usize,
    buckets: Buckets,
    /// Whether new series may be made at all.
    admits_new: bool,
    counters: Arc<Counters>,
    sets: Sets,
    index: HashMap<Key, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Series held, without overflow series.
    held: usize,
    owners: HashMap<OwnerId, u32>,
    per_metric: [usize; Metric::ALL.len()],
    /// Readings taken for export.
    readings: u64,
    /// What ended since, where somebody takes such readings.
    ends: Option<Ends>,
    /// Where the last observations were counted, where somebody wants to know.
    observed: Option<Vec<Observed>>,
    /// Held of all series.
    exemplars: usize,
}

impl Store {
    /// An empty store of at most `limit` series, beside one overflow series per metric.
    pub fn new(limit: usize, counters: Arc<Counters>) -> Self {
        Self {
            limit,
            metric_limit: limit,
            buckets: Buckets::Explicit,
            admits_new: true,
            counters,
            sets: Sets::new(room_for_sets(limit)),
            index: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            held: 0,
            owners: HashMap::default(),
            per_metric: [0; Metric::ALL.len()],
            readings: 0,
            ends: None,
            observed: None,
            exemplars: 0,
        }
    }

    /// The same, with at most so many series of any one metric.
    #[must_use]
    pub fn with_metric_limit(self, metric_limit: usize) -> Self {
        Self {
            metric_limit,
            ..self
        }
    }

    /// The same, with these buckets in every histogram.
    #[must_use]
    pub fn with_buckets(self, buckets: Buckets) -> Self {
        Self { buckets, ..self }
    }

    /// The same, for somebody who takes readings for export, if anybody does: those tell of series that ended, of a quarter as
    /// many as there may be series at most.
    #[must_use]
    pub fn with_ends(self, wanted: bool) -> Self {
        Self {
            ends: wanted.then(Ends::default),
            ..self
        }
    }

    /// Holds at most so many series from now on, in all and of any one metric. Those there are stay until they are idle.
    pub fn set_limits(&mut self, limit: usize, metric_limit: usize) {
        self.limit = limit;
        self.metric_limit = metric_limit;
        self.make_room_for_sets();
    }

    /// Whether new series may be made from now on, within the limits, and whether new attribute sets are named.
    pub fn admit_new_series(&mut self, admits: bool) {
        self.admits_new = admits;
        self.make_room_for_sets();
    }

    fn make_room_for_sets(&mut self) {
        self.sets.set_capacity(if self.admits_new {
            room_for_sets(self.limit)
        } else {
            0
        });
    }

    /// Names an attribute set. Given in key order, a known set costs one look-up and no allocation.
    /// Of a key given twice the last value stays.
    pub fn intern(&mut self, attributes: &[(Attr, Value)]) -> AttributesId {
        self.sets.intern(attributes)
    }

    /// Adds whole units to a counter or up-down counter. `now` is when the counted thing happened.
    ///
    /// A negative delta neither creates a series nor takes one below zero; it then belongs to
    /// something that was counted on the overflow series, and goes there.
    pub fn add(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        delta: i64,
        now: u64,
    ) {
        self.measure(metric, owner, attributes, Measurement::Add(delta), now);
    }

    /// Adds seconds to a counter of fractions.
    pub fn add_seconds(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        seconds: f64,
        now: u64,
    ) {
        self.measure(
            metric,
            owner,
            attributes,
            Measurement::AddSeconds(seconds),
            now,
        );
    }

    /// Counts one observation in seconds in a histogram.
    pub fn record(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        seconds: f64,
        now: u64,
    ) {
        self.measure(
            metric,
            owner,
            attributes,
            Measurement::Observe(seconds),
            now,
        );
    }

    /// Sets a gauge of whole units.
    pub fn set(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        value: i64,
        now: u64,
    ) {
        self.measure(metric, owner, attributes, Measurement::Set(value), now);
    }

    /// Applies any measurement, creating the series if need be.
    pub fn measure(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        change: Measurement,
        now: u64,
    ) {
        let slot = if takes_away(metric, change) {
            self.find(metric, owner, attributes)
        } else {
            self.find_or_create(metric, owner, attributes, now)
        };
        if !slot.is_some_and(|slot| self.apply(slot, change, now)) {
            self.overflow(metric, change, now);
        }
    }

    /// The handle of a series, created at zero if need be; `None` when there is no room for it.
    pub fn series(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        now: u64,
    ) -> Option<SeriesId> {
        let slot = self.find_or_create(metric, owner, attributes, now)?;
        Some(SeriesId {
            slot,
            generation: self.slots.get(slot as usize)?.generation,
        })
    }

    /// The handle of a series, if it exists.
    pub fn known_series(
        &self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
    ) -> Option<SeriesId> {
        let slot = self.find(metric, owner, attributes)?;
        let generation = self.slots.get(slot as usize)?.generation;
        Some(SeriesId { slot, generation })
    }

    /// Applies a measurement to a series by its handle. `false`, and nothing counted, when the series has
    /// expired: the caller then looks it up again.
    #[must_use]
    pub fn update(&mut self, series: SeriesId, change: Measurement, now: u64) -> bool {
        let Some(slot) = self.slots.get(series.slot as usize) else {
            return false;
        };
        let Some(metric) = slot.series.as_ref().map(|series| series.metric) else {
            return false;
        };
        if slot.generation != series.generation {
            return false;
        }
        if !self.apply(series.slot, change, now) {
            self.overflow(metric, change, now);
        }
        true
    }

    /// Adds whole units to a series by its handle; see [`Store::update`].
    #[must_use]
    pub fn add_to(&mut self, series: SeriesId, delta: i64, now: u64) -> bool {
        self.update(series, Measurement::Add(delta), now)
    }

    /// Whose series are held; one may come several times.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.owners.keys().copied()
    }

    /// Counts something that could not be followed.
    pub fn discard(&self, why: Discard) {
        self.counters.discard(why, 1);
    }

    /// Whether any series belongs to the owner, those that ended and were not told of included.
    pub fn is_owner_used(&self, owner: OwnerId) -> bool {
        self.owners.contains_key(&owner)
    }

    /// Series held, without overflow series.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether no series is held.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Series the store may hold, without overflow series.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Series of any one metric the store may hold, without its overflow series.
    pub fn metric_limit(&self) -> usize {
        self.metric_limit.min(self.limit)
    }

    /// Series of one metric, its overflow series included.
    pub fn series_count(&self, metric: Metric) -> usize {
        self.per_metric[metric as usize]
    }

    /// Estimate of the memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let histograms = self
            .slots
            .iter()
            .filter_map(|slot| slot.series.as_ref())
            .map(|series| series.value.heap_bytes());
        size_of::<Self>()
            + self.sets.memory_bytes()
            + self.index.capacity() * (size_of::<(Key, u32)>() + 1)
            + self.owners.capacity() * (size_of::<(OwnerId, u32)>() + 1)
            + self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<u32>()
            + histograms.sum::<usize>()
            + self.ends.as_ref().map_or(0, Ends::memory_bytes)
    }

    fn find(&self, metric: Metric, owner: OwnerId, attributes: AttributesId) -> Option<u32> {
        let valid = attributes != AttributesId::OVERFLOW && self.sets.is_valid(attributes);
        valid
            .then(|| self.index.get(&(metric, owner, attributes.index)).copied())
            .flatten()
    }

    fn find_or_create(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        now: u64,
    ) -> Option<u32> {
        if let Some(slot) = self.find(metric, owner, attributes) {
            return Some(slot);
        }
        let room = self.admits_new
            && self.held < self.limit
            && self.held_of(metric) < self.metric_limit
            && attributes != AttributesId::OVERFLOW
            && self.sets.is_valid(attributes);
        room.then(|| self.create(metric, owner, attributes, now))
    }

    /// Series of one metric, without its overflow series.
    fn held_of(&self, metric: Metric) -> usize {
        let overflow = (metric, OwnerId::NODE, AttributesId::OVERFLOW.index);
        let all = self.per_metric[metric as usize];
        // Only looked for where it matters.
        let has_overflow = all >= self.metric_limit && self.index.contains_key(&overflow);
        all - usize::from(has_overflow)
    }

    /// Applies a change to the series in a slot; `false` if it has to go to the overflow series.
    fn apply(&mut self, slot: u32, change: Measurement, now: u64) -> bool {
        let held = self.slots.get_mut(slot as usize);
        let Some(Slot {
            generation,
            series: Some(series),
        }) = held
        else {
            return false;
        };
        let generation = *generation;
        if let Measurement::Add(delta) = change
            && takes_away(series.metric, change)
            && !series.is_overflow()
            && value::would_fall_below_zero(&series.value, delta)
        {
            return false;
        }
        value::apply(&mut series.value, series.metric, change);
        series.updated = series.updated.max(now);
        series.changed = self.readings;
        if let (Some(observed), Measurement::Observe(seconds)) = (&mut self.observed, change) {
            observed.push(Observed {
                series: SeriesId { slot, generation },
                seconds: value::usable(seconds),
                unix_nano: now,
            });
        }
        true
    }

    fn overflow(&mut self, metric: Metric, change: Measurement, now: u64) {
        self.counters.discard(Discard::StoreSeriesLimit, 1);
        let key = (metric, OwnerId::NODE, AttributesId::OVERFLOW.index);
        let known = self.index.get(&key).copied();
        let slot = known
            .unwrap_or_else(|| self.create(metric, OwnerId::NODE, AttributesId::OVERFLOW, now));
        self.apply(slot, change, now);
    }

    fn create(
        &mut self,
        metric: Metric,
        owner: OwnerId,
        attributes: AttributesId,
        now: u64,
    ) -> u32 {
        let series = Series {
            metric,
            owner,
            set: attributes.index,
            start: now,
            updated: now,
            changed: self.readings,
            value: value::zero(metric, self.buckets),
        };
        self.sets.retain(attributes);
        *self.owners.entry(owner).or_default() += 1;
        self.per_metric[metric as usize] += 1;
        self.held += usize::from(!series.is_overflow());
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let index = self.free.pop().unwrap_or(next);
        self.index.insert(series.key(), index);
        match self.slots.get_mut(index as usize) {
            Some(slot) => slot.series = Some(series),
            None => self.slots.push(Slot {
                generation: 0,
                series: Some(series),
            }),
        }
        index
    }
}

/// Those of series that ended included, and some slack, so that sets interned just before the limit strikes do not lose their
/// names.
fn room_for_sets(limit: usize) -> usize {
    limit.saturating_add(limit / 2).saturating_add(64)
}

/// Whether a measurement reports that something counted earlier is gone.
fn takes_away(metric: Metric, change: Measurement) -> bool {
    metric.instrument() == Instrument::UpDownCounter
        && matches!(change, Measurement::Add(delta) if delta < 0)
}
