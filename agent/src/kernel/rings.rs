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

impl Rings {
    /// Each ring, behind what an earlier agent left in one of another size.
    pub(super) fn take<E>(
        leftovers: Vec<(&'static str, RingBuf<MapData>)>,
        mut ring: impl FnMut(&'static str) -> Result<RingBuf<MapData>, E>,
    ) -> Result<Self, E> {
        let mut leftovers = leftovers;
        let mut of = |name| {
            let left = leftovers.iter().position(|(left, _)| *left == name);
            Ok(Ring {
                ring: ring(name)?,
                left: left.map(|index| leftovers.swap_remove(index).1),
            })
        };
        Ok(Self {
            identity: of("IDENTITY_RING")?,
            process: of("PROCESS_RING")?,
            network: of("NETWORK_RING")?,
        })
    }
}

/// One ring of records.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// What is to be read first; nobody writes to it any more.
    left: Option<RingBuf<MapData>>,
}

impl Ring {
    /// Hands up to `limit` records to `consume`, oldest first, and returns how many there were.
    ///
    /// A record is given back to the ring when `consume` returns.
    pub fn drain(&mut self, limit: usize, mut consume: impl FnMut(&[u8])) -> usize {
        let mut records = 0;
        if let Some(left) = &mut self.left {
            records = drain(left, limit, &mut consume);
            if records == limit {
                return records;
            }
            self.left = None;
        }
        records + drain(&mut self.ring, limit - records, consume)
    }
}

fn drain(ring: &mut RingBuf<MapData>, limit: usize, mut consume: impl FnMut(&[u8])) -> usize {
    let mut records = 0;
    while records < limit {
        let Some(record) = ring.next() else { break };
        consume(&record);
        records += 1;
    }
    records
}

impl AsFd for Ring {
    /// Readable when a program found the ring filled past its mark.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
