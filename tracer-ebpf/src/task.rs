//! Captures a task: its identity and everything else that records contain about it.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, generated};
use tracer_ebpf::{
    offsets::ABSENT,
    wire::{
        ANCESTORS, ARGV_BYTES, Ancestor, Argv, COMM_BYTES, Context, Counter, GENERATIONS, Have, Header, Kind, Owner,
        ProcessKey, STACK_FRAMES, Stack, WalkEnd,
    },
};

use crate::{
    count::count,
    globals,
    maps::HELPERS,
    own_process,
    path::{cgroup_directory, cgroup_id, cgroup_path, file_path, is_deleted},
    read::{Address, is_zero, kernel_bytes, kernel_text, long, member, number, pointer},
};

/// `PF_KTHREAD`, include/linux/sched.h (unchanged 5.10 to 7.3).
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

/// `PF_WQ_WORKER`, include/linux/sched.h (unchanged 5.10 to 7.3).
pub(crate) const PF_WQ_WORKER: u32 = 0x20;

/// `PF_IO_WORKER`, include/linux/sched.h (5.12 to 7.3; before, workers of io_uring are kernel threads).
const PF_IO_WORKER: u32 = 0x10;

/// The current `task_struct`.
#[inline(always)]
pub(crate) fn current() -> Address {
    // SAFETY: the helper has no arguments and always returns the running task.
    unsafe { generated::bpf_get_current_task() as Address }
}

/// Nanoseconds since boot, including suspend.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The current thread's id.
#[inline(always)]
pub(crate) fn tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The current process's id.
#[inline(always)]
pub(crate) fn tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Skips events caused by the tracer itself.
#[inline(always)]
pub(crate) fn is_own() -> bool {
    own_process::of(tgid()) == own_process::get()
}

/// A task's process: id and start time of its thread group leader.
#[inline(always)]
pub(crate) fn process_of(task: Address) -> ProcessKey {
    ProcessKey { start_ns: start_of(task), pid: number(task, globals::TASK_TGID.load()), reserved: 0 }
}

/// Start time of a task's process.
#[inline(always)]
pub(crate) fn start_of(task: Address) -> u64 {
    let leader = pointer(task, globals::TASK_GROUP_LEADER.load());
    long(leader, globals::TASK_START_BOOTTIME.load())
}

/// Fills a record's header.
///
/// # Safety
/// `to` must point to a writable `Header`.
#[inline(always)]
pub(crate) unsafe fn write_header(to: *mut Header, kind: Kind, boot_ns: u64) {
    let process = ProcessKey { start_ns: start_of(current()), pid: tgid(), reserved: 0 };
    // SAFETY: the caller vouches for `to`; the helper has no arguments.
    unsafe {
        (*to).kind = kind as u32;
        (*to).cpu = bpf_get_smp_processor_id();
        (*to).boot_ns = boot_ns;
        (*to).process = process;
        (*to).tid = tid();
        (*to).reserved = 0;
    }
}

/// Writes the request that a task works for: itself or an ancestor is its helper. Also whether it descends from the tracer. Counts a
/// walk that was cut.
///
/// # Safety
/// `to` must point to a writable `Owner`.
#[inline(always)]
pub(crate) unsafe fn write_owner(to: *mut Owner, task: Address) {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        find_owner(to, task);
        // Read back from the record, where the verifier does not distinguish the exits of the walk.
        if addr_of!((*to).end).read_volatile() == WalkEnd::Cut as u32 {
            count(Counter::WalkCut);
        }
    }
}

/// As [`write_owner`], without counting: for a task that may never request a module.
///
/// The result goes directly into the record, and the walk has few exits: the verifier processes all code behind the loop once
/// for each state that leaves it. A kernel thread ends the walk: above it are only kernel threads.
///
/// # Safety
/// `to` must point to a writable `Owner`.
#[inline(always)]
pub(crate) unsafe fn find_owner(to: *mut Owner, task: Address) {
    // SAFETY: the caller vouches for `to`.
    unsafe { to.write(Owner { depth: GENERATIONS, end: WalkEnd::Cut as u32, ..Owner::NONE }) };
    let own = own_process::get();
    let mut at = task;
    for depth in 0..GENERATIONS + 1 {
        let pid = number(at, globals::TASK_TGID.load());
        let is_kthread = number(at, globals::TASK_FLAGS.load()) & PF_KTHREAD != 0;
        // SAFETY: the value is copied at once; the start time detects a reused process id. The caller vouches for `to`.
        unsafe {
            // The id is enough: the tracer runs, or these programs would be detached.
            (*to).of_tracer |= is_zero(own_process::of(pid) ^ own);
            // Before it executes modprobe, a helper is a kernel thread.
            if let Some(helper) = HELPERS.get(&pid) {
                if helper.start_ns == start_of(at) {
                    (*to).request = helper.request;
                    (*to).depth = depth;
                    (*to).end = WalkEnd::Top as u32;
                    break;
                }
            }
            // Reads of an unknown parent return 0.
            if pid <= 1 || is_kthread {
                (*to).depth = depth;
                (*to).end = match (is_kthread, pid) {
                    (true, _) => WalkEnd::Kthread as u32,
                    (false, 1) => WalkEnd::Top as u32,
                    (false, _) => WalkEnd::Unreadable as u32,
                };
                break;
            }
        }
        at = pointer(at, globals::TASK_REAL_PARENT.load());
    }
}

