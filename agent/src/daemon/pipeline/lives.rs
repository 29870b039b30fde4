//! What the pipeline knows of containers' lives, and what of it is not told yet.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::counters::Counters;
use crate::identity::OwnerId;
use crate::identity::containers::{Containers, Histories, News};

/// How long after a container's end kills for memory may still be told that hit it.
const STRAGGLERS_NS: u64 = 250_000_000;

/// One in so many of the cgroups there may be is a container that lives.
const CGROUPS_PER_CONTAINER: usize = 2;

/// One in so many of them a container that ended of late and may start again.
const CGROUPS_PER_HISTORY: usize = 4;

/// Likewise, of the spans and events that may wait for their pod's metadata, news of containers.
const ITEMS_PER_NEWS: usize = 2;

/// Containers, their pasts, and news of them.
#[derive(Debug)]
pub(super) struct Lives {
    pub(super) containers: Containers,
    pub(super) histories: Histories,
    untold: VecDeque<(OwnerId, News)>,
    most_untold: usize,
}

impl Lives {
    /// As large as beside a table of `cgroups`, and of `items` that wait for their pod's metadata.
    pub(super) fn new(cgroups: usize, items: usize, counters: &Arc<Counters>) -> Self {
        Self {
            containers: Containers::new(cgroups / CGROUPS_PER_CONTAINER, Arc::clone(counters)),
            histories: Histories::new(cgroups / CGROUPS_PER_HISTORY, Arc::clone(counters)),
            untold: VecDeque::new(),
            most_untold: items / ITEMS_PER_NEWS,
        }
    }

    /// Something happened that is to be told once its container has a name.
    pub(super) fn push(&mut self, owner: OwnerId, news: News) {
        self.untold.push_back((owner, news));
    }

    /// Whether nothing is to be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.untold.is_empty()
    }

    /// Takes out what can be told, oldest first, and of one container nothing before what came earlier. Whoever has no name yet is
    /// waited for; what finds no room is not.
    pub(super) fn take_ready(
        &mut self,
        (now, at_once): (u64, bool),
        mut is_named: impl FnMut(OwnerId) -> bool,
    ) -> Vec<(OwnerId, News)> {
        let mut excess = self.untold.len().saturating_sub(self.most_untold);
        let mut held: HashSet<OwnerId> = HashSet::new();
        let mut ready = Vec::new();
        for (owner, news) in std::mem::take(&mut self.untold) {
            let is_fresh = matches!(news, News::Ended(_))
                && now.saturating_sub(news.at()) < STRAGGLERS_NS
                && !at_once;
            let can_go = !is_fresh && !held.contains(&owner) && is_named(owner);
            if can_go || excess > 0 {
                excess = excess.saturating_sub(1);
                ready.push((owner, news));
            } else {
                held.insert(owner);
                self.untold.push_back((owner, news));
            }
        }
        ready
    }

    /// Who is held here; an owner may come several times.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        let untold = self.untold.iter().map(|(owner, _)| *owner);
        self.containers.owners().chain(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::containers::Ended;

    fn ended(at: u64) -> News {
        News::Ended(Ended {
            at,
            status: None,
            process: None,
            executable: None,
            ran_ns: None,
            oom_kills: 0,
        })
    }

    fn lives(items: usize) -> Lives {
        Lives::new(8, items, &Arc::default())
    }

    /// Owners of what can go.
    fn ready(lives: &mut Lives, now: u64, unnamed: &[u32]) -> Vec<u32> {
        let is_named = |OwnerId(owner)| !unnamed.contains(&owner);
        let ready = lives.take_ready((now, false), is_named);
        ready.iter().map(|(OwnerId(owner), _)| *owner).collect()
    }

    #[test]
    fn what_has_a_name_goes_in_order() {
        let mut lives = lives(100);
        for (owner, at) in [(10, 0), (20, 0), (10, 0), (30, 1), (30, 0)] {
            lives.push(OwnerId(owner), ended(at));
        }
        assert_eq!(ready(&mut lives, STRAGGLERS_NS, &[10]), [20]);
        assert_eq!(ready(&mut lives, 1 + STRAGGLERS_NS, &[]), [10, 10, 30, 30]);
        assert!(lives.is_quiet());
    }

    #[test]
    fn ends_wait_for_kills_that_are_told_late() {
        let mut lives = lives(100);
        lives.push(OwnerId(1), ended(7));
        assert_eq!(ready(&mut lives, 6 + STRAGGLERS_NS, &[]), [0; 0]);
        assert_eq!(ready(&mut lives, 7 + STRAGGLERS_NS, &[]), [1]);
    }

    #[test]
    fn what_finds_no_room_is_told_as_it_is() {
        let mut lives = lives(4);
        for owner in [10, 20, 30] {
            lives.push(OwnerId(owner), ended(0));
        }
        assert_eq!(ready(&mut lives, 0, &[10, 20, 30]), [10]);
        assert_eq!(lives.owners().collect::<Vec<_>>(), [20, 30].map(OwnerId));
    }
}
