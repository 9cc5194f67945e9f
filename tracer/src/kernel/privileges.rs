//! Capabilities and limits of this process.

use std::path::Path;

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

use super::file::{ReadError, content, read};

const STATUS: &str = "proc/self/status";
const NEEDS_PROC: &str = "mount it with `mount -t proc proc /proc`";

/// A capability that tracing may need: number as in include/uapi/linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Capability {
    /// `CAP_DAC_OVERRIDE`: writing to directories that are not writable.
    DacOverride = 1,
    /// `CAP_DAC_READ_SEARCH`: reading files of other users.
    DacReadSearch = 2,
    /// `CAP_KILL`: signals to processes of other users.
    Kill = 5,
    /// `CAP_SYS_CHROOT`: with `CAP_SYS_ADMIN`, entering mount namespaces.
    SysChroot = 18,
    /// `CAP_SYS_PTRACE`: reading memory maps of processes of other users.
    SysPtrace = 19,
    /// `CAP_SYS_ADMIN`: implies `CAP_BPF` and `CAP_PERFMON`.
    SysAdmin = 21,
    /// `CAP_SYS_RESOURCE`: raising limits.
    SysResource = 24,
    /// `CAP_SYSLOG`: seeing symbol addresses.
    Syslog = 34,
    /// `CAP_PERFMON`: attaching to the kernel and reading its memory.
    Perfmon = 38,
    /// `CAP_BPF`: loading programs.
    Bpf = 39,
}

impl Capability {
    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::Kill => "CAP_KILL",
            Self::SysChroot => "CAP_SYS_CHROOT",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

/// Effective capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// One bit each, as in `/proc/<pid>/status`.
    pub bits: u64,
}

impl Capabilities {
    /// The capabilities of this process; `root` contains `/proc`.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn effective(root: &Path) -> Result<Self, ReadError> {
        let text = read(root, STATUS, NEEDS_PROC)?;
        let value = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = value.and_then(|value| u64::from_str_radix(value.trim(), 16).ok());
        bits.map(|bits| Self { bits }).ok_or_else(|| content(root, STATUS, value.unwrap_or("no CapEff line")))
    }

    /// Whether a capability is held, also by `CAP_SYS_ADMIN` if that implies it.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        let included = match capability {
            Capability::Bpf | Capability::Perfmon => 1 << Capability::SysAdmin as u32,
            _ => 0,
        };
        self.bits & (1 << capability as u32 | included) != 0
    }

    /// The capabilities to keep for the wanted ones.
    #[must_use]
    fn narrowed(self, wanted: &[Capability]) -> Self {
        let bits = wanted.iter().filter(|capability| self.has(**capability)).fold(0, |bits, capability| {
            let own = 1 << *capability as u32;
            bits | if self.bits & own != 0 { own } else { 1 << Capability::SysAdmin as u32 }
        });
        Self { bits }
    }

    /// Names of the capabilities of `wanted` that are not held.
    #[must_use]
    pub fn missing(self, wanted: &[Capability]) -> Vec<&'static str> {
        wanted.iter().filter(|capability| !self.has(**capability)).map(|capability| capability.name()).collect()
    }
}

/// Permanently drops every capability of this thread and of threads that it starts later, except the wanted ones that it
/// holds. `CAP_SYS_ADMIN` is kept if it implies a wanted one. Threads that were started before are not affected.
///
/// # Errors
/// If the kernel refuses: a seccomp policy forbids `capset(2)`.
pub fn keep_only(wanted: &[Capability]) -> std::io::Result<()> {
    let own = capabilities(None)?;
    let held = Capabilities { bits: own.effective.bits() };
    let kept = CapabilitySet::from_bits_retain(held.narrowed(wanted).bits);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// Limit of locked memory of this process (`RLIMIT_MEMLOCK`), bytes; `None` is no limit. Kernels before 5.11 charge BPF maps
/// and programs to it.
#[must_use]
pub fn memlock_limit_bytes() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Removes that limit for this process.
///
/// # Errors
/// If `CAP_SYS_RESOURCE` is missing.
pub fn lift_memlock_limit() -> std::io::Result<()> {
    Ok(setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Capabilities, Capability, keep_only};
    use crate::kernel::file::ReadError;

    fn with_status(text: &str) -> Result<Capabilities, ReadError> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::write(root.path().join("proc/self/status"), text).unwrap();
        Capabilities::effective(root.path())
    }

    /// Bits are those of the status file, and `CAP_SYS_ADMIN` implies the capabilities that were split from it.
    #[test]
    fn sys_admin_implies_bpf_and_perfmon() {
        let root = with_status("Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\n").unwrap();
        assert!(root.missing(&[Capability::Bpf, Capability::Perfmon, Capability::SysResource]).is_empty());
        let admin = with_status("CapEff:\t0000000000200000\n").unwrap();
        assert!(admin.has(Capability::Bpf) && !admin.has(Capability::SysResource));
        assert!(!admin.has(Capability::Syslog), "symbol addresses require CAP_SYSLOG itself");
        let none = with_status("CapEff:\t0000000000000000\n").unwrap();
        assert_eq!(none.missing(&[Capability::Bpf, Capability::Syslog]), ["CAP_BPF", "CAP_SYSLOG"]);
    }

    /// A status without the line, or with an invalid value, is rejected.
    #[test]
    fn invalid_status_is_rejected() {
        for bad in ["", "CapEff:\tzz\n"] {
            assert!(matches!(with_status(bad), Err(ReadError::Content { .. })), "{bad:?}");
        }
    }

    /// Only capabilities that are wanted and held are kept, and `CAP_SYS_ADMIN` only if it implies one of them.
    #[test]
    fn narrowed_capabilities_are_wanted_and_held() {
        let bits = |held: u64, wanted: &[Capability]| Capabilities { bits: held }.narrowed(wanted).bits;
        let all = u64::MAX;
        assert_eq!(bits(all, &[Capability::Bpf, Capability::Syslog]), 1 << 39 | 1 << 34);
        assert_eq!(bits(1 << 21, &[Capability::Bpf, Capability::Syslog]), 1 << 21);
        assert_eq!(bits(1 << 38, &[Capability::Bpf]), 0);
        assert_eq!(bits(all, &[]), 0);
    }

    /// A thread that drops all capabilities has none left, and other threads keep theirs.
    #[test]
    fn dropped_capabilities_affect_one_thread() {
        let before = Capabilities::effective(Path::new("/")).unwrap();
        let after = std::thread::spawn(|| {
            keep_only(&[]).unwrap();
            rustix::thread::capabilities(None).unwrap()
        });
        let after = after.join().unwrap();
        assert!(after.effective.is_empty() && after.permitted.is_empty() && after.inheritable.is_empty());
        assert_eq!(Capabilities::effective(Path::new("/")).unwrap(), before);
    }

    /// The status of this process can be read.
    #[test]
    fn status_of_this_process_is_read() {
        Capabilities::effective(Path::new("/")).unwrap();
    }
}
