//! Calls of `bpf(2)` that aya does not offer, and the wait for programs to return.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::Path,
    ptr,
};

use libbpf_sys as sys;

/// Pins an object (a map, program or link) at a path of a bpf filesystem.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    let result = unsafe { sys::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) };
    check(result).map(drop)
}

/// Opens a pinned object.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    let result = unsafe { sys::bpf_obj_get(path.as_ptr()) };
    owned(result)
}

/// Attaches a loaded BTF tracepoint program. Closing the link detaches it, unless the link is pinned.
pub(super) fn attach_tracepoint(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: such a program knows its tracepoint, so there is no name to give.
    let result = unsafe { sys::bpf_raw_tracepoint_open(ptr::null(), program.as_raw_fd()) };
    owned(result)
}

/// Makes a loaded iterator program ready to be run.
pub(super) fn attach_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: iterators have no target, and no options are given.
    let result =
        unsafe { sys::bpf_link_create(program.as_raw_fd(), 0, sys::BPF_TRACE_ITER, ptr::null()) };
    owned(result)
}

/// Runs an iterator program over everything there is, in the network namespace of the calling thread. What it finds it
/// tells by its own ways.
pub(super) fn run_iterator(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the link is open for the call.
    let mut file = File::from(owned(unsafe { sys::bpf_iter_create(link.as_raw_fd()) })?);
    let mut nothing = [0; 64];
    loop {
        match file.read(&mut nothing) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // The kernel pauses after a million objects without output (`bpf_seq_read`, kernel/bpf/bpf_iter.c).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a map with keys of 64 bits has one; also if the kernel does not tell.
pub(super) fn has_key(map: BorrowedFd<'_>, key: u64) -> bool {
    // Larger than any value of such a map: the kernel writes as much as its values are long.
    let mut value = [0_u8; 256];
    // SAFETY: key and value are valid for the call, and long enough.
    let result = unsafe {
        sys::bpf_map_lookup_elem(
            map.as_raw_fd(),
            ptr::from_ref(&key).cast(),
            value.as_mut_ptr().cast(),
        )
    };
    result != -libc::ENOENT
}

/// Removes a key of 64 bits from a map, if it is there.
pub(super) fn remove_key(map: BorrowedFd<'_>, key: u64) {
    // SAFETY: the key is valid for the call.
    let _absent_is_fine =
        unsafe { sys::bpf_map_delete_elem(map.as_raw_fd(), ptr::from_ref(&key).cast()) };
}

/// Waits until every program that runs now has returned: they run as RCU readers, and this membarrier command is a
/// `synchronize_rcu` (kernel/sched/membarrier.c). Blocks for some milliseconds.
pub(super) fn wait_for_programs() {
    // `MEMBARRIER_CMD_GLOBAL` of include/uapi/linux/membarrier.h.
    const GLOBAL: libc::c_long = 1;
    // SAFETY: this command has no arguments that point anywhere.
    let result = unsafe {
        libc::syscall(
            libc::SYS_membarrier,
            GLOBAL,
            0 as libc::c_long,
            0 as libc::c_long,
        )
    };
    if result != 0 {
        // Kernels with `nohz_full` CPUs refuse. No program takes this long.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|nul| io::Error::new(io::ErrorKind::InvalidInput, nul))
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        // libbpf 1.x returns the negative errno (`libbpf_err`, tools/lib/bpf/libbpf_internal.h).
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(result)
}

fn owned(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call returned a new descriptor, which nobody else knows.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}
