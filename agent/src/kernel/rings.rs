//! Reading the rings.

use std::collections::VecDeque;
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
    /// What packets carry. Read before connections, which are called by it.
    pub payload: Ring,
}

impl Rings {
    /// Each ring, behind what earlier agents left in some of another size.
    pub(super) fn take<E>(
        leftovers: Vec<(&'static str, RingBuf<MapData>)>,
        mut ring: impl FnMut(&'static str) -> Result<RingBuf<MapData>, E>,
    ) -> Result<Self, E> {
        let mut leftovers = leftovers;
        let mut of = |name| {
            let (of_it, others) = std::mem::take(&mut leftovers)
                .into_iter()
                .partition(|(left, _)| *left == name);
            leftovers = others;
            Ok(Ring {
                ring: ring(name)?,
                left: of_it.into_iter().map(|(_, ring)| ring).collect(),
            })
        };
        Ok(Self {
            identity: of("IDENTITY_RING")?,
            process: of("PROCESS_RING")?,
            network: of("NETWORK_RING")?,
            payload: of("PAYLOAD_RING")?,
        })
    }

    /// Whether all that earlier agents left in rings of their own is read.
    pub fn are_caught_up(&self) -> bool {
        let all = [&self.identity, &self.process, &self.network, &self.payload];
        all.iter().all(|ring| ring.left.is_empty())
    }
}

/// One ring of records.
pub struct Ring {
    ring: RingBuf<MapData>,
    /// What is to be read first, from the front; nobody writes to it any more.
    left: VecDeque<RingBuf<MapData>>,
}

impl Ring {
    /// Hands up to `limit` records to `consume`, oldest first, and returns how many there were.
    ///
    /// A record is given back to the ring when `consume` returns.
    pub fn drain(&mut self, limit: usize, mut consume: impl FnMut(&[u8])) -> usize {
        let mut records = 0;
        while let Some(left) = self.left.front_mut() {
            records += drain(left, limit - records, &mut consume);
            if records == limit {
                return records;
            }
            self.left.pop_front();
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
