//! Who had one address, one after the other.

use std::sync::Arc;

use super::object::ObjectKind;
use super::table::ObjectId;
use crate::identity::workload::Workload;

/// Holders of one address that are remembered, of every kind and port.
const MOST: usize = 64;

/// Up to so many, no more memory is taken than they need.
const FEW: usize = 4;

/// How it is known that an object has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// The API server says so.
    Told,
    /// A pod of which no address is told yet used it.
    Seen,
    /// A pod that is told to have others used it.
    SeenBeside,
}

/// That an object has an address, from one time to another on the boot clock.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    id: ObjectId,
    port: Option<u16>,
    basis: Basis,
    pub(super) name: Arc<Workload>,
    /// When the object began, as far as is known: earlier than it can have had the address.
    pub(super) since: Option<u64>,
    pub(super) from: u64,
    /// `u64::MAX`: still.
    until: u64,
}

impl Claim {
    /// The claim of an object that began at `since` and is told to have the address.
    pub(super) fn told(
        id: ObjectId,
        port: Option<u16>,
        name: Arc<Workload>,
        since: Option<u64>,
    ) -> Self {
        Self {
            id,
            port,
            basis: Basis::Told,
            name,
            since,
            from: 0,
            until: u64::MAX,
        }
    }

    /// The claim of a pod that used the address at a time.
    pub(super) fn used(self, basis: Basis, at: u64) -> Self {
        Self {
            basis,
            from: at,
            ..self
        }
    }

    pub(super) fn id(&self) -> ObjectId {
        self.id
    }

    pub(super) fn kind(&self) -> ObjectKind {
        self.id.0
    }

    /// Calls who has it something else; whether that is new.
    pub(super) fn rename(&mut self, name: &Arc<Workload>) -> bool {
        let is_new = self.name != *name;
        if is_new {
            self.name = Arc::clone(name);
        }
        is_new
    }

    fn lives(&self) -> bool {
        self.until == u64::MAX
    }

    fn covers(&self, port: u16, at: u64) -> bool {
        self.is_for(port) && self.from <= at && at < self.until
    }

    fn is_for(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    fn is_told(&self) -> bool {
        self.basis == Basis::Told
    }

    /// Whether only one of both can have the address at a time.
    fn rivals(&self, other: &Self) -> bool {
        self.id.0 == other.id.0 && self.port == other.port
    }
}

/// All claims of one address.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

impl Claims {
    /// Adds the claim of an object that was told of now: it begins where what is known of its rivals ends. Returns the time at
    /// which a rival's, or its own, ended by that.
    pub(super) fn add(&mut self, mut claim: Claim, now: u64) -> Option<u64> {
        claim.from = self.left_by_rivals(&claim).unwrap_or(0);
        let living = self
            .0
            .iter_mut()
            .find(|other| other.rivals(&claim) && other.lives());
        let mut cut = None;
        if let Some(rival) = living {
            if rival.since > claim.since && rival.basis != Basis::SeenBeside {
                // News of the older one that come late.
                claim.until = rival.from;
                if claim.until <= claim.from {
                    return None;
                }
                cut = Some(claim.until);
            } else {
                // Its end was not told of. The new one had not begun before it began.
                let boundary = claim.since.unwrap_or(now).clamp(rival.from, now);
                rival.until = boundary;
                claim.from = boundary;
                cut = Some(boundary);
            }
        }
        self.push(claim);
        cut
    }

    /// Says that an object is told to have the address that it is known to have; `None` if it is not known to. What it was
    /// only seen to have is its own as if it had been told of first.
    pub(super) fn confirm(&mut self, id: ObjectId, port: Option<u16>) -> Option<&mut Claim> {
        let held = self.living(id, port)?;
        if !held.is_told() {
            held.basis = Basis::Told;
            let held = held.clone();
            let from = self.left_by_rivals(&held).unwrap_or(0).min(held.from);
            self.living(id, port)?.from = from;
        }
        self.living(id, port)
    }

    /// Whether a pod that uses the address may be taken to have it: what others are told to have is theirs. Only a pod that is
    /// told to have none yet may have got that of one that began before it and whose end was not told.
    pub(super) fn yield_to(&self, claim: &Claim) -> bool {
        let others = self
            .0
            .iter()
            .filter(|other| other.lives() && other.id != claim.id);
        others.into_iter().all(|other| {
            let is_left = claim.basis == Basis::Seen && other.since <= claim.since;
            other.kind() == ObjectKind::Pod && (!other.is_told() || is_left)
        })
    }

