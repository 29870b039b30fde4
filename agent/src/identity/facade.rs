//! The one owner of all identity state.

mod containers;
mod met;
mod namespace;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use self::containers::ContainerOf;
use super::OwnerId;
use super::cgroup_path::{self, CgroupOwner};
use super::cgroups::CgroupTable;
use super::cluster::{ClusterUpdate, Moment, Source};
use super::describe::Describer;
use super::facts::NodeFacts;
use super::far_ends::{FarEnd, FarEnds, PeerKey};
use super::naming_lag::NamingLag;
use super::owners::{Owner, OwnerTable};
use super::peers::Peer;
use super::pod_info::{self, ContainerInfo, PodInfo};
use super::pods::{PodTable, PodUpdate};
use super::resource::{Resolution, Resource};
use super::scan::Scanned;
use super::settings::IdentitySettings;
use super::workload::Workload;
use crate::counters::{Counters, Discard};
use crate::events::dns::lookups::Lookup;

/// Answers who: by cgroup, by owner, by address. Every time is on the boot clock, in nanoseconds.
#[derive(Debug)]
pub struct Identity {
    counters: Arc<Counters>,
    kubernetes: bool,
    pod_wait: u64,
    cgroups: CgroupTable,
    owners: OwnerTable,
    /// Whose cgroups count for the node because the table of owners is full; at most as many as there may be cgroups.
    homeless: HashMap<u64, CgroupOwner>,
    most_homeless: usize,
    pods: PodTable,
    naming_lag: NamingLag,
    far_ends: FarEnds,
    host_netns: Option<u32>,
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
    depth: Depth,
    resource: Arc<Resource>,
}

/// How much of an owner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Nothing,
    Pod,
    Everything,
}

/// What the pod table knows of an owner.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    pod: Option<&'a Arc<PodInfo>>,
    container: Option<&'a ContainerInfo>,
    /// Whether more may still arrive.
    complete: bool,
}

