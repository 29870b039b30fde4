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

/// Connections left out because the map of open connections had no room.
pub const MAP_FULL: u32 = Kind::COUNT * 2;

/// Records sent without a part whose memory could not be read.
pub const READ_FAILED: u32 = MAP_FULL + 1;

/// Number of cells.
pub const CELLS: u32 = READ_FAILED + 1;
