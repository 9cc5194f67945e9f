//! Why tracing cannot begin or go on: the cause, and what to do.

use std::path::PathBuf;

use super::PinError;
use crate::kernel::btf::BtfError;

/// An error of the kernel boundary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The binary was built without an eBPF toolchain.
    #[error(
        "this kmodtrace was built without its eBPF object and cannot trace: \
         build it with `cargo xtask build`, which installs what is missing"
    )]
    NoObject,
    /// Not enough privileges.
    #[error(
        "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON (missing: {missing}): \
         run `sudo kmodtrace ...`"
    )]
    Privileges {
        /// Names of the missing capabilities.
        missing: String,
    },
    /// The kernel forbids reading its memory.
    #[error(
        "the kernel is locked down (lockdown=confidentiality) and lets no one read its memory: \
         tracing is not possible until it boots without that (kernel parameter lockdown=, or Secure Boot policy)"
    )]
    Lockdown,
    /// The kernel has no type information.
    #[error(
        "this kernel has no type information ({}): it must be built with CONFIG_DEBUG_INFO_BTF=y, \
         as the kernels of Debian 11 and later, Ubuntu 20.10 and later, and Fedora are",
        path.display()
    )]
    NoBtf {
        /// Where it should be.
        path: PathBuf,
    },
    /// The kernel's type information cannot be read.
    #[error("the kernel's type information cannot be read")]
    Btf(#[from] BtfError),
    /// The kernel has no modules.
    #[error("this kernel was built without loadable modules (no /proc/modules): there is nothing to trace")]
    NoModules,
    /// A member that the programs cannot do without.
    #[error("this kernel has no {member}, or of another size: kmodtrace does not know its layout; please report it")]
    Member {
        /// Struct and member.
        member: String,
    },
    /// The object could not be loaded, and the kernel is from before what it needs.
    #[error(
        "kernel {release} is too old: tracing needs the BPF ring buffer, which kernels have from 5.8 (tested from 5.10)"
    )]
    TooOld {
        /// `uname -r`.
        release: String,
        /// What failed.
        #[source]
        source: Box<aya::EbpfError>,
    },
    /// The object could not be loaded.
    #[error("the eBPF object cannot be loaded")]
    Load(#[source] Box<aya::EbpfError>),
    /// A required hook could not be attached in any way.
    #[error("hook {hook:?} cannot be attached, so {without}: {tried}")]
    Hook {
        /// The hook.
        hook: &'static str,
        /// What is not seen.
        without: &'static str,
        /// Each way, and why not.
        tried: String,
    },
    /// A map of the object is missing or of the wrong type: the object does not belong to this binary.
    #[error("map {name} of the eBPF object cannot be used")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A loaded program cannot be asked for its losses.
    #[error("program {name} of the eBPF object cannot be used: {why}")]
    Program {
        /// Its name.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// The ring buffer cannot be waited for.
    #[error("cannot wait for the ring buffer")]
    Wait(#[source] std::io::Error),
    /// The flight recorder cannot be used.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Probe diagnostics cannot be read.
    #[error("cannot read the probes' diagnostics")]
    Log(#[source] Box<dyn std::error::Error + Send + Sync>),
}
