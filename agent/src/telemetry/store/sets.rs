//! Interned attribute sets: equal sets are stored once and named by a small id.

use std::borrow::Cow;
use std::mem::size_of;
use std::sync::Arc;

use crate::hash::HashMap;
use crate::identity::Value;
use crate::telemetry::catalogue::Attr;

/// One attribute set of a series.
pub(super) type Set = Arc<[(Attr, Value)]>;

/// Name of an interned attribute set.
///
/// Valid until the next [`Store::expire`](super::Store::expire), and beyond that as long as a series
/// uses the set. Measurements through an id that is no longer valid go to the overflow series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttributesId {
    pub(super) index: u32,
    generation: u32,
}

impl AttributesId {
    /// The set without attributes; always valid.
    pub const EMPTY: Self = Self {
        index: 0,
        generation: 0,
    };
    /// The set of every overflow series; always valid.
    pub(super) const OVERFLOW: Self = Self {
        index: 1,
        generation: 0,
    };
}

#[derive(Debug)]
struct Entry {
    /// `None` while the entry waits to be used again.
    set: Option<Set>,
    generation: u32,
    /// Series that use it; the two fixed sets hold one more so that they stay.
    references: u32,
}

/// The table of sets.
#[derive(Debug)]
pub(super) struct Sets {
    index: HashMap<Set, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    capacity: usize,
}

impl Sets {
    /// A table of at most `capacity` sets beside the two fixed ones.
    pub(super) fn new(capacity: usize) -> Self {
        let mut sets = Self {
            index: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            capacity: capacity.saturating_add(2),
        };
        for fixed in [&[][..], &[(Attr::MetricOverflow, Value::Bool(true))]] {
            let id = sets.insert(fixed);
            sets.retain(id);
        }
        sets
    }

    /// Holds at most so many sets beside the two fixed ones from now on.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.saturating_add(2);
    }

    /// The id of a set, given in any order. Of a key given twice the last value stays.
    /// A new set that finds the table full gets the overflow set's id.
    pub(super) fn intern(&mut self, attributes: &[(Attr, Value)]) -> AttributesId {
        let sorted = in_key_order(attributes);
        if let Some(&index) = self.index.get(&*sorted) {
            return self.id(index);
        }
        if self.entries.len() - self.free.len() >= self.capacity {
            return AttributesId::OVERFLOW;
        }
        self.insert(&sorted)
    }

    /// Whether the id still names the set it was made for.
    pub(super) fn is_valid(&self, id: AttributesId) -> bool {
        self.entries
            .get(id.index as usize)
            .is_some_and(|entry| entry.generation == id.generation)
    }

    /// The set at an index that a series holds.
    pub(super) fn get(&self, index: u32) -> Set {
        let set = self
            .entries
            .get(index as usize)
            .and_then(|entry| entry.set.as_ref());
        set.map_or_else(|| Arc::from([]), Arc::clone)
    }

    /// Counts one more series that uses the set.
    pub(super) fn retain(&mut self, id: AttributesId) {
        if let Some(entry) = self.entries.get_mut(id.index as usize) {
            entry.references += 1;
        }
    }

    /// Counts one series less.
    pub(super) fn release(&mut self, index: u32) {
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.references = entry.references.saturating_sub(1);
        }
    }

    /// Frees every set that no series uses.
    pub(super) fn sweep(&mut self) {
        for (index, entry) in (0_u32..).zip(&mut self.entries) {
            if entry.references == 0
                && let Some(set) = entry.set.take()
            {
                self.index.remove(&set);
                entry.generation = entry.generation.wrapping_add(1);
                self.free.push(index);
            }
        }
    }

    /// Estimate of the heap memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let table = self.index.capacity() * (size_of::<(Set, u32)>() + 1)
            + self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<u32>();
        table
            + self
                .entries
                .iter()
                .filter_map(|entry| entry.set.as_deref())
                .map(set_bytes)
                .sum::<usize>()
    }

    /// Sets in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    fn id(&self, index: u32) -> AttributesId {
        let generation = self
            .entries
            .get(index as usize)
            .map_or(0, |entry| entry.generation);
        AttributesId { index, generation }
    }

    fn insert(&mut self, sorted: &[(Attr, Value)]) -> AttributesId {
        let set: Set = Arc::from(sorted);
        let next = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let index = self.free.pop().unwrap_or(next);
        self.index.insert(Arc::clone(&set), index);
        match self.entries.get_mut(index as usize) {
            Some(entry) => entry.set = Some(set),
            None => self.entries.push(Entry {
                set: Some(set),
                generation: 0,
                references: 0,
            }),
        }
        self.id(index)
    }
}

/// Callers that give sorted attributes, as they should, cost no allocation.
fn in_key_order(attributes: &[(Attr, Value)]) -> Cow<'_, [(Attr, Value)]> {
    if attributes.is_sorted_by(|a, b| a.0 < b.0) {
        return Cow::Borrowed(attributes);
    }
    let mut sorted = attributes.to_vec();
    sorted.reverse();
    sorted.sort_by_key(|(key, _)| *key);
    sorted.dedup_by_key(|(key, _)| *key);
    Cow::Owned(sorted)
}

fn set_bytes(set: &[(Attr, Value)]) -> usize {
    // Two reference counts precede the data of an `Arc`.
    let counts = 2 * size_of::<usize>();
    let text = |value: &Value| match value {
        Value::Str(text) => counts + text.len(),
        Value::List(texts) => {
            counts
                + texts
                    .iter()
                    .map(|text| size_of::<Arc<str>>() + counts + text.len())
                    .sum::<usize>()
        }
        Value::Static(_) | Value::Int(_) | Value::Bool(_) => 0,
    };
    counts
        + set
            .iter()
            .map(|(_, value)| size_of::<(Attr, Value)>() + text(value))
            .sum::<usize>()
}
