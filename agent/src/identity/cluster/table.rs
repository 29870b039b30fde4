//! Address and time → whose it was then.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::addresses::without;
use super::claims::{Basis, Claim, Claims};
use super::object::{Address, ClusterObject, ClusterUpdate, ObjectKind};
use super::seen::Seen;
use crate::hash::HashMap;
use crate::identity::workload::Workload;
use crate::identity::workloads::Workloads;

/// Ends of claims that are remembered, for each object there is room for.
const ENDED_PER_OBJECT: usize = 2;

/// Addresses for each object there is room for: pods have two at most. The memory budget counts on it.
const ADDRESSES_PER_OBJECT: usize = 2;

/// Who told of an object. One that several told of is gone when the last of them says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The watch of this node's pods.
    Node,
    /// The watch of the cluster, or the resolver.
    Cluster,
}

impl Source {
    fn bit(self) -> u8 {
        match self {
            Self::Node => 1,
            Self::Cluster => 2,
        }
    }
}

/// The same moment on the boot clock, which records carry, and on the wall clock, which objects carry; nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since boot.
    pub boot: u64,
    /// Since the Unix epoch.
    pub unix: u64,
}

impl Moment {
    /// That time on the boot clock. What it is the beginning of cannot have begun later than now, whatever its node's clock says.
    pub fn boot_at(self, time: Timestamp) -> u64 {
        let began = u64::try_from(time.as_nanosecond()).unwrap_or_default();
        self.boot.saturating_sub(self.unix.saturating_sub(began))
    }
}

/// Whose an address was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// This object's.
    Object {
        /// What it is.
        kind: ObjectKind,
        /// What it is called.
        name: &'a Arc<Workload>,
        /// Since when, on the boot clock; tells one holder of the address from the next.
        since: u64,
    },
    /// Nobody's any more: somebody had it before, and nothing is known of the next.
    Left {
        /// When it was given up, on the boot clock.
        since: u64,
    },
    /// Nobody was ever known to have it.
    Unknown,
}

/// An object's kind and a number made of its UID.
pub(super) type ObjectId = (ObjectKind, u128);

#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: Arc<Workload>,
    /// What it is told to have.
    addresses: Box<[Address]>,
    /// What it was seen to use beside those; pods of this node only.
    pub(super) seen: Option<Box<Seen>>,
    pub(super) since: Option<u64>,
    /// For good: a pod that has ended does not begin again, whatever older news say that come later.
    pub(super) finished: bool,
    told_by: u8,
    /// Addresses it has beside those kept.
    cut: u32,
}

impl Object {
    /// One that nothing was told of yet.
    fn nothing(name: &Arc<Workload>) -> Self {
        Self {
            name: Arc::clone(name),
            addresses: Box::default(),
            seen: None,
            since: None,
            finished: false,
            told_by: 0,
            cut: 0,
        }
    }

    /// Whether it is told to have this address.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&Address::any_port(ip))
    }

    /// Whether it is told to have none, as of a pod that has just begun.
    pub(super) fn has_none(&self) -> bool {
        self.addresses.is_empty()
    }
}

/// Bounded table of everything that has an address.
#[derive(Debug)]
pub struct ClusterTable {
    capacity: usize,
    linger: u64,
    pub(super) objects: HashMap<ObjectId, Object>,
    pub(super) by_ip: HashMap<IpAddr, Claims>,
    /// When claims ended, the earliest first.
    ended: VecDeque<(u64, IpAddr)>,
    names: Workloads,
    /// Whether an object that keeps an address was called something else.
    renamed: bool,
    /// Addresses that objects are told to have.
    addresses: usize,
    /// Addresses left out.
    cut: u64,
}

impl ClusterTable {
    /// Room for `capacity` objects. Whose an address was is known for `linger` nanoseconds after it is not any more.
    pub fn new(capacity: usize, linger: u64) -> Self {
        Self {
            capacity: capacity.max(1),
            linger,
            objects: HashMap::default(),
            by_ip: HashMap::default(),
            ended: VecDeque::new(),
            names: Workloads::default(),
            renamed: false,
            addresses: 0,
            cut: 0,
        }
    }

