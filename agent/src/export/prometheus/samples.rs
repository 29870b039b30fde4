//! Which samples a family shows: points that look the same to Prometheus are one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};

use super::labels::Labels;
use crate::telemetry::snapshot::{Family, Point, PointValue};

/// The samples of one family, in order.
#[derive(Debug)]
pub(super) struct Samples {
    /// Indices of points.
    shown: Vec<u32>,
    /// What samples of several points stand at, by their place among those shown.
    sums: HashMap<u32, PointValue>,
    next: usize,
}

impl Samples {
    /// Those of a family of the snapshot that the labels are of.
    pub(super) fn of(family: &Family, labels: &Labels) -> Self {
        let mut samples = Self {
            shown: Vec::with_capacity(family.points.len()),
            sums: HashMap::new(),
            next: 0,
        };
        let hasher = RandomState::new();
        let mut known: HashMap<u64, u32> = HashMap::with_capacity(family.points.len());
        let mut text = String::new();
        for (index, point) in (0_u32..).zip(&family.points) {
            text.clear();
            labels.push(&mut text, point);
            let place = u32::try_from(samples.shown.len()).unwrap_or(u32::MAX);
            match known.entry(hasher.hash_one(&text)) {
                Entry::Vacant(entry) => {
                    entry.insert(place);
                    samples.shown.push(index);
                }
                Entry::Occupied(same) => {
                    if !samples.join(*same.get(), index, family, labels, &text) {
                        samples.shown.push(index);
                    }
                }
            }
        }
        samples
    }

    /// The next sample: a point that has its labels, and its value.
    pub(super) fn next<'a>(
        &'a mut self,
        family: &'a Family,
    ) -> Option<(&'a Point, &'a PointValue)> {
        let place = self.next;
        let point = family.points.get(*self.shown.get(place)? as usize)?;
        self.next += 1;
        let sum = u32::try_from(place)
            .ok()
            .and_then(|place| self.sums.get(&place));
        Some((point, sum.unwrap_or(&point.value)))
    }

    /// Joins a point whose labels are `text` with the sample shown at a place; `false` if that one has others after all.
    fn join(
        &mut self,
        place: u32,
        index: u32,
        family: &Family,
        labels: &Labels,
        text: &str,
    ) -> bool {
        let Some(shown) = self.shown.get_mut(place as usize) else {
            return false;
        };
        let (Some(first), Some(point)) = (
            family.points.get(*shown as usize),
            family.points.get(index as usize),
        ) else {
            return false;
        };
        if labels.of(first) != text {
            return false;
        }
        if !labels.is_container(first) {
            let sum = self.sums.entry(place);
            sum.or_insert_with(|| first.value.clone()).add(&point.value);
        } else if first.start_unix_nano < point.start_unix_nano {
            *shown = index;
        }
        true
    }
}
