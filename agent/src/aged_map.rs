//! A map with a fixed capacity that gives up its oldest entry for a new one.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;
use std::mem;

use crate::hash::HashMap;

/// Bounded map that remembers in which order its keys came.
#[derive(Debug)]
pub(crate) struct AgedMap<K, V> {
    capacity: usize,
    /// Whether it has been full, and has the room for good.
    was_full: bool,
    next: u64,
    entries: HashMap<K, (u64, V)>,
    /// By age. Entries that are gone, or came again, are left in it until they are come upon.
    order: VecDeque<(u64, K)>,
}

impl<K: Clone + Eq + Hash, V> AgedMap<K, V> {
    /// A map of at most `capacity` entries, but always room for one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            was_full: false,
            next: 0,
            entries: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    /// Puts an entry in as the newest. Returns the oldest if it had to go for this one.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.remove(&key);
        let evicted = if self.entries.len() >= self.capacity {
            self.take_room();
            self.pop_oldest()
        } else {
            None
        };
        self.order.push_back((self.next, key.clone()));
        self.entries.insert(key, (self.next, value));
        self.next += 1;
        self.tidy();
        evicted
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Changes a value; the entry stays as old as it is.
    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (_, value) = self.entries.remove(key)?;
        self.tidy();
        Some(value)
    }

    /// Takes the oldest entry out if the condition holds for it.
    pub(crate) fn pop_oldest_if(&mut self, condition: impl FnOnce(&V) -> bool) -> Option<(K, V)> {
        let (_, value) = self.oldest()?;
        if condition(value) {
            self.pop_oldest()
        } else {
            None
        }
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// Entries there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives back most of the room that many entries took, if few are left.
    pub(crate) fn shrink(&mut self) {
        const FEW: usize = 256;
        let enough = 2 * self.entries.len() + FEW;
        if self.entries.capacity() > 2 * enough {
            self.was_full = false;
            self.entries.shrink_to(enough);
            self.order.shrink_to(enough);
        }
    }

    /// A table that is more than half full grows for entries that come and go, once, at a time that its hashes choose. It does
    /// so now.
    fn take_room(&mut self) {
        if !mem::replace(&mut self.was_full, true) {
            self.entries.reserve(self.capacity);
        }
    }

    fn pop_oldest(&mut self) -> Option<(K, V)> {
        self.oldest()?;
        let (_, key) = self.order.pop_front()?;
        let (_, value) = self.entries.remove(&key)?;
        Some((key, value))
    }

    /// The oldest entry, which is the first in order from then on.
    fn oldest(&mut self) -> Option<(&K, &V)> {
        let entries = &self.entries;
        while self
            .order
            .front()
            .is_some_and(|place| !is_live(entries, place))
        {
            self.order.pop_front();
        }
        let (_, key) = self.order.front()?;
        let (_, value) = self.entries.get(key)?;
        Some((key, value))
    }

    /// Forgets places of entries that are gone, where they are more than those of others: a few for each change, on the whole.
    fn tidy(&mut self) {
        const FEW: usize = 64;
        if self.order.len() > 2 * self.entries.len() + FEW {
            let entries = &self.entries;
            self.order.retain(|place| is_live(entries, place));
        }
    }
}

fn is_live<K: Eq + Hash, V>(entries: &HashMap<K, (u64, V)>, (age, key): &(u64, K)) -> bool {
    entries.get(key).is_some_and(|(now, _)| now == age)
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
    fn those_that_are_gone_take_no_room() {
        let mut map = AgedMap::new(10);
        for number in 0..1_000 {
            map.insert(number, ());
            if number % 2 == 0 {
                map.remove(&number);
            }
            assert!(map.order.len() <= 2 * map.len() + 64, "{number}");
        }
        assert_eq!(map.len(), 10);
        let mut left: Vec<i32> = Vec::new();
        while let Some((number, ())) = map.pop_oldest_if(|()| true) {
            left.push(number);
        }
        assert_eq!(left, (0..10).map(|at| 981 + 2 * at).collect::<Vec<_>>());
        assert!(map.order.is_empty());
    }

    #[test]
    fn room_is_given_back() {
        let mut map = AgedMap::new(10_000);
        for number in 0..10_000 {
            map.insert(number, number);
        }
        map.shrink();
        assert!(map.entries.capacity() >= 10_000);
        while map.len() > 10 && map.pop_oldest_if(|_| true).is_some() {}
        map.shrink();
        assert!(map.entries.capacity() < 1_000 && map.order.capacity() < 1_000);
        assert_eq!((map.get(&9_990), map.len()), (Some(&9_990), 10));
        for number in 0..10_000 {
            map.insert(number, number);
        }
        assert_eq!(map.len(), 10_000);
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
