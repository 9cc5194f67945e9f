//! The counter of missed runs in the information of a link (`perf_event.kprobe.missed` of `struct bpf_link_info`, since 6.7).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::kernel::btf::Btf;

/// `BPF_OBJ_GET_INFO_BY_FD`, include/uapi/linux/bpf.h. Unlike commands that look into maps, it does not make the kernel skip
/// programs.
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// `BPF_PERF_EVENT_KPROBE` and `BPF_PERF_EVENT_KRETPROBE`, include/uapi/linux/bpf.h.
const KPROBES: [u32; 2] = [3, 4];

/// More than `struct bpf_link_info` of any kernel so far; later ones may be larger, and fill only this part.
const INFO_BYTES: usize = 256;

/// Where the kernel writes the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    kind: usize,
    missed: usize,
}

/// The member `info` of `union bpf_attr`.
#[repr(C)]
struct Attributes {
    fd: u32,
    len: u32,
    to: u64,
}

impl LinkInfo {
    /// `None` if this kernel has no such counter.
    pub(super) fn new(btf: &Btf) -> Option<Self> {
        let offset = |path: &[&str], size: usize| {
            let offset = usize::try_from(btf.offset(path)?.offset_bytes).ok()?;
            (offset + size <= INFO_BYTES).then_some(offset)
        };
        Some(Self {
            kind: offset(&["bpf_link_info", "perf_event", "type"], 4)?,
            missed: offset(&["bpf_link_info", "perf_event", "kprobe", "missed"], 8)?,
        })
    }

    /// The counter of a link; `None` if it is no kprobe, or if the kernel refuses.
    pub(super) fn missed(self, link: BorrowedFd<'_>) -> Option<u64> {
        let mut info = [0_u8; INFO_BYTES];
        let mut attributes = Attributes {
            fd: link.as_raw_fd().cast_unsigned(),
            len: u32::try_from(INFO_BYTES).ok()?,
            to: info.as_mut_ptr().expose_provenance() as u64,
        };
        // SAFETY: the attributes are those of the command, and `to` points to `len` writable bytes, zeroed as the kernel wants.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw mut attributes, size_of::<Attributes>()) };
        if result != 0 {
            log::debug!("cannot read the information of a link: {}", std::io::Error::last_os_error());
            return None;
        }
        self.read(&info)
    }

    fn read(self, info: &[u8]) -> Option<u64> {
        let kind = u32::from_ne_bytes(*info.get(self.kind..)?.first_chunk()?);
        let missed = u64::from_ne_bytes(*info.get(self.missed..)?.first_chunk()?);
        KPROBES.contains(&kind).then_some(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::{INFO_BYTES, LinkInfo};

    /// Only the information of a kprobe or kretprobe has the counter; elsewhere these bytes are something else.
    #[test]
    fn counter_is_that_of_a_kprobe() {
        let at = LinkInfo { kind: 16, missed: 48 };
        let mut info = [0; INFO_BYTES];
        info[48] = 7;
        for (kind, found) in [(3, Some(7)), (4, Some(7)), (1, None), (5, None)] {
            info[16] = kind;
            assert_eq!(at.read(&info), found);
        }
        assert_eq!(at.read(&info[..50]), None);
    }
}
