//! Where the kernel has no BTF: processes and cgroups from classic tracepoints, as far as those tell of them.
//!
//! They write the same records as the other programs, with 0 for what they cannot know: start times, exit statuses,
//! parents, arguments. Positions inside a tracepoint's record come from tracefs through `.rodata`.

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::BPF_ANY,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str_bytes,
    },
    macros::{map, tracepoint},
    maps::HashMap,
    programs::TracePointContext,
};
use wellhead_common::{
    classic_fields, counts,
    fields::ABSENT,
    limits::{CGROUP_PATH, FILE_NAME},
    maps::{SpillKey, SpillValue},
    record::{
        CGROUP_FIXED, EXEC_FIXED, Exec, Exit, Fork, Kind, OomKill, STATUS_UNKNOWN, exec_flag,
    },
};

use crate::{
    cgroup::CGROUP_SCRATCH,
    kernel::{captured, current_comm, present},
    output::{IDENTITY, PROCESS, Ring, count, write_header},
    process::EXEC_SCRATCH,
    spill::spill,
};

macro_rules! declare_positions {
    ($($name:ident: $shape:ident($width:literal), $category:literal, $tracepoint:literal, $field:literal;)+) => {
        /// Positions in the records of classic tracepoints; written by the loader before the programs are verified.
        pub(crate) mod at {
            use super::{ABSENT, Global};
            $(
                #[doc = concat!("`", $category, ":", $tracepoint, "`: `", $field, "`")]
                #[unsafe(no_mangle)]
                pub(crate) static $name: Global<u32> = Global::new(ABSENT);
            )+
        }
    };
}
classic_fields!(declare_positions);

/// `CLONE_THREAD` of `include/uapi/linux/sched.h`.
const CLONE_THREAD: u64 = 0x0001_0000;
/// The kernel thread that makes all others.
const KTHREADD: u32 = 2;

/// Kernel threads, which are not told of: nothing else says which task is one. The loader sets its size and enters those
/// that exist.
#[map]
static KERNEL_THREADS: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

/// A number in the tracepoint's record.
#[inline(always)]
pub(crate) fn read<T: Default>(context: &TracePointContext, at: &Global<u32>) -> T {
    // SAFETY: the helper reads the kernel's own record, or fails. (A direct load is refused for a pointer that was moved.)
    unsafe { context.read_at(at.load() as usize) }.unwrap_or_default()
}

/// Copies a string of the tracepoint's record and returns its length without NUL.
#[inline(always)]
fn read_text(context: &TracePointContext, at: &Global<u32>, buffer: &mut [u8]) -> usize {
    // The lower half of the word is where it starts (`__data_loc`).
    let start = read::<u32>(context, at) & 0xffff;
    // SAFETY: the helper reads the kernel's own record, or fails.
    let text = unsafe { context.as_ptr().cast::<u8>().add(start as usize) };
    // SAFETY: as above.
    match unsafe { bpf_probe_read_kernel_str_bytes(text, buffer) } {
        Ok(text) => text.len(),
        Err(_) => {
            count(counts::READ_FAILED);
            0
        }
    }
}

/// Puts a record of fixed size into a ring, its header written; says whether there was room.
#[inline(always)]
#[must_use]
pub(crate) fn put<T: 'static>(
    ring: &Ring,
    kind: Kind,
    about: (u64, u64),
    fill: impl FnOnce(&mut T),
) -> bool {
    ring.put::<T>(kind, |record| {
        // SAFETY: records are plain integers and byte arrays, for which zero is valid, and start with their header.
        let header = unsafe {
            let record = core::ptr::from_mut(record);
            core::ptr::write_bytes(record, 0, 1);
            &mut *record.cast()
        };
        write_header(header, kind, size_of::<T>(), about);
        fill(record);
    })
}

/// Counts a record that found its ring full for its cgroup; more than that it would not tell by much.
#[inline(always)]
pub(crate) fn lost(kind: Kind, cgroup_id: u64, opens: u64) {
    let key = SpillKey {
        cgroup_id,
        ..SpillKey::default()
    };
    let value = SpillValue {
        records: 1,
        opens,
        ..SpillValue::default()
    };
    spill(kind, key, &value);
}

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// `cgroup_mkdir(int root, int level, u64 id, string path)`
#[tracepoint]
pub(crate) fn classic_cgroup_mkdir(context: TracePointContext) -> u32 {
    let fields = (&at::TP_CGROUP_ROOT, &at::TP_CGROUP_ID, &at::TP_CGROUP_PATH);
    report_cgroup(Kind::CgroupMkdir, &context, fields, 0)
}

/// `cgroup_rmdir(int root, int level, u64 id, string path)`
#[tracepoint]
pub(crate) fn classic_cgroup_rmdir(context: TracePointContext) -> u32 {
    let fields = (&at::TP_RMDIR_ROOT, &at::TP_RMDIR_ID, &at::TP_RMDIR_PATH);
    report_cgroup(Kind::CgroupRmdir, &context, fields, 0)
}

/// `cgroup_attach_task(int dst_root, int dst_level, u64 dst_id, int pid, string dst_path, string comm)`
#[tracepoint]
pub(crate) fn classic_cgroup_attach_task(context: TracePointContext) -> u32 {
    let fields = (&at::TP_ATTACH_ROOT, &at::TP_ATTACH_ID, &at::TP_ATTACH_PATH);
    let pid = read(&context, &at::TP_ATTACH_PID);
    report_cgroup(Kind::CgroupAttach, &context, fields, pid)
}