    /// The claim of a pod that had the address at `claim.from`: since the one before is known to have left it; or since it
    /// began itself, if nobody had it or the end of the one before was not told, as both ends of a connection are told of in either
    /// order. Whoever had it later has it still. Returns a time at which a claim ended by that.
    pub(super) fn take_over(&mut self, mut claim: Claim) -> Option<u64> {
        let at = claim.from;
        let mut cut = None;
        let rivals = |other: &&mut Claim| other.rivals(&claim);
        let mut from = None;
        let mut until = u64::MAX;
        for rival in self.0.iter_mut().filter(rivals) {
            if rival.from > at {
                until = until.min(rival.from);
            } else if rival.until > at {
                rival.until = claim.since.unwrap_or(at).clamp(rival.from, at);
                from = from.max(Some(rival.until));
                cut = Some(rival.until);
            } else {
                from = from.max(Some(rival.until));
            }
        }
        claim.from = from.unwrap_or_else(|| claim.since.unwrap_or(at).min(at));
        claim.until = until;
        if until != u64::MAX {
            cut = Some(until);
        }
        self.push(claim);
        cut
    }

    /// Ends the claim of an object, if there is one; on what it was based.
    pub(super) fn end(&mut self, id: ObjectId, port: Option<u16>, now: u64) -> Option<Basis> {
        let claim = self.living(id, port)?;
        claim.until = now.max(claim.from);
        Some(claim.basis)
    }

    /// Ends the claims of pods that were only seen to have the address; whether there was one.
    pub(super) fn end_seen(&mut self, now: u64) -> bool {
        let seen = self
            .0
            .iter_mut()
            .filter(|claim| claim.lives() && !claim.is_told());
        seen.map(|claim| claim.until = now.max(claim.from)).count() > 0
    }

    /// The last claim of a pod among those of which `holds` says that they still have it.
    pub(super) fn last_pod(&self, holds: impl Fn(ObjectId) -> bool) -> Option<&Claim> {
        let pods = self.0.iter().filter(|claim| {
            claim.kind() == ObjectKind::Pod && claim.port.is_none() && holds(claim.id)
        });
        pods.max_by_key(|claim| claim.until)
    }

    fn left_by_rivals(&self, claim: &Claim) -> Option<u64> {
        let ended = self
            .0
            .iter()
            .filter(|other| other.rivals(claim) && !other.lives());
        ended.map(|other| other.until).max()
    }

    pub(super) fn living(&mut self, id: ObjectId, port: Option<u16>) -> Option<&mut Claim> {
        let mut all = self.0.iter_mut();
        all.find(|claim| claim.id == id && claim.port == port && claim.lives())
    }

    /// Whose it was then.
    pub(super) fn at(&self, port: u16, at: u64) -> Option<&Claim> {
        let covering = self.0.iter().filter(|claim| claim.covers(port, at));
        covering.min_by_key(|claim| (claim.kind(), std::cmp::Reverse(claim.from)))
    }

    /// When the last who had it before this time gave it up.
    pub(super) fn left(&self, port: u16, at: u64) -> Option<u64> {
        let before = self
            .0
            .iter()
            .filter(|claim| claim.is_for(port) && claim.until <= at);
        before.map(|claim| claim.until).max()
    }

    /// Forgets the claims that ended by then.
    pub(super) fn forget_until(&mut self, time: u64) {
        self.0.retain(|claim| claim.until > time);
    }

    /// Whether one more object can have it: one that has it now never makes room.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < MOST || !self.0.iter().all(Claim::lives)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, claim: Claim) {
        if self.0.len() >= MOST {
            // The one that ended first.
            let oldest = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, claim)| claim.until);
            if let Some((oldest, _)) = oldest {
                self.0.remove(oldest);
            }
        }
        if self.0.len() < FEW {
            // Nearly all addresses have one holder.
            self.0.reserve_exact(1);
        }
        self.0.push(claim);
    }
}

#[cfg(test)]
impl Claims {
    /// How many claims there is memory for.
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// How many pods have it now.
    pub(super) fn living_pods(&self) -> usize {
        let pods = self
            .0
            .iter()
            .filter(|claim| claim.kind() == ObjectKind::Pod);
        pods.filter(|claim| claim.lives()).count()
    }
}
