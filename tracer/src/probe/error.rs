//! Errors of the kernel boundary: why tracing cannot start or continue, and what to do.

use std::path::PathBuf;

use super::PinError;
use crate::kernel::btf::BtfError;

/// An error of the kernel boundary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The binary was built without an eBPF toolchain.
    #[error(
        "cannot trace: this kmodtrace was built without its eBPF object; \
         build it with `cargo xtask build`, which installs the eBPF toolchain"
    )]
    NoObject,
    /// Not enough privileges.
    #[error(
        "cannot trace: root, or the capabilities CAP_BPF and CAP_PERFMON, are needed (missing: {missing}); \
         run `sudo kmodtrace ...`"
    )]
    Privileges {
        /// Names of the missing capabilities.
        missing: String,
    },
    /// The kernel forbids reading its memory.
    #[error(
        "cannot trace: kernel lockdown (lockdown=confidentiality) forbids reading kernel memory; \
         boot without it (kernel parameter lockdown=, or Secure Boot policy)"
    )]
    Lockdown,
    /// `kernel.ftrace_enabled` is 0. A kprobe that is attached and detached meanwhile leaves flags at its function (seen on 6.1), and
    /// when the last user of ftrace detaches later, a check finds them and disables ftrace until the next boot (`ftrace_shutdown`,
    /// kernel/trace/ftrace.c).
    #[error(
        "cannot trace: kernel.ftrace_enabled is 0, so probes would not run, and attaching them now can make the kernel disable \
         ftrace later; run `sysctl kernel.ftrace_enabled=1`"
    )]
    FtraceOff,
    /// The kernel has no type information.
    #[error(
        "cannot trace: this kernel has no type information ({}); boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, \
         as in Debian 11, Ubuntu 20.10, Fedora, and later, or give type information made for this kernel with --btf FILE",
        path.display()
    )]
    NoBtf {
        /// Its expected path.
        path: PathBuf,
    },
    /// Type information was given for a kernel that has its own.
    #[error("invalid --btf: this kernel has type information ({}); leave the option out", path.display())]
    OwnBtf {
        /// Its path.
        path: PathBuf,
    },
    /// The kernel's type information cannot be read.
    #[error("cannot read the kernel's type information")]
    Btf(#[from] BtfError),
    /// The kernel has no modules.
    #[error("cannot trace: this kernel was built without loadable modules (no /proc/modules)")]
    NoModules,
    /// A member that the programs need does not exist or has another size.
    #[error("cannot trace: this kernel has no {member}, or with another size; please report it")]
    Member {
        /// Struct and member.
        member: String,
    },
    /// A kernel of another architecture than that of the build.
    #[error(
        "cannot trace: this is a kernel for {kernel}, and this kmodtrace was built for {build}; \
         build it for the kernel's architecture (x86-64 and arm64 are supported)"
    )]
    Architecture {
        /// The kernel's architecture.
        kernel: &'static str,
        /// That of the build.
        build: &'static str,
    },
    /// The lock of BPF ring buffers sleeps.
    #[error(
        "cannot trace: on this real-time kernel a BPF program that writes to the ring buffer may sleep and hang the machine \
         (CVE-2024-50138); boot a kernel with \"bpf: Use raw_spinlock_t in ringbuf\" (6.12, 6.11.5, 6.6.83, or later), or one \
         without PREEMPT_RT"
    )]
    RingLock,
    /// The object could not be loaded, and the kernel lacks a required feature because of its age.
    #[error("cannot trace: kernel {release} has no BPF ring buffer; boot kernel 5.8 or later (tested from 5.10)")]
    TooOld {
        /// `uname -r`.
        release: String,
        /// The error of loading the object.
        #[source]
        source: Box<aya::EbpfError>,
    },
    /// The object could not be loaded.
    #[error("cannot load the eBPF object")]
    Load(#[source] Box<aya::EbpfError>),
    /// A required hook could not be attached with any method.
    #[error("cannot attach the required hook {hook} ({without}): {refused}")]
    Hook {
        /// The hook.
        hook: &'static str,
        /// What is not seen without it.
        without: &'static str,
        /// The error of each attach method.
        refused: String,
    },
    /// A map of the object is missing or of the wrong type: the object does not belong to this binary.
    #[error("cannot use map {name} of the eBPF object")]
    Map {
        /// Its name.
        name: &'static str,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A loaded program cannot be queried or run.
    #[error("cannot use program {name} of the eBPF object: {why}")]
    Program {
        /// Its name.
        name: &'static str,
        /// The reason.
        why: String,
    },
    /// The ring buffer cannot be waited for.
    #[error("cannot wait for the ring buffer")]
    Wait(#[source] std::io::Error),
    /// The flight recorder cannot be used.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Probe diagnostics cannot be read.
    #[error("cannot read the diagnostics of the probes")]
    Log(#[source] Box<dyn std::error::Error + Send + Sync>),
}
