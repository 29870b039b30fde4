//! Giving memory back to the system. A leaf.

/// Returns to the system what was freed; the allocator alone keeps much of it for later.
pub(crate) fn release_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
