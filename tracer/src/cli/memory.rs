//! Memory that only starting needed.

/// Gives free memory back to the system. The kernel's type information is read to attach, some ten megabytes of small
/// pieces: the allocator would keep them for as long as the trace runs.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) has no preconditions and may be called from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
