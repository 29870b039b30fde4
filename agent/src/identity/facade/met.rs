//! What is asked and told of an owner with nearly every event: the answer is found once, and kept.

use std::collections::HashMap;
use std::sync::Arc;

use super::Identity;
use crate::events::Connection;
use crate::identity::OwnerId;
use crate::identity::cgroup_path::CgroupOwner;
use crate::identity::owners::SeenAt;

impl Identity {
    /// Whether the pod an owner belongs to is not known yet and may still become so: flows would be counted under half
    /// a name.
    pub fn awaits_pod(&mut self, id: OwnerId, now: u64) -> bool {
        let owner = self.owners.get(id);
        if owner.awaits_nothing {
            return false;
        }
        let Some(whose) = owner.whose.as_ref().filter(|_| self.kubernetes) else {
            return false;
        };
        let known = self.known(whose);
        let awaits = !known.complete
            && known.pod.is_none()
            && now.saturating_sub(owner.first_seen) < self.pod_wait;
        if !awaits && let Some(owner) = self.owners.get_mut(id) {
            owner.awaits_nothing = true;
        }
        awaits
    }

    /// Somebody opened a connection at a time: the address of this end is the pod's, if it is one's and nobody else's.
    pub fn seen(&mut self, id: OwnerId, connection: &Connection, at: u64) {
        let local = connection.local.ip().to_canonical();
        let mut seen = SeenAt {
            ip: local,
            netns: connection.netns,
            changes: self.far_ends.changes(),
        };
        if self.owners.get(id).seen == Some(seen) {
            return;
        }
        if let Some(pod) = self.pod(id).filter(|pod| !pod.host_network) {
            let uid = Arc::clone(&pod.uid);
            self.far_ends.seen(local, connection.netns, &uid, at);
        }
        seen.changes = self.far_ends.changes();
        if let Some(owner) = self.owners.get_mut(id) {
            owner.seen = Some(seen);
        }
    }

    /// Who uses each network namespace: the pod that all those are of who opened connections in it, or the container where there are
    /// no pods. `None` where more than one does. The host's is left out; where it is not known, it is one that services of the host use.
    pub fn users_of_namespaces(&self) -> HashMap<u32, Option<CgroupOwner>> {
        let mut users: HashMap<u32, Option<CgroupOwner>> = HashMap::new();
        // The number of a namespace that is gone is given to the next one at once.
        for id in self.cgroups.living_owners() {
            let owner = self.owners.get(id);
            let (Some(seen), Some(whose)) = (owner.seen, &owner.whose) else {
                continue;
            };
            if seen.netns == 0 || self.host_netns == Some(seen.netns) {
                continue;
            }
            // Services of the host enter namespaces of pods, to forward ports.
            let is_host = matches!(whose, CgroupOwner::Host { .. });
            if is_host && self.host_netns.is_some() {
                continue;
            }
            let shares = self.pod(id).is_some_and(|pod| pod.host_network);
            let user = match whose {
                CgroupOwner::Host { .. } => None,
                CgroupOwner::Container { .. } | CgroupOwner::Pod { .. } if shares => None,
                CgroupOwner::Container {
                    pod_uid: Some(uid), ..
                } => Some(CgroupOwner::Pod {
                    uid: Arc::clone(uid),
                }),
                other => Some(other.clone()),
            };
            let known = users.entry(seen.netns).or_insert_with(|| user.clone());
            if *known != user {
                *known = None;
            }
        }
        users
    }

    /// The handle of somebody; `None` if there is no room for another.
    pub fn owner_of(&mut self, whose: &CgroupOwner, now: u64) -> Option<OwnerId> {
        self.owners.intern(whose, now)
    }
}
