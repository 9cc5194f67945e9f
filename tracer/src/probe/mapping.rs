//! Memory mappings of BPF maps: values are read and written without a system call.

use std::{
    ffi::c_void,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A memory mapping of a part of a BPF map.
pub(super) struct Mapping {
    at: NonNull<c_void>,
    bytes: usize,
}

impl Mapping {
    pub(super) fn new(fd: BorrowedFd<'_>, bytes: usize, offset: u64, protection: ProtFlags) -> std::io::Result<Self> {
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let at = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd, offset)? };
        let at = NonNull::new(at).ok_or_else(|| std::io::Error::other("mmap returned a null address"))?;
        Ok(Self { at, bytes })
    }

    /// Its first byte, which is the start of a page.
    pub(super) fn start(&self) -> NonNull<c_void> {
        self.at
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was created with this length, and nothing borrows from it any more.
        if let Err(error) = unsafe { munmap(self.at.as_ptr(), self.bytes) } {
            log::debug!("munmap: {error}");
        }
    }
}

/// Size of a page, bytes. rustix reads it from /proc/self/auxv, which a program with file capabilities may not read.
pub(super) fn page_bytes() -> std::io::Result<usize> {
    // SAFETY: sysconf(3) has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).map_err(|_| std::io::Error::last_os_error())
}
