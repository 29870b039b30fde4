//! The end of series, and those of which the exporter still has to tell.

use std::collections::{HashSet, VecDeque};
use std::mem::size_of;

use super::{Series, SeriesId, Store};
use crate::counters::Discard;
use crate::identity::OwnerId;
use crate::telemetry::snapshot::PointValue;

/// Series that ended and were not told of yet: one for so many that there may be.
const ENDED_SHARE: usize = 4;

/// A series that ended.
#[derive(Debug)]
pub(super) struct EndedSeries {
    pub(super) id: SeriesId,
    /// When, nanoseconds since the Unix epoch.
    pub(super) end: u64,
    pub(super) series: Series,
}

/// Them all, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ends(VecDeque<EndedSeries>);

impl Ends {
    /// Takes one in; returns the oldest if there are more than `limit` then.
    pub(super) fn push(&mut self, ended: EndedSeries, limit: usize) -> Option<EndedSeries> {
        self.0.push_back(ended);
        (self.0.len() > limit).then(|| self.0.pop_front()).flatten()
    }

    /// Takes out those that were told.
    pub(super) fn remove(&mut self, told: &[SeriesId]) -> Vec<EndedSeries> {
        if told.is_empty() {
            return Vec::new();
        }
        let told: HashSet<SeriesId> = told.iter().copied().collect();
        let all = std::mem::take(&mut self.0);
        let (gone, left) = all
            .into_iter()
            .partition::<Vec<_>, _>(|ended| told.contains(&ended.id));
        self.0 = left.into();
        gone
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &EndedSeries> {
        self.0.iter()
    }

    /// Estimate of the heap memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let values = self.0.iter().map(|ended| ended.series.value.heap_bytes());
        self.0.capacity() * size_of::<EndedSeries>() + values.sum::<usize>()
    }
}

impl Store {
    /// Removes series not updated for `idle` nanoseconds, except up-down counters that are not zero, and
    /// the attribute sets only they used. A series that comes back starts anew with a new start time.
    pub fn expire(&mut self, now: u64, idle: u64) {
        self.end_all(now, |series| series.is_idle(now, idle));
    }

    /// The wall clock was set by so many nanoseconds, to `now`. That makes no series idle or busy; one that would begin in the future
    /// begins now, as no interval ends before it starts.
    pub fn clock_moved(&mut self, nanoseconds: i64, now: u64) {
        for series in self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.series.as_mut())
        {
            series.updated = series.updated.saturating_add_signed(nanoseconds);
            series.start = series.start.min(now);
        }
    }

    /// Ends every series of these owners, whatever it stands at.
    pub fn remove_owners(&mut self, owners: &HashSet<OwnerId>, now: u64) {
        self.end_all(now, |series| owners.contains(&series.owner));
    }

    fn end_all(&mut self, now: u64, is_over: impl Fn(&Series) -> bool) {
        for index in (0_u32..).take(self.slots.len()) {
            if let Some(slot) = self.slots.get_mut(index as usize)
                && let Some(series) = slot.series.take_if(|series| is_over(series))
            {
                let id = SeriesId {
                    slot: index,
                    generation: slot.generation,
                };
                slot.generation = slot.generation.wrapping_add(1);
                self.free.push(index);
                self.take_out(&series);
                self.end(EndedSeries {
                    id,
                    end: now,
                    series,
                });
            }
        }
        self.sets.sweep();
    }

    /// Keeps a series that ended until that is told, if anybody tells.
    fn end(&mut self, ended: EndedSeries) {
        let Some(ends) = &mut self.ends else {
            return self.release(&ended.series);
        };
        if let Some(oldest) = ends.push(ended, self.limit / ENDED_SHARE) {
            self.counters.discard(Discard::StoreEndsFull, 1);
            self.release(&oldest.series);
        }
    }

    /// Makes room for another series, which may be one of the same key.
    fn take_out(&mut self, series: &Series) {
        self.index.remove(&series.key());
        self.per_metric[series.metric as usize] -= 1;
        self.held -= usize::from(!series.is_overflow());
    }

    /// Undoes what else [`Store::create`] noted about a series.
    pub(super) fn release(&mut self, series: &Series) {
        self.sets.release(series.set);
        if let PointValue::Histogram(histogram) = &series.value {
            self.exemplars -= histogram.exemplars.len();
        }
        if let Some(uses) = self.owners.get_mut(&series.owner) {
            *uses -= 1;
            if *uses == 0 {
                self.owners.remove(&series.owner);
            }
        }
    }
}
