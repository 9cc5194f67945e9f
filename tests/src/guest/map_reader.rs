//! A program that reads a BPF map all the time, as monitoring agents do more slowly.
//!
//! While bpf(2) looks into a map, the kernel skips kprobe programs on that CPU (`bpf_disable_instrumentation`, include/linux/bpf.h),
//! also those of other tasks if the call is preempted.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

/// `BPF_MAP_CREATE`, `BPF_MAP_LOOKUP_ELEM` and `BPF_MAP_TYPE_ARRAY`, include/uapi/linux/bpf.h.
const MAP_CREATE: i64 = 0;
const MAP_LOOKUP_ELEM: i64 = 1;
const ARRAY: u32 = 2;

/// Copying a large value takes long.
const VALUE_BYTES: usize = 1 << 20;

/// What the program prints before it begins.
pub(crate) const READING: &str = "reading";

/// The members of `union bpf_attr` for a new map.
#[repr(C)]
struct NewMap {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    reserved: u32,
}

/// The members of `union bpf_attr` for a lookup.
#[repr(C)]
struct Lookup {
    fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn bpf<T>(command: i64, attributes: &mut T) -> std::io::Result<i64> {
    // SAFETY: the attributes are those of the command, and their pointers are valid for the sizes of the map.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

/// Reads until it is killed.
pub(super) fn run() -> Result<ExitCode> {
    let value_size = u32::try_from(VALUE_BYTES)?;
    let mut map = NewMap { kind: ARRAY, key_size: 4, value_size, max_entries: 1, flags: 0, reserved: 0 };
    let fd = i32::try_from(bpf(MAP_CREATE, &mut map).context("cannot create a map")?)?;
    // SAFETY: the kernel has just returned this descriptor.
    let map = unsafe { OwnedFd::from_raw_fd(fd) };
    let key = 0_u32;
    let mut value = vec![0_u8; VALUE_BYTES];
    println!("{READING}");
    loop {
        let mut lookup = Lookup {
            fd: u32::try_from(map.as_raw_fd())?,
            reserved: 0,
            key: (&raw const key).expose_provenance() as u64,
            value: value.as_mut_ptr().expose_provenance() as u64,
            flags: 0,
        };
        bpf(MAP_LOOKUP_ELEM, &mut lookup).context("cannot read the map")?;
    }
}
