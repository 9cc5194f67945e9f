//! Memory that is needed for a moment only: the kernel's types while attaching, modprobe's configuration while it is read.

use rustix::mm::{Advice, madvise};

/// The C library's own default. Set by hand it stays; else the first large block that is freed raises it, and from then on
/// large blocks are pieces of the heap that are kept.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 128 << 10;

/// From now on large blocks go back to the system as soon as they are free.
pub(super) fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) may be called at any time, by one thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Gives free memory back to the system: what was needed for a moment is many small pieces, which the allocator would keep
/// for as long as the trace runs.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) has no preconditions and may be called from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of code that has run: starting needs most of it, tracing little. What is needed again is mapped again from the
/// page cache.
pub(super) fn let_go_of_code() {
    let maps = match std::fs::read_to_string("/proc/self/maps") {
        Ok(maps) => maps,
        Err(error) => {
            log::debug!("what is mapped cannot be read: {error}");
            return;
        }
    };
    for (start, bytes) in maps.lines().filter_map(code) {
        // SAFETY: pages of a file that nobody can write to: reading them again gives the same.
        let done = unsafe { madvise(std::ptr::with_exposed_provenance_mut(start), bytes, Advice::LinuxDontNeed) };
        if let Err(error) = done {
            log::debug!("{bytes} bytes of code stay mapped: {error}");
        }
    }
}

/// Start and length of a mapping that holds a file's code, of a line of `/proc/self/maps`: nothing writes
/// to what cannot be written to now (relocations are elsewhere).
fn code(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp";
    // Offset and device; no inode: the kernel's own.
    let is_file = words.nth(2)? != "0";
    let start = usize::from_str_radix(start, 16).ok()?;
    let bytes = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
    (is_code && is_file).then_some((start, bytes))
}

#[cfg(test)]
mod tests {
    use super::{code, let_go_of_code};

    /// Check that only code of files is let go of.
    #[test]
    fn code_of_files_is_found() {
        let line = "7f0000001000-7f0000003000 r-xp 00001000 fe:00 131 /usr/bin/kmodtrace with a space";
        assert_eq!(code(line), Some((0x7f00_0000_1000, 0x2000)));
        for other in
            ["rw-p 0 fe:00 131 /x", "r--p 0 fe:00 131 /x", "r-xp 0 00:00 0 [vdso]", "r-xs 0 fe:00 131 /x", "r-xp"]
        {
            assert_eq!(code(&format!("7f0000001000-7f0000003000 {other}")), None, "{other}");
        }
        for odd in ["", "x-y r-xp 0 fe:00 1 /x", "2-1 r-xp 0 fe:00 1 /x"] {
            assert_eq!(code(odd), None, "{odd}");
        }
    }

    /// Check that what runs goes on running.
    #[test]
    fn code_comes_back() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(maps.lines().any(|line| code(line).is_some()), "nothing to let go of in {maps}");
        let_go_of_code();
        assert_eq!([3, 1, 2].into_iter().max(), Some(3));
    }
}
