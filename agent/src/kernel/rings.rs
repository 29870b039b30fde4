//! Reading the rings.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};

/// The rings, one per family, so that a flood in one cannot starve another.
pub struct Rings {
    /// cgroups made and removed. Read first: it says who the others are about.
    pub identity: Ring,
    /// Processes.
    pub process: Ring,
    /// Connections.
    pub network: Ring,
}

/// One ring of records.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Hands up to `limit` records to `consume`, oldest first, and returns how many there were.
    ///
    /// A record is given back to the ring when `consume` returns.
    pub fn drain(&mut self, limit: usize, mut consume: impl FnMut(&[u8])) -> usize {
        let mut records = 0;
        while records < limit {
            let Some(record) = self.0.next() else { break };
            consume(&record);
            records += 1;
        }
        records
    }
}

impl AsFd for Ring {
    /// Readable when a program found the ring filled past its mark.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
