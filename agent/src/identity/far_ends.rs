//! Who is at the far end of a connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::cluster::{Address, ClusterTable, ClusterUpdate, Holder, Moment, ObjectKind, Source};
use super::names::Names;
use super::peers::{Peer, PeerNames};
use super::settings::{IdentitySettings, PeerAddresses};
use super::workload::Workload;
use crate::aged_map::AgedMap;
use crate::events::dns::lookups::Lookup;
use crate::events::{Connection, Role};

/// How long records wait to learn which pod has an address that may be a pod's: a kubelet tells of it when the pod has
/// already started. Nanoseconds.
const PATIENCE: u64 = 5_000_000_000;

/// How long it is remembered that nothing was learned of an address, nanoseconds.
const MEMORY: u64 = 600_000_000_000;

/// Blocks of addresses that pods have: every node hands out those of one or a few.
const BLOCKS: usize = 16_384;

/// A far end: an address, the port there, and when, on the boot clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarEnd {
    /// The address, however it is written.
    pub ip: IpAddr,
    /// The port; 0 where it is not known.
    pub port: u16,
    /// Nanoseconds since boot.
    pub at: u64,
    /// cgroup v2 id of whoever connected there, and may have asked for the address by a name; 0 for nobody.
    pub asker: u64,
}

impl FarEnd {
    /// This end, by this time.
    pub fn new(address: SocketAddr, at: u64) -> Self {
        Self {
            ip: address.ip().to_canonical(),
            port: address.port(),
            at,
            asker: 0,
        }
    }

    /// The same, connected to by the programs of this cgroup.
    #[must_use]
    pub fn asked_by(self, cgroup_id: u64) -> Self {
        Self {
            asker: cgroup_id,
            ..self
        }
    }

    /// The far end of a connection that an event at `event_ns` is about: when it was opened, or as near to that as is known. The port
    /// of whoever connected is any, and says nothing of who it was.
    pub fn of(connection: &Connection, event_ns: u64) -> Self {
        let at = connection.established_ns.unwrap_or(event_ns);
        let end = Self::new(connection.remote, at);
        let port = match connection.role {
            Some(Role::Destination) => 0,
            Some(Role::Source) | None => end.port,
        };
        Self { port, ..end }
    }
}

/// Which object held an address at a time: what it is, and since when it had the address. `None`: nobody known.
type Held = Option<(ObjectKind, u64)>;

/// Tells one far end from the next who has its address, and one who answers for it from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    held: Held,
    backend: Option<(IpAddr, Held)>,
    /// Number of the name it was asked for by; 0 where that does not matter.
    name: u64,
}

/// Names far ends.
#[derive(Debug)]
pub(super) struct FarEnds {
    /// What has to be listed once, and was not yet: until then any address may be somebody's.
    unlisted: Vec<(Source, ObjectKind)>,
    cluster: ClusterTable,
    names: PeerNames,
    /// By what names programs ask for addresses; `None` where addresses are not called by them.
    dns: Option<Names>,
    /// What the host's own addresses are called, and which they are: those nobody in the cluster has.
    host: Peer,
    host_addresses: BTreeSet<IpAddr>,
    /// By prefix; their pods may be told of late.
    blocks: AgedMap<IpAddr, ()>,
    /// Grows with all that may change whose an address is.
    changes: u64,
    /// Addresses nothing is known of, since when the last holder is gone (0: never had one) → when they were asked for first.
    strangers: AgedMap<(IpAddr, u64), u64>,
}

impl FarEnds {
    pub(super) fn new(settings: &IdentitySettings) -> Self {
        let limits = settings.limits;
        let mut unlisted = Vec::new();
        if settings.kubernetes {
            unlisted.push((Source::Node, ObjectKind::Pod));
        }
        if settings.cluster {
            unlisted.extend(ObjectKind::ALL.map(|kind| (Source::Cluster, kind)));
        }
        Self {
            unlisted,
            cluster: ClusterTable::new(limits.cluster_objects, limits.pod_linger),
            names: PeerNames::new(
                &settings.cidrs,
                settings.peer_addresses,
                limits.peer_addresses,
            ),
            dns: dns(settings),
            host: host(settings),
            host_addresses: BTreeSet::new(),
            blocks: AgedMap::new(BLOCKS),
            changes: 0,
            strangers: AgedMap::new(limits.peer_addresses),
        }
    }

