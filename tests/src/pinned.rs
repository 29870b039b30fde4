//! Looking into pinned maps, and writing to them what no agent would.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};
use wellhead_common::maps::state;

/// Commands of `bpf(2)` (include/uapi/linux/bpf.h).
const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const NEXT_KEY: libc::c_long = 4;
const OBJECT: libc::c_long = 7;

/// What those take that are about an entry.
#[repr(C)]
struct OfEntry {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Likewise what `OBJECT` takes.
#[repr(C)]
struct OfObject {
    path: u64,
    fd: u32,
    flags: u32,
}

/// A map below a directory of pins.
#[derive(Debug)]
pub struct PinnedMap(OwnedFd);

impl PinnedMap {
    /// The map of this name that an agent pinned below `directory`.
    ///
    /// # Errors
    /// There is none.
    pub fn open(directory: &Path, name: &str) -> Result<Self> {
        let layout = directory.join("v1");
        let shared = layout.join("maps").join(name);
        if shared.exists() {
            return Self::at(&shared);
        }
        let mut generations = Vec::new();
        for entry in fs::read_dir(&layout)? {
            let name = entry?.file_name();
            generations.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        let last = generations.into_iter().max().context("no generation")?;
        Self::at(&layout.join(last.to_string()).join("maps").join(name))
    }

    fn at(place: &Path) -> Result<Self> {
        let path = CString::new(place.as_os_str().as_encoded_bytes())?;
        let object = OfObject {
            path: path.as_ptr() as u64,
            fd: 0,
            flags: 0,
        };
        let fd = bpf(OBJECT, &object).with_context(|| format!("open {}", place.display()))?;
        // SAFETY: the call returned a new descriptor, which nobody else knows.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The value of a slot of an array of numbers.
    ///
    /// # Errors
    /// There is no such slot.
    pub fn slot(&self, slot: u32) -> Result<u64> {
        let mut value = 0_u64;
        bpf(LOOKUP, &self.entry(&raw const slot, &raw mut value))?;
        Ok(value)
    }

    /// Sets a slot of an array of numbers.
    ///
    /// # Errors
    /// There is no such slot.
    pub fn set_slot(&self, slot: u32, value: u64) -> Result<()> {
        let mut value = value;
        bpf(UPDATE, &self.entry(&raw const slot, &raw mut value))?;
        Ok(())
    }

    /// Entries of a map with keys of 64 bits that nobody changes meanwhile.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn entries(&self) -> Result<usize> {
        let mut key: Option<u64> = None;
        let mut entries = 0;
        loop {
            let from = key.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            let mut next = 0_u64;
            match bpf(NEXT_KEY, &self.entry(from, &raw mut next)) {
                Ok(_) => entries += 1,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(entries),
                Err(error) => return Err(error.into()),
            }
            key = Some(next);
        }
    }

    fn entry<K>(&self, key: *const K, value: *mut u64) -> OfEntry {
        OfEntry {
            map: self.0.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: key as u64,
            value: value as u64,
            flags: 0,
        }
    }
}

/// Has it seem as if the agent that pinned the map `STATE` had ended so long ago that its programs do not work any more;
/// or, with `false`, a moment ago.
///
/// # Errors
/// There is no such map.
pub fn set_unattended(map: &Path, unattended: bool) -> Result<()> {
    let until = if unattended { 1 } else { u64::MAX };
    PinnedMap::at(map)?.set_slot(state::SERVE_UNTIL, until)
}

/// The caller's attributes are those of the command, and what they point to outlives the call.
pub(crate) fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as it is told there are.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    match i32::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
