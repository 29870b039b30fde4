//! Records that came before their pod's metadata.

use std::collections::VecDeque;

use crate::identity::OwnerId;

/// A record kept as it came, so that it is later handled like any other.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) owner: OwnerId,
    pub(super) record: Box<[u8]>,
}

/// A queue of such records, bounded by their bytes.
#[derive(Debug)]
pub(super) struct WaitingRecords {
    records: VecDeque<Waiting>,
    bytes: usize,
    capacity: usize,
}

impl WaitingRecords {
    /// Room for records of `capacity` bytes in all.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            capacity,
        }
    }

    /// Keeps a record. Returns those that have to go at once to make room, oldest first.
    pub(super) fn push(&mut self, owner: OwnerId, record: &[u8]) -> Vec<Waiting> {
        self.records.push_back(Waiting {
            owner,
            record: record.into(),
        });
        self.bytes += record.len();
        let mut evicted = Vec::new();
        while self.bytes > self.capacity {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= oldest.record.len();
            evicted.push(oldest);
        }
        evicted
    }

    /// Takes out the records whose owner need not wait any longer, oldest first.
    pub(super) fn release(&mut self, mut still_waits: impl FnMut(OwnerId) -> bool) -> Vec<Waiting> {
        let mut released = Vec::new();
        for waiting in std::mem::take(&mut self.records) {
            if still_waits(waiting.owner) {
                self.records.push_back(waiting);
            } else {
                released.push(waiting);
            }
        }
        self.bytes -= released
            .iter()
            .map(|waiting| waiting.record.len())
            .sum::<usize>();
        released
    }

    /// Whose records wait.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.records.iter().map(|waiting| waiting.owner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(records: &[Waiting]) -> Vec<u32> {
        records.iter().map(|waiting| waiting.owner.0).collect()
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let mut waiting = WaitingRecords::new(10);
        assert_eq!(
            owners(&waiting.push(OwnerId(1), &[0; 4])),
            Vec::<u32>::new()
        );
        assert_eq!(
            owners(&waiting.push(OwnerId(2), &[0; 4])),
            Vec::<u32>::new()
        );
        assert_eq!(owners(&waiting.push(OwnerId(3), &[0; 9])), [1, 2]);
        assert_eq!(owners(&waiting.push(OwnerId(4), &[0; 11])), [3, 4]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn records_leave_in_order_when_their_pod_is_known() {
        let mut waiting = WaitingRecords::new(100);
        for owner in [1, 2, 1, 3] {
            waiting.push(OwnerId(owner), &[0; 4]);
        }
        assert_eq!(
            owners(&waiting.release(|owner| owner == OwnerId(2))),
            [1, 1, 3]
        );
        assert_eq!(waiting.owners().collect::<Vec<_>>(), [OwnerId(2)]);
        assert_eq!(owners(&waiting.release(|_| false)), [2]);
        assert_eq!(waiting.bytes, 0);
    }
}
