//! Which CPUs are in the middle of a state change. The kernel runs no program that is running on the same CPU already
//! (`__bpf_trace_run` of `kernel/trace/bpf_trace.c`; 5.10 does): timers and packets of an interrupt change states of sockets
//! while a system call does so.

use aya_ebpf::{macros::map, maps::PerCpuArray};

/// 1 while the program runs. Scratch memory of one generation: no two of them share it.
#[map]
static BUSY: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// The program begins. Where the kernel lets it interrupt itself (5.10) the first end is that of both, and nothing is missing.
#[inline(always)]
pub(crate) fn begin() {
    set(1);
}

/// It ends.
#[inline(always)]
pub(crate) fn end() {
    set(0);
}

/// Whether it is interrupted, so that it was skipped now.
#[inline(always)]
pub(crate) fn is_interrupting() -> bool {
    // SAFETY: the look-up returned this CPU's slot.
    BUSY.get_ptr(0)
        .is_some_and(|busy| unsafe { busy.read_volatile() } != 0)
}

#[inline(always)]
fn set(value: u32) {
    if let Some(busy) = BUSY.get_ptr_mut(0) {
        // SAFETY: the look-up returned this CPU's slot.
        unsafe { busy.write_volatile(value) }
    }
}
