//! cgroup id → owner, for living cgroups and, for a while, for removed ones.

use std::collections::HashSet;

use super::OwnerId;
use crate::aged_map::AgedMap;

/// Bounded table of the cgroups of the unified hierarchy.
#[derive(Debug)]
pub struct CgroupTable {
    living: AgedMap<u64, Living>,
    /// In the order of their removal. An exit is often reported after its cgroup is gone.
    removed: AgedMap<u64, Removed>,
    linger: u64,
}

#[derive(Clone, Copy, Debug)]
struct Living {
    owner: OwnerId,
    created: u64,
}

#[derive(Clone, Copy, Debug)]
struct Removed {
    owner: OwnerId,
    at: u64,
}

impl CgroupTable {
    /// Room for `capacity` living and as many removed cgroups; the latter are known for `linger` nanoseconds.
    pub fn new(capacity: usize, linger: u64) -> Self {
        Self {
            living: AgedMap::new(capacity),
            removed: AgedMap::new(capacity),
            linger,
        }
    }

    /// Enters a cgroup. `true` if the oldest one had to make room.
    pub fn created(&mut self, id: u64, owner: OwnerId, now: u64) -> bool {
        self.removed.remove(&id);
        self.living
            .insert(
                id,
                Living {
                    owner,
                    created: now,
                },
            )
            .is_some()
    }

    /// Says whose a cgroup is that is known already; whether it is.
    pub fn assign(&mut self, id: u64, owner: OwnerId) -> bool {
        let living = self.living.get_mut(&id).map(|cgroup| &mut cgroup.owner);
        let known = living.or_else(|| self.removed.get_mut(&id).map(|cgroup| &mut cgroup.owner));
        known.map(|known| *known = owner).is_some()
    }

    /// Keeps a removed cgroup's owner for late records. `true` if the oldest tombstone had to make room.
    pub fn removed(&mut self, id: u64, now: u64) -> bool {
        let Some(cgroup) = self.living.remove(&id) else {
            return false;
        };
        self.removed
            .insert(
                id,
                Removed {
                    owner: cgroup.owner,
                    at: now,
                },
            )
            .is_some()
    }

    /// Whose cgroup this is or was.
    pub fn owner(&self, id: u64) -> Option<OwnerId> {
        let living = self.living.get(&id).map(|cgroup| cgroup.owner);
        living.or_else(|| self.removed.get(&id).map(|cgroup| cgroup.owner))
    }

    /// Takes the cgroups that a full scan did not find, though they were there before it began, for removed.
    /// Returns how many tombstones had to make room.
    pub fn retain_scanned(&mut self, found: &HashSet<u64>, scan_started: u64, now: u64) -> u64 {
        let missing: Vec<u64> = self
            .living
            .iter()
            .filter(|(id, cgroup)| cgroup.created < scan_started && !found.contains(id))
            .map(|(id, _)| *id)
            .collect();
        missing
            .into_iter()
            .map(|id| u64::from(self.removed(id, now)))
            .sum()
    }

    /// Forgets the cgroups removed too long ago.
    pub fn expire(&mut self, now: u64) {
        let linger = self.linger;
        while self
            .removed
            .pop_oldest_if(|cgroup| now.saturating_sub(cgroup.at) >= linger)
            .is_some()
        {}
    }

    /// Every owner some cgroup refers to.
    pub fn owners(&self) -> HashSet<OwnerId> {
        let living = self.living.iter().map(|(_, cgroup)| cgroup.owner);
        living
            .chain(self.removed.iter().map(|(_, cgroup)| cgroup.owner))
            .collect()
    }

    /// Every owner some living cgroup refers to.
    pub fn living_owners(&self) -> HashSet<OwnerId> {
        self.living.iter().map(|(_, cgroup)| cgroup.owner).collect()
    }

    /// Number of living cgroups known.
    pub fn len(&self) -> usize {
        self.living.len()
    }

    /// Whether no living cgroup is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::CgroupTable;
    use crate::identity::OwnerId;

    #[test]
    fn a_removed_cgroup_is_known_for_a_while() {
        let mut table = CgroupTable::new(8, 100);
        table.created(7, OwnerId(1), 0);
        table.removed(7, 50);
        table.expire(149);
        assert_eq!((table.owner(7), table.len()), (Some(OwnerId(1)), 0));
        table.expire(150);
        assert_eq!(table.owner(7), None);
    }

    #[test]
    fn created_again_is_not_expired() {
        let mut table = CgroupTable::new(8, 100);
        table.created(7, OwnerId(1), 0);
        table.removed(7, 1);
        table.created(7, OwnerId(2), 2);
        table.expire(1_000);
        assert_eq!(table.owner(7), Some(OwnerId(2)));
    }

    #[test]
    fn both_tables_are_bounded() {
        let mut table = CgroupTable::new(2, 100);
        let evictions: Vec<bool> = (0..3).map(|id| table.created(id, OwnerId(1), id)).collect();
        assert_eq!(evictions, [false, false, true]);
        assert_eq!((table.owner(0), table.owner(1)), (None, Some(OwnerId(1))));

        for id in 1..3 {
            assert!(!table.removed(id, 10));
        }
        table.created(3, OwnerId(1), 11);
        assert!(table.removed(3, 12));
        assert_eq!((table.owner(1), table.owner(2)), (None, Some(OwnerId(1))));
    }

    #[test]
    fn removing_the_unknown_is_nothing() {
        let mut table = CgroupTable::new(2, 100);
        assert!(!table.removed(9, 0));
        assert_eq!(table.owner(9), None);
    }

    #[test]
    fn a_scan_removes_only_what_was_there_before_it() {
        let mut table = CgroupTable::new(8, 100);
        table.created(1, OwnerId(1), 0);
        table.created(2, OwnerId(2), 0);
        table.created(3, OwnerId(3), 10);
        assert_eq!(table.retain_scanned(&HashSet::from([1]), 10, 20), 0);
        assert_eq!(table.len(), 2);
        table.expire(120);
        let known: Vec<_> = (1..=3).map(|id| table.owner(id)).collect();
        assert_eq!(known, [Some(OwnerId(1)), None, Some(OwnerId(3))]);
    }
}
