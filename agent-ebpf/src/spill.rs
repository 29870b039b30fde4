//! Where records go that find their ring full: added up by what they are about, so that no total is lost with them.

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::HashMap};
use wellhead_common::{
    Sixteen, counts,
    maps::{SpillKey, SpillValue, state},
    record::Kind,
};

use crate::{
    output::{add_atomically, count},
    state as steering,
};

/// What was lost. The loader sets its size, and makes an entry for each kind and epoch with everything else 0.
#[map]
static SPILL: HashMap<SpillKey, SpillValue> = HashMap::with_max_entries(1, 0);

/// Adds a record of this kind that found its ring full. Where there is no room for the key, its cgroup's entry of that
/// kind takes it, and where there is none for that either, the kind's.
#[inline(always)]
pub(crate) fn spill(kind: Kind, mut key: SpillKey, value: &SpillValue) {
    key.kind = kind as u32;
    // Read before the loss is counted: whoever sees the count and then changes the epoch finds the entry in the old one.
    key.epoch = steering::get(state::SPILL_EPOCH) as u32;
    if !add(&key, value) {
        count(counts::SPILL_FULL);
        key.subject = Sixteen::default();
        key.status = 0;
        key.role = 0;
        key.port = 0;
        if !add(&key, value) {
            key.cgroup_id = 0;
            add(&key, value);
        }
    }
    count(counts::lost(kind));
}

/// Adds to an entry, made if need be; says whether there was room. Not inlined: each program spills several kinds.
#[inline(never)]
fn add(key: &SpillKey, value: &SpillValue) -> bool {
    if add_to(key, value) {
        return true;
    }
    // Another CPU may have been quicker.
    SPILL.insert(key, value, u64::from(BPF_NOEXIST)).is_ok() || add_to(key, value)
}

#[inline(always)]
fn add_to(key: &SpillKey, value: &SpillValue) -> bool {
    let Some(entry) = SPILL.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the look-up returned a valid entry; all CPUs only add to it in this way.
    unsafe {
        add_atomically(&raw mut (*entry).records, value.records);
        add_atomically(&raw mut (*entry).opens, value.opens);
        add_atomically(&raw mut (*entry).bytes_sent, value.bytes_sent);
        add_atomically(&raw mut (*entry).bytes_received, value.bytes_received);
        add_atomically(&raw mut (*entry).segments_sent, value.segments_sent);
        add_atomically(&raw mut (*entry).segments_received, value.segments_received);
        add_atomically(&raw mut (*entry).retransmits, value.retransmits);
    }
    true
}
