//! cgroups made, removed and entered: how the daemon learns which cgroup is which container.

use aya_ebpf::{
    helpers::bpf_probe_read_kernel_str_bytes,
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use wellhead_common::{
    counts,
    limits::CGROUP_PATH,
    record::{CGROUP_FIXED, Cgroup, Kind},
};

use crate::{
    kernel::{Struct, cgroup_id, field, offset},
    output::{IDENTITY, count, write_header},
    state,
};

/// Where a record is built: too large for the stack. One for each kind, as one program may interrupt another.
#[map]
pub(crate) static CGROUP_SCRATCH: PerCpuArray<Cgroup> = PerCpuArray::with_max_entries(3, 0);

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`
#[btf_tracepoint(function = "cgroup_mkdir")]
pub(crate) fn cgroup_mkdir(context: BtfTracePointContext) -> i32 {
    report(Kind::CgroupMkdir, context.arg(0), context.arg(1), 0);
    0
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`
#[btf_tracepoint(function = "cgroup_rmdir")]
pub(crate) fn cgroup_rmdir(context: BtfTracePointContext) -> i32 {
    report(Kind::CgroupRmdir, context.arg(0), context.arg(1), 0);
    0
}

/// `cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`
#[btf_tracepoint(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task(context: BtfTracePointContext) -> i32 {
    let task: Struct = context.arg(2);
    // SAFETY: the third argument is a `struct task_struct`.
    let pid: u32 = unsafe { field(task, &offset::TASK_TGID) };
    report(Kind::CgroupAttach, context.arg(0), context.arg(1), pid);
    0
}

#[inline(always)]
fn report(kind: Kind, cgroup: Struct, path: *const u8, pid: u32) {
    // SAFETY: `cgroup` is a `struct cgroup`.
    let hierarchy: i32 = unsafe {
        let root: Struct = field(cgroup, &offset::CGROUP_ROOT);
        field(root, &offset::CGROUP_ROOT_HIERARCHY)
    };
    // Version 1 hierarchies report too, and their ids repeat ours.
    if hierarchy != 0 {
        return;
    }
    let Some(now) = state::working() else { return };
    let Some(scratch) = CGROUP_SCRATCH.get_ptr_mut(kind as u32) else {
        return;
    };
    // SAFETY: the slot belongs to this CPU until the program returns.
    let record = unsafe { &mut *scratch };
    // SAFETY: `path` is a kernel string.
    let path_length = match unsafe { bpf_probe_read_kernel_str_bytes(path, &mut record.path) } {
        Ok(path) => path.len(),
        Err(_) => {
            count(counts::READ_FAILED);
            0
        }
    };
    let path_length = if path_length > CGROUP_PATH {
        CGROUP_PATH
    } else {
        path_length
    };
    let length = CGROUP_FIXED + path_length;
    // SAFETY: `cgroup` is a `struct cgroup`.
    let id = unsafe { cgroup_id(cgroup) };
    write_header(&mut record.header, kind, length, (now, id));
    record.pid = pid;
    record.path_length = path_length as u32;
    // SAFETY: `length` is at most the size of the record.
    if !unsafe { IDENTITY.put_bytes(kind, scratch.cast_const().cast(), length) } {
        // No total is lost with it: the daemon scans the tree again.
        count(counts::lost(kind));
    }
}
