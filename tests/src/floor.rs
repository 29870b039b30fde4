//! A program that does nothing: what a run costs at least.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::pinned::bpf;
use anyhow::Result;

// `enum bpf_cmd` and `enum bpf_prog_type`, linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const RAW_TRACEPOINT: u32 = 17;

/// `r0 = 0; exit`, as `struct bpf_insn`.
const NOTHING: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];

/// `union bpf_attr`, as far as a program is loaded by it.
#[repr(C)]
struct Load {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u64; 2],
    flags: u64,
}

#[repr(C)]
struct Open {
    name: u64,
    program: u32,
    padding: u32,
}

#[repr(C)]
struct InfoOf {
    program: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_prog_info` in words, of which two are read.
type Info = [u64; 26];
const RUN_TIME_NS: usize = 24;
const RUNS: usize = 25;

/// Such a program, attached to a tracepoint until it is dropped.
#[derive(Debug)]
pub struct EmptyProgram {
    program: OwnedFd,
    _link: OwnedFd,
}

impl EmptyProgram {
    /// Attaches one.
    ///
    /// # Errors
    /// There is no such tracepoint, or it is not permitted.
    pub fn at(tracepoint: &std::ffi::CStr) -> Result<Self> {
        let program = owned(bpf(
            PROG_LOAD,
            &Load {
                program_type: RAW_TRACEPOINT,
                instructions: 2,
                code: NOTHING.as_ptr() as u64,
                license: c"GPL".as_ptr() as u64,
                log: [0; 2],
                flags: 0,
            },
        )?);
        let open = Open {
            name: tracepoint.as_ptr() as u64,
            program: program.as_raw_fd().cast_unsigned(),
            padding: 0,
        };
        let link = owned(bpf(RAW_TRACEPOINT_OPEN, &open)?);
        Ok(Self {
            program,
            _link: link,
        })
    }

    /// Its runs, and the nanoseconds spent in them, since run-time statistics are on.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn runs(&self) -> io::Result<(u64, u64)> {
        let mut info: Info = [0; 26];
        let of = InfoOf {
            program: self.program.as_raw_fd().cast_unsigned(),
            length: u32::try_from(size_of::<Info>()).unwrap_or_default(),
            info: (&raw mut info) as u64,
        };
        bpf(OBJ_GET_INFO_BY_FD, &of)?;
        Ok((info[RUNS], info[RUN_TIME_NS]))
    }
}

fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
