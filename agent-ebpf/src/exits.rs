//! How processes end: exited, and let go of by the kernel.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::bpf_get_current_cgroup_id,
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use wellhead_common::{
    counts,
    maps::ProcessKey,
    record::{Exit, Freed, Kind},
};

use crate::{
    kernel::{
        Struct, captured, current_comm, field, offset, process_start, prototype, task_cgroup_id,
    },
    output::{PROCESS, count, write_header},
    process::{PF_KTHREAD, lost},
    signals, state,
    usage::{self, Part},
};

/// `SIGNAL_GROUP_EXIT` of `include/linux/sched/signal.h`: all threads share one exit code.
pub(crate) const SIGNAL_GROUP_EXIT: u32 = 0x4;

/// Processes whose exit was reported, where the kernel does not say which thread was the last.
#[map]
static EXITED: LruHashMap<ProcessKey, u8> = LruHashMap::with_max_entries(1024, 0);

/// `sched_process_exit(struct task_struct *p[, bool group_dead])`
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(context: BtfTracePointContext) -> i32 {
    let task: Struct = context.arg(0);
    // SAFETY: `task` is a `struct task_struct`.
    unsafe {
        if field::<u32>(task, &offset::TASK_FLAGS) & PF_KTHREAD != 0 {
            return 0;
        }
        let Some(now) = state::working() else {
            return 0;
        };
        let signal: Struct = field(task, &offset::TASK_SIGNAL);
        let pid: u32 = field(task, &offset::TASK_TGID);
        let start_ns = process_start(task);
        let last = if prototype::EXIT_HAS_GROUP_DEAD.load() != 0 {
            context.arg::<u64>(1) as u8 != 0
        } else {
            is_last_thread(signal, pid, start_ns)
        };
        let cgroup_id = bpf_get_current_cgroup_id();
        if !last || !captured(cgroup_id) {
            return 0;
        }
        let leader: Struct = field(task, &offset::TASK_GROUP_LEADER);
        let parent: Struct = field(task, &offset::TASK_REAL_PARENT);
        let credentials: Struct = field(task, &offset::TASK_CRED);
        // As `wait_task_zombie` does (`kernel/exit.c`).
        // Both are loaded, whichever is used: see `field`.
        let group_status: u32 = field(signal, &offset::SIGNAL_EXIT_CODE);
        let own_status: u32 = field(leader, &offset::TASK_EXIT_CODE);
        let status = if field::<u32>(signal, &offset::SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
            group_status
        } else {
            own_status
        };
        // A first thread that is not the last has ended, and is still there.
        let is_leader = field::<u32>(task, &offset::TASK_PID) == pid;
        let comm = current_comm();
        let sent = PROCESS.put::<Exit>(Kind::Exit, |record| {
            let about = (now, cgroup_id);
            write_header(&mut record.header, Kind::Exit, size_of::<Exit>(), about);
            record.pid = pid;
            record.parent_pid = field(parent, &offset::TASK_TGID);
            record.status = status;
            record.effective_uid = field(credentials, &offset::CRED_EFFECTIVE_UID);
            record.start_ns = start_ns;
            record.comm = comm;
            usage::write(&mut record.usage, Part::Ended(signal));
            usage::add(&mut record.usage, task);
            if !is_leader {
                usage::add(&mut record.usage, leader);
            }
            signals::take(pid, &mut record.signals);
        });
        if !sent {
            lost(Kind::Exit, cgroup_id, comm, status);
        }
    }
    0
}

/// Whether this thread's exit ends the process, on kernels that do not say so.
///
/// `signal->live` was already lowered. Two threads exiting at once can both find it 0. The first reports and leaves the
/// process's key in the map; it is unlinked only after that, so whoever finds itself alone finds the key too.
#[inline(always)]
unsafe fn is_last_thread(signal: Struct, pid: u32, start_ns: u64) -> bool {
    // SAFETY: `signal` is a `struct signal_struct`.
    let (live, threads): (u32, u32) = unsafe {
        (
            field(signal, &offset::SIGNAL_LIVE),
            field(signal, &offset::SIGNAL_THREADS),
        )
    };
    if live != 0 {
        return false;
    }
    let key = ProcessKey {
        pid: u64::from(pid),
        start_ns,
    };
    if threads <= 1 {
        return EXITED.get_ptr(&key).is_none();
    }
    EXITED.insert(&key, &0, u64::from(BPF_NOEXIST)).is_ok()
}

/// `sched_process_free(struct task_struct *p)`: a while after the parent has asked how it ended, for each thread. The first
/// thread goes last, and only then is everything added up.
#[btf_tracepoint(function = "sched_process_free")]
pub(crate) fn sched_process_free(context: BtfTracePointContext) -> i32 {
    let task: Struct = context.arg(0);
    // SAFETY: `task` is a `struct task_struct`.
    unsafe {
        let pid: u32 = field(task, &offset::TASK_TGID);
        let is_thread = field::<u32>(task, &offset::TASK_PID) != pid;
        if is_thread || field::<u32>(task, &offset::TASK_FLAGS) & PF_KTHREAD != 0 {
            return 0;
        }
        let Some(now) = state::working() else {
            return 0;
        };
        let cgroup_id = task_cgroup_id(task);
        if !captured(cgroup_id) {
            return 0;
        }
        let signal: Struct = field(task, &offset::TASK_SIGNAL);
        let sent = PROCESS.put::<Freed>(Kind::Freed, |record| {
            let about = (now, cgroup_id);
            write_header(&mut record.header, Kind::Freed, size_of::<Freed>(), about);
            record.pid = pid;
            record.reserved = 0;
            record.start_ns = field(task, &offset::TASK_START);
            usage::write(&mut record.usage, Part::Ended(signal));
        });
        if !sent {
            // How it ended was told, and what it had used until then.
            count(counts::lost(Kind::Freed));
        }
    }
    0
}