/// Copies the names of a task's process and of the task itself.
///
/// # Safety
/// Both must be writable.
#[inline(always)]
pub(crate) unsafe fn write_names(process: *mut [u8; COMM_BYTES], thread: *mut [u8; COMM_BYTES], task: Address) {
    let leader = pointer(task, globals::TASK_GROUP_LEADER.load());
    let comm = offset_or_zero(globals::TASK_COMM.load());
    // SAFETY: the caller vouches for both; the helper checks the addresses.
    unsafe {
        kernel_bytes(process, leader.wrapping_add(comm));
        kernel_bytes(thread, task.wrapping_add(comm));
    }
}

/// Captures the current task into a record whose header is already written.
///
/// # Safety
/// `to` must point to a writable `Context`, `header` to the header of the same record.
#[inline(always)]
pub(crate) unsafe fn capture(to: *mut Context, header: *const Header) {
    let task = current();
    let mut have = 0;
    let cred = pointer(task, globals::TASK_CRED.load());
    // SAFETY: the caller vouches for `to`; every read below is checked by the kernel.
    unsafe {
        // Read back from the record: a value in a register is one more state for the verifier.
        (*to).process = addr_of!((*header).process).read_volatile();
        (*to).tid = tid();
        (*to).uid = number(cred, globals::CRED_UID.load());
        (*to).gid = number(cred, globals::CRED_GID.load());
        (*to).euid = number(cred, globals::CRED_EUID.load());
        (*to).parent_changed = parent_changed(task);

        let loginuid = member::<u32>(task, globals::TASK_LOGINUID.load());
        let session = member::<u32>(task, globals::TASK_SESSIONID.load());
        if loginuid.is_some() && session.is_some() {
            have |= Have::AUDIT;
        }
        (*to).loginuid = loginuid.unwrap_or(u32::MAX);
        (*to).session = session.unwrap_or(u32::MAX);

        let caps = member::<u64>(cred, globals::CRED_CAP_EFFECTIVE.load());
        if caps.is_some() {
            have |= Have::CAPS;
        }
        (*to).caps_effective = caps.unwrap_or(0);

        write_namespaces(to, task, cred);
        write_names(addr_of_mut!((*to).comm), addr_of_mut!((*to).thread_comm), task);

        let directory = cgroup_directory(task);
        (*to).cgroup_id = cgroup_id(directory);
        if cgroup_path(addr_of_mut!((*to).cgroup), directory) {
            have |= Have::CGROUP | globals::CGROUP_HIERARCHY.load();
        }

        (*to).exe.len = 0;
        (*to).exe.truncated = 0;
        (*to).argv.len = 0;
        (*to).argv.total = 0;
        (*to).syscall = -1;
        let flags = number(task, globals::TASK_FLAGS.load());
        if flags & PF_KTHREAD != 0 {
            have |= Have::KTHREAD;
        } else {
            let mm = pointer(task, globals::TASK_MM.load());
            let exe_file = pointer(mm, globals::MM_EXE_FILE.load());
            if !exe_file.is_null() {
                file_path(addr_of_mut!((*to).exe), exe_file);
                have |= Have::EXE | is_deleted(exe_file) * Have::EXE_DELETED;
            }
            if write_argv(addr_of_mut!((*to).argv), mm) {
                have |= Have::ARGV;
            }
            if flags & PF_IO_WORKER != 0 {
                have |= Have::IO_WORKER;
            } else if let Some(call) = syscall(task) {
                (*to).syscall = call.number;
                have |= Have::SYSCALL | call.compat;
            }
        }
        if write_ancestors(to, task) {
            have |= Have::ANCESTRY_WHOLE;
        }
        (*to).have = have;
    }
}

