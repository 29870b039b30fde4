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

/// Larger than any value of a map with keys of 64 bits: the kernel writes as much as its values are long.
const LONGEST_VALUE: usize = 256;

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

/// Whether one descriptor is the link of a tracing program and the other that program. Of anything else that could be
/// pinned in their place, the kernel's description has no such lines (`bpf_link_show_fdinfo`, kernel/bpf/syscall.c).
pub(super) fn is_link_of(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> bool {
    let about = |fd: BorrowedFd<'_>| {
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default()
    };
    let (link, program) = (about(link), about(program));
    let id = field(&link, "prog_id");
    field(&link, "link_type").is_some()
        && field(&program, "prog_type").is_some()
        && id.is_some()
        && id == field(&program, "prog_id")
}

/// A line of the kernel's description of a descriptor (`/proc/self/fdinfo`).
pub(super) fn field<'a>(about: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = about.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    Some(value.trim())
}

/// Attaches a loaded BTF tracepoint program. Closing the link detaches it, unless the link is pinned.
pub(super) fn attach_tracepoint(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: such a program knows its tracepoint, so there is no name to give.
    let result = unsafe { sys::bpf_raw_tracepoint_open(ptr::null(), program.as_raw_fd()) };
    owned(result)
}

/// Attaches a loaded program to a cgroup, beside all others that are or will be. Closing the link detaches it, unless the link is
/// pinned.
pub(super) fn attach_cgroup(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    kind: sys::bpf_attach_type,
) -> io::Result<OwnedFd> {
    // SAFETY: both descriptors are open for the call, and no options are given.
    let result =
        unsafe { sys::bpf_link_create(program.as_raw_fd(), cgroup.as_raw_fd(), kind, ptr::null()) };
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
    read_iterator(link, &mut [0; 64], |_| {})
}

/// Likewise, and hands on what it writes, `buffer` by `buffer`: a piece may end in the middle of what the program wrote at
/// once.
pub(super) fn read_iterator(
    link: BorrowedFd<'_>,
    buffer: &mut [u8],
    mut piece: impl FnMut(&[u8]),
) -> io::Result<()> {
    // SAFETY: the link is open for the call.
    let mut file = File::from(owned(unsafe { sys::bpf_iter_create(link.as_raw_fd()) })?);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => piece(&buffer[..length]),
            // The kernel pauses after a million objects without output (`bpf_seq_read`, kernel/bpf/bpf_iter.c).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a map with keys of 64 bits has one; also if the kernel does not tell.
pub(super) fn has_key(map: BorrowedFd<'_>, key: u64) -> bool {
    let mut value = [0_u8; LONGEST_VALUE];
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

/// The value behind a key of 64 bits, as far as it is known to be: the rest is zero.
pub(super) fn value(map: BorrowedFd<'_>, key: u64) -> Option<[u8; LONGEST_VALUE]> {
    let mut value = [0; LONGEST_VALUE];
    // SAFETY: key and value are valid for the call, and long enough.
    let result = unsafe {
        sys::bpf_map_lookup_elem(
            map.as_raw_fd(),
            ptr::from_ref(&key).cast(),
            value.as_mut_ptr().cast(),
        )
    };
    (result == 0).then_some(value)
}

/// All keys of a hash map whose keys have 64 bits. One that comes or goes meanwhile may be among them or not.
pub(super) fn keys(map: BorrowedFd<'_>) -> io::Result<Vec<u64>> {
    // More than are in one bucket of the map, which is read as a whole.
    const BATCH: u32 = 1_024;
    let mut keys = Vec::new();
    let mut batch = [0_u64; BATCH as usize];
    // There is no call that tells keys without values.
    let mut values = vec![0_u8; BATCH as usize * LONGEST_VALUE];
    let mut position = 0_u32;
    let mut is_first = true;
    loop {
        let mut count = BATCH;
        let to = &raw mut position;
        let from = if is_first { ptr::null_mut() } else { to };
        // SAFETY: keys and values have room for as many as `count` says; the position is the 32 bits a hash map takes and
        // gives, and may be the same place for both: it is read first.
        let result = unsafe {
            sys::bpf_map_lookup_batch(
                map.as_raw_fd(),
                from.cast(),
                to.cast(),
                batch.as_mut_ptr().cast(),
                values.as_mut_ptr().cast(),
                &raw mut count,
                ptr::null(),
            )
        };
        let is_last = result == -libc::ENOENT;
        if !is_last {
            check(result)?;
        }
        is_first = false;
        let told = usize::try_from(count).unwrap_or_default();
        keys.extend(batch.iter().take(told));
        if is_last {
            return Ok(keys);
        }
    }
}

/// Removes a key of 64 bits from a map; says whether it was there.
pub(super) fn remove_key(map: BorrowedFd<'_>, key: u64) -> bool {
    // SAFETY: the key is valid for the call.
    let result = unsafe { sys::bpf_map_delete_elem(map.as_raw_fd(), ptr::from_ref(&key).cast()) };
    result == 0
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
