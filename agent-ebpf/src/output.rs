//! Rings, counters, and how a record gets from one to the other.

use core::arch::asm;

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use wellhead_common::{
    counts,
    record::{Header, Kind},
};

/// A ring and the fill mark (in bytes) from which its reader is woken; below it, the reader comes by itself.
pub(crate) struct Ring {
    map: &'static RingBuf,
    fill_mark: &'static Global<u32>,
}

macro_rules! rings {
    ($($(#[doc = $doc:literal])+ $ring:ident: $map:ident, $mark:ident;)+) => {
        $(
            #[map]
            static $map: RingBuf = RingBuf::with_byte_size(4096, 0);

            #[unsafe(no_mangle)]
            static $mark: Global<u32> = Global::new(0);

            $(#[doc = $doc])+
            pub(crate) static $ring: Ring = Ring { map: &$map, fill_mark: &$mark };
        )+
    };
}

rings! {
    /// cgroups made and removed: small, and never behind a flood of other events.
    IDENTITY: IDENTITY_RING, IDENTITY_FILL_MARK;
    /// Forks, execs, exits, OOM kills.
    PROCESS: PROCESS_RING, PROCESS_FILL_MARK;
    /// Connections opened, closed, failed.
    NETWORK: NETWORK_RING, NETWORK_FILL_MARK;
    /// What packets carry.
    PAYLOAD: PAYLOAD_RING, PAYLOAD_FILL_MARK;
}

/// Room for a record in a ring.
pub(crate) struct Room<T: 'static>(RingBufEntry<T>);

impl<T: 'static> Room<T> {
    /// The record, with arbitrary contents: every field is to be written, one by one.
    #[inline(always)]
    pub(crate) fn record(&mut self) -> &mut T {
        // SAFETY: records are plain integers and byte arrays, for which any contents are valid.
        unsafe { &mut *self.0.as_mut_ptr() }
    }
}

/// What [`counts`] names, per CPU.
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counts::CELLS, 0);

/// Adds one to a cell of the counter array.
#[inline(always)]
pub(crate) fn count(cell: u32) {
    if let Some(value) = COUNTS.get_ptr_mut(cell) {
        // SAFETY: the look-up returned this CPU's slot. Atomic, because a program may be interrupted, and since 7.0
        // preempted, by one that counts in the same cell.
        unsafe { add_atomically(value, 1) }
    }
}

/// Adds to a cell of a map entry, atomically and without reading it back, which kernels before 5.12 cannot.
///
/// # Safety
/// `cell` must point into a map entry.
#[inline(always)]
pub(crate) unsafe fn add_atomically(cell: *mut u64, amount: u64) {
    // SAFETY: one instruction on memory the caller vouches for, and the verifier.
    unsafe {
        asm!("lock *(u64 *)({cell} + 0) += {amount}", cell = in(reg) cell, amount = in(reg) amount);
    }
}

/// Writes the header of a record of this size.
#[inline(always)]
pub(crate) fn write_header(
    header: &mut Header,
    kind: Kind,
    length: usize,
    (now, cgroup_id): (u64, u64),
) {
    header.kind = kind as u32;
    header.length = length as u32;
    header.boot_ns = now;
    header.cgroup_id = cgroup_id;
}

impl Ring {
    /// Puts a record of fixed size into the ring, built in place by `fill`; says whether there was room. If there was
    /// not, the caller spills what the record would have told.
    ///
    /// `fill` gets memory with arbitrary contents and must write every field, one by one: a record assigned as a whole
    /// would be built on the stack, which is too small for the larger ones.
    #[inline(always)]
    #[must_use]
    pub(crate) fn put<T: 'static>(&self, kind: Kind, fill: impl FnOnce(&mut T)) -> bool {
        self.put_if(kind, |record| {
            fill(record);
            true
        })
    }

    /// As [`Self::put`], but the record is sent only if `fill` says so.
    #[inline(always)]
    #[must_use]
    pub(crate) fn put_if<T: 'static>(&self, kind: Kind, fill: impl FnOnce(&mut T) -> bool) -> bool {
        let Some(mut room) = self.room::<T>() else {
            return false;
        };
        if fill(room.record()) {
            self.send(room, kind);
        } else {
            room.0.discard(u64::from(BPF_RB_NO_WAKEUP));
        }
        true
    }

    /// Room for a record, if there is any; it must be [sent](Self::send). For records that several programs tell: a closure
    /// that is called in several places is not inlined, and of the function that it becomes the verifier may not accept what
    /// the compiler leaves in the register of its result.
    #[inline(always)]
    pub(crate) fn room<T: 'static>(&self) -> Option<Room<T>> {
        self.map.reserve::<T>(0).map(Room)
    }

    /// Sends a record whose every field was written.
    #[inline(always)]
    pub(crate) fn send<T: 'static>(&self, room: Room<T>, kind: Kind) {
        room.0.submit(self.wake_up(kind));
        count(counts::submitted(kind));
    }

    /// Puts the first `length` bytes of `record` into the ring; says whether there was room.
    ///
    /// # Safety
    /// `length` must be at most the size of what `record` points to, in a way the verifier can see.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn put_bytes(&self, kind: Kind, record: *const u8, length: usize) -> bool {
        // SAFETY: the verifier checks `length` against the memory behind `record`.
        let bytes = unsafe { core::slice::from_raw_parts(record, length) };
        let sent = self.map.output::<[u8]>(bytes, self.wake_up(kind)).is_ok();
        if sent {
            count(counts::submitted(kind));
        }
        sent
    }

    /// Whether the ring is so full that its reader is woken.
    #[inline(always)]
    pub(crate) fn is_filling_up(&self) -> bool {
        self.map.query(u64::from(BPF_RB_AVAIL_DATA)) >= u64::from(self.fill_mark.load())
    }

    /// Waking a reader costs more than everything else a program does, so it is done only when the ring fills up; and asking
    /// for that costs as much as the record, so that not every record asks.
    #[inline(always)]
    fn wake_up(&self, kind: Kind) -> u64 {
        if submitted(kind) % RECORDS_PER_QUESTION == 0 && self.is_filling_up() {
            u64::from(BPF_RB_FORCE_WAKEUP)
        } else {
            u64::from(BPF_RB_NO_WAKEUP)
        }
    }
}

/// A CPU asks with every so many records of a kind whether the ring fills up: few enough to be far from filling the other
/// half of the smallest ring.
const RECORDS_PER_QUESTION: u64 = 8;

/// How many records of this kind this CPU has sent.
#[inline(always)]
fn submitted(kind: Kind) -> u64 {
    // SAFETY: the look-up returned this CPU's slot.
    COUNTS
        .get_ptr(counts::submitted(kind))
        .map_or(0, |sent| unsafe { sent.read_volatile() })
}
