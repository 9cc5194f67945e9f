//! Releases memory that only start-up or a storm needed: the kernel's types, modprobe's configuration.

/// Returns free memory to the system. The allocator keeps small blocks that were freed, so a trace would stay as large as its
/// start-up for as long as it runs.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) has no preconditions and may be called from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
