//! Reading kernel structures at offsets the daemon found in the running kernel's BTF.

use core::ptr;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_probe_read_kernel,
        generated::{self, bpf_get_current_comm},
    },
};
use wellhead_common::{Sixteen, fields::ABSENT, kernel_fields};

macro_rules! declare_offsets {
    ($($name:ident: $width:literal, $structure:literal, [$($path:literal),+];)+) => {
        /// Byte offsets of kernel structure fields; written by the loader before the programs are verified.
        pub(crate) mod offset {
            use super::{ABSENT, Global};
            $(
                #[doc = concat!("`", $structure, "`: ", $($path, " "),+)]
                #[unsafe(no_mangle)]
                pub(crate) static $name: Global<u32> = Global::new(ABSENT);
            )+
        }
    };
}
kernel_fields!(declare_offsets);

/// Tracepoint prototypes that differ between kernels; 1 where the newer form was found in BTF.
pub(crate) mod prototype {
    use super::Global;

    /// `sched_process_exit` says whether the whole process is dead (since 6.16).
    #[unsafe(no_mangle)]
    pub(crate) static EXIT_HAS_GROUP_DEAD: Global<u32> = Global::new(0);

    /// `mark_victim` passes the task (since 6.8), not only its pid.
    #[unsafe(no_mangle)]
    pub(crate) static VICTIM_IS_TASK: Global<u32> = Global::new(0);

    /// Tracing programs may ask for a socket's cookie (since 5.12).
    #[unsafe(no_mangle)]
    pub(crate) static SOCKET_COOKIES: Global<u32> = Global::new(0);

    /// `tcp_retransmit_skb` is also passed attempts that failed, with their error (since 6.17).
    #[unsafe(no_mangle)]
    pub(crate) static RETRANSMIT_HAS_ERROR: Global<u32> = Global::new(0);

    /// How many arguments `kfree_skb` has: of three the last is the reason (since 5.17), of four the socket it was for (since 6.11).
    #[unsafe(no_mangle)]
    pub(crate) static DROP_ARGUMENTS: Global<u32> = Global::new(2);

    /// There is a helper for the running task as the verifier knows it (since 5.11).
    #[unsafe(no_mangle)]
    pub(crate) static CURRENT_TASK: Global<u32> = Global::new(0);
}

/// Jiffies in a second; 0 where that is not known.
#[unsafe(no_mangle)]
pub(crate) static JIFFIES_PER_SECOND: Global<u32> = Global::new(0);

/// Bytes in a page.
#[unsafe(no_mangle)]
pub(crate) static PAGE_SIZE: Global<u32> = Global::new(4096);

/// If not 0, only this cgroup is captured.
#[unsafe(no_mangle)]
pub(crate) static ONLY_CGROUP: Global<u64> = Global::new(0);

/// A pointer to a kernel structure. The verifier knows which one.
pub(crate) type Struct = *const u8;

/// Loads a field.
///
/// Never load from structures of different types in the branches of one condition: the compiler makes that one load of a
/// pointer and an offset chosen before, which the verifiers before 6.12 do not know to belong together. Load both, then choose.
///
/// # Safety
/// `base` must be a pointer the verifier knows the type of, `offset` the offset of a field of that type as wide as `T`:
/// the verifier refuses the program otherwise. A null or stale `base` reads as zero.
#[inline(always)]
pub(crate) unsafe fn field<T: Copy>(base: Struct, offset: &Global<u32>) -> T {
    // SAFETY: checked by the verifier, see above. Volatile, so that one load stays one load of the field's width.
    unsafe { ptr::read_volatile(base.add(offset.load() as usize).cast::<T>()) }
}

/// As [`field`], of eight bytes, from an address that came from no structure the verifier knows; 0 if it cannot be read.
/// Without a branch: in a loop the verifier would look at both ways of each.
#[inline(always)]
pub(crate) fn field_by_helper(base: u64, offset: &Global<u32>) -> u64 {
    let address = base.wrapping_add(u64::from(offset.load()));
    let mut value = 0_u64;
    // SAFETY: the helper reads nothing that is not there, and leaves zeroes in place of it.
    unsafe {
        generated::bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<u64>() as u32,
            address as *const _,
        );
        (&raw const value).read_volatile()
    }
}