#[inline(always)]
fn report_cgroup(
    kind: Kind,
    context: &TracePointContext,
    (root, id, path): (&Global<u32>, &Global<u32>, &Global<u32>),
    pid: u32,
) -> u32 {
    // Version 1 hierarchies report too, and their ids repeat ours.
    if read::<u32>(context, root) != 0 {
        return 0;
    }
    let Some(scratch) = CGROUP_SCRATCH.get_ptr_mut(kind as u32) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU until the program returns.
    let record = unsafe { &mut *scratch };
    let path_length = read_text(context, path, &mut record.path);
    let path_length = if path_length > CGROUP_PATH {
        CGROUP_PATH
    } else {
        path_length
    };
    let length = CGROUP_FIXED + path_length;
    write_header(&mut record.header, kind, length, (now(), read(context, id)));
    record.pid = pid;
    record.path_length = path_length as u32;
    // SAFETY: `length` is at most the size of the record.
    if !unsafe { IDENTITY.put_bytes(kind, scratch.cast_const().cast(), length) } {
        // No total is lost with it: the daemon scans the tree again.
        count(counts::lost(kind));
    }
    0
}

/// `task_newtask(pid_t pid, char comm[16], unsigned long clone_flags, short oom_score_adj)`, in the parent. Unlike
/// `sched_process_fork` it tells threads from processes.
#[tracepoint]
pub(crate) fn classic_task_newtask(context: TracePointContext) -> u32 {
    if read::<u64>(&context, &at::TP_NEWTASK_FLAGS) & CLONE_THREAD != 0 {
        return 0;
    }
    let pid: u32 = read(&context, &at::TP_NEWTASK_PID);
    let parent_pid = current_pid();
    if parent_pid == KTHREADD {
        if KERNEL_THREADS.insert(&pid, &0, u64::from(BPF_ANY)).is_err() {
            count(counts::MAP_FULL);
        }
        return 0;
    }
    // SAFETY: a helper without arguments.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    if captured(cgroup_id) {
        let about = (now(), cgroup_id);
        let sent = put::<Fork>(&PROCESS, Kind::Fork, about, |record| {
            record.pid = pid;
            record.parent_pid = parent_pid;
        });
        if !sent {
            lost(Kind::Fork, cgroup_id, 0);
        }
    }
    0
}

/// `sched_process_exec(string filename, pid_t pid, pid_t old_pid)`
#[tracepoint]
pub(crate) fn classic_sched_process_exec(context: TracePointContext) -> u32 {
    // SAFETY: a helper without arguments.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    if !captured(cgroup_id) {
        return 0;
    }
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the slot belongs to this CPU until the program returns.
    let record = unsafe { &mut *scratch };
    // SAFETY: `text` is longer than a file name.
    let name = unsafe { core::slice::from_raw_parts_mut(record.text.as_mut_ptr(), FILE_NAME) };
    let mut length = read_text(&context, &at::TP_EXEC_FILE_NAME, name);
    record.flags = exec_flag::ARGUMENTS_UNREADABLE;
    if length >= FILE_NAME - 1 {
        record.flags |= exec_flag::FILE_NAME_TRUNCATED;
        length = FILE_NAME - 1;
    }
    write_header(
        &mut record.header,
        Kind::Exec,
        EXEC_FIXED + length,
        (now(), cgroup_id),
    );
    record.pid = current_pid();
    record.parent_pid = 0;
    let user = bpf_get_current_uid_gid();
    record.uid = user as u32;
    // As far as can be known.
    record.effective_uid = user as u32;
    record.effective_gid = (user >> 32) as u32;
    record.own_pid = 0;
    record.start_ns = 0;
    record.parent_start_ns = 0;
    record.permitted = 0;
    record.comm = current_comm();
    record.file_name_length = length as u32;
    record.interpreter_length = 0;
    record.executable_length = 0;
    record.directory_length = 0;
    record.arguments_length = 0;
    let sent = EXEC_FIXED + length <= size_of::<Exec>()
        // SAFETY: `length` was just compared.
        && unsafe { PROCESS.put_bytes(Kind::Exec, scratch.cast_const().cast(), EXEC_FIXED + length) };
    if !sent {
        lost(Kind::Exec, cgroup_id, 0);
    }
    0
}

/// `sched_process_exit(char comm[16], pid_t pid, int prio[, bool group_dead])`, in each thread that ends.
#[tracepoint]
pub(crate) fn classic_sched_process_exit(context: TracePointContext) -> u32 {
    let pid = current_pid();
    let ended = if present(&at::TP_EXIT_GROUP_DEAD) {
        read::<u8>(&context, &at::TP_EXIT_GROUP_DEAD) != 0
    } else {
        // The thread the process began with usually is the last.
        read::<u32>(&context, &at::TP_EXIT_PID) == pid
    };
    if !ended || KERNEL_THREADS.remove(&pid).is_ok() {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    if captured(cgroup_id) {
        let about = (now(), cgroup_id);
        let sent = put::<Exit>(&PROCESS, Kind::Exit, about, |record| {
            record.pid = pid;
            record.status = STATUS_UNKNOWN;
            record.effective_uid = bpf_get_current_uid_gid() as u32;
            record.comm = current_comm();
        });
        if !sent {
            lost(Kind::Exit, cgroup_id, 0);
        }
    }
    0
}

/// `mark_victim(int pid[, …])`; whose it is, user space knows by the pid.
#[tracepoint]
pub(crate) fn classic_mark_victim(context: TracePointContext) -> u32 {
    let sent = put::<OomKill>(&PROCESS, Kind::OomKill, (now(), 0), |record| {
        record.victim.pid = read(&context, &at::TP_VICTIM_PID);
    });
    if !sent {
        lost(Kind::OomKill, 0, 0);
    }
    0
}

#[inline(always)]
fn current_pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}
