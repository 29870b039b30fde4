//! Processes: forked, executed. How they end is in [`crate::exits`].

use aya_ebpf::{
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_uid_gid, bpf_probe_read_kernel,
        bpf_probe_read_kernel_str_bytes, generated::bpf_probe_read_user,
    },
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use wellhead_common::{
    Sixteen, counts,
    limits::{ARGUMENTS, FILE_NAME, PATH},
    maps::{SpillKey, SpillValue},
    record::{EXEC_FIXED, EXEC_TEXT, Exec, Fork, Kind, exec_flag},
};

use crate::{
    kernel::{
        Struct, address, captured, current_comm, field, offset, process_start, task_cgroup_id,
    },
    output::{PROCESS, count, write_header},
    paths::{self, Place},
    spill::spill,
    state,
};

/// `PF_KTHREAD` of `include/linux/sched.h`: a kernel thread.
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

/// Where an exec record is built: too large for the stack.
#[map]
pub(crate) static EXEC_SCRATCH: PerCpuArray<Exec> = PerCpuArray::with_max_entries(1, 0);

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
pub(crate) fn lost(kind: Kind, cgroup_id: u64, comm: Sixteen, status: u32) {
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
        write_who(record, task);
        let memory: Struct = field(task, &offset::TASK_MM);
        let names = read_names(record, binary);
        let executable = read_executable(record, names, task, memory);
        let directory = read_directory(record, names + executable, task);
        let texts = names + executable + directory;
        let arguments = read_arguments(record, texts, memory);
        record.executable_length = executable as u32;
        record.directory_length = directory as u32;
        record.arguments_length = arguments as u32;
        let length = EXEC_FIXED + texts + arguments;
        write_header(&mut record.header, Kind::Exec, length, (now, cgroup_id));
        let sent = length <= size_of::<Exec>()
            && PROCESS.put_bytes(Kind::Exec, scratch.cast_const().cast(), length);
        if !sent {
            lost(Kind::Exec, cgroup_id, record.comm, 0);
        }
    }
    0
}

/// Who executes, as whom, and whose child it is.
#[inline(always)]
unsafe fn write_who(record: &mut Exec, task: Struct) {
    // SAFETY: `task` is a `struct task_struct`, and the one that runs.
    unsafe {
        let parent: Struct = field(task, &offset::TASK_REAL_PARENT);
        let credentials: Struct = field(task, &offset::TASK_CRED);
        record.pid = field(task, &offset::TASK_TGID);
        record.parent_pid = field(parent, &offset::TASK_TGID);
        record.uid = bpf_get_current_uid_gid() as u32;
        record.effective_uid = field(credentials, &offset::CRED_EFFECTIVE_UID);
        record.effective_gid = field(credentials, &offset::CRED_EFFECTIVE_GID);
        record.permitted = field(credentials, &offset::CRED_PERMITTED);
        let namespace: Struct = field(credentials, &offset::CRED_USER_NAMESPACE);
        let level: u32 = field(namespace, &offset::USER_NAMESPACE_LEVEL);
        record.flags = if level > 0 {
            exec_flag::IN_USER_NAMESPACE
        } else {
            0
        };
        record.own_pid = own_pid(field(task, &offset::TASK_THREAD_PID));
        record.start_ns = process_start(task);
        record.parent_start_ns = process_start(parent);
        record.comm = current_comm();
    }
}

/// The process id in the innermost PID namespace: the last of `struct pid`'s numbers, each a `struct upid` of 16 bytes.
#[inline(always)]
unsafe fn own_pid(pid: Struct) -> u32 {
    const UPID: usize = 16;
    // SAFETY: `pid` is a `struct pid`; the helper reads nothing that is not there.
    unsafe {
        let level: u32 = field(pid, &offset::PID_LEVEL);
        let numbers = address(pid, &offset::PID_NUMBERS) as usize;
        // `MAX_PID_NS_LEVEL` is 32.
        let number = numbers.wrapping_add(level as usize % 64 * UPID);
        bpf_probe_read_kernel(number as *const u32).unwrap_or(0)
    }
}

