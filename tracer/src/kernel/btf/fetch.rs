//! The running kernel's types by bpf(2): one copy, where its file gives a page a call, and there are a thousand pages.

use std::{
    ffi::{c_int, c_long},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr, slice,
};

/// Commands of bpf(2): `enum bpf_cmd`, include/uapi/linux/bpf.h.
const OBJ_GET_INFO_BY_FD: c_int = 15;
const BTF_GET_FD_BY_ID: c_int = 19;
const BTF_GET_NEXT_ID: c_int = 23;

/// What the kernel calls its own types.
const NAME: [u8; 8] = *b"vmlinux\0";
const NAME_BYTES: u32 = 8;

/// `start_id` or `btf_id`, `next_id` and `open_flags` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `info` of `union bpf_attr`.
#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_btf_info`, since 5.11 with the name.
#[repr(C)]
#[derive(Default)]
struct BtfInfo {
    btf: u64,
    btf_size: u32,
    id: u32,
    name: u64,
    name_len: u32,
    kernel_btf: u32,
}

const BTF_INFO_BYTES: u32 = 32;

const _: () = assert!(size_of::<ById>() == 12 && size_of::<InfoByFd>() == 16 && size_of::<BtfInfo>() == 32);

/// Types of the running kernel, whole.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`, before 5.11, and when the first types that the kernel knows are not its own: nobody has needed
/// those yet. Their file has them always.
pub(super) fn fetch() -> io::Result<Vec<u8>> {
    let mut first = ById::default();
    bpf(BTF_GET_NEXT_ID, &mut first)?;
    let made = bpf(BTF_GET_FD_BY_ID, &mut ById { id: first.next_id, ..ById::default() })?;
    let made = c_int::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let types = unsafe { OwnedFd::from_raw_fd(made) };

    let mut name = [0_u8; NAME.len()];
    let mut about = BtfInfo { name: address(&mut name), name_len: NAME_BYTES, ..BtfInfo::default() };
    info(&types, &mut about)?;
    if about.kernel_btf == 0 || name != NAME {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the first types are not the kernel's own"));
    }
    let mut bytes = vec![0; usize::try_from(about.btf_size).map_err(io::Error::other)?];
    let mut all = BtfInfo { btf: address(&mut bytes), btf_size: about.btf_size, ..BtfInfo::default() };
    info(&types, &mut all)?;
    if all.btf_size != about.btf_size {
        return Err(io::Error::other("their size has changed"));
    }
    Ok(bytes)
}

fn info(types: &OwnedFd, about: &mut BtfInfo) -> io::Result<()> {
    let bpf_fd = u32::try_from(types.as_raw_fd()).map_err(io::Error::other)?;
    bpf(OBJ_GET_INFO_BY_FD, &mut InfoByFd { bpf_fd, info_len: BTF_INFO_BYTES, info: address(slice::from_mut(about)) })?;
    Ok(())
}

/// Where the kernel is to write.
fn address<T>(target: &mut [T]) -> u64 {
    target.as_mut_ptr().expose_provenance() as u64
}

fn bpf<T>(command: c_int, attributes: &mut T) -> io::Result<c_long> {
    // SAFETY: the attributes are those of the command, of the size given; what they point to is alive and as long as they say.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::fetch;

    /// Check that the kernel gives the bytes of its file, or says why it gives none.
    #[test]
    fn the_bytes_are_those_of_the_file() {
        match fetch() {
            Ok(bytes) => assert!(bytes == std::fs::read("/sys/kernel/btf/vmlinux").unwrap()),
            // Without rights, before 5.11, and where nobody has needed types yet.
            Err(error) => {
                let known = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EINVAL, libc::ENOENT];
                let is_known = error.raw_os_error().is_some_and(|number| known.contains(&number));
                assert!(is_known || error.kind() == std::io::ErrorKind::NotFound, "{error}");
            }
        }
    }
}
