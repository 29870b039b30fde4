//! Which container an owner is, and what its pod says of it.

use std::sync::Arc;

use super::Identity;
use crate::identity::cgroup_path::{CgroupOwner, Runtime};
use crate::identity::pod_info::{ContainerInfo, PodInfo};
use crate::identity::{OwnerId, Resolution, Which};

/// What a pod's sandbox executes.
const SANDBOX: &str = "pause";

/// A container, as far as it is known which one.
#[derive(Clone, Copy, Debug)]
pub struct ContainerOf<'a> {
    /// Its id.
    pub id: &'a Arc<str>,
    /// The UID of the pod it is in, as its cgroup's path has it.
    pub pod_uid: Option<&'a Arc<str>>,
    /// The pod that lists it, and as what.
    pub listed: Option<(&'a PodInfo, &'a ContainerInfo)>,
}

impl ContainerOf<'_> {
    /// The container, whatever run of it.
    pub fn which(&self) -> Which {
        match self.listed {
            Some((pod, container)) => Which::OfPod {
                uid: Arc::clone(&pod.uid),
                name: Arc::clone(&container.name),
            },
            None => Which::Alone(Arc::clone(self.id)),
        }
    }

    /// Whether it is what holds a pod's namespaces, which is no container to its users: no pod lists it, and it does what those do,
    /// or nobody knows what it does.
    pub fn is_sandbox(&self, executable: Option<&str>) -> bool {
        let holds = executable.is_none_or(|name| name == SANDBOX);
        holds && self.pod_uid.is_some() && self.listed.is_none()
    }

    /// How many runs there were before this one, as far as its pod's status tells.
    pub fn restarts(&self) -> Option<u32> {
        self.listed?.1.restarts_before(self.id)
    }
}

impl Identity {
    /// The container that an owner is; `None` if it is something else.
    pub fn container(&self, id: OwnerId) -> Option<ContainerOf<'_>> {
        let Some(CgroupOwner::Container { id, pod_uid, .. }) = &self.owners.get(id).whose else {
            return None;
        };
        let listed = self.pods.by_container(id);
        Some(ContainerOf {
            id,
            pod_uid: pod_uid.as_ref(),
            listed: listed.map(|(pod, container)| (&**pod, container)),
        })
    }

    /// Whether all that will be known of an owner is known, or was waited for long enough.
    pub fn is_named(&mut self, id: OwnerId, now: u64) -> bool {
        matches!(self.resolve(id, now), Resolution::Ready(_))
    }

    /// Whether a cgroup is a container's, or in one's.
    pub fn container_of_cgroup(&self, cgroup: u64) -> Option<OwnerId> {
        let owner = self.owner_of_cgroup(cgroup)?;
        let whose = self.owners.get(owner).whose.as_ref();
        matches!(whose, Some(CgroupOwner::Container { .. })).then_some(owner)
    }

    /// Who owns what is counted of a container beyond its life: its pod, whose cgroups outlive it, or itself.
    pub fn beyond_its_life(&mut self, id: OwnerId, now: u64) -> OwnerId {
        let pod = self.container(id).and_then(|container| {
            container.listed?;
            container.pod_uid.map(Arc::clone)
        });
        pod.and_then(|uid| self.owners.intern(&CgroupOwner::Pod { uid }, now))
            .unwrap_or(id)
    }

    /// The handle of a container of which only its pod tells; `None` if there is no room for another.
    pub fn owner_of_listed(
        &mut self,
        id: &Arc<str>,
        pod_uid: &Arc<str>,
        now: u64,
    ) -> Option<OwnerId> {
        let whose = CgroupOwner::Container {
            id: Arc::clone(id),
            runtime: Runtime::Unknown,
            pod_uid: Some(Arc::clone(pod_uid)),
        };
        self.owners.intern(&whose, now)
    }
}