/// Copies the file name to the start of the record's text, and behind it the path of the interpreter if the file is a
/// script; returns their length.
#[inline(always)]
unsafe fn read_names(record: &mut Exec, binary: Struct) -> usize {
    // SAFETY: `binary` is a `struct linux_binprm`.
    let (name, interpreter): (*const u8, *const u8) = unsafe {
        (
            field(binary, &offset::BINPRM_FILE_NAME),
            field(binary, &offset::BINPRM_INTERPRETER),
        )
    };
    // SAFETY: both are kernel strings.
    let (length, is_cut) = unsafe { read_string(record, 0, name) };
    if is_cut {
        record.flags |= exec_flag::FILE_NAME_TRUNCATED;
    }
    record.file_name_length = length as u32;
    record.interpreter_length = 0;
    if interpreter == name || length >= FILE_NAME {
        return length;
    }
    // SAFETY: as above.
    let (more, _) = unsafe { read_string(record, length, interpreter) };
    record.interpreter_length = more as u32;
    length + more
}

/// Copies a kernel string of at most [`FILE_NAME`] bytes into the record's text; returns its length, and whether it is longer.
#[inline(always)]
unsafe fn read_string(record: &mut Exec, at: usize, string: *const u8) -> (usize, bool) {
    // SAFETY: there is room for two of them.
    let buffer =
        unsafe { core::slice::from_raw_parts_mut(record.text.as_mut_ptr().add(at), FILE_NAME) };
    // SAFETY: the helper reads nothing that is not there.
    let length = match unsafe { bpf_probe_read_kernel_str_bytes(string, buffer) } {
        Ok(text) => text.len(),
        Err(_) => {
            count(counts::READ_FAILED);
            0
        }
    };
    if length >= FILE_NAME - 1 {
        return (FILE_NAME - 1, true);
    }
    (length, false)
}

/// Writes the path of the file that is executed.
#[inline(always)]
unsafe fn read_executable(record: &mut Exec, at: usize, task: Struct, memory: Struct) -> usize {
    // SAFETY: `memory` is a `struct mm_struct`.
    let file: Struct = unsafe { field(memory, &offset::MM_EXE_FILE) };
    if file.is_null() || at > 2 * FILE_NAME {
        return 0;
    }
    // SAFETY: `file` is a `struct file`.
    let (dentry, links): (u64, u32) = unsafe {
        let inode: Struct = field(file, &offset::FILE_INODE);
        (
            field(file, &offset::FILE_DENTRY),
            field(inode, &offset::INODE_LINKS),
        )
    };
    if links == 0 {
        record.flags |= exec_flag::EXECUTABLE_UNLINKED;
    }
    // SAFETY: `file` is a `struct file`.
    let place = unsafe { Place::new(dentry, field(file, &offset::FILE_MOUNT), task) };
    let mut written = paths::write(record, at, &place);
    if written == 0 {
        written = paths::write_name(record, at, dentry);
    }
    if written & paths::TRUNCATED != 0 {
        record.flags |= exec_flag::EXECUTABLE_TRUNCATED;
    }
    if written & paths::NOWHERE != 0 {
        record.flags |= exec_flag::EXECUTABLE_IN_MEMORY;
    }
    written as usize & paths::LENGTH
}

/// Writes the path of the working directory.
#[inline(always)]
unsafe fn read_directory(record: &mut Exec, at: usize, task: Struct) -> usize {
    // SAFETY: `task` is a `struct task_struct`.
    let place = unsafe {
        let files: Struct = field(task, &offset::TASK_FS);
        Place::new(
            field(files, &offset::FS_DIRECTORY_DENTRY),
            field(files, &offset::FS_DIRECTORY_MOUNT),
            task,
        )
    };
    if at > 2 * FILE_NAME + PATH {
        return 0;
    }
    let written = paths::write(record, at, &place);
    if written & paths::TRUNCATED != 0 {
        record.flags |= exec_flag::DIRECTORY_TRUNCATED;
    }
    written as usize & paths::LENGTH
}

/// Copies the arguments behind the other texts and returns their length.
#[inline(always)]
unsafe fn read_arguments(record: &mut Exec, at: usize, memory: Struct) -> usize {
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
    if at > EXEC_TEXT - ARGUMENTS {
        return 0;
    }
    // SAFETY: `at + length` is at most the length of `text`; the helper checks the user's memory.
    let result = unsafe {
        bpf_probe_read_user(
            record.text.as_mut_ptr().add(at).cast(),
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
