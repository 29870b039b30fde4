//! Cells of the per-CPU counter array every program counts in.

use crate::record::Kind;

/// Records of a kind that were put into their ring.
pub const fn submitted(kind: Kind) -> u32 {
    kind as u32 * 2
}

/// Records of a kind that found their ring full.
pub const fn lost(kind: Kind) -> u32 {
    kind as u32 * 2 + 1
}

/// Room for kinds, so that an agent that knows more of them can go on with what another left.
const KINDS: u32 = 32;

const _: () = assert!(Kind::COUNT <= KINDS);

/// Connections left out because the map of open connections had no room.
pub const MAP_FULL: u32 = KINDS * 2;

/// Records sent without a part whose memory could not be read.
pub const READ_FAILED: u32 = MAP_FULL + 1;

/// Records that found both their ring and the spill map full: their totals are in an entry with less detail.
pub const SPILL_FULL: u32 = READ_FAILED + 1;

/// Open connections that a snapshot left for its next round because the ring was filling up.
pub const DEFERRED: u32 = SPILL_FULL + 1;

/// State changes of sockets told in place of a run the kernel skipped.
pub const TAKEN_OVER: u32 = DEFERRED + 1;

/// Runs the kernel skipped because the program was running on that CPU already. Programs cannot count that; the kernel
/// does, and the daemon notes here what it took notice of.
pub const RECURSION: u32 = TAKEN_OVER + 1;

/// Dropped packets of which only the reason is counted, or not even that: there was no room for whose they were.
pub const DROPS_FULL: u32 = RECURSION + 1;

/// Packets with datagrams of which only is counted whose they were: there was no room for whom they were exchanged with.
pub const UDP_FULL: u32 = DROPS_FULL + 1;

/// Number of cells; those at the end are for later versions. Cells keep their places.
pub const CELLS: u32 = 80;

const _: () = assert!(UDP_FULL < CELLS);
