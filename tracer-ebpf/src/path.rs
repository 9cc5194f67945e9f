//! Paths, walked leaf first.

use core::ptr::addr_of_mut;

use aya_ebpf::helpers::generated;
use tracer_ebpf::{offsets::ABSENT, wire::PathSegments};

use crate::{
    globals,
    read::{Address, pointer},
};

/// A single name and its NUL: `NAME_MAX` is 255.
const SEGMENT_BYTES: u32 = 256;

/// Steps of a file path's walk: names and mount crossings.
const FILE_STEPS: u32 = 20;

/// Steps of a cgroup path's walk.
const CGROUP_STEPS: u32 = 12;

/// Appends one name at `used`; gives the bytes used afterwards, or `None` when it cannot be read or does not fit.
///
/// # Safety
/// `to` must point to a writable `PathSegments`.
#[inline(always)]
unsafe fn append(to: *mut PathSegments, used: u32, name: Address) -> Option<u32> {
    // Room for a whole segment behind `used` is what lets the verifier follow the sum.
    if used > SEGMENT_BYTES || name.is_null() {
        return None;
    }
    // SAFETY: `used` is at most 256, and 256 more bytes fit the 512 of the array.
    let len = unsafe {
        let at = addr_of_mut!((*to).bytes).cast::<u8>().add(used as usize);
        generated::bpf_probe_read_kernel_str(at.cast(), SEGMENT_BYTES, name.cast())
    };
    if len < 1 || len > i64::from(SEGMENT_BYTES) {
        return None;
    }
    Some(used + len as u32)
}

/// Writes the path of a `struct file` as seen from the root of its mount tree.
///
/// # Safety
/// `to` must point to a writable `PathSegments`.
#[inline(always)]
pub(crate) unsafe fn file_path(to: *mut PathSegments, file: Address) -> bool {
    let mut used = 0;
    let mut truncated = 1;
    let mount_offset = globals::MOUNT_MNT.load();
    let mut dentry = pointer(file, globals::FILE_DENTRY.load());
    let mut vfsmount = pointer(file, globals::FILE_MNT.load());
    if !dentry.is_null() && !vfsmount.is_null() && mount_offset != ABSENT {
        for _ in 0..FILE_STEPS {
            let root = pointer(vfsmount, globals::VFSMOUNT_ROOT.load());
            if dentry == root {
                let mount = vfsmount.wrapping_sub(mount_offset as usize);
                let parent = pointer(mount, globals::MOUNT_PARENT.load());
                if parent == mount {
                    truncated = 0;
                    break;
                }
                if parent.is_null() {
                    break;
                }
                dentry = pointer(mount, globals::MOUNT_MOUNTPOINT.load());
                vfsmount = parent.wrapping_add(mount_offset as usize);
                continue;
            }
            let name = pointer(dentry, globals::DENTRY_NAME.load());
            // SAFETY: the caller vouches for `to`.
            match unsafe { append(to, used, name) } {
                Some(now) => used = now,
                None => break,
            }
            let parent = pointer(dentry, globals::DENTRY_PARENT.load());
            if parent == dentry {
                // Not part of a mounted tree: a memfd or another anonymous file.
                truncated = 0;
                break;
            }
            dentry = parent;
        }
    }
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).len = used;
        (*to).truncated = truncated;
    }
    used > 0
}

/// Writes the path of a task's cgroup in the v2 hierarchy. The root's path is empty.
///
/// # Safety
/// `to` must point to a writable `PathSegments`.
#[inline(always)]
pub(crate) unsafe fn cgroup_path(to: *mut PathSegments, task: Address) -> bool {
    let mut used = 0;
    let mut truncated = 1;
    let set = pointer(task, globals::TASK_CGROUPS.load());
    let cgroup = pointer(set, globals::CSS_SET_DFL_CGRP.load());
    let mut node = pointer(cgroup, globals::CGROUP_KN.load());
    let found = !node.is_null();
    if found {
        for _ in 0..CGROUP_STEPS {
            let parent = pointer(node, globals::KERNFS_PARENT.load());
            if parent.is_null() {
                truncated = 0;
                break;
            }
            let name = pointer(node, globals::KERNFS_NAME.load());
            // SAFETY: the caller vouches for `to`.
            match unsafe { append(to, used, name) } {
                Some(now) => used = now,
                None => break,
            }
            node = parent;
        }
    }
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).len = used;
        (*to).truncated = truncated;
    }
    found
}
