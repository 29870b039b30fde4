//! Records of processes.

use super::Header;
use crate::{
    Sixteen,
    limits::{ARGUMENTS, FILE_NAME, PATH},
    maps::Signals,
};

/// A process was made by `fork(2)`, `vfork(2)` or `clone(2)`; threads are not reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fork {
    /// `cgroup_id` is the child's.
    pub header: Header,
    /// The child.
    pub pid: u32,
    /// The process that called.
    pub parent_pid: u32,
    /// When the child started.
    pub start_ns: u64,
    /// When the parent started.
    pub parent_start_ns: u64,
}

/// A process executes another program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exec {
    /// `cgroup_id` is the process's.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Its real parent.
    pub parent_pid: u32,
    /// Real user id after the call.
    pub uid: u32,
    /// Effective user id after the call.
    pub effective_uid: u32,
    /// Effective group id after the call.
    pub effective_gid: u32,
    /// Its process id in its own PID namespace; 0 where unknown.
    pub own_pid: u32,
    /// When the process started.
    pub start_ns: u64,
    /// When its real parent started.
    pub parent_start_ns: u64,
    /// Capabilities it may use from now on (`CapPrm` of proc_pid_status(5)), a bit each.
    pub permitted: u64,
    /// Its new name.
    pub comm: Sixteen,
    /// Bits of [`exec_flag`].
    pub flags: u32,
    /// Length of the file name at the start of `text`.
    pub file_name_length: u32,
    /// Length of the path of the interpreter that follows it; 0 if the file is no script.
    pub interpreter_length: u32,
    /// Length of the path of the executed file that follows: names from the last to the first, NUL after each.
    pub executable_length: u32,
    /// Length of the path of the working directory that follows, in the same form.
    pub directory_length: u32,
    /// Length of the arguments that follow, NUL after each.
    pub arguments_length: u32,
    /// File name, interpreter, executable, directory, arguments.
    pub text: [u8; EXEC_TEXT],
}

/// Room for all texts of an [`Exec`].
pub const EXEC_TEXT: usize = FILE_NAME + FILE_NAME + PATH + PATH + ARGUMENTS;

/// Bits of [`Exec::flags`].
pub mod exec_flag {
    /// The arguments were longer than the record holds.
    pub const ARGUMENTS_TRUNCATED: u32 = 1;
    /// The arguments could not be read.
    pub const ARGUMENTS_UNREADABLE: u32 = 1 << 1;
    /// The file name was longer than the record holds.
    pub const FILE_NAME_TRUNCATED: u32 = 1 << 2;
    /// The beginning of the executable's path is left out.
    pub const EXECUTABLE_TRUNCATED: u32 = 1 << 3;
    /// The beginning of the working directory's path is left out.
    pub const DIRECTORY_TRUNCATED: u32 = 1 << 4;
    /// The executed file has no name in any directory any more, or never had one.
    pub const EXECUTABLE_UNLINKED: u32 = 1 << 5;
    /// The executed file is not part of a file system that is mounted somewhere: it was made by `memfd_create(2)`.
    pub const EXECUTABLE_IN_MEMORY: u32 = 1 << 6;
    /// It is in a user namespace that is not the first: its capabilities hold in there.
    pub const IN_USER_NAMESPACE: u32 = 1 << 7;
}

/// A process ended: its last thread exited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exit {
    /// `cgroup_id` is the process's.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Its real parent.
    pub parent_pid: u32,
    /// Status as `wait4(2)` gives it, or [`STATUS_UNKNOWN`].
    pub status: u32,
    /// Effective user id.
    pub effective_uid: u32,
    /// When the process started.
    pub start_ns: u64,
    /// Its last name.
    pub comm: Sixteen,
    /// What it used so far: without what its threads that are just ending used, and without what it used since the
    /// scheduler looked last. [`Freed`] has all.
    pub usage: Usage,
    /// Who told it to end.
    pub signals: Signals,
}

