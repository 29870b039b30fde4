//! What processes used: time, memory, storage.

use aya_ebpf::{
    Global,
    helpers::{bpf_probe_read_kernel, generated::bpf_seq_write},
};
use wellhead_common::record::{ThreadUsage, Usage};

use crate::{
    kernel::{Struct, bytes, captured, field, offset, present, process_start, task_cgroup_id},
    live::OneTask,
    process::PF_KTHREAD,
    state as steering,
};

/// `MM_FILEPAGES`, `MM_ANONPAGES` and `MM_SHMEMPAGES` of `include/linux/mm_types_task.h`.
pub(crate) const FILE_PAGES: usize = 0;
pub(crate) const ANONYMOUS_PAGES: usize = 1;
pub(crate) const SHARED_PAGES: usize = 3;
/// Kinds of pages that are counted.
const PAGE_KINDS: usize = 4;
/// `sizeof(struct percpu_counter)`: as many as fit into the array of that width.
const PER_CPU_COUNTER: usize = 160 / PAGE_KINDS;

/// Where usage is read from.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// A process's threads that are gone: its `struct signal_struct`.
    Ended(Struct),
    /// A thread: its `struct task_struct`.
    Thread(Struct),
}

macro_rules! read {
    ($part:expr, $of_ended:ident, $of_thread:ident) => {
        match $part {
            Part::Ended(signal) => optional(signal, &offset::$of_ended),
            Part::Thread(task) => optional(task, &offset::$of_thread),
        }
    };
}

/// Writes what this part used.
///
/// # Safety
/// It must be what it is said to be.
#[inline(always)]
pub(crate) unsafe fn write(usage: &mut Usage, part: Part) {
    // SAFETY: field types are checked by the verifier.
    unsafe {
        usage.runtime_ns = read!(part, SIGNAL_RUNTIME, TASK_RUNTIME);
        usage.user_ns = read!(part, SIGNAL_USER_TIME, TASK_USER_TIME);
        usage.system_ns = read!(part, SIGNAL_SYSTEM_TIME, TASK_SYSTEM_TIME);
        usage.read_bytes = read!(part, SIGNAL_READ_BYTES, TASK_READ_BYTES);
        usage.write_bytes = read!(part, SIGNAL_WRITE_BYTES, TASK_WRITE_BYTES);
        usage.minor_faults = read!(part, SIGNAL_MINOR_FAULTS, TASK_MINOR_FAULTS);
        usage.major_faults = read!(part, SIGNAL_MAJOR_FAULTS, TASK_MAJOR_FAULTS);
        usage.voluntary_switches = read!(part, SIGNAL_VOLUNTARY, TASK_VOLUNTARY);
        usage.forced_switches = read!(part, SIGNAL_FORCED, TASK_FORCED);
        usage.peak_bytes = match part {
            Part::Ended(signal) => bytes(field(signal, &offset::SIGNAL_PEAK)),
            Part::Thread(_) => 0,
        };
    }
}

/// Adds what a thread used.
///
/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
pub(crate) unsafe fn add(usage: &mut Usage, task: Struct) {
    // SAFETY: field types are checked by the verifier.
    unsafe {
        usage.runtime_ns += optional(task, &offset::TASK_RUNTIME);
        usage.user_ns += optional(task, &offset::TASK_USER_TIME);
        usage.system_ns += optional(task, &offset::TASK_SYSTEM_TIME);
        usage.read_bytes += optional(task, &offset::TASK_READ_BYTES);
        usage.write_bytes += optional(task, &offset::TASK_WRITE_BYTES);
        usage.minor_faults += optional(task, &offset::TASK_MINOR_FAULTS);
        usage.major_faults += optional(task, &offset::TASK_MAJOR_FAULTS);
        usage.voluntary_switches += optional(task, &offset::TASK_VOLUNTARY);
        usage.forced_switches += optional(task, &offset::TASK_FORCED);
    }
}

/// A field that some kernels are built without: 0 there.
#[inline(always)]
unsafe fn optional(base: Struct, at: &Global<u32>) -> u64 {
    if present(at) {
        // SAFETY: checked by the verifier, see `field`.
        unsafe { field(base, at) }
    } else {
        0
    }
}

/// Memory of a kind that a process has, in bytes: one number, or since 6.2 one with what single CPUs did not add yet left out, as in
/// the kernel's own log (which has that too in 7.2). Read by helper: before 5.11 the verifier refuses arrays of structures.
///
/// # Safety
/// None of its own: the helper checks the address.
#[inline(always)]
pub(crate) unsafe fn memory_of(memory: Struct, kind: usize) -> u64 {
    let at = if present(&offset::MM_PAGES) {
        offset::MM_PAGES.load() as usize + kind * size_of::<i64>()
    } else if present(&offset::MM_PAGES_PER_CPU) {
        let counter = offset::MM_PAGES_PER_CPU.load() as usize + kind * PER_CPU_COUNTER;
        counter + offset::PER_CPU_COUNT.load() as usize
    } else {
        return 0;
    };
    // SAFETY: the helper reads nothing that is not there.
    let pages = unsafe { bpf_probe_read_kernel(memory.wrapping_add(at).cast::<i64>()) };
    // A CPU may have taken off what another has not added yet.
    bytes(pages.unwrap_or(0).max(0) as u64)
}

/// What each thread used: read from the iterator itself.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub(crate) fn live_usage(context: &OneTask) -> i32 {
    let task = context.task;
    if task.is_null() {
        return 0;
    }
    let Some(now) = steering::working() else {
        return 0;
    };
    let mut told = ThreadUsage::default();
    // SAFETY: `task` is a `struct task_struct`; so are the others what they are taken for.
    unsafe {
        if field::<u32>(task, &offset::TASK_FLAGS) & PF_KTHREAD != 0 {
            return 0;
        }
        told.boot_ns = now;
        told.cgroup_id = task_cgroup_id(task);
        if !captured(told.cgroup_id) {
            return 0;
        }
        told.pid = field(task, &offset::TASK_TGID);
        told.thread = field(task, &offset::TASK_PID);
        told.start_ns = process_start(task);
        let memory: Struct = field(task, &offset::TASK_MM);
        let leader: Struct = field(task, &offset::TASK_GROUP_LEADER);
        let leaders_memory: Struct = field(leader, &offset::TASK_MM);
        let is_leader = told.pid == told.thread;
        if is_leader {
            write(
                &mut told.usage,
                Part::Ended(field(task, &offset::TASK_SIGNAL)),
            );
            add(&mut told.usage, task);
        } else {
            write(&mut told.usage, Part::Thread(task));
        }
        // Threads share it. Where the first has ended, each of the others tells it.
        if !memory.is_null() && (is_leader || leaders_memory.is_null()) {
            told.resident_bytes = memory_of(memory, FILE_PAGES)
                + memory_of(memory, ANONYMOUS_PAGES)
                + memory_of(memory, SHARED_PAGES);
        }
        let sequence: Struct = field_at_start(context.meta);
        bpf_seq_write(
            sequence.cast_mut().cast(),
            (&raw const told).cast(),
            size_of::<ThreadUsage>() as u32,
        );
    }
    0
}

/// The first member of `struct bpf_iter_meta`: where an iterator writes to.
#[inline(always)]
unsafe fn field_at_start(meta: Struct) -> Struct {
    // SAFETY: `meta` is what the kernel called the program with.
    unsafe { meta.cast::<Struct>().read_volatile() }
}
