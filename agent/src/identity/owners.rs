//! Owners and their dense handles.

use std::net::IpAddr;
use std::sync::Arc;

use super::OwnerId;
use super::cgroup_path::CgroupOwner;

use crate::hash::HashMap;

/// Somebody telemetry belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who; `None` for the node itself.
    pub whose: Option<CgroupOwner>,
    /// When the first of its cgroups was seen (boot clock, nanoseconds).
    pub first_seen: u64,
    /// The namespace of its pod, once it was known: it never changes, and stays when the pod is forgotten.
    pub(super) namespace: Option<Arc<str>>,
    /// Its pod was known, or was waited for long enough: nobody waits for it any more.
    pub(super) awaits_nothing: bool,
    /// Where it was last seen, and the state of the far ends' names after that.
    pub(super) seen: Option<SeenAt>,
}

/// An address that somebody used, in a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenAt {
    pub(super) ip: IpAddr,
    pub(super) netns: u32,
    /// [`super::far_ends::FarEnds::changes`].
    pub(super) changes: u64,
}

/// The namespace somebody's pod is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodNamespace {
    /// There is no pod.
    NoPod,
    /// There is a pod that nobody told of yet.
    Unknown,
    /// This one.
    Known(Arc<str>),
}

/// Bounded table of owners. Slot 0 is the node's.
#[derive(Debug)]
pub struct OwnerTable {
    slots: Vec<Option<Owner>>,
    ids: HashMap<CgroupOwner, OwnerId>,
    free: Vec<OwnerId>,
    capacity: usize,
    node: Owner,
}

impl OwnerTable {
    /// A table of at most `capacity` owners besides the node.
    pub fn new(capacity: usize) -> Self {
        let node = Owner {
            whose: None,
            first_seen: 0,
            namespace: None,
            awaits_nothing: false,
            seen: None,
        };
        Self {
            slots: vec![Some(node.clone())],
            ids: HashMap::default(),
            free: Vec::new(),
            capacity: capacity.min(u32::MAX as usize - 1),
            node,
        }
    }

    /// The handle of this owner, a new one if it is met for the first time. `None` if the table is full: handles in
    /// use cannot be taken away from whoever holds them.
    pub fn intern(&mut self, whose: &CgroupOwner, now: u64) -> Option<OwnerId> {
        if let Some(id) = self.ids.get(whose) {
            return Some(*id);
        }
        let id = self.free_slot()?;
        self.slots[id.0 as usize] = Some(Owner {
            whose: Some(whose.clone()),
            first_seen: now,
            namespace: None,
            awaits_nothing: false,
            seen: None,
        });
        self.ids.insert(whose.clone(), id);
        Some(id)
    }

    /// The owner behind a handle; the node for a handle that was freed.
    pub fn get(&self, id: OwnerId) -> &Owner {
        self.slots
            .get(id.0 as usize)
            .and_then(Option::as_ref)
            .unwrap_or(&self.node)
    }

    /// What is known of an owner; `None` for one that was freed.
    pub(super) fn get_mut(&mut self, id: OwnerId) -> Option<&mut Owner> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// An owner's pod is in this namespace.
    pub(super) fn found_in(&mut self, id: OwnerId, namespace: Arc<str>) {
        if let Some(owner) = self.get_mut(id) {
            owner.namespace = Some(namespace);
        }
    }

    /// Frees every owner but the node for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(OwnerId) -> bool) {
        let Self {
            ids, slots, free, ..
        } = self;
        ids.retain(|_, id| {
            let kept = keep(*id);
            if !kept {
                slots[id.0 as usize] = None;
                free.push(*id);
            }
            kept
        });
    }

    /// Number of owners besides the node.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no owner but the node.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn free_slot(&mut self) -> Option<OwnerId> {
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        if self.ids.len() >= self.capacity {
            return None;
        }
        let id = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(None);
        Some(OwnerId(id))
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerTable;
    use crate::identity::OwnerId;
    use crate::identity::cgroup_path::parse;

    #[test]
    fn the_node_is_always_there() {
        let mut table = OwnerTable::new(1);
        assert_eq!(table.get(OwnerId::NODE).whose, None);
        table.retain(|_| false);
        assert_eq!(table.get(OwnerId::NODE).whose, None);
    }

    #[test]
    fn cgroups_of_one_owner_share_a_handle() {
        let mut table = OwnerTable::new(4);
        let main = table.intern(&parse("/system.slice/a.service"), 1).unwrap();
        assert_eq!(
            table.intern(&parse("/system.slice/a.service/worker"), 2),
            Some(main)
        );
        assert_ne!(
            table.intern(&parse("/system.slice/b.service"), 3),
            Some(main)
        );
        assert_eq!((table.get(main).first_seen, table.len()), (1, 2));
    }

    #[test]
    fn handles_are_reused_only_after_they_were_freed() {
        let mut table = OwnerTable::new(2);
        let a = table.intern(&parse("/a"), 1).unwrap();
        let b = table.intern(&parse("/b"), 1).unwrap();
        assert_eq!(table.intern(&parse("/c"), 1), None);
        table.retain(|id| id == b);
        assert_eq!(table.get(a).whose, None);
        assert_eq!(table.intern(&parse("/c"), 2), Some(a));
        assert_eq!(table.get(a).whose, Some(parse("/c")));
        assert_eq!(table.intern(&parse("/b"), 2), Some(b));
    }
}
