//! Counting who waits to be accepted. What a port's sockets have in common is told as one.

use super::{GONE_AFTER_NS, Occurrence};
use crate::events::Listener;
use crate::hash::HashMap;
use crate::identity::{OwnerId, Value};
use crate::telemetry::catalogue::{Attr, Metric};
use crate::telemetry::store::{AttributesId, Store};

/// Sockets that are told so soon after the first of all were there before the agent: what happened to them until then is not its
/// to tell.
const FIRST_SNAPSHOT_NS: u64 = 1_000_000_000;

/// A socket, as it was told of last.
#[derive(Clone, Copy, Debug)]
struct Told {
    whose: Whose,
    queue: u32,
    limit: u32,
    drops: u32,
    syn_ack_retransmits: u32,
    boot_ns: u64,
}

/// What sockets are told together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Whose {
    owner: OwnerId,
    port: u16,
}

/// The sums of a port's sockets.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    sockets: u32,
    queue: i64,
    limit: i64,
}

/// All listening sockets that are known.
#[derive(Debug)]
pub(super) struct Listeners {
    sockets: HashMap<u64, Told>,
    sums: HashMap<Whose, Sums>,
    /// When the first of all was told.
    since: Option<u64>,
    limit: usize,
}

impl Listeners {
    /// None yet, and at most so many.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sockets: HashMap::default(),
            sums: HashMap::default(),
            since: None,
            limit: limit.max(1),
        }
    }

    /// A snapshot found a socket. Says whether there was room for it.
    pub(super) fn found(
        &mut self,
        store: &mut Store,
        occurrence: &Occurrence<'_>,
        listener: &Listener,
    ) -> bool {
        let boot_ns = occurrence.event.boot_ns;
        let since = *self.since.get_or_insert(boot_ns);
        let whose = Whose {
            owner: occurrence.owner,
            port: listener.local.port(),
        };
        let now = Told {
            whose,
            queue: listener.queue,
            limit: listener.limit,
            drops: listener.drops,
            syn_ack_retransmits: listener.syn_ack_retransmits,
            boot_ns,
        };
        let before = self.sockets.get(&listener.socket_id).copied();
        if before.is_none() && self.sockets.len() >= self.limit {
            return false;
        }
        self.sockets.insert(listener.socket_id, now);
        let is_older_than_agent = boot_ns.saturating_sub(since) < FIRST_SNAPSHOT_NS;
        let counted = match before {
            // One that was given to another port or owner is another socket.
            Some(before) if before.whose == whose => before,
            _ if is_older_than_agent => now,
            _ => Told {
                drops: 0,
                syn_ack_retransmits: 0,
                ..now
            },
        };
        let left = before.and_then(|before| Some((before.whose, self.take_away(&before)?)));
        if let Some((other, sums)) = left.filter(|(before, _)| *before != whose) {
            show(store, other, sums, occurrence.unix_nano);
        }
        let sums = self.sums.entry(whose).or_default();
        sums.sockets += 1;
        sums.queue += i64::from(now.queue);
        sums.limit += i64::from(now.limit);
        let sums = *sums;
        let attributes = show(store, whose, sums, occurrence.unix_nano);
        let grown = [
            (Metric::TcpListenOverflows, now.drops, counted.drops),
            (
                Metric::TcpListenRetransmits,
                now.syn_ack_retransmits,
                counted.syn_ack_retransmits,
            ),
        ];
        for (metric, now, before) in grown {
            let grown = i64::from(now.wrapping_sub(before));
            if grown > 0 {
                store.add(metric, whose.owner, attributes, grown, occurrence.unix_nano);
            }
        }
        true
    }

    /// Sockets that were not told of for long are not there any more.
    pub(super) fn expire(&mut self, store: &mut Store, boot_ns: u64, unix_nano: u64) {
        let is_gone = |told: &Told| boot_ns.saturating_sub(told.boot_ns) > GONE_AFTER_NS;
        let gone: Vec<u64> = self
            .sockets
            .iter()
            .filter(|(_, told)| is_gone(told))
            .map(|(socket, _)| *socket)
            .collect();
        for socket in gone {
            if let Some(told) = self.sockets.remove(&socket)
                && let Some(sums) = self.take_away(&told)
            {
                show(store, told.whose, sums, unix_nano);
            }
        }
    }

    /// Whose sockets are known.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.sums.keys().map(|whose| whose.owner)
    }

    /// A socket does not count any more; what is left of its sums.
    fn take_away(&mut self, told: &Told) -> Option<Sums> {
        let sums = self.sums.get_mut(&told.whose)?;
        sums.sockets = sums.sockets.saturating_sub(1);
        sums.queue -= i64::from(told.queue);
        sums.limit -= i64::from(told.limit);
        let sums = *sums;
        if sums.sockets == 0 {
            self.sums.remove(&told.whose);
        }
        Some(sums)
    }
}

/// Tells the sums; returns the attributes they are told with.
fn show(store: &mut Store, whose: Whose, sums: Sums, unix_nano: u64) -> AttributesId {
    let port = Value::Int(i64::from(whose.port));
    let attributes = store.intern(&[(Attr::ServerPort, port)]);
    for (metric, value) in [
        (Metric::TcpListenQueueLength, sums.queue),
        (Metric::TcpListenQueueLimit, sums.limit),
    ] {
        store.set(metric, whose.owner, attributes, value, unix_nano);
    }
    attributes
}
