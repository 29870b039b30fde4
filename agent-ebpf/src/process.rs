//! Processes: forked, executed, exited, killed for memory.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_uid_gid, bpf_probe_read_kernel_str_bytes,
        generated::bpf_probe_read_user,
    },
    macros::{btf_tracepoint, map},
    maps::{LruHashMap, PerCpuArray},
    programs::BtfTracePointContext,
};
use wellhead_common::{
    Sixteen, counts,
    limits::{ARGUMENTS, FILE_NAME},
    maps::{ProcessKey, SpillKey, SpillValue},
    record::{EXEC_FIXED, Exec, Exit, Fork, Kind, OomKill, exec_flag},
};

use crate::{
    kernel::{
        Struct, captured, current_comm, field, offset, process_start, prototype, task_cgroup_id,
        task_comm,
    },
    output::{PROCESS, count, write_header},
    spill::spill,
    state,
};

/// `PF_KTHREAD` of `include/linux/sched.h`: a kernel thread.
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;
/// `SIGNAL_GROUP_EXIT` of `include/linux/sched/signal.h`: all threads share one exit code.
const SIGNAL_GROUP_EXIT: u32 = 0x4;

/// Where an exec record is built: too large for the stack.
#[map]
pub(crate) static EXEC_SCRATCH: PerCpuArray<Exec> = PerCpuArray::with_max_entries(1, 0);

/// Processes whose exit was reported, where the kernel does not say which thread was the last.
#[map]
static EXITED: LruHashMap<ProcessKey, u8> = LruHashMap::with_max_entries(1024, 0);

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork(context: BtfTracePointContext) -> i32 {
    let parent: Struct = context.arg(0);
    let child: Struct = context.arg(1);
    // SAFETY: both are `struct task_struct`.
    unsafe {
        let pid: u32 = field(child, &offset::TASK_TGID);
        let is_thread = field::<u32>(child, &offset::TASK_PID) != pid;
        if is_thread || field::<u32>(child, &offset::TASK_FLAGS) & PF_KTHREAD != 0 {
            return 0;
        }
        let Some(now) = state::working() else {
            return 0;
        };
        let cgroup_id = task_cgroup_id(child);
        if !captured(cgroup_id) {
            return 0;
        }
        let sent = PROCESS.put::<Fork>(Kind::Fork, |record| {
            let about = (now, cgroup_id);
            write_header(&mut record.header, Kind::Fork, size_of::<Fork>(), about);
            record.pid = pid;
            record.parent_pid = field(parent, &offset::TASK_TGID);
            record.start_ns = field(child, &offset::TASK_START);
            record.parent_start_ns = process_start(parent);
        });
        if !sent {
            lost(Kind::Fork, cgroup_id, Sixteen::default(), 0);
        }
    }
    0
}

/// Counts a record that found the ring full.
#[inline(always)]
fn lost(kind: Kind, cgroup_id: u64, comm: Sixteen, status: u32) {
    let key = SpillKey {
        cgroup_id,
        subject: comm,
        status,
        ..SpillKey::default()
    };
    let value = SpillValue {
        records: 1,
        ..SpillValue::default()
    };
    spill(kind, key, &value);
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(context: BtfTracePointContext) -> i32 {
    let task: Struct = context.arg(0);
    let binary: Struct = context.arg(2);
    let Some(now) = state::working() else {
        return 0;
    };
    // SAFETY: a helper without arguments.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    if !captured(cgroup_id) {
        return 0;
    }
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU until the program returns; `task` is a `struct task_struct`, `binary` a
    // `struct linux_binprm`.
    unsafe {
        let record = &mut *scratch;
        record.flags = 0;
        let file_name = read_file_name(record, field(binary, &offset::BINPRM_FILE_NAME));
        let arguments = read_arguments(record, file_name, field(task, &offset::TASK_MM));
        let parent: Struct = field(task, &offset::TASK_REAL_PARENT);
        record.pid = field(task, &offset::TASK_TGID);
        record.parent_pid = field(parent, &offset::TASK_TGID);
        record.uid = bpf_get_current_uid_gid() as u32;
        record.start_ns = process_start(task);
        record.comm = current_comm();
        record.file_name_length = file_name as u32;
        record.arguments_length = arguments as u32;
        let length = EXEC_FIXED + file_name + arguments;
        write_header(&mut record.header, Kind::Exec, length, (now, cgroup_id));
        let sent = length <= size_of::<Exec>()
            && PROCESS.put_bytes(Kind::Exec, scratch.cast_const().cast(), length);
        if !sent {
            lost(Kind::Exec, cgroup_id, record.comm, 0);
        }
    }
    0
}

