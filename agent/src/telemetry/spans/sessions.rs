//! Which process tree of a container is the container's own, and which were started in it later.

use crate::events::ProcessId;
use crate::hash::HashMap;
use crate::identity::OwnerId;

/// The first root of each owner; as many as there are owners of processes.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    first: HashMap<OwnerId, ProcessId>,
}

impl Sessions {
    /// There is such a root. An agent that finds what was there already is not told in the order of time.
    pub(super) fn root_seen(&mut self, owner: OwnerId, root: ProcessId) {
        let first = self.first.entry(owner).or_insert(root);
        if root.start_ns < first.start_ns {
            *first = root;
        }
    }

    /// Whether this is the first.
    pub(super) fn is_first(&self, owner: OwnerId, root: ProcessId) -> bool {
        self.first.get(&owner).is_none_or(|first| *first == root)
    }

    /// Forgets owners that are not known any more.
    pub(super) fn retain(&mut self, mut is_known: impl FnMut(OwnerId) -> bool) {
        self.first.retain(|owner, _| is_known(*owner));
    }
}