    /// Takes in an update. Returns how many objects found no room.
    pub fn apply(&mut self, update: ClusterUpdate, source: Source, now: Moment) -> u64 {
        match update {
            ClusterUpdate::Applied(object) => u64::from(!self.put(&object, source, now)),
            ClusterUpdate::Deleted { kind, uid } => {
                self.delete((kind, number(&uid)), source, now.boot);
                0
            }
            ClusterUpdate::Restarted { kind, objects } => self.restart(kind, objects, source, now),
        }
    }

    /// Whether any object that keeps an address was called something else, since this was asked last.
    pub fn take_renamed(&mut self) -> bool {
        std::mem::take(&mut self.renamed)
    }

    /// Addresses that found no room since this was asked last: their object has too many, or all together do.
    pub fn take_cut(&mut self) -> u64 {
        std::mem::take(&mut self.cut)
    }

    /// Whose this address was at this time. Of several, the kind that [`ObjectKind`] lists first.
    pub fn holder(&self, ip: IpAddr, port: u16, at: u64) -> Holder<'_> {
        let Some(claims) = self.by_ip.get(&ip) else {
            return Holder::Unknown;
        };
        match claims.at(port, at) {
            Some(claim) => Holder::Object {
                kind: claim.kind(),
                name: &claim.name,
                since: claim.from,
            },
            None => match claims.left(port, at) {
                Some(since) => Holder::Left { since },
                None => Holder::Unknown,
            },
        }
    }

    /// Forgets who had an address too long ago, and names nobody has.
    pub fn expire(&mut self, now: u64) {
        while let Some((at, ip)) = self.ended.front().copied()
            && now.saturating_sub(at) >= self.linger
        {
            self.ended.pop_front();
            self.forget(ip, at);
        }
        self.names.forget_unused();
    }

    fn forget(&mut self, ip: IpAddr, until: u64) {
        let Some(claims) = self.by_ip.get_mut(&ip) else {
            return;
        };
        claims.forget_until(until);
        if claims.is_empty() {
            self.by_ip.remove(&ip);
        }
    }

    /// A claim of this address ended at a time. If too many did, the first of them is not remembered any more.
    pub(super) fn note_ended(&mut self, ip: IpAddr, at: u64) {
        self.ended.push_back((at, ip));
        if self.ended.len() > self.capacity.saturating_mul(ENDED_PER_OBJECT)
            && let Some((at, ip)) = self.ended.pop_front()
        {
            self.forget(ip, at);
        }
    }

    /// Number of objects there are now.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn restart(
        &mut self,
        kind: ObjectKind,
        objects: Vec<ClusterObject>,
        source: Source,
        now: Moment,
    ) -> u64 {
        let listed: HashSet<u128> = objects.iter().map(|object| number(&object.uid)).collect();
        let told = self.objects.iter().filter(|((known, uid), object)| {
            *known == kind && object.told_by & source.bit() != 0 && !listed.contains(uid)
        });
        let gone: Vec<ObjectId> = told.map(|(id, _)| *id).collect();
        for id in gone {
            self.delete(id, source, now.boot);
        }
        let put = objects
            .into_iter()
            .map(|object| self.put(&object, source, now));
        put.map(|had_room| u64::from(!had_room)).sum()
    }

    /// Whether there was room.
    fn put(&mut self, object: &ClusterObject, source: Source, now: Moment) -> bool {
        let id = (object.kind, number(&object.uid));
        let before = self.objects.remove(&id);
        let room = match source {
            Source::Node => self.capacity,
            Source::Cluster => object.kind.room(self.capacity),
        };
        if before.is_none() && self.objects.len() >= room {
            return false;
        }
        let name = self.names.intern(Arc::clone(&object.name));
        let before = before.unwrap_or_else(|| Object::nothing(&name));
        let (had, finished) = (before.addresses, before.finished || object.finished);
        self.addresses -= had.len();
        let room = (room * ADDRESSES_PER_OBJECT).saturating_sub(self.addresses);
        let room = room.min(object.kind.most_addresses());
        let mut seen = before.seen;
        let addresses: Box<[Address]> = if finished {
            Box::default()
        } else if object.addresses.is_empty() && object.kind == ObjectKind::Pod {
            // It says nothing of them yet.
            had.clone()
        } else {
            object.addresses.iter().copied().take(room).collect()
        };
        self.addresses += addresses.len();
        let most = if finished { usize::MAX } else { room };
        let cut = u32::try_from(object.addresses.len().saturating_sub(most)).unwrap_or(u32::MAX);
        self.cut += u64::from(cut.saturating_sub(before.cut));
        for address in without(&had, &addresses) {
            self.end(id, *address, now.boot);
        }
        if let Some(seen) = &mut seen {
            // What it is told to have first shows whether what it was seen with is its own.
            let is_judged = finished || (had.is_empty() && !addresses.is_empty());
            self.judge(id, seen, is_judged, &addresses, now.boot);
            self.rename(id, seen.addresses(), &name);
        }
        let since = boot_time(object, now);
        for address in &addresses {
            self.begin(id, *address, &name, since, now.boot);
        }
        self.objects.insert(
            id,
            Object {
                name,
                addresses,
                seen,
                since,
                finished,
                told_by: before.told_by | source.bit(),
                cut,
            },
        );
        true
    }

    fn delete(&mut self, id: ObjectId, source: Source, now: u64) {
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        object.told_by &= !source.bit();
        if object.told_by != 0 {
            return;
        }
        if let Some(object) = self.objects.remove(&id) {
            self.addresses -= object.addresses.len();
            let seen = object.seen.iter().flat_map(|seen| seen.addresses());
            let seen = seen.map(|ip| Address::any_port(*ip));
            for address in object.addresses.iter().copied().chain(seen) {
                self.end(id, address, now);
            }
        }
    }

    fn begin(
        &mut self,
        id: ObjectId,
        address: Address,
        name: &Arc<Workload>,
        since: Option<u64>,
        now: u64,
    ) {
        let claims = self.by_ip.entry(address.ip).or_default();
        if let Some(held) = claims.confirm(id, address.port) {
            held.since = held.since.or(since);
            self.renamed |= held.rename(name);
            return;
        }
        if !claims.has_room() {
            self.cut += 1;
            return;
        }
        let is_pod = id.0 == ObjectKind::Pod;
        let ended_seen = !is_pod && claims.end_seen(now);
        let claim = Claim::told(id, address.port, Arc::clone(name), since);
        let cut = claims.add(claim, now);
        for at in cut.into_iter().chain(ended_seen.then_some(now)) {
            self.note_ended(address.ip, at);
        }
    }

    /// What a pod is told to have is not only seen any more; what it is not told to have is not its own, where that can be judged.
    fn judge(
        &mut self,
        id: ObjectId,
        seen: &mut Seen,
        is_judged: bool,
        told: &[Address],
        now: u64,
    ) {
        let is_told = |ip| told.contains(&Address::any_port(ip));
        for ip in seen.take_out(|ip| is_judged && !is_told(ip)) {
            self.end(id, Address::any_port(ip), now);
        }
        seen.take_out(is_told);
    }

    /// Addresses that others may have by now are not taken back for it.
    fn rename(&mut self, id: ObjectId, seen: &[IpAddr], name: &Arc<Workload>) {
        for ip in seen {
            let claims = self.by_ip.get_mut(ip);
            if let Some(held) = claims.and_then(|claims| claims.living(id, None)) {
                self.renamed |= held.rename(name);
            }
        }
    }

    fn end(&mut self, id: ObjectId, address: Address, now: u64) {
        let Some(claims) = self.by_ip.get_mut(&address.ip) else {
            return;
        };
        let Some(basis) = claims.end(id, address.port, now) else {
            return;
        };
        self.note_ended(address.ip, now);
        if basis != Basis::Told {
            self.give_back(address.ip, now);
        }
    }
}

/// When an object began, on the boot clock.
fn boot_time(object: &ClusterObject, now: Moment) -> Option<u64> {
    Some(now.boot_at(object.since?))
}

/// UIDs are UUIDs, 128 bits; whatever else one may be is mixed into as many.
pub(super) fn number(uid: &str) -> u128 {
    let mut digits = uid.bytes().filter(|byte| *byte != b'-');
    let is_uuid = digits.clone().count() == 32;
    let number = digits.try_fold(0_u128, |number, digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(number << 4 | u128::from(value))
    });
    match number {
        Some(number) if is_uuid => number,
        // FNV-1a.
        _ => uid
            .bytes()
            .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |mixed, byte| {
                (mixed ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
            }),
    }
}

#[cfg(test)]
mod tests;
