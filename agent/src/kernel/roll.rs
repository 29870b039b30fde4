//! The table of open connections against the sockets there are: whose entry is left without a socket.
//!
//! Programs take a connection's entry out when it ends. An end they miss leaves it there: the kernel skipped the program,
//! or nobody attended to the programs and they stood still.

use std::{
    mem::offset_of,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use wellhead_common::maps::{Connection, Traffic};

use super::bpf;

/// Where in an entry the number of the snapshot is that told it last.
const SNAPSHOT: usize = offset_of!(Connection, reported) + offset_of!(Traffic, snapshot);

/// The table of open connections, whose keys are the cookies of sockets. Any thread may look at it.
#[derive(Debug)]
pub struct ConnectionTable {
    map: OwnedFd,
    /// Number of the snapshot that was taken last.
    snapshot: u32,
}

impl ConnectionTable {
    pub(super) fn new(map: OwnedFd, snapshot: u64) -> Self {
        // The programs keep as much of it.
        let snapshot = u32::try_from(snapshot & u64::from(u32::MAX)).unwrap_or_default();
        Self { map, snapshot }
    }

    /// Writes down who is in it. `None` if the kernel does not tell.
    pub(super) fn roll(&self) -> Option<Roll<'_>> {
        let keys = bpf::keys(self.map.as_fd()).inspect_err(|error| {
            tracing::debug!(%error, "the table of open connections cannot be read");
        });
        Some(Roll::new(self, keys.ok()?))
    }

    /// Whether an entry is there, and its socket was not met since the last snapshot began. Snapshots find sockets in another
    /// way, by the files of processes, and tell them once each.
    fn has_unmet(&self, socket: u64) -> bool {
        let Some(entry) = bpf::value(self.map.as_fd(), socket) else {
            return false;
        };
        let told = entry.get(SNAPSHOT..).and_then(|rest| rest.first_chunk());
        told.is_none_or(|told| is_before(u32::from_ne_bytes(*told), self.snapshot))
    }
}

/// Whether a snapshot was before another; their numbers begin anew at some time. 0 is before all of them.
fn is_before(one: u32, other: u32) -> bool {
    one == 0 || one.wrapping_sub(other) > u32::MAX / 2
}

/// Who was in the table, to be ticked off: nine bytes each.
pub(super) struct Roll<'a> {
    table: &'a ConnectionTable,
    /// In order.
    sockets: Vec<u64>,
    /// For each of them whether it was come upon. (Shared with the thread that enters namespaces.)
    there: Vec<AtomicBool>,
}

impl<'a> Roll<'a> {
    fn new(table: &'a ConnectionTable, mut sockets: Vec<u64>) -> Self {
        sockets.sort_unstable();
        sockets.dedup();
        let there = sockets.iter().map(|_| AtomicBool::new(false)).collect();
        Self {
            table,
            sockets,
            there,
        }
    }

    /// A socket was come upon, be it in the table or not.
    pub(super) fn tick(&self, socket: u64) {
        let found = self.sockets.binary_search(&socket).ok();
        if let Some(there) = found.and_then(|index| self.there.get(index)) {
            there.store(true, Ordering::Relaxed);
        }
    }

    /// Who was not come upon.
    fn unticked(&self) -> impl Iterator<Item = u64> {
        let all = self.sockets.iter().zip(&self.there);
        all.filter(|(_, there)| !there.load(Ordering::Relaxed))
            .map(|(socket, _)| *socket)
    }

    /// Who was not come upon and is in the table still.
    pub(super) fn missing(self) -> Vec<u64> {
        self.unticked()
            .filter(|socket| self.table.has_unmet(*socket))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn those_that_are_ticked_off_are_not_missing() {
        let nothing = File::open("/dev/null").expect("it is everywhere");
        let table = ConnectionTable::new(nothing.into(), 1);
        let roll = Roll::new(&table, vec![7, 3, u64::MAX, 3, 5]);
        for socket in [5, 4, u64::MAX, 5] {
            roll.tick(socket);
        }
        assert_eq!(roll.unticked().collect::<Vec<_>>(), [3, 7]);
        // What cannot be looked up is not claimed to be there.
        assert_eq!(roll.missing(), [0_u64; 0]);
    }

    #[test]
    fn snapshots_are_in_order_where_their_numbers_begin_anew() {
        let before = [
            (0, 1),
            (0, u32::MAX),
            (4, 5),
            (u32::MAX, 1),
            (u32::MAX - 1, 2),
        ];
        for (one, other) in before {
            assert!(is_before(one, other), "{one} and {other}");
        }
        for (one, other) in [(5, 5), (6, 5), (1, u32::MAX)] {
            assert!(!is_before(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn the_snapshot_is_in_the_first_bytes_of_an_entry() {
        const { assert!(SNAPSHOT + size_of::<u32>() <= size_of::<Connection>()) };
        const { assert!(size_of::<Connection>() <= 256) };
    }
}