/// Copies the file name to the start of the record's text and returns its length.
#[inline(always)]
unsafe fn read_file_name(record: &mut Exec, name: *const u8) -> usize {
    // SAFETY: `name` is a kernel string; the buffer is as long as said.
    let buffer = unsafe { core::slice::from_raw_parts_mut(record.text.as_mut_ptr(), FILE_NAME) };
    // SAFETY: as above.
    let length = match unsafe { bpf_probe_read_kernel_str_bytes(name, buffer) } {
        Ok(name) => name.len(),
        Err(_) => {
            count(counts::READ_FAILED);
            0
        }
    };
    if length >= FILE_NAME - 1 {
        record.flags |= exec_flag::FILE_NAME_TRUNCATED;
        return FILE_NAME - 1;
    }
    length
}

/// Copies the arguments behind the file name and returns their length.
#[inline(always)]
unsafe fn read_arguments(record: &mut Exec, file_name: usize, memory: Struct) -> usize {
    // SAFETY: `memory` is a `struct mm_struct`.
    let (start, end): (u64, u64) = unsafe {
        (
            field(memory, &offset::MM_ARG_START),
            field(memory, &offset::MM_ARG_END),
        )
    };
    let mut length = end.wrapping_sub(start) as usize;
    if length > ARGUMENTS {
        record.flags |= exec_flag::ARGUMENTS_TRUNCATED;
        length = ARGUMENTS;
    }
    if file_name > FILE_NAME {
        return 0;
    }
    // SAFETY: `file_name + length` is at most the length of `text`; the helper checks the user's memory.
    let result = unsafe {
        bpf_probe_read_user(
            record.text.as_mut_ptr().add(file_name).cast(),
            length as u32,
            start as *const _,
        )
    };
    if result != 0 {
        count(counts::READ_FAILED);
        record.flags |= exec_flag::ARGUMENTS_UNREADABLE;
        return 0;
    }
    length
}

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
        // As `wait_task_zombie` does (`kernel/exit.c`).
        // Both are loaded, whichever is used: see `field`.
        let group_status: u32 = field(signal, &offset::SIGNAL_EXIT_CODE);
        let own_status: u32 = field(leader, &offset::TASK_EXIT_CODE);
        let status = if field::<u32>(signal, &offset::SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
            group_status
        } else {
            own_status
        };
        let comm = current_comm();
        let sent = PROCESS.put::<Exit>(Kind::Exit, |record| {
            let about = (now, cgroup_id);
            write_header(&mut record.header, Kind::Exit, size_of::<Exit>(), about);
            record.pid = pid;
            record.parent_pid = field(parent, &offset::TASK_TGID);
            record.status = status;
            record.uid = bpf_get_current_uid_gid() as u32;
            record.start_ns = start_ns;
            record.comm = comm;
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

/// `mark_victim(int pid)`; since 6.8 `mark_victim(struct task_struct *task, uid_t uid)`
#[btf_tracepoint(function = "mark_victim")]
pub(crate) fn mark_victim(context: BtfTracePointContext) -> i32 {
    let Some(now) = state::working() else {
        return 0;
    };
    let mut victim = Victim {
        pid: context.arg::<u64>(0) as u32,
        ..Victim::default()
    };
    if prototype::VICTIM_IS_TASK.load() != 0 {
        let task: Struct = context.arg(0);
        // SAFETY: `task` is a `struct task_struct`; `comm` is an array, so the helper copies it.
        unsafe {
            victim.cgroup_id = task_cgroup_id(task);
            victim.pid = field(task, &offset::TASK_TGID);
            victim.start_ns = process_start(task);
            victim.comm = task_comm(task);
        }
    }
    let sent = PROCESS.put::<OomKill>(Kind::OomKill, |record| {
        let about = (now, victim.cgroup_id);
        write_header(
            &mut record.header,
            Kind::OomKill,
            size_of::<OomKill>(),
            about,
        );
        record.pid = victim.pid;
        record.reserved = 0;
        record.start_ns = victim.start_ns;
        record.comm = victim.comm;
    });
    if !sent {
        lost(Kind::OomKill, victim.cgroup_id, victim.comm, 0);
    }
    0
}

/// What is known of who was killed.
#[derive(Default)]
struct Victim {
    cgroup_id: u64,
    pid: u32,
    start_ns: u64,
    comm: Sixteen,
}
