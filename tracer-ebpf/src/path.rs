//! Paths of files and cgroups, walked from the leaf to the root.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::helpers::generated;
use tracer_ebpf::{offsets::ABSENT, wire::PathSegments};

use crate::{
    globals,
    read::{Address, is_zero, long, pointer},
};

/// A single name and its NUL: `NAME_MAX` is 255.
const SEGMENT_BYTES: u32 = 256;

/// Steps of a file path's walk: names and mount crossings.
const FILE_STEPS: u32 = 20;

/// Steps of a cgroup path's walk.
const CGROUP_STEPS: u32 = 12;

/// Appends one name; false if it cannot be read or does not fit.
///
/// The length is kept in the record and read back as an unknown value. In a register it would make each iteration of the
/// walk a new state for the verifier.
///
/// # Safety
/// `to` must point to a writable `PathSegments` whose `len` is set.
#[inline(always)]
unsafe fn append(to: *mut PathSegments, name: Address) -> bool {
    // SAFETY: the caller vouches for `to`.
    let used = unsafe { addr_of!((*to).len).read_volatile() };
    if used >= SEGMENT_BYTES {
        return false;
    }
    // The verifier forgets that bound when the value is spilled. The mask repeats it; the black box keeps the compiler from
    // removing it.
    let index = core::hint::black_box(used as usize) & (SEGMENT_BYTES as usize - 1);
    // SAFETY: `index` is below 256, and 256 more bytes fit the 512 of the array.
    let len = unsafe {
        let at = addr_of_mut!((*to).bytes).cast::<u8>().add(index);
        generated::bpf_probe_read_kernel_str(at.cast(), SEGMENT_BYTES, name.cast())
    };
    if len < 1 {
        return false;
    }
    // SAFETY: the caller vouches for `to`.
    unsafe { addr_of_mut!((*to).len).write_volatile(used + len as u32) };
    true
}

/// Writes the path of a `struct file` as seen from the root of its mount tree.
///
/// # Safety
/// `to` must point to a writable `PathSegments`.
#[inline(always)]
pub(crate) unsafe fn file_path(to: *mut PathSegments, file: Address) {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).len = 0;
        (*to).truncated = 1;
    }
    let mount_offset = globals::MOUNT_MNT.load();
    if mount_offset == ABSENT {
        return;
    }
    let mut dentry = pointer(file, globals::FILE_DENTRY.load());
    let mut vfsmount = pointer(file, globals::FILE_MNT.load());
    let mut root = pointer(vfsmount, globals::VFSMOUNT_ROOT.load());
    for _ in 0..FILE_STEPS {
        let next;
        if dentry == root {
            let mount = vfsmount.wrapping_sub(mount_offset as usize);
            let parent = pointer(mount, globals::MOUNT_PARENT.load());
            next = pointer(mount, globals::MOUNT_MOUNTPOINT.load());
            if parent == mount {
                // SAFETY: the caller vouches for `to`.
                unsafe { (*to).truncated = 0 };
                break;
            }
            vfsmount = parent.wrapping_add(mount_offset as usize);
            root = pointer(vfsmount, globals::VFSMOUNT_ROOT.load());
        } else {
            let name = pointer(dentry, globals::DENTRY_NAME.load());
            // SAFETY: the caller vouches for `to`.
            if !unsafe { append(to, name) } {
                break;
            }
            next = pointer(dentry, globals::DENTRY_PARENT.load());
            if next == dentry {
                // Not part of a mounted tree: a memfd or another anonymous file.
                // SAFETY: the caller vouches for `to`.
                unsafe { (*to).truncated = 0 };
                break;
            }
        }
        dentry = next;
    }
}

/// Whether a file has no name any more: 1 if so, as in `d_unlinked()` (include/linux/dcache.h).
#[inline(always)]
pub(crate) fn is_deleted(file: Address) -> u32 {
    let offset = globals::DENTRY_HASHED.load();
    if offset == ABSENT {
        return 0;
    }
    is_zero(long(pointer(file, globals::FILE_DENTRY.load()), offset))
}

/// The directory of a task's cgroup in the hierarchy that the tracer chose at its start; null if unknown. The choice is a constant
/// to the verifier.
#[inline(always)]
pub(crate) fn cgroup_directory(task: Address) -> Address {
    let set = pointer(task, globals::TASK_CGROUPS.load());
    let state = globals::CGROUP_STATE.load();
    let cgroup = if state == ABSENT {
        pointer(set, globals::CSS_SET_DFL_CGRP.load())
    } else {
        pointer(pointer(set, state), globals::CSS_CGROUP.load())
    };
    pointer(cgroup, globals::CGROUP_KN.load())
}

/// The id of the current task's cgroup, whose directory is `directory`: its inode number.
#[inline(always)]
pub(crate) fn cgroup_id(directory: Address) -> u64 {
    if globals::CGROUP_STATE.load() == ABSENT {
        // SAFETY: the helper has no arguments.
        unsafe { generated::bpf_get_current_cgroup_id() }
    } else {
        long(directory, globals::KERNFS_ID.load())
    }
}

/// Writes the path of a cgroup. The root's path is empty. False if unknown.
///
/// # Safety
/// `to` must point to a writable `PathSegments`.
#[inline(always)]
pub(crate) unsafe fn cgroup_path(to: *mut PathSegments, leaf: Address) -> bool {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).len = 0;
        (*to).truncated = 1;
    }
    let mut node = leaf;
    for _ in 0..CGROUP_STEPS {
        let parent = pointer(node, globals::KERNFS_PARENT.load());
        if parent.is_null() {
            // SAFETY: the caller vouches for `to`.
            unsafe { (*to).truncated = 0 };
            break;
        }
        let name = pointer(node, globals::KERNFS_NAME.load());
        // SAFETY: the caller vouches for `to`.
        if !unsafe { append(to, name) } {
            break;
        }
        node = parent;
    }
    // Without these members the walk finds nothing.
    !leaf.is_null() && globals::KERNFS_PARENT.load() != ABSENT && globals::KERNFS_NAME.load() != ABSENT
}
