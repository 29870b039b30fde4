//! In which namespace somebody's pod is.

use std::sync::Arc;

use super::Identity;
use crate::identity::cgroup_path::CgroupOwner;
use crate::identity::{OwnerId, PodNamespace};

impl Identity {
    /// The namespace of an owner's pod.
    pub fn namespace(&mut self, id: OwnerId) -> PodNamespace {
        let owner = self.owners.get(id);
        if let Some(known) = &owner.namespace {
            return PodNamespace::Known(Arc::clone(known));
        }
        let Some(whose) = owner.whose.as_ref().filter(|_| self.kubernetes) else {
            return PodNamespace::NoPod;
        };
        match (self.known(whose).pod, whose) {
            (Some(pod), _) => {
                let namespace = Arc::clone(&pod.namespace);
                self.owners.found_in(id, Arc::clone(&namespace));
                PodNamespace::Known(namespace)
            }
            (None, CgroupOwner::Host { .. } | CgroupOwner::Container { pod_uid: None, .. }) => {
                PodNamespace::NoPod
            }
            (None, _) => PodNamespace::Unknown,
        }
    }
}
