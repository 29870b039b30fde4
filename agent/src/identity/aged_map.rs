//! A map with a fixed capacity that gives up its oldest entry for a new one.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Bounded map that remembers in which order its keys came.
#[derive(Debug)]
pub(super) struct AgedMap<K, V> {
    capacity: usize,
    next: u64,
    entries: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
}

impl<K: Clone + Eq + Hash, V> AgedMap<K, V> {
    /// A map of at most `capacity` entries, but always room for one.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            next: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// Puts an entry in as the newest. Returns the oldest if it had to go for this one.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.remove(&key);
        let evicted = if self.entries.len() >= self.capacity {
            self.pop_oldest()
        } else {
            None
        };
        self.order.insert(self.next, key.clone());
        self.entries.insert(key, (self.next, value));
        self.next += 1;
        evicted
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Changes a value; the entry stays as old as it is.
    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (age, value) = self.entries.remove(key)?;
        self.order.remove(&age);
        Some(value)
    }

    /// Takes the oldest entry out if the condition holds for it.
    pub(super) fn pop_oldest_if(&mut self, condition: impl FnOnce(&V) -> bool) -> Option<(K, V)> {
        let (_, key) = self.order.first_key_value()?;
        let (_, value) = self.entries.get(key)?;
        if condition(value) {
            self.pop_oldest()
        } else {
            None
        }
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn pop_oldest(&mut self) -> Option<(K, V)> {
        let (_, key) = self.order.pop_first()?;
        let (_, value) = self.entries.remove(&key)?;
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::AgedMap;

    #[test]
    fn the_oldest_makes_room() {
        let mut map = AgedMap::new(2);
        assert_eq!(map.insert("a", 1), None);
        assert_eq!(map.insert("b", 2), None);
        assert_eq!(map.insert("c", 3), Some(("a", 1)));
        assert_eq!(
            (map.get("a"), map.get("b"), map.get("c"), map.len()),
            (None, Some(&2), Some(&3), 2)
        );
    }

    #[test]
    fn writing_again_makes_new_and_needs_no_room() {
        let mut map = AgedMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        assert_eq!(map.insert("a", 3), None);
        assert_eq!(map.insert("c", 4), Some(("b", 2)));
        assert_eq!(map.get("a"), Some(&3));
    }

    #[test]
    fn changing_in_place_keeps_the_age() {
        let mut map = AgedMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        if let Some(value) = map.get_mut("a") {
            *value = 9;
        }
        assert_eq!(map.insert("c", 3), Some(("a", 9)));
    }

    #[test]
    fn pops_from_the_old_end_only() {
        let mut map = AgedMap::new(3);
        map.insert("a", 5);
        map.insert("b", 1);
        assert_eq!(map.pop_oldest_if(|value| *value < 3), None);
        assert_eq!(map.pop_oldest_if(|value| *value > 3), Some(("a", 5)));
        assert_eq!(map.remove("b"), Some(1));
        assert_eq!(map.pop_oldest_if(|_| true), None);
    }

    #[test]
    fn there_is_always_room_for_one() {
        let mut map = AgedMap::new(0);
        map.insert("a", 1);
        assert_eq!(map.get("a"), Some(&1));
    }
}