/// Whether a task's parent has changed since it was created: non-zero if so. A child keeps the number of programs that its
/// parent and its ancestors had executed (`copy_process`, kernel/fork.c; `begin_new_exec`, fs/exec.c). After the exit of the
/// parent, init or a subreaper adopts it; their numbers are lower, unless nothing between them executed a program.
#[inline(always)]
fn parent_changed(task: Address) -> u32 {
    let leader = pointer(task, globals::TASK_GROUP_LEADER.load());
    let parent = pointer(leader, globals::TASK_REAL_PARENT.load());
    let differ = long(leader, globals::TASK_PARENT_EXEC_ID.load()) ^ long(parent, globals::TASK_SELF_EXEC_ID.load());
    // No branch, which the verifier would follow twice.
    (differ | differ >> 32) as u32
}

/// An offset for address arithmetic; the read at the result is checked.
#[inline(always)]
fn offset_or_zero(offset: u32) -> usize {
    if offset == ABSENT { 0 } else { offset as usize }
}

/// # Safety
/// `to` must point to a writable `Context`.
#[inline(always)]
unsafe fn write_namespaces(to: *mut Context, task: Address, cred: Address) {
    let nsproxy = pointer(task, globals::TASK_NSPROXY.load());
    let mnt = pointer(nsproxy, globals::NSPROXY_MNT.load());
    let net = pointer(nsproxy, globals::NSPROXY_NET.load());
    let user = pointer(cred, globals::CRED_USER_NS.load());
    // nsproxy has the pid namespace of future children only: the task's own is the deepest of its struct pid.
    let thread_pid = pointer(task, globals::TASK_THREAD_PID.load());
    let level = number(thread_pid, globals::PID_LEVEL.load()) & 31;
    let numbers = globals::PID_NUMBERS.load();
    // sizeof(struct upid): an int, padding, a pointer (include/linux/pid.h, unchanged 5.10 to 7.3).
    let upid = thread_pid.wrapping_add(offset_or_zero(numbers) + level as usize * 16);
    let pid_ns = if numbers == ABSENT || thread_pid.is_null() {
        core::ptr::null()
    } else {
        pointer(upid, globals::UPID_NS.load())
    };
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).ns_mnt = number(mnt, globals::MNT_NS_INUM.load());
        (*to).ns_net = number(net, globals::NET_NS_INUM.load());
        (*to).ns_user = number(user, globals::USER_NS_INUM.load());
        (*to).ns_pid = number(pid_ns, globals::PID_NS_INUM.load());
    }
}

/// Copies the argument area. If a page is swapped out, only the part on the first page is copied.
///
/// # Safety
/// `to` must point to a writable `Argv`.
#[inline(always)]
unsafe fn write_argv(to: *mut Argv, mm: Address) -> bool {
    let (Some(start), Some(end)) =
        (member::<u64>(mm, globals::MM_ARG_START.load()), member::<u64>(mm, globals::MM_ARG_END.load()))
    else {
        return false;
    };
    if end <= start {
        return false;
    }
    let total = end - start;
    // One less than the array size, so that the bound is a mask.
    let bytes = if total >= ARGV_BYTES as u64 { ARGV_BYTES as u64 - 1 } else { total };
    let page_rest = 4096 - (start & 4095);
    let first_page = if bytes > page_rest { page_rest } else { bytes };
    // SAFETY: the caller vouches for `to`, which holds ARGV_BYTES; the helper checks the source.
    unsafe {
        let bytes_at = addr_of_mut!((*to).bytes);
        (*to).total = if total > u64::from(u32::MAX) { u32::MAX } else { total as u32 };
        if read_user(bytes_at, bytes, start) {
            (*to).len = bytes as u32;
            return true;
        }
        if read_user(bytes_at, first_page, start) {
            (*to).len = first_page as u32;
            return true;
        }
    }
    false
}

/// # Safety
/// `to` must be writable.
#[inline(always)]
unsafe fn read_user(to: *mut [u8; ARGV_BYTES], bytes: u64, from: u64) -> bool {
    // As in path.rs: the bound must be on the register that is passed to the helper.
    let bytes = core::hint::black_box(bytes) & (ARGV_BYTES as u64 - 1);
    // SAFETY: less than ARGV_BYTES are written; the helper checks the source.
    unsafe { generated::bpf_probe_read_user(to.cast(), bytes as u32, from as *const _) == 0 }
}

/// `TS_COMPAT`, arch/x86/include/asm/thread_info.h (unchanged 5.10 to 7.3): the task is in a 32-bit system call.
const TS_COMPAT: u32 = 2;

/// `PSR_MODE32_BIT`, arch/arm64/include/uapi/asm/ptrace.h (unchanged 5.10 to 7.3): the task is an AArch32 process.
const PSR_MODE32_BIT: u32 = 0x10;

/// A system call of the current task.
struct SystemCall {
    number: i32,
    /// [`Have::COMPAT`] or 0.
    compat: u32,
}

