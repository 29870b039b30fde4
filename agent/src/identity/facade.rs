//! The one owner of all identity state.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::OwnerId;
use super::cgroup_path::{self, CgroupOwner};
use super::cgroups::CgroupTable;
use super::describe::Describer;
use super::owners::{Owner, OwnerTable};
use super::peers::{Peer, PeerNames};
use super::pod_info::{ContainerInfo, PodInfo};
use super::pods::{PodTable, PodUpdate};
use super::resource::{Resolution, Resource};
use super::scan::Scanned;
use super::settings::IdentitySettings;
use super::workload::Workload;
use crate::counters::{Counters, Discard};

/// Answers who: by cgroup, by owner, by address. Every time is on the boot clock, in nanoseconds.
#[derive(Debug)]
pub struct Identity {
    counters: Arc<Counters>,
    kubernetes: bool,
    pod_wait: u64,
    cgroups: CgroupTable,
    owners: OwnerTable,
    pods: PodTable,
    peers: PeerNames,
    describer: Describer,
    node: Arc<Resource>,
    node_name: Arc<str>,
    localhost: Arc<str>,
    /// By owner. Valid as long as it was written from the pod that is known now.
    written: Vec<Option<Written>>,
}

#[derive(Clone, Debug)]
struct Written {
    pod: Option<Arc<PodInfo>>,
    resource: Arc<Resource>,
}

/// What the pod table knows of an owner.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    pod: Option<&'a Arc<PodInfo>>,
    container: Option<&'a ContainerInfo>,
    /// Whether more may still arrive.
    complete: bool,
}

impl Identity {
    /// Identity that knows nothing yet but the node.
    pub fn new(settings: &IdentitySettings, counters: Arc<Counters>) -> Self {
        let limits = settings.limits;
        let mut describer = Describer::new(settings);
        Self {
            counters,
            kubernetes: settings.kubernetes,
            pod_wait: limits.pod_wait,
            cgroups: CgroupTable::new(limits.cgroups, limits.cgroup_linger),
            owners: OwnerTable::new(limits.owners),
            pods: PodTable::new(limits.pods, limits.pod_linger),
            peers: PeerNames::new(
                &settings.cidrs,
                settings.peer_addresses,
                limits.peer_addresses,
            ),
            node: Arc::new(describer.node()),
            node_name: settings.node_name.as_str().into(),
            localhost: "localhost".into(),
            describer,
            written: Vec::new(),
        }
    }

    /// A cgroup of the unified hierarchy, new or found by a scan. If no more owners fit, it counts for the node.
    pub fn cgroup_created(&mut self, id: u64, path: &str, now: u64) {
        let owner = self.owners.intern(cgroup_path::parse(path), now);
        self.count_full(u64::from(owner.is_none()));
        let evicted = self
            .cgroups
            .created(id, owner.unwrap_or(OwnerId::NODE), now);
        self.count_full(u64::from(evicted));
    }

    /// A cgroup is gone; records of it may still come.
    pub fn cgroup_removed(&mut self, id: u64, now: u64) {
        let evicted = self.cgroups.removed(id, now);
        self.count_full(u64::from(evicted));
    }

    /// Takes in a scan that began at `scan_started`: adds what it found and, if it is complete, takes for removed what was
    /// there before it began and was not found.
    pub fn cgroups_scanned(&mut self, scanned: &Scanned, scan_started: u64, now: u64) {
        for (id, path) in &scanned.cgroups {
            self.cgroup_created(*id, path, now);
        }
        if scanned.complete {
            let found: HashSet<u64> = scanned.cgroups.iter().map(|(id, _)| *id).collect();
            let evicted = self.cgroups.retain_scanned(&found, scan_started, now);
            self.count_full(evicted);
        }
    }

    /// Whose cgroup this is. Whoever asks on behalf of an event counts [`Discard::IdentityUnknownCgroup`] for `None`.
    pub fn owner_of_cgroup(&self, id: u64) -> Option<OwnerId> {
        self.cgroups.owner(id)
    }

    /// The owner behind a handle.
    pub fn owner(&self, id: OwnerId) -> &Owner {
        self.owners.get(id)
    }

    /// Takes in news of pods.
    pub fn apply(&mut self, update: PodUpdate, now: u64) {
        let evicted = self.pods.apply(update, now);
        self.count_full(evicted);
    }

    /// Who has this address now.
    pub fn peer(&mut self, address: IpAddr) -> Peer {
        self.peers.peer(address, &self.pods)
    }

    /// The workload an owner is part of, for this node's end of a flow. `None` outside Kubernetes.
    pub fn workload(&self, id: OwnerId) -> Option<Arc<Workload>> {
        let known = self.known(self.owners.get(id).whose.as_ref()?);
        known.pod.map(|pod| Arc::clone(&pod.workload))
    }

    /// What to call this node's own end of a flow that belongs to no workload: `localhost` on loopback, else the
    /// node's name.
    pub fn local_end(&self, address: IpAddr) -> Peer {
        let address = address.to_canonical();
        let name = if address.is_loopback() {
            &self.localhost
        } else {
            &self.node_name
        };
        Peer::Address(Arc::clone(name))
    }

