//! Connections that hang: in a state that normally lasts a moment for longer than that.

use std::collections::HashSet;

use super::{Attributes, GONE_AFTER_NS, units};
use crate::hash::HashMap;
use crate::identity::OwnerId;
use crate::kernel::TcpState;
use crate::telemetry::catalogue::Metric;
use crate::telemetry::store::Store;

/// What has been in a state for less does not hang.
const HANGS_AFTER_NS: u64 = 10 * NS_PER_SECOND;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A connection, or an attempt at one.
#[derive(Debug)]
struct Entry {
    state: TcpState,
    whose: Whose,
    since_ns: u64,
    told_ns: u64,
}

/// What they are told together by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Whose {
    owner: OwnerId,
    attributes: Attributes,
}

/// A snapshot found a connection in such a state.
pub(super) struct Found {
    pub(super) socket: u64,
    pub(super) state: TcpState,
    /// Since when, where that is known; else since now.
    pub(super) since_ns: Option<u64>,
    /// Now, on the boot clock.
    pub(super) boot_ns: u64,
}

/// All connections in a state that does not last.
#[derive(Debug)]
pub(super) struct Hanging {
    sockets: HashMap<u64, Entry>,
    /// Who was told to have some.
    told: HashSet<Whose>,
    limit: usize,
}

impl Hanging {
    /// None yet, and at most so many.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sockets: HashMap::default(),
            told: HashSet::new(),
            limit: limit.max(1),
        }
    }

    /// Takes notice of one; `whose` is asked where it is new. Says whether there was room.
    pub(super) fn found(
        &mut self,
        found: &Found,
        whose: impl FnOnce() -> (OwnerId, Attributes),
    ) -> bool {
        let has_room = self.sockets.len() < self.limit;
        match self.sockets.get_mut(&found.socket) {
            Some(entry)
                if entry.state == found.state
                    && found.since_ns.is_none_or(|since| since == entry.since_ns) =>
            {
                entry.told_ns = found.boot_ns;
                return true;
            }
            // It takes the place of what it was before.
            Some(_) => {}
            None if has_room => {}
            None => return false,
        }
        let (owner, attributes) = whose();
        let entry = Entry {
            state: found.state,
            whose: Whose { owner, attributes },
            since_ns: found.since_ns.unwrap_or(found.boot_ns),
            told_ns: found.boot_ns,
        };
        self.sockets.insert(found.socket, entry);
        true
    }

    /// It has ended, or goes on.
    pub(super) fn over(&mut self, socket: u64) {
        if !self.sockets.is_empty() {
            self.sockets.remove(&socket);
        }
    }

    /// These owners are left out from now on.
    pub(super) fn let_go(&mut self, owners: &HashSet<OwnerId>) {
        self.sockets
            .retain(|_, entry| !owners.contains(&entry.whose.owner));
        self.told.retain(|whose| !owners.contains(&whose.owner));
    }

    /// Whose connections are known.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        let sockets = self.sockets.values().map(|entry| entry.whose.owner);
        sockets.chain(self.told.iter().map(|whose| whose.owner))
    }

    /// Tells how many hang, and the longest for how long.
    pub(super) fn tell(&mut self, store: &mut Store, boot_ns: u64, unix_nano: u64) {
        if self.sockets.is_empty() && self.told.is_empty() {
            return;
        }
        self.sockets
            .retain(|_, entry| boot_ns.saturating_sub(entry.told_ns) <= GONE_AFTER_NS);
        let mut sums: HashMap<&Whose, (i64, u64)> = HashMap::default();
        for entry in self.sockets.values() {
            let age = boot_ns.saturating_sub(entry.since_ns);
            if age >= HANGS_AFTER_NS {
                let (number, longest) = sums.entry(&entry.whose).or_default();
                *number += 1;
                *longest = age.max(*longest);
            }
        }
        let none: Vec<&Whose> = self
            .told
            .iter()
            .filter(|whose| !sums.contains_key(whose))
            .collect();
        for whose in none {
            show(store, whose, (0, 0), unix_nano);
        }
        for (whose, sum) in &sums {
            show(store, whose, *sum, unix_nano);
        }
        self.told = sums.into_keys().cloned().collect();
    }
}

fn show(store: &mut Store, whose: &Whose, (number, longest): (i64, u64), unix_nano: u64) {
    let attributes = store.intern(&whose.attributes);
    let (count, age) = (
        Metric::TcpConnectionsHanging,
        Metric::TcpConnectionsHangingLongest,
    );
    store.set(count, whose.owner, attributes, number, unix_nano);
    let seconds = units(longest / NS_PER_SECOND);
    store.set(age, whose.owner, attributes, seconds, unix_nano);
}

/// The value of `network.connection.state`; `None` for states that last.
pub(super) fn name_of(state: TcpState) -> Option<&'static str> {
    Some(match state {
        TcpState::SynSent => "syn_sent",
        TcpState::FinWait1 => "fin_wait_1",
        TcpState::FinWait2 => "fin_wait_2",
        TcpState::CloseWait => "close_wait",
        TcpState::LastAck => "last_ack",
        TcpState::Closing => "closing",
        TcpState::Established | TcpState::SynReceived | TcpState::TimeWait | TcpState::Listen => {
            return None;
        }
    })
}
