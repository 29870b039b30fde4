//! Addresses that pods of this node are seen to use, before the API server tells of them or beside those it tells of.
//!
//! A container can give itself any address in a network namespace that it makes, and programs with privileges may bind to what is
//! not theirs. So what is seen never counts for more than what is told.

use std::net::IpAddr;
use std::sync::Arc;

use super::claims::{Basis, Claim};
use super::object::ObjectKind;
use super::table::{ClusterTable, number};

/// Addresses that one pod is seen to use beyond those it is told to have.
const MOST: usize = 8;

/// What a pod was seen to use.
#[derive(Debug, Default)]
pub(super) struct Seen {
    addresses: Vec<IpAddr>,
    /// That of its first connection, until one from an address it is told to have shows which it is.
    home: Option<Home>,
}

/// A pod's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Home {
    netns: u32,
    is_certain: bool,
}

impl Seen {
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Takes out the addresses for which `is_out` says so.
    pub(super) fn take_out(&mut self, is_out: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        self.addresses.extract_if(.., |ip| is_out(*ip)).collect()
    }

    /// Whether a connection was in the pod's own network namespace, as far as its record tells (0: it does not). One from an address
    /// that the pod is told to have is.
    fn is_at_home(&mut self, netns: u32, is_told: bool, is_told_none: bool) -> bool {
        if netns == 0 {
            return true;
        }
        match self.home {
            Some(home) if home.is_certain => home.netns == netns,
            Some(home) if is_told_none => home.netns == netns,
            _ if is_told || is_told_none => {
                let is_certain = is_told;
                self.home = Some(Home { netns, is_certain });
                true
            }
            _ => false,
        }
    }

    /// Whether there is room for this address.
    fn add(&mut self, ip: IpAddr) -> bool {
        if self.addresses.contains(&ip) {
            return true;
        }
        let has_room = self.addresses.len() < MOST;
        if has_room {
            self.addresses.push(ip);
        }
        has_room
    }
}

impl ClusterTable {
    /// A pod was seen to use an address in a network namespace (0: not known) at this time. If it is not known to have it, and nobody
    /// else is told to, it has had it since then. Says whether anything is different from before.
    pub fn seen(&mut self, ip: IpAddr, netns: u32, uid: &str, at: u64) -> bool {
        let id = (ObjectKind::Pod, number(uid));
        let Some(object) = self.objects.get_mut(&id).filter(|pod| !pod.finished) else {
            return false;
        };
        let (is_told, is_told_none) = (object.has(ip), object.has_none());
        let seen = object.seen.get_or_insert_default();
        let home = seen.home;
        if !seen.is_at_home(netns, is_told, is_told_none) {
            return false;
        }
        let is_new_home = seen.home != home;
        let basis = match (is_told, is_told_none) {
            (true, _) => Basis::Told,
            (false, true) => Basis::Seen,
            (false, false) => Basis::SeenBeside,
        };
        let claim = Claim::told(id, None, Arc::clone(&object.name), object.since).used(basis, at);
        if let Some(claims) = self.by_ip.get_mut(&ip) {
            let has_it = claims.living(id, None).is_some();
            if has_it || !claims.yield_to(&claim) || !claims.has_room() {
                return is_new_home;
            }
        }
        let has_room = is_told || seen.add(ip);
        if has_room {
            let cut = self.by_ip.entry(ip).or_default().take_over(claim);
            if let Some(until) = cut {
                self.note_ended(ip, until);
            }
        }
        has_room || is_new_home
    }

    /// What somebody was only seen to have is theirs again who are told to have it.
    pub(super) fn give_back(&mut self, ip: IpAddr, now: u64) {
        let Some(claims) = self.by_ip.get_mut(&ip).filter(|claims| claims.has_room()) else {
            return;
        };
        let holder = |id| self.objects.get(&id).filter(|pod| pod.has(ip));
        let Some(id) = claims.last_pod(|id| holder(id).is_some()).map(Claim::id) else {
            return;
        };
        if let Some(pod) = holder(id) {
            let claim = Claim::told(id, None, Arc::clone(&pod.name), pod.since);
            if let Some(until) = claims.add(claim, now) {
                self.note_ended(ip, until);
            }
        }
    }
}