/// What a process used over its life, all threads that it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Usage {
    /// Time on a processor in nanoseconds, as the scheduler has it.
    pub runtime_ns: u64,
    /// As the timer's ticks have it, in user mode.
    pub user_ns: u64,
    /// Likewise in the kernel.
    pub system_ns: u64,
    /// Bytes that had to be read from storage.
    pub read_bytes: u64,
    /// Bytes that it caused to be written to storage.
    pub write_bytes: u64,
    /// Page faults that needed no storage.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
    /// How often it gave the processor up.
    pub voluntary_switches: u64,
    /// How often it was taken from it.
    pub forced_switches: u64,
    /// The most memory it had at once, bytes; 0 where that is not known.
    pub peak_bytes: u64,
}

/// The kernel let go of a process that had ended and that its parent had asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Freed {
    /// `cgroup_id` is the process's.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Always 0.
    pub reserved: u32,
    /// When the process started.
    pub start_ns: u64,
    /// What it used in all.
    pub usage: Usage,
}

/// What a thread, and if it is the first of its process that process's threads that have ended, used so far. No record:
/// the iterator hands them out one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadUsage {
    /// Its process.
    pub pid: u32,
    /// The thread: equal to `pid` if it is the first.
    pub thread: u32,
    /// When the process started.
    pub start_ns: u64,
    /// `peak_bytes` is of the process, and 0 but for its first thread.
    pub usage: Usage,
    /// Memory the process has, bytes; 0 but for its first thread, or if that has ended, for all others.
    pub resident_bytes: u64,
    /// The cgroup it is in.
    pub cgroup_id: u64,
    /// When all that was so: boot clock.
    pub boot_ns: u64,
}

/// Value of [`Exit::status`] where the kernel does not tell it; `wait4(2)` uses the lower half alone.
pub const STATUS_UNKNOWN: u32 = u32::MAX;

/// A process that was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Task {
    /// `cgroup_id` is the process's.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Its real parent.
    pub parent_pid: u32,
    /// Real user id.
    pub uid: u32,
    /// 1 if it has executed nothing since it was forked.
    pub only_forked: u32,
    /// When the process started.
    pub start_ns: u64,
    /// When its real parent started.
    pub parent_start_ns: u64,
    /// As in [`Exec`].
    pub permitted: u64,
    /// Its name.
    pub comm: Sixteen,
}

/// The kernel chose a victim to free memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OomKill {
    /// `cgroup_id` is the victim's; 0 where the kernel reports only its pid.
    pub header: Header,
    /// The victim.
    pub victim: Victim,
}

/// What is known of who is killed to free memory. Of a victim of which the kernel reports only its pid, the rest is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Victim {
    /// The victim.
    pub pid: u32,
    /// How many cgroups above the victim's own the limit that was hit is.
    pub limit_level: u32,
    /// When it started.
    pub start_ns: u64,
    /// Its name.
    pub comm: Sixteen,
    /// Bytes of memory of its own (`anon-rss` in the kernel's log).
    pub anonymous_bytes: u64,
    /// Bytes of files (`file-rss`).
    pub file_bytes: u64,
    /// Bytes of shared memory (`shmem-rss`).
    pub shared_bytes: u64,
    /// Bytes charged to the cgroup whose limit was hit; 0 if none was.
    pub charged_bytes: u64,
    /// Its limit in bytes; 0 if none was hit: the machine itself had no memory left.
    pub limit_bytes: u64,
}

/// Size of [`Exec`] without its text.
pub const EXEC_FIXED: usize = 112;

const _: () = assert!(size_of::<Fork>() == 48);
const _: () = assert!(size_of::<Exec>() == EXEC_FIXED + EXEC_TEXT);
const _: () = assert!(size_of::<Usage>() == 80);
const _: () = assert!(size_of::<Exit>() == 240);
const _: () = assert!(size_of::<Freed>() == 120);
const _: () = assert!(size_of::<ThreadUsage>() == 120);
const _: () = assert!(size_of::<OomKill>() == 96);
const _: () = assert!(size_of::<Task>() == 80);
