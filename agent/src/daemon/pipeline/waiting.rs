//! Records that came before it is known whose they are, or who is at the far end.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use crate::hash::HashMap;
use crate::identity::{FarEnd, OwnerId};

/// What has to be known before a record is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The pod of the record's owner.
    Pod,
    /// Who has this address.
    Peer(FarEnd),
}

/// A record kept as it came, so that it is later handled like any other.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) owner: OwnerId,
    pub(super) reason: For,
    pub(super) record: Box<[u8]>,
}

/// What several records wait for. Those that come after one of them have to wait as well, or they would overtake it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Pod(OwnerId),
    Peer(IpAddr),
}

impl Waiting {
    fn key(&self) -> Key {
        match self.reason {
            For::Pod => Key::Pod(self.owner),
            For::Peer(end) => Key::Peer(end.ip),
        }
    }
}

/// A queue of such records, bounded by their bytes.
#[derive(Debug)]
pub(super) struct WaitingRecords {
    records: VecDeque<Waiting>,
    by_key: HashMap<Key, usize>,
    bytes: usize,
    capacity: usize,
}

impl WaitingRecords {
    /// Room for records of `capacity` bytes in all.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            records: VecDeque::new(),
            by_key: HashMap::default(),
            bytes: 0,
            capacity,
        }
    }

    /// Keeps a record. Returns those that have to go at once to make room, oldest first.
    pub(super) fn push(&mut self, waiting: Waiting) -> Vec<Waiting> {
        self.bytes += waiting.record.len();
        *self.by_key.entry(waiting.key()).or_default() += 1;
        self.records.push_back(waiting);
        let mut evicted = Vec::new();
        while self.bytes > self.capacity {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.forget(&oldest);
            evicted.push(oldest);
        }
        evicted
    }

    /// Whether a record waits for the pod of this owner.
    pub(super) fn awaits_pod(&self, owner: OwnerId) -> bool {
        self.by_key.contains_key(&Key::Pod(owner))
    }

    /// Whether a record waits for whoever has this address.
    pub(super) fn awaits_peer(&self, ip: IpAddr) -> bool {
        self.by_key.contains_key(&Key::Peer(ip))
    }

    /// Takes out the records that need not wait any longer, oldest first.
    pub(super) fn release(
        &mut self,
        mut still_waits: impl FnMut(&Waiting) -> bool,
    ) -> Vec<Waiting> {
        let mut released = Vec::new();
        for waiting in std::mem::take(&mut self.records) {
            if still_waits(&waiting) {
                self.records.push_back(waiting);
            } else {
                self.forget(&waiting);
                released.push(waiting);
            }
        }
        released
    }

    /// Whose records wait.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.records.iter().map(|waiting| waiting.owner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn forget(&mut self, gone: &Waiting) {
        self.bytes -= gone.record.len();
        if let Entry::Occupied(mut entry) = self.by_key.entry(gone.key()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(owner: u32, length: usize) -> Waiting {
        Waiting {
            owner: OwnerId(owner),
            reason: For::Pod,
            record: vec![0; length].into(),
        }
    }

    fn about(address: &str) -> Waiting {
        Waiting {
            reason: For::Peer(FarEnd::new(address.parse().unwrap(), 7)),
            ..record(0, 4)
        }
    }

    fn owners(records: &[Waiting]) -> Vec<u32> {
        records.iter().map(|waiting| waiting.owner.0).collect()
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let mut waiting = WaitingRecords::new(10);
        let mut push = |owner, length| owners(&waiting.push(record(owner, length)));
        assert!(push(1, 4).is_empty() && push(2, 4).is_empty());
        assert_eq!(push(3, 9), [1, 2]);
        assert_eq!(push(4, 11), [3, 4]);
        assert!(waiting.is_empty() && waiting.by_key.is_empty());
    }

    #[test]
    fn records_leave_in_order_when_their_pod_is_known() {
        let mut waiting = WaitingRecords::new(100);
        for owner in [1, 2, 1, 3] {
            waiting.push(record(owner, 4));
        }
        let released = waiting.release(|waiting| waiting.owner == OwnerId(2));
        assert_eq!(owners(&released), [1, 1, 3]);
        assert_eq!(waiting.owners().collect::<Vec<_>>(), [OwnerId(2)]);
        assert!(waiting.awaits_pod(OwnerId(2)) && !waiting.awaits_pod(OwnerId(1)));
        assert_eq!(owners(&waiting.release(|_| false)), [2]);
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn what_is_waited_for_is_known_as_long_as_a_record_waits() {
        let mut waiting = WaitingRecords::new(100);
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        for address in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"] {
            waiting.push(about(address));
        }
        let mut first = true;
        waiting.release(|_| !std::mem::take(&mut first));
        assert!(waiting.awaits_peer(one) && waiting.awaits_peer(other));
        waiting.release(|waiting| matches!(waiting.reason, For::Peer(end) if end.ip == other));
        assert!(!waiting.awaits_peer(one) && waiting.awaits_peer(other));
        assert!(!waiting.awaits_pod(OwnerId(0)));
    }
}
