//! Memory of a BPF map, mapped: what a program writes is read without a system call.

use std::{
    ffi::c_void,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapping of a part of a map.
pub(super) struct Mapping {
    at: NonNull<c_void>,
    bytes: usize,
}

impl Mapping {
    pub(super) fn new(fd: BorrowedFd<'_>, bytes: usize, offset: u64, protection: ProtFlags) -> std::io::Result<Self> {
        // SAFETY: the kernel chooses the address, so no mapping of ours is replaced.
        let at = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd, offset)? };
        let at = NonNull::new(at).ok_or_else(|| std::io::Error::other("the map was mapped at no address"))?;
        Ok(Self { at, bytes })
    }

    /// Where it begins: the start of a page.
    pub(super) fn start(&self) -> NonNull<c_void> {
        self.at
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and nothing borrows from it any more.
        if let Err(error) = unsafe { munmap(self.at.as_ptr(), self.bytes) } {
            log::debug!("munmap: {error}");
        }
    }
}

/// Size of a page. rustix asks /proc/self/auxv, which a program with file capabilities may not read.
pub(super) fn page_bytes() -> std::io::Result<usize> {
    // SAFETY: sysconf(3) has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).map_err(|_| std::io::Error::last_os_error())
}
