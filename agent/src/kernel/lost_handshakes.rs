//! Why packets of handshakes were dropped, for the attempts that failed of it.

use std::sync::Arc;

use aya::maps::{HashMap, Map, MapData};
use wellhead_common::maps::LostHandshake;

use super::drop_reasons::DropReasons;
use super::spill::from_bytes;

/// What the programs remember of packets dropped lately, by the first sequence number of whoever connects.
#[derive(Debug)]
pub struct LostHandshakes {
    map: HashMap<MapData, u32, [u8; size_of::<LostHandshake>()]>,
    reasons: DropReasons,
}

impl LostHandshakes {
    pub(super) fn new(map: MapData) -> Option<Self> {
        let map = Map::from_map_data(map).and_then(HashMap::try_from).ok()?;
        let reasons = DropReasons::default();
        Some(Self { map, reasons })
    }

    /// Says what the kernel calls the reasons.
    pub(super) fn know_reasons(&mut self, reasons: DropReasons) {
        self.reasons = reasons;
    }

    /// The last reason for which a packet of the handshake that began with this number was dropped on this node, in whichever
    /// network namespace; it is forgotten.
    pub fn take(&mut self, sequence: u32) -> Option<Arc<str>> {
        let lost: LostHandshake = from_bytes(self.map.get(&sequence, 0).ok()?);
        // Only to make room: the map gives up its oldest entries by itself.
        let _absent_is_fine = self.map.remove(&sequence);
        Some(self.reasons.name(lost.location, lost.reason))
    }
}
