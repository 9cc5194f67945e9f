//! Denials as by an LSM: a BPF program of two instructions that the kernel runs in the hook.
//!
//! The program is written here as raw instructions, so that the scenario shares no compiler and no loader with the program
//! under test.

use std::io::Error;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use aya_obj::btf::{Btf, BtfKind};
use rustix::process::{Resource, Rlimit, setrlimit};

/// How requests are denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuser {
    /// By a BPF LSM program, like an administrator's policy (needs `bpf` in the kernel's list of security modules).
    Lsm,
    /// By making the kernel's function that calls the security modules return an error instead.
    ModifiedReturn,
}

/// While this value exists, every request is denied with `EPERM`.
#[derive(Debug)]
pub struct Refusal {
    _link: OwnedFd,
}

/// `union bpf_attr` of `BPF_PROG_LOAD` (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    reserved: u32,
}

/// `union bpf_attr` of `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    name: u64,
    prog_fd: u32,
    reserved: u32,
}

/// `r0 = -1; exit`, where -1 is `-EPERM`. An instruction consists of an opcode, two registers, an offset and a value.
const PROGRAM: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], [0x95, 0, 0, 0, 0, 0, 0, 0]];

const BPF_PROG_LOAD: u32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: u32 = 17;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_PROG_TYPE_LSM: u32 = 29;
const BPF_MODIFY_RETURN: u32 = 26;
const BPF_LSM_MAC: u32 = 27;

impl Refusal {
    /// Starts to deny requests.
    pub(super) fn start(refuser: Refuser) -> Result<Self> {
        const LOG_BYTES: u32 = 4096;
        let (function, prog_type, expected_attach_type) = match refuser {
            Refuser::Lsm => ("bpf_lsm_kernel_module_request", BPF_PROG_TYPE_LSM, BPF_LSM_MAC),
            Refuser::ModifiedReturn => ("security_kernel_module_request", BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN),
        };
        // Before 5.11, BPF memory counts against this limit.
        setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).context("cannot raise RLIMIT_MEMLOCK")?;
        let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
        let function_id = btf.id_by_type_name_kind(function, BtfKind::Func);
        let mut log = [0_u8; LOG_BYTES as usize];
        let load = Load {
            prog_type,
            insn_cnt: 2,
            insns: PROGRAM.as_ptr().addr() as u64,
            license: c"GPL".as_ptr().addr() as u64,
            log_level: 1,
            log_size: LOG_BYTES,
            log_buf: log.as_mut_ptr().addr() as u64,
            expected_attach_type,
            attach_btf_id: function_id.with_context(|| format!("the kernel has no {function}"))?,
            ..Load::default()
        };
        let program = bpf(BPF_PROG_LOAD, &load).with_context(|| {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            format!("cannot load a program for {function}: {}", String::from_utf8_lossy(&log[..end]))
        })?;
        let prog_fd = u32::try_from(program.as_raw_fd()).context("invalid file descriptor")?;
        let link = bpf(BPF_RAW_TRACEPOINT_OPEN, &Attach { prog_fd, ..Attach::default() });
        println!("every module request is denied from now on, by {refuser:?}");
        Ok(Self { _link: link.with_context(|| format!("cannot attach to {function}"))? })
    }
}

/// `bpf(2)`, for commands that return a descriptor.
fn bpf<T>(command: u32, attributes: &T) -> Result<OwnedFd> {
    // SAFETY: the attributes belong to the command and have the given size, and the memory they point to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(Error::last_os_error)?;
    // SAFETY: the kernel has just created this descriptor, and no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
