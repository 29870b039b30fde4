//! System calls as the makers need them.

use std::{
    ffi::CString,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    path::Path,
    ptr, thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use wellhead_tests::execute;

/// What a child exits with if it cannot do what it is there for.
pub(crate) const FAILED: i32 = 99;

/// Makes a process as the kernel makes new ones: no handlers, no core file.
pub(crate) fn as_new() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: only this process's own actions, mask and limit change.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut nothing: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut nothing);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const nothing, ptr::null_mut());
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
    }
}

/// Sets both limits.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the limit outlives the call.
    unsafe { libc::setrlimit(resource, &raw const limit) };
}

/// Arguments of an exec, kept as long as they are pointed to.
struct Vector(Vec<CString>);

impl Vector {
    fn new(arguments: &[&[u8]]) -> Self {
        let all = arguments.iter().map(|one| CString::new(*one));
        Self(all.map(Result::unwrap_or_default).collect())
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        let all = self.0.iter().map(|one| one.as_ptr());
        all.chain([ptr::null()]).collect()
    }
}

/// Executes; returns only if that fails, with the error's number.
pub(crate) fn exec(path: impl AsRef<Path>, arguments: &[&[u8]]) -> i32 {
    let Ok(path) = execute::c_string(path.as_ref()) else {
        return FAILED;
    };
    let vector = Vector::new(arguments);
    // SAFETY: path, arguments and environment are NUL-terminated and end with a null.
    unsafe { libc::execve(path.as_ptr(), vector.pointers().as_ptr(), &ptr::null()) };
    errno()
}

/// Executes what a descriptor leads to.
/// A mount of a file alone, which is nowhere.
pub(crate) fn clone_mount(path: &Path) -> Result<OwnedFd> {
    /// `OPEN_TREE_CLONE` of `include/uapi/linux/mount.h`
    const CLONE: i32 = 1;
    let path = execute::c_string(path)?;
    // SAFETY: the path outlives the call.
    let tree = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            path.as_ptr(),
            CLONE | libc::O_CLOEXEC,
        )
    };
    ensure!(tree >= 0, "{}", io::Error::last_os_error());
    let tree = i32::try_from(tree)?;
    // SAFETY: the kernel has just opened it.
    Ok(unsafe { OwnedFd::from_raw_fd(tree) })
}

pub(crate) fn exec_descriptor(descriptor: i32, arguments: &[&[u8]]) -> i32 {
    let vector = Vector::new(arguments);
    // SAFETY: as for `exec`.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            descriptor,
            c"".as_ptr(),
            vector.pointers().as_ptr(),
            &ptr::null::<libc::c_char>(),
            libc::AT_EMPTY_PATH,
        )
    };
    errno()
}

pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(FAILED)
}

/// Waits until a signal ends it; not for ever, should none come.
pub(crate) fn pause() -> i32 {
    thread::sleep(Duration::from_secs(30));
    FAILED
}

pub(crate) fn sleep_ms(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// `fork(2)` by a system call that takes only flags: the child returns 0.
pub(crate) fn clone_with(flags: i32) -> i64 {
    let flags = i64::from(flags | libc::SIGCHLD);
    // SAFETY: without a stack of its own the child goes on on a copy of this one.

    unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }
}

/// `clone3(2)`, likewise; into a cgroup if there is a descriptor of one.
pub(crate) fn clone3(cgroup: Option<i32>) -> i64 {
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut arguments = [0_u64; 11];
    arguments[4] = libc::SIGCHLD.unsigned_abs().into();
    if let Some(descriptor) = cgroup {
        arguments[0] = INTO_CGROUP;
        arguments[10] = u64::from(descriptor.unsigned_abs());
    }
    // SAFETY: the arguments outlive the call; the child goes on on a copy of the stack.
    unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of_val(&arguments),
        )
    }
}

/// A child that shares memory with its parent, which waits until it executes or ends (`vfork(2)`).
pub(crate) fn vfork(life: extern "C" fn(*mut libc::c_void) -> i32, flags: i32) -> Result<i32> {
    let mut stack = vec![0_u128; 64 << 10];
    // SAFETY: the child has a stack of its own, and the parent waits for it.
    let pid = unsafe {
        libc::clone(
            life,
            stack.as_mut_ptr_range().end.cast(),
            flags | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            ptr::null_mut(),
        )
    };
    anyhow::ensure!(pid > 0, "clone: {}", io::Error::last_os_error());
    Ok(pid)
}

/// Ends the calling thread and nothing else.
pub(crate) fn exit_thread(code: i32) -> i32 {
    // SAFETY: the thread holds nothing that another waits for.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    FAILED
}

pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: has no memory to get wrong.
    let result = unsafe { libc::kill(pid, signal) };
    anyhow::ensure!(result == 0, "kill {pid}: {}", io::Error::last_os_error());
    Ok(())
}

pub(crate) fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// One of the calls of prctl(2) that take a number.
pub(crate) fn prctl(option: i32, argument: u64) {
    // SAFETY: no pointer is passed.
    unsafe { libc::prctl(option, argument, 0, 0, 0) };
}

/// Sets the name of the calling thread.
pub(crate) fn set_comm(comm: &[u8]) {
    let comm = CString::new(comm).unwrap_or_default();
    // SAFETY: the name outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr(), 0, 0, 0) };
}

/// Calls what only takes numbers; the error where it fails.
pub(crate) fn number(result: i32) -> Result<(), io::Error> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

pub(crate) fn unshare(flags: i32) -> Result<(), io::Error> {
    // SAFETY: none of the namespaces that are asked for shares memory.
    number(unsafe { libc::unshare(flags) })
}

/// Changes to a user that may do nothing.
pub(crate) fn become_user(id: u32) -> Result<(), io::Error> {
    // SAFETY: the process has one thread.
    number(unsafe { libc::setgroups(0, ptr::null()) })?;
    // SAFETY: as above.
    number(unsafe { libc::setresgid(id, id, id) })?;
    // SAFETY: as above.
    number(unsafe { libc::setresuid(id, id, id) })
}

/// Mounts; only what is given is passed.
pub(crate) fn mount(source: &Path, target: &Path, kind: Option<&str>, flags: u64) -> Result<()> {
    let (from, to) = (execute::c_string(source)?, execute::c_string(target)?);
    let kind = CString::new(kind.unwrap_or_default())?;
    // SAFETY: all are strings that outlive the call.
    let result = unsafe {
        libc::mount(
            from.as_ptr(),
            to.as_ptr(),
            kind.as_ptr(),
            flags,
            ptr::null(),
        )
    };
    number(result).with_context(|| format!("mount at {}", target.display()))
}
