//! How the daemon steers the programs: the slots of `wellhead_common::maps::state`.

use std::time::Duration;

use aya::maps::{Array, MapData, MapError};
use wellhead_common::maps::state;

use super::Clock;

/// How long programs go on without a daemon. After that they return at once, so what a dead agent left behind costs
/// nothing.
pub(super) const UNATTENDED: Duration = Duration::from_mins(10);

/// The array the programs read.
pub(super) struct Steering(Array<MapData, u64>);

impl Steering {
    pub(super) fn new(slots: Array<MapData, u64>) -> Self {
        Self(slots)
    }

    /// The value of a slot; 0 should the kernel refuse to tell.
    pub(super) fn get(&self, slot: u32) -> u64 {
        self.0.get(&slot, 0).unwrap_or_default()
    }

    pub(super) fn set(&mut self, slot: u32, value: u64) -> Result<(), MapError> {
        self.0.set(slot, value, 0)
    }

    /// Whether a daemon was there so lately that nothing was missed since.
    pub(super) fn is_attended(&self) -> bool {
        Clock::boot_ns() < self.get(state::SERVE_UNTIL)
    }

    /// Says that a daemon is there.
    pub(super) fn attend(&mut self) -> Result<(), MapError> {
        let ahead = u64::try_from(UNATTENDED.as_nanos()).unwrap_or(u64::MAX);
        self.set(state::SERVE_UNTIL, Clock::boot_ns().saturating_add(ahead))
    }
}
