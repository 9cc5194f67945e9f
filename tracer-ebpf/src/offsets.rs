//! Members of kernel structs that the programs read: one list, used by both sides.
//!
//! User space looks each member up in the kernel's BTF and writes its offset into the read-only
//! global of that name before the programs are loaded. A member that this kernel does not have stays
//! [`ABSENT`], and the verifier prunes the code that would read it.

/// The offset of a member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// A member that the programs read.
pub struct Member {
    /// Name of the read-only global that receives its offset.
    pub symbol: &'static str,
    /// Bytes that the programs read; 0 if the size of the member does not matter (an array).
    pub size_bytes: u32,
    /// Struct, member, nested member; the first path that exists on this kernel is used.
    pub paths: &'static [&'static [&'static str]],
}

/// Hands the list to a macro: `SYMBOL: size, [path] [alternative path];`.
#[macro_export]
macro_rules! for_each_member {
    ($callback:ident) => {
        $callback! {
            TASK_PID: 4, ["task_struct", "pid"];
            TASK_TGID: 4, ["task_struct", "tgid"];
            TASK_COMM: 16, ["task_struct", "comm"];
            TASK_FLAGS: 4, ["task_struct", "flags"];
            TASK_REAL_PARENT: 8, ["task_struct", "real_parent"];
            TASK_GROUP_LEADER: 8, ["task_struct", "group_leader"];
            // Called real_start_time before 5.5.
            TASK_START_BOOTTIME: 8, ["task_struct", "start_boottime"] ["task_struct", "real_start_time"];
            TASK_PARENT_EXEC_ID: 8, ["task_struct", "parent_exec_id"];
            TASK_SELF_EXEC_ID: 8, ["task_struct", "self_exec_id"];
            TASK_CRED: 8, ["task_struct", "cred"];
            TASK_MM: 8, ["task_struct", "mm"];
            TASK_NSPROXY: 8, ["task_struct", "nsproxy"];
            TASK_CGROUPS: 8, ["task_struct", "cgroups"];
            TASK_STACK: 8, ["task_struct", "stack"];
            // x86-64 only.
            TASK_STATUS: 4, ["task_struct", "thread_info", "status"];
            TASK_THREAD_PID: 8, ["task_struct", "thread_pid"];
            // These two need CONFIG_AUDIT.
            TASK_LOGINUID: 4, ["task_struct", "loginuid"];
            TASK_SESSIONID: 4, ["task_struct", "sessionid"];
            CRED_UID: 4, ["cred", "uid"];
            CRED_GID: 4, ["cred", "gid"];
            CRED_EUID: 4, ["cred", "euid"];
            CRED_CAP_EFFECTIVE: 8, ["cred", "cap_effective"];
            CRED_USER_NS: 8, ["cred", "user_ns"];
            MM_ARG_START: 8, ["mm_struct", "arg_start"];
            MM_ARG_END: 8, ["mm_struct", "arg_end"];
            MM_EXE_FILE: 8, ["mm_struct", "exe_file"];
            FILE_MNT: 8, ["file", "f_path", "mnt"];
            FILE_DENTRY: 8, ["file", "f_path", "dentry"];
            DENTRY_PARENT: 8, ["dentry", "d_parent"];
            // The link of a dentry that can be found by its name.
            DENTRY_HASHED: 8, ["dentry", "d_hash", "pprev"];
            DENTRY_NAME: 8, ["dentry", "d_name", "name"];
            VFSMOUNT_ROOT: 8, ["vfsmount", "mnt_root"];
            // Embedded; struct vfsmount grew after 5.10.
            MOUNT_MNT: 0, ["mount", "mnt"];
            MOUNT_PARENT: 8, ["mount", "mnt_parent"];
            MOUNT_MOUNTPOINT: 8, ["mount", "mnt_mountpoint"];
            NSPROXY_MNT: 8, ["nsproxy", "mnt_ns"];
            NSPROXY_NET: 8, ["nsproxy", "net_ns"];
            MNT_NS_INUM: 4, ["mnt_namespace", "ns", "inum"];
            NET_NS_INUM: 4, ["net", "ns", "inum"];
            PID_NS_INUM: 4, ["pid_namespace", "ns", "inum"];
            USER_NS_INUM: 4, ["user_namespace", "ns", "inum"];
            PID_LEVEL: 4, ["pid", "level"];
            // An array whose length differs; one struct upid is read from it.
            PID_NUMBERS: 0, ["pid", "numbers"];
            UPID_NS: 8, ["upid", "ns"];
            CSS_SET_DFL_CGRP: 8, ["css_set", "dfl_cgrp"];
            CSS_CGROUP: 8, ["cgroup_subsys_state", "cgroup"];
            CGROUP_KN: 8, ["cgroup", "kn"];
            // Renamed (RCU) between 6.12 and 6.16.
            KERNFS_PARENT: 8, ["kernfs_node", "parent"] ["kernfs_node", "__parent"];
            KERNFS_NAME: 8, ["kernfs_node", "name"];
            KERNFS_ID: 8, ["kernfs_node", "id"];
            SUBPROCESS_PATH: 8, ["subprocess_info", "path"];
            SUBPROCESS_ARGV: 8, ["subprocess_info", "argv"];
            SUBPROCESS_CLEANUP: 8, ["subprocess_info", "cleanup"];
            SUBPROCESS_WAIT: 4, ["subprocess_info", "wait"];
            SUBPROCESS_RETVAL: 4, ["subprocess_info", "retval"];
            MODULE_NAME: 56, ["module", "name"];
            MODULE_TAINTS: 8, ["module", "taints"];
            // x86-64 names it orig_ax, arm64 syscallno.
            REGS_SYSCALL: 8, ["pt_regs", "orig_ax"];
            REGS_SYSCALL_ARM64: 4, ["pt_regs", "syscallno"];
            // arm64 only: the processor state that was interrupted.
            REGS_PSTATE: 8, ["pt_regs", "pstate"];
            // The privilege level that was interrupted; x86-64 only. A union in newer kernels.
            REGS_CS: 0, ["pt_regs", "cs"];
            // The first argument of a system call, behind its struct pt_regs.
            REGS_ARG0: 8, ["pt_regs", "di"];
            // On arm64 an array; its first member is read.
            REGS_ARG0_ARM64: 0, ["pt_regs", "regs"];
        }
    };
}

macro_rules! list {
    ($($symbol:ident: $size:literal, $([$($part:literal),+])+;)*) => {
        /// Every member, in the order of [`for_each_member`].
        pub const MEMBERS: &[Member] = &[
            $(Member { symbol: stringify!($symbol), size_bytes: $size, paths: &[$(&[$($part),+]),+] },)*
        ];
    };
}
for_each_member!(list);