/// The system call that `task`, the current one, is in.
#[inline(always)]
fn syscall(task: Address) -> Option<SystemCall> {
    let above_stack = globals::REGS_ABOVE_STACK.load();
    let regs = if globals::HAVE_TASK_PT_REGS.load() != 0 {
        // SAFETY: the global shows that both helpers exist; the first gives a valid task for the second.
        unsafe {
            let task = generated::bpf_get_current_task_btf();
            generated::bpf_task_pt_regs(task) as Address
        }
    } else if above_stack != ABSENT {
        let regs = pointer(task, globals::TASK_STACK.load()).wrapping_add(above_stack as usize);
        // The address is computed, so check that it is the frame of an entry from user mode.
        if number(regs, globals::REGS_CS.load()) & 3 != 3 {
            return None;
        }
        regs
    } else {
        return None;
    };
    // Without a branch, which the verifier would follow twice. The members of the other architecture are absent and read as 0.
    let status = (number(task, globals::TASK_STATUS.load()) & TS_COMPAT) / TS_COMPAT;
    let mode = (number(regs, globals::REGS_PSTATE.load()) & PSR_MODE32_BIT) / PSR_MODE32_BIT;
    let compat = (status | mode) * Have::COMPAT;
    if let Some(number) = member::<u64>(regs, globals::REGS_SYSCALL.load()) {
        return Some(SystemCall { number: number as i32, compat });
    }
    let number = member::<i32>(regs, globals::REGS_SYSCALL_ARM64.load())?;
    Some(SystemCall { number, compat })
}

/// Writes up to eight parents; true if the list reaches the top.
///
/// # Safety
/// `to` must point to a writable `Context`.
#[inline(always)]
unsafe fn write_ancestors(to: *mut Context, task: Address) -> bool {
    let mut at = task;
    let mut whole = false;
    let mut count = 0;
    for index in 0..ANCESTORS {
        let parent = pointer(at, globals::TASK_REAL_PARENT.load());
        let pid = number(parent, globals::TASK_TGID.load());
        // The idle task is its own parent, and causes no requests.
        if parent == at || pid == 0 {
            whole = !parent.is_null();
            break;
        }
        if parent.is_null() {
            break;
        }
        at = parent;
        // SAFETY: `index` is below ANCESTORS, the length of the array.
        unsafe { write_ancestor(addr_of_mut!((*to).ancestors).cast::<Ancestor>().add(index), parent, pid) };
        count += 1;
    }
    if count == ANCESTORS as u32 {
        let parent = pointer(at, globals::TASK_REAL_PARENT.load());
        whole = parent == at || number(parent, globals::TASK_TGID.load()) == 0;
    }
    // SAFETY: the caller vouches for `to`.
    unsafe { (*to).ancestor_count = count };
    whole
}

/// # Safety
/// `to` must point to a writable `Ancestor`.
#[inline(always)]
unsafe fn write_ancestor(to: *mut Ancestor, task: Address, pid: u32) {
    let leader = pointer(task, globals::TASK_GROUP_LEADER.load());
    let cred = pointer(task, globals::TASK_CRED.load());
    let mm = pointer(leader, globals::TASK_MM.load());
    let exe_file = pointer(mm, globals::MM_EXE_FILE.load());
    let dentry = pointer(exe_file, globals::FILE_DENTRY.load());
    let name = pointer(dentry, globals::DENTRY_NAME.load());
    // SAFETY: the caller vouches for `to`; every read is checked by the kernel.
    unsafe {
        let start_ns = long(leader, globals::TASK_START_BOOTTIME.load());
        (*to).process = ProcessKey { start_ns, pid, reserved: 0 };
        (*to).uid = number(cred, globals::CRED_UID.load());
        (*to).kthread = u32::from(number(task, globals::TASK_FLAGS.load()) & PF_KTHREAD != 0);
        kernel_bytes(addr_of_mut!((*to).comm), leader.wrapping_add(offset_or_zero(globals::TASK_COMM.load())));
        kernel_text(addr_of_mut!((*to).exe), name);
    }
}

/// Copies a stack; `flags` is 0 for the kernel's, `BPF_F_USER_STACK` for the user's.
///
/// # Safety
/// `ctx` must be the program's context, `to` must point to a writable `Stack`.
#[inline(always)]
pub(crate) unsafe fn write_stack(to: *mut Stack, ctx: *mut core::ffi::c_void, flags: u64) {
    // SAFETY: the caller vouches for both; the helper writes at most the given size.
    unsafe {
        (*to).reserved = 0;
        let frames = addr_of_mut!((*to).frames);
        let bytes = generated::bpf_get_stack(ctx, frames.cast(), (STACK_FRAMES * 8) as u32, flags);
        (*to).count = if bytes > 0 { (bytes as u32) / 8 } else { 0 };
    }
}