    /// Whether the pod an owner belongs to is not known yet and may still become so: flows would be counted under half
    /// a name.
    pub fn awaits_pod(&self, id: OwnerId, now: u64) -> bool {
        let owner = self.owners.get(id);
        let Some(whose) = owner.whose.as_ref().filter(|_| self.kubernetes) else {
            return false;
        };
        let known = self.known(whose);
        !known.complete
            && known.pod.is_none()
            && now.saturating_sub(owner.first_seen) < self.pod_wait
    }

    /// The resource to export an owner's telemetry under. The same object as before unless something changed.
    pub fn resolve(&mut self, id: OwnerId, now: u64) -> Resolution {
        let owner = self.owners.get(id);
        let Some(whose) = owner.whose.clone() else {
            return Resolution::Ready(self.node_resource());
        };
        let age = now.saturating_sub(owner.first_seen);
        let known = self.known(&whose);
        if self.kubernetes && !known.complete && age < self.pod_wait {
            return Resolution::Pending;
        }
        let pod = known.pod.map(Arc::clone);
        let index = id.0 as usize;
        if let Some(Some(written)) = self.written.get(index)
            && same_pod(written.pod.as_ref(), pod.as_ref())
        {
            return Resolution::Ready(Arc::clone(&written.resource));
        }
        let resource = self.write(index, &whose);
        if self.written.len() <= index {
            self.written.resize(index + 1, None);
        }
        self.written[index] = Some(Written {
            pod,
            resource: Arc::clone(&resource),
        });
        Resolution::Ready(resource)
    }

    /// The agent's own resource.
    pub fn node_resource(&self) -> Arc<Resource> {
        Arc::clone(&self.node)
    }

    /// Forgets what was removed too long ago.
    pub fn expire(&mut self, now: u64) {
        self.cgroups.expire(now);
        self.pods.expire(now);
    }

    /// Frees the owners that no cgroup refers to and that nobody else does, as `in_use` says. To be asked for everything
    /// that holds a handle: series, spans under way, events that wait.
    pub fn retain_owners(&mut self, mut in_use: impl FnMut(OwnerId) -> bool) {
        let of_cgroups = self.cgroups.owners();
        let written = &mut self.written;
        self.owners.retain(|id| {
            let kept = of_cgroups.contains(&id) || in_use(id);
            if !kept && let Some(slot) = written.get_mut(id.0 as usize) {
                *slot = None;
            }
            kept
        });
    }

    /// Number of living cgroups, owners and living pods known.
    pub fn sizes(&self) -> IdentitySizes {
        IdentitySizes {
            cgroups: self.cgroups.len(),
            owners: self.owners.len(),
            pods: self.pods.len(),
        }
    }

    fn known(&self, whose: &CgroupOwner) -> Known<'_> {
        match whose {
            CgroupOwner::Container { id, pod_uid, .. } => match self.pods.by_container(id) {
                Some((pod, container)) => Known {
                    pod: Some(pod),
                    container: Some(container),
                    complete: true,
                },
                // Kubelet reports a container's id only after it was started.
                None => Known {
                    pod: pod_uid.as_deref().and_then(|uid| self.pods.by_uid(uid)),
                    container: None,
                    complete: pod_uid.is_none(),
                },
            },
            CgroupOwner::Pod { uid } => {
                let pod = self.pods.by_uid(uid);
                Known {
                    pod,
                    container: None,
                    complete: pod.is_some(),
                }
            }
            CgroupOwner::Host { .. } => Known {
                pod: None,
                container: None,
                complete: true,
            },
        }
    }

    fn write(&mut self, index: usize, whose: &CgroupOwner) -> Arc<Resource> {
        let known = self.known(whose);
        let (pod, container) = (known.pod.map(Arc::clone), known.container.cloned());
        let resource = match (whose, &pod) {
            (CgroupOwner::Host { slice, unit }, _) => self.describer.host(slice, unit.as_ref()),
            (CgroupOwner::Container { id, .. }, Some(pod)) => {
                self.describer.pod(pod, container.as_ref(), Some(id))
            }
            (CgroupOwner::Pod { .. }, Some(pod)) => self.describer.pod(pod, None, None),
            (
                CgroupOwner::Container {
                    id,
                    runtime,
                    pod_uid,
                },
                None,
            ) => self.describer.container(id, *runtime, pod_uid.as_ref()),
            (CgroupOwner::Pod { uid }, None) => self.describer.unknown_pod(uid),
        };
        // A change of the pod need not show in the resource.
        let before = self
            .written
            .get(index)
            .and_then(Option::as_ref)
            .map(|written| &written.resource);
        match before {
            Some(before) if **before == resource => Arc::clone(before),
            _ => Arc::new(resource),
        }
    }

    fn count_full(&self, entries: u64) {
        if entries > 0 {
            self.counters.discard(Discard::IdentityTableFull, entries);
        }
    }
}

/// How much identity knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentitySizes {
    /// Living cgroups.
    pub cgroups: usize,
    /// Owners besides the node.
    pub owners: usize,
    /// Living pods.
    pub pods: usize,
}

fn same_pod(a: Option<&Arc<PodInfo>>, b: Option<&Arc<PodInfo>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