    /// Takes in news. Returns how many objects found no room.
    pub(super) fn apply(&mut self, update: ClusterUpdate, source: Source, now: Moment) -> u64 {
        if let ClusterUpdate::Restarted { kind, .. } = &update {
            self.unlisted.retain(|one| *one != (source, *kind));
        }
        self.changes += 1;
        let objects = match &update {
            ClusterUpdate::Applied(object) => std::slice::from_ref(&**object),
            ClusterUpdate::Restarted { objects, .. } => objects.as_slice(),
            ClusterUpdate::Deleted { .. } => &[],
        };
        let pods = objects
            .iter()
            .filter(|object| object.kind == ObjectKind::Pod);
        for address in pods.flat_map(|pod| &pod.addresses) {
            let block = block(address.ip);
            if self.blocks.get(&block).is_none() {
                let _oldest = self.blocks.insert(block, ());
            }
        }
        self.cluster.apply(update, source, now)
    }

    /// A pod used this address in a network namespace at this time.
    pub(super) fn seen(&mut self, ip: IpAddr, netns: u32, uid: &str, at: u64) {
        if may_be_one_pods(ip) && !self.is_host(ip) && self.cluster.seen(ip, netns, uid, at) {
            self.changes += 1;
        }
    }

    /// Grows with all that may change whose an address is: until then, seeing a pod use one again changes nothing.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Who it is. `backend` is whom a Service's address was translated to.
    pub(super) fn peer(&mut self, end: &FarEnd, backend: Option<SocketAddr>) -> Peer {
        match self.holder(end) {
            Holder::Object {
                kind: ObjectKind::Service | ObjectKind::Endpoints,
                name,
                ..
            } => {
                let service = Arc::clone(name);
                let backend = backend.map(|address| FarEnd::new(address, end.at));
                Peer::Service {
                    backend: backend.and_then(|backend| self.workload(&backend)),
                    service,
                }
            }
            Holder::Object { name, .. } => Peer::Workload(Arc::clone(name)),
            Holder::Left { .. } | Holder::Unknown if self.is_host(end.ip) => self.host.clone(),
            Holder::Left { .. } | Holder::Unknown => {
                let asked_for = self.dns.as_ref().filter(|_| end.asker != 0);
                let name = asked_for.and_then(|dns| dns.name(end.asker, end.ip, end.at));
                let name = name.map(Arc::clone);
                Peer::Address(name.unwrap_or_else(|| self.names.name(end.ip)))
            }
        }
    }

    /// What the name of this end depends on, as long as nobody is renamed.
    pub(super) fn key(&self, end: &FarEnd, backend: Option<SocketAddr>) -> PeerKey {
        let backend = backend.map(|address| FarEnd::new(address, end.at));
        let held = self.held(end);
        let dns = self
            .dns
            .as_ref()
            .filter(|_| held.is_none() && end.asker != 0);
        PeerKey {
            held,
            backend: backend.map(|end| (end.ip, self.held(&end))),
            name: dns.map_or(0, |dns| dns.number(end.asker, end.ip, end.at)),
        }
    }

    /// Somebody learned which addresses a name has.
    pub(super) fn looked_up(&mut self, lookup: &Lookup) {
        if let Some(dns) = &mut self.dns {
            dns.learn_from(lookup);
        }
    }

    /// Names that had to be forgotten, though they still held; since the last call.
    pub(super) fn take_forgotten_names(&mut self) -> u64 {
        self.dns.as_mut().map_or(0, Names::take_evicted)
    }

    fn held(&self, end: &FarEnd) -> Held {
        match self.holder(end) {
            Holder::Object { kind, since, .. } => Some((kind, since)),
            Holder::Left { .. } | Holder::Unknown => None,
        }
    }

