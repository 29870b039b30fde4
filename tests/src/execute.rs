//! Forking and executing with as little as possible around it.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    ptr,
};

use anyhow::{Context as _, Result};

/// A file name as the kernel takes it.
///
/// # Errors
/// It has a NUL in it.
pub fn c_string(text: impl AsRef<std::ffi::OsStr>) -> Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

/// Executes `path` in a new process (as `vfork(2)` does) and waits for its end; returns its status as `wait4(2)` gives it.
///
/// # Errors
/// It cannot be started.
pub fn spawn_and_wait(path: &CStr, arguments: &[&CStr]) -> io::Result<(u32, i32)> {
    wait(spawn(path, arguments)?)
}

/// Executes `path` in a new process (as `vfork(2)` does); returns its process id.
///
/// # Errors
/// It cannot be started.
pub fn spawn(path: &CStr, arguments: &[&CStr]) -> io::Result<i32> {
    let mut vector: Vec<*mut libc::c_char> = arguments
        .iter()
        .map(|argument| argument.as_ptr().cast_mut())
        .collect();
    vector.push(ptr::null_mut());
    let environment: [*mut libc::c_char; 1] = [ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: path, arguments and environment are NUL-terminated and outlive the call.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            ptr::null(),
            ptr::null(),
            vector.as_ptr(),
            environment.as_ptr(),
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(pid)
}

/// Forks; the child does `life` and then exits with what that returns. Only for a process with one thread.
///
/// # Errors
/// There can be no more processes.
pub fn fork(life: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the caller has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = life();
            // SAFETY: ends the process without running what its parent has registered.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(pid),
    }
}

/// Waits for a child: its process id and its status as `wait4(2)` gives it.
///
/// # Errors
/// It is no child of the caller.
pub fn wait(pid: i32) -> io::Result<(u32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if waited == pid {
            return Ok((pid.unsigned_abs(), status));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Writes an executable that does nothing but exit with 0: as quick to execute as can be. Where there is no such code for
/// the machine, it is a link to `true`.
///
/// # Errors
/// It cannot be written.
pub fn quick_program(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    if let Some(code) = EXIT_CODE {
        fs::write(&path, elf(code)).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    } else {
        std::os::unix::fs::symlink("/bin/true", &path)?;
    }
    Ok(path)
}

/// `exit_group(0)` in machine code.
const EXIT_CODE: Option<&[u8]> = if cfg!(target_arch = "x86_64") {
    // xor edi, edi; mov eax, 231; syscall
    Some(&[0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05])
} else {
    None
};

/// A static x86-64 executable with one segment: headers and code (`elf(5)`).
pub fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x0040_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2_u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    // Entry, program headers, section headers.
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    for word in [1_u32, 5] {
        file.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}
