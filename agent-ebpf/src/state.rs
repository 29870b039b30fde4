//! How the daemon steers the programs: which generation of them works, until when, and where losses are added up.

use aya_ebpf::{Global, helpers::bpf_ktime_get_boot_ns, macros::map, maps::Array};
use wellhead_common::maps::state;

/// Slots of [`state`].
#[map]
static STATE: Array<u64> = Array::with_max_entries(state::SLOTS, 0);

/// The generation this object was loaded as. After an upgrade programs of two are attached, and one works.
#[unsafe(no_mangle)]
static GENERATION: Global<u64> = Global::new(0);

/// A slot's value.
#[inline(always)]
pub(crate) fn get(slot: u32) -> u64 {
    // SAFETY: the daemon writes whole slots; the value is copied at once.
    STATE.get(slot).copied().unwrap_or_default()
}

/// The boot clock, if this program is to work: it belongs to the working generation, and a daemon was there lately. To
/// be asked after whatever else tells that there is nothing to do.
#[inline(always)]
pub(crate) fn working() -> Option<u64> {
    if get(state::GENERATION) != GENERATION.load() {
        return None;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    (now < get(state::SERVE_UNTIL)).then_some(now)
}