    /// Whose it is: a port at a node's address may be a Service's.
    fn holder(&self, end: &FarEnd) -> Holder<'_> {
        let holder = self.cluster.holder(end.ip, end.port, end.at);
        let is_node = match holder {
            Holder::Object { kind, .. } => kind == ObjectKind::Node,
            Holder::Left { .. } | Holder::Unknown => self.is_host(end.ip),
        };
        if !is_node {
            return holder;
        }
        let port = Address::at_nodes(end.port);
        match self.cluster.holder(port.ip, end.port, end.at) {
            service @ Holder::Object { .. } => service,
            Holder::Left { .. } | Holder::Unknown => holder,
        }
    }

    /// Whether any object was called something else in the meantime.
    pub(super) fn take_renamed(&mut self) -> bool {
        self.cluster.take_renamed()
    }

    /// Addresses of the cluster's objects that found no room in the meantime.
    pub(super) fn take_cut(&mut self) -> u64 {
        self.cluster.take_cut()
    }

    /// Whether packets to it go to somebody else behind it.
    pub(super) fn is_service(&self, end: &FarEnd) -> bool {
        matches!(self.held(end), Some((ObjectKind::Service, _)))
    }

    /// Whether it may be a pod that is not known yet, so that it is worth waiting for news.
    pub(super) fn awaits(&mut self, end: &FarEnd, now: u64) -> bool {
        let left = match self.cluster.holder(end.ip, end.port, end.at) {
            _ if self.is_host(end.ip) => return false,
            Holder::Left { since } => since,
            Holder::Unknown if self.may_be_a_pod(end.ip) => 0,
            Holder::Object { .. } | Holder::Unknown => return false,
        };
        let key = (end.ip, left);
        let Some(asked) = self.strangers.get(&key) else {
            let _oldest = self.strangers.insert(key, now);
            return true;
        };
        now.saturating_sub(*asked) < PATIENCE
    }

    /// Names what is outside the cluster as these settings say.
    pub(super) fn reconfigure(&mut self, settings: &IdentitySettings) {
        self.names = PeerNames::new(
            &settings.cidrs,
            settings.peer_addresses,
            settings.limits.peer_addresses,
        );
        if self.dns.is_some() != (settings.peer_addresses == PeerAddresses::Name) {
            self.dns = dns(settings);
        }
    }

    pub(super) fn host_addresses_changed(&mut self, addresses: BTreeSet<IpAddr>) {
        self.host_addresses = addresses;
        self.changes += 1;
    }

    fn is_host(&self, ip: IpAddr) -> bool {
        self.host_addresses.contains(&ip)
    }

    fn may_be_a_pod(&self, ip: IpAddr) -> bool {
        let is_near = self.blocks.get(&block(ip)).is_some();
        is_near || !(self.unlisted.is_empty() || ip.is_loopback())
    }

    pub(super) fn expire(&mut self, now: u64) {
        self.cluster.expire(now);
        self.changes += 1;
        let is_old = |asked: &u64| now.saturating_sub(*asked) >= MEMORY;
        while self.strangers.pop_oldest_if(is_old).is_some() {}
    }

    /// Number of objects known.
    pub(super) fn len(&self) -> usize {
        self.cluster.len()
    }

    fn workload(&self, end: &FarEnd) -> Option<Arc<Workload>> {
        match self.cluster.holder(end.ip, end.port, end.at) {
            Holder::Object {
                kind: ObjectKind::Pod | ObjectKind::Node,
                name,
                ..
            } => Some(Arc::clone(name)),
            _ => None,
        }
    }
}

/// Names of addresses, if they are called by them.
fn dns(settings: &IdentitySettings) -> Option<Names> {
    let wanted = settings.peer_addresses == PeerAddresses::Name;
    wanted.then(|| Names::new(settings.limits.peer_addresses))
}

/// This node: as others are called that the cluster tells of, or by its name alone where there is no cluster.
fn host(settings: &IdentitySettings) -> Peer {
    let name = settings.node_name.as_str();
    if settings.kubernetes || settings.cluster {
        let node = Workload {
            namespace: "".into(),
            name: name.into(),
            kind: "Node".into(),
        };
        Peer::Workload(Arc::new(node))
    } else {
        Peer::Address(name.into())
    }
}

/// Whether it is an address that others reach one machine by, and not one that every machine has or many have at once.
fn may_be_one_pods(ip: IpAddr) -> bool {
    let is_nobodys = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !is_nobodys && !is_link_local
}

/// The block an address is in: /24, and of IPv6 /64.
fn block(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & !0xff).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests;
