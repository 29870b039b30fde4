//! Paths of files, put together from the names of directories up to the root.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use wellhead_common::{
    limits::{NAME, PATH},
    record::{EXEC_TEXT, Exec},
};

use crate::kernel::{Struct, field, field_by_helper, offset};

/// Names in a path at most; and mounts on its way count as one each.
const STEPS: usize = 40;

/// Part of what [`write`] returns that is the length.
pub(crate) const LENGTH: usize = 0x3ff;
/// Bit of what [`write`] returns: the path goes on towards the root.
pub(crate) const TRUNCATED: u32 = 1 << 16;
/// Likewise: the file has no directory. The name is what it was given by whoever made it.
pub(crate) const NOWHERE: u32 = 1 << 17;

/// Where a path ends, and where it begins. All are addresses in the kernel.
pub(crate) struct Place {
    dentry: u64,
    /// A `struct mount`.
    mount: u64,
    root_dentry: u64,
    root_mount: u64,
}

impl Place {
    /// The place of this `struct dentry` in this `struct vfsmount`, as the task sees it.
    ///
    /// # Safety
    /// `task` must be a `struct task_struct`.
    #[inline(always)]
    pub(crate) unsafe fn new(dentry: u64, mount: u64, task: Struct) -> Self {
        // SAFETY: field types are checked by the verifier.
        unsafe {
            let files: Struct = field(task, &offset::TASK_FS);
            Self {
                dentry,
                mount: mount_of(mount),
                root_dentry: field(files, &offset::FS_ROOT_DENTRY),
                root_mount: mount_of(field(files, &offset::FS_ROOT_MOUNT)),
            }
        }
    }
}

/// The `struct mount` that a `struct vfsmount`, whose first member is its root, is a part of.
#[inline(always)]
fn mount_of(vfsmount: u64) -> u64 {
    vfsmount.wrapping_sub(u64::from(offset::MOUNT_ROOT.load()))
}

/// Writes the path into the record's text at `at`: names from the last to the first, NUL after each. Returns its length, and
/// more.
///
/// Everything is read by helper: where a mount ends, a path goes on at an address that comes from no structure the verifier
/// knows. Not inlined: a record has two paths.
#[inline(never)]
pub(crate) fn write(record: &mut Exec, at: usize, place: &Place) -> u32 {
    let (mut dentry, mut mount) = (place.dentry, place.mount);
    let mut used = 0_usize;
    for _ in 0..STEPS {
        if dentry == place.root_dentry && mount == place.root_mount {
            return used as u32;
        }
        let parent = field_by_helper(dentry, &offset::DENTRY_PARENT);
        let is_root = dentry == field_by_helper(mount, &offset::MOUNT_ROOT);
        if is_root {
            let above = field_by_helper(mount, &offset::MOUNT_PARENT);
            if above == mount {
                // Mounted nowhere, or what everything else is mounted on.
                return used as u32;
            }
            dentry = field_by_helper(mount, &offset::MOUNT_POINT);
            mount = above;
            continue;
        }
        let at = at.wrapping_add(used);
        if used > PATH - NAME || at > EXEC_TEXT - NAME {
            return used as u32 | TRUNCATED;
        }
        let Some(length) = read_name(record, at, dentry) else {
            return used as u32 | TRUNCATED;
        };
        used = forget_least(used + length);
        if parent == dentry {
            return used as u32 | NOWHERE;
        }
        dentry = parent;
    }
    used as u32 | TRUNCATED
}

/// Writes the name of a file alone, where it has no path: the file itself is mounted, and nowhere. Container runtimes execute
/// themselves so. Returns as [`write()`] does.
#[inline(always)]
pub(crate) fn write_name(record: &mut Exec, at: usize, dentry: u64) -> u32 {
    read_name(record, at, dentry).map_or(0, |length| length as u32) | TRUNCATED
}

/// Reads a name and its NUL into the record's text at `at`, where there must be room for one. Returns how long both are.
#[inline(always)]
fn read_name(record: &mut Exec, at: usize, dentry: u64) -> Option<usize> {
    let name = field_by_helper(dentry, &offset::DENTRY_NAME);
    // SAFETY: there is room for a name; the helper reads nothing that is not there.
    let length = unsafe {
        bpf_probe_read_kernel_str(
            record.text.as_mut_ptr().add(at).cast(),
            NAME as u32,
            name as *const _,
        )
    };
    (length > 0 && length <= NAME as i64).then_some(length as usize)
}

/// Has the verifier forget that a length grows with every name: it would look at what follows once for each.
#[inline(always)]
fn forget_least(mut length: usize) -> usize {
    // SAFETY: one instruction on a register; `LENGTH` has room for every length.
    unsafe { asm!("{length} &= 0x3ff", length = inout(reg) length) };
    length
}