impl Known<'_> {
    fn depth(&self) -> Depth {
        match (self.pod, self.complete) {
            (None, _) => Depth::Nothing,
            (Some(_), false) => Depth::Pod,
            (Some(_), true) => Depth::Everything,
        }
    }
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
            homeless: HashMap::new(),
            most_homeless: limits.cgroups,
            pods: PodTable::new(limits.pods, limits.pod_linger),
            naming_lag: NamingLag::new(limits.pods),
            far_ends: FarEnds::new(settings),
            host_netns: settings.host_netns,
            node: Arc::new(describer.node()),
            node_name: settings.node_name.as_str().into(),
            localhost: "localhost".into(),
            describer,
            written: Vec::new(),
        }
    }

    /// The node's own resource by itself, as it is before anything is known of the node.
    pub fn own_resource(settings: &IdentitySettings) -> Arc<Resource> {
        Arc::new(Describer::new(settings).node())
    }

    /// A cgroup of the unified hierarchy was made. While no more owners fit, it counts for the node.
    pub fn cgroup_created(&mut self, id: u64, path: &str, now: u64) {
        let owner = self.cgroup_found(id, path, now);
        let owner = self.owners.get(owner);
        // Others are known by a cgroup that was there before.
        let is_new = owner.first_seen == now;
        if let Some(CgroupOwner::Container { id, pod_uid, .. }) = &owner.whose
            && self.kubernetes
            && is_new
            && pod_uid.is_some()
            && self.pods.by_container(id).is_none()
        {
            self.naming_lag.made(id, now);
        }
    }

    /// A cgroup is there, nobody knows since when.
    fn cgroup_found(&mut self, id: u64, path: &str, now: u64) -> OwnerId {
        let whose = cgroup_path::parse(path);
        let owner = self.owners.intern(&whose, now).unwrap_or(OwnerId::NODE);
        if owner == OwnerId::NODE {
            self.count_full(1);
            if self.homeless.len() < self.most_homeless {
                self.homeless.insert(id, whose);
            }
        }
        let evicted = self.cgroups.created(id, owner, now);
        self.count_full(u64::from(evicted));
        owner
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
            self.cgroup_found(*id, path, now);
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

    /// Takes in news of this node's pods. Returns how long each container was there that they are the first to name, of
    /// those whose making was seen.
    pub fn apply(&mut self, update: PodUpdate, now: Moment) -> Vec<Duration> {
        let lags = self.naming_lag.named(&update, now.boot);
        let addresses = pod_info::addresses(&update);
        let evicted = self.pods.apply(update, now.boot);
        self.count_full(evicted);
        self.apply_addresses(addresses, Source::Node, now);
        lags
    }

    /// Takes in news of everything in the cluster that has an address. Says whether anybody was renamed who keeps an address;
    /// whoever else comes or goes has another [`PeerKey`].
    pub fn apply_cluster(&mut self, update: ClusterUpdate, now: Moment) -> bool {
        self.apply_addresses(update, Source::Cluster, now);
        self.far_ends.take_renamed()
    }

    fn apply_addresses(&mut self, update: ClusterUpdate, source: Source, now: Moment) {
        let turned_away = self.far_ends.apply(update, source, now);
        let full = Discard::IdentityClusterFull;
        self.counters.discard(full, turned_away);
        let cut = Discard::IdentityAddressesCut;
        self.counters.discard(cut, self.far_ends.take_cut());
    }

    /// The host itself has these addresses, and no others. Who had one of them before is called otherwise from then on.
    pub fn host_addresses_changed(&mut self, addresses: BTreeSet<IpAddr>) {
        self.far_ends.host_addresses_changed(addresses);
    }

    /// Somebody looked up a name: its addresses are called by it from now on.
    pub fn looked_up(&mut self, lookup: &Lookup) {
        self.far_ends.looked_up(lookup);
    }

    /// Addresses whose names had to be forgotten for others', since the last call.
    pub fn take_forgotten_names(&mut self) -> u64 {
        self.far_ends.take_forgotten_names()
    }

    /// Who is, or was, at this far end. `backend` is whom a Service's address was translated to, where that is known.
    pub fn peer(&mut self, end: &FarEnd, backend: Option<SocketAddr>) -> Peer {
        self.far_ends.peer(end, backend)
    }

    /// What the name of this far end depends on: where it is the same, so is [`Identity::peer`], until somebody is renamed.
    pub fn peer_key(&self, end: &FarEnd, backend: Option<SocketAddr>) -> PeerKey {
        self.far_ends.key(end, backend)
    }

    /// Whether this is a Service's address, so that packets go to somebody else.
    pub fn is_service(&self, end: &FarEnd) -> bool {
        self.far_ends.is_service(end)
    }

    /// Whether it may be a pod that is not known yet. Says so for a few seconds after it was asked first.
    pub fn awaits_peer(&mut self, end: &FarEnd, now: u64) -> bool {
        self.kubernetes && self.far_ends.awaits(end, now)
    }

    /// The workload an owner is part of, for this node's end of a flow. `None` outside Kubernetes.
    pub fn workload(&self, id: OwnerId) -> Option<Arc<Workload>> {
        self.pod(id).map(|pod| Arc::clone(&pod.workload))
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

    /// The resource to export an owner's telemetry under. The same object as before unless something changed.
    pub fn resolve(&mut self, id: OwnerId, now: u64) -> Resolution {
        let owner = self.owners.get(id);
        let Some(whose) = owner.whose.clone() else {
            return Resolution::Ready(self.node_resource());
        };
        let age = now.saturating_sub(owner.first_seen);
        let known = self.known(&whose);
        let (pod, depth) = (known.pod.map(Arc::clone), known.depth());
        // What its pod says of a container that has ended is of its successor.
        let is_past = known.container.is_some_and(|container| match &whose {
            CgroupOwner::Container { id, .. } => !container.is_present_run(id),
            CgroupOwner::Pod { .. } | CgroupOwner::Host { .. } => false,
        });
        let index = id.0 as usize;
        if let Some(Some(written)) = self.written.get(index) {
            // What was known stays true when it is forgotten: a pod that is long gone, a container its pod lists no more.
            let is_forgotten = depth < written.depth || (is_past && depth == written.depth);
            if is_forgotten || same_pod(written.pod.as_ref(), pod.as_ref()) {
                return Resolution::Ready(Arc::clone(&written.resource));
            }
        }
        if self.kubernetes && !known.complete && age < self.pod_wait {
            return Resolution::Pending;
        }
        let resource = self.write(index, &whose);
        if self.written.len() <= index {
            self.written.resize(index + 1, None);
        }
        self.written[index] = Some(Written {
            pod,
            depth,
            resource: Arc::clone(&resource),
        });
        Resolution::Ready(resource)
    }

    /// Calls the cluster, and far ends outside it, as these settings say, and puts their attributes on every Resource, those of the
    /// gone included.
    pub fn reconfigure(&mut self, settings: &IdentitySettings) {
        self.describer.reconfigure(settings);
        self.far_ends.reconfigure(settings);
        self.describe_all_again();
    }

    /// Takes in what was learned of the node and the cluster: every resource says so from now on, those of the gone included.
    pub fn facts_learned(&mut self, facts: NodeFacts) {
        self.describer.learn(facts);
        self.describe_all_again();
    }

    /// Writes every resource as it would be written now, of what was known when it was.
    fn describe_all_again(&mut self) {
        self.node = Arc::new(self.describer.node());
        for index in 0..self.written.len() {
            let Some(written) = self.written[index].clone() else {
                continue;
            };
            let id = OwnerId(u32::try_from(index).unwrap_or(u32::MAX));
            let Some(whose) = self.owners.get(id).whose.clone() else {
                continue;
            };
            let container = match (&whose, &written.pod) {
                (CgroupOwner::Container { id, .. }, Some(pod)) => pod
                    .containers
                    .iter()
                    .find(|container| container.ids.contains(id))
                    .cloned(),
                _ => None,
            };
            let resource = self.describe(&whose, written.pod.as_deref(), container.as_ref());
            if resource != *written.resource {
                self.written[index] = Some(Written {
                    resource: Arc::new(resource),
                    ..written
                });
            }
        }
    }

    /// The agent's own resource.
    pub fn node_resource(&self) -> Arc<Resource> {
        Arc::clone(&self.node)
    }

    /// Forgets what was removed too long ago.
    pub fn expire(&mut self, now: u64) {
        self.cgroups.expire(now);
        self.pods.expire(now);
        self.far_ends.expire(now);
    }

    /// Frees the owners that no cgroup refers to and that nobody else does, as `in_use` says. To be asked for everything
    /// that holds a handle: series, spans under way, events that wait. Their room is for cgroups that found none before.
    pub fn retain_owners(&mut self, mut in_use: impl FnMut(OwnerId) -> bool, now: u64) {
        let of_cgroups = self.cgroups.owners();
        let written = &mut self.written;
        self.owners.retain(|id| {
            let kept = of_cgroups.contains(&id) || in_use(id);
            if !kept && let Some(slot) = written.get_mut(id.0 as usize) {
                *slot = None;
            }
            kept
        });
        let (owners, cgroups) = (&mut self.owners, &mut self.cgroups);
        self.homeless.retain(|id, whose| {
            let is_waiting = cgroups.owner(*id) == Some(OwnerId::NODE);
            let owner = is_waiting.then(|| owners.intern(whose, now));
            match owner.flatten() {
                Some(owner) => !cgroups.assign(*id, owner),
                None => is_waiting,
            }
        });
    }

    /// Number of living cgroups, owners and living pods known.
    pub fn sizes(&self) -> IdentitySizes {
        IdentitySizes {
            cgroups: self.cgroups.len(),
            owners: self.owners.len(),
            pods: self.pods.len(),
            cluster_objects: self.far_ends.len(),
        }
    }

    fn pod(&self, id: OwnerId) -> Option<&Arc<PodInfo>> {
        self.known(self.owners.get(id).whose.as_ref()?).pod
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
        let resource = self.describe(whose, pod.as_deref(), container.as_ref());
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

    fn describe(
        &mut self,
        whose: &CgroupOwner,
        pod: Option<&PodInfo>,
        container: Option<&ContainerInfo>,
    ) -> Resource {
        match (whose, pod) {
            (CgroupOwner::Host { slice, unit }, _) => self.describer.host(slice, unit.as_ref()),
            (CgroupOwner::Container { id, .. }, Some(pod)) => {
                self.describer.pod(pod, container, Some(id))
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
    /// Everything in the cluster that has an address, as far as known.
    pub cluster_objects: usize,
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