/// Address of a field inside a structure.
///
/// # Safety
/// As for [`field`].
#[inline(always)]
pub(crate) unsafe fn address(base: Struct, offset: &Global<u32>) -> Struct {
    // SAFETY: checked by the verifier, see `field`.
    unsafe { base.add(offset.load() as usize) }
}

/// How many bytes so many pages have.
#[inline(always)]
pub(crate) fn bytes(pages: u64) -> u64 {
    pages * u64::from(PAGE_SIZE.load())
}

/// Whether the running kernel has a field.
#[inline(always)]
pub(crate) fn present(offset: &Global<u32>) -> bool {
    offset.load() != ABSENT
}

/// Whether events of this cgroup are captured.
#[inline(always)]
pub(crate) fn captured(cgroup_id: u64) -> bool {
    let only = ONLY_CGROUP.load();
    only == 0 || only == cgroup_id
}

/// The id of a cgroup: the inode number of its directory.
///
/// # Safety
/// `cgroup` must be a `struct cgroup`.
#[inline(always)]
pub(crate) unsafe fn cgroup_id(cgroup: Struct) -> u64 {
    // SAFETY: field types are checked by the verifier.
    unsafe {
        let node: Struct = field(cgroup, &offset::CGROUP_KN);
        field(node, &offset::KERNFS_NODE_ID)
    }
}

/// As [`cgroup_id`], for a pointer that came as a number: the helper copies what direct loads cannot reach. 0 if it points
/// nowhere.
///
/// # Safety
/// None of its own: the helper checks every address.
#[inline(always)]
pub(crate) unsafe fn cgroup_id_of_untyped(cgroup: Struct) -> u64 {
    // SAFETY: the helper reads nothing that is not there.
    unsafe {
        let node = bpf_probe_read_kernel(address(cgroup, &offset::CGROUP_KN).cast::<Struct>());
        node.and_then(|node| {
            bpf_probe_read_kernel(address(node, &offset::KERNFS_NODE_ID).cast::<u64>())
        })
        .unwrap_or(0)
    }
}

/// The id of the cgroup (v2) a task is in.
///
/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
pub(crate) unsafe fn task_cgroup_id(task: Struct) -> u64 {
    // SAFETY: field types are checked by the verifier.
    unsafe {
        let set: Struct = field(task, &offset::TASK_CGROUPS);
        cgroup_id(field(set, &offset::CSS_SET_CGROUP))
    }
}

/// A task's name.
///
/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
pub(crate) unsafe fn task_comm(task: Struct) -> Sixteen {
    // SAFETY: as said.
    unsafe { sixteen_bytes(task, &offset::TASK_COMM) }
}

/// An array of sixteen bytes in a structure.
///
/// # Safety
/// `base` must be a pointer the verifier knows the type of, `at` the offset of such an array in it, or of a union of them.
#[inline(always)]
pub(crate) unsafe fn sixteen_bytes(base: Struct, at: &Global<u32>) -> Sixteen {
    // SAFETY: the verifier allows loads of any width inside an array of integers.
    unsafe {
        let start = address(base, at).cast::<u64>();
        Sixteen::of_words([ptr::read_volatile(start), ptr::read_volatile(start.add(1))])
    }
}

/// The name of whoever runs.
#[inline(always)]
pub(crate) fn current_comm() -> Sixteen {
    let mut comm = Sixteen::default();
    // SAFETY: the helper writes as many bytes as it is told there are; should it fail, they stay zero.
    let _unknown =
        unsafe { bpf_get_current_comm((&raw mut comm).cast(), size_of_val(&comm) as u32) };
    comm
}

/// When a task's process started.
///
/// # Safety
/// `task` must be a `struct task_struct`.
#[inline(always)]
pub(crate) unsafe fn process_start(task: Struct) -> u64 {
    // SAFETY: field types are checked by the verifier.
    unsafe {
        let leader: Struct = field(task, &offset::TASK_GROUP_LEADER);
        field(leader, &offset::TASK_START)
    }
}
