//! Giving memory back to the system. A leaf.

/// From how much free memory at the end of an arena on it goes back to the system, bytes.
#[cfg(target_env = "gnu")]
const KEPT: i32 = 512 << 10;

/// To be called once, at start: lets the allocator keep little of what is freed. Left alone it keeps up to 64 MiB at the end of each arena
/// but the first, of which every few threads have one, and `malloc_trim` does not touch that.
pub(crate) fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Returns to the system what was freed; the allocator alone keeps much of it for later.
pub(crate) fn release_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
