//! Capabilities and limits of this process.

use std::path::Path;

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

use super::file::{FactError, content, read};

const STATUS: &str = "proc/self/status";
const NEEDS_PROC: &str = "mount it with `mount -t proc proc /proc`";

/// A capability that tracing may need: number as in include/uapi/linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Capability {
    /// `CAP_DAC_OVERRIDE`: writing to directories that are not writable.
    DacOverride = 1,
    /// `CAP_DAC_READ_SEARCH`: reading files of others.
    DacReadSearch = 2,
    /// `CAP_KILL`: signals to processes of others.
    Kill = 5,
    /// `CAP_SYS_PTRACE`: looking into processes of others.
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
    /// Those of this process; `root` is where `/proc` is.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn effective(root: &Path) -> Result<Self, FactError> {
        let text = read(root, STATUS, NEEDS_PROC)?;
        let value = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = value.and_then(|value| u64::from_str_radix(value.trim(), 16).ok());
        bits.map(|bits| Self { bits }).ok_or_else(|| content(root, STATUS, value.unwrap_or("no CapEff line")))
    }

    /// Whether it is held. `CAP_SYS_ADMIN` includes those that the kernel still grants by it.
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

    /// Names of those of `wanted` that are not held.
    #[must_use]
    pub fn missing(self, wanted: &[Capability]) -> Vec<&'static str> {
        wanted.iter().filter(|capability| !self.has(**capability)).map(|capability| capability.name()).collect()
    }
}

/// Permanently gives up every capability of this thread and of those it starts later, except the wanted ones that
/// it holds. `CAP_SYS_ADMIN` stays when it stands in for a wanted one. What it started before is not affected.
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

/// How much memory this process may lock (`RLIMIT_MEMLOCK`), bytes; `None` is without limit. Kernels before
/// 5.11 charge BPF maps and programs to it.
#[must_use]
pub fn memlock_limit_bytes() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Lifts that limit for this process.
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
    use crate::kernel::file::FactError;

    fn with_status(text: &str) -> Result<Capabilities, FactError> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::write(root.path().join("proc/self/status"), text).unwrap();
        Capabilities::effective(root.path())
    }

    /// Bits are those of the status file, and `CAP_SYS_ADMIN` stands for what was split from it.
    #[test]
    fn reads_capabilities() {
        let root = with_status("Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\n").unwrap();
        assert!(root.missing(&[Capability::Bpf, Capability::Perfmon, Capability::SysResource]).is_empty());
        let admin = with_status("CapEff:\t0000000000200000\n").unwrap();
        assert!(admin.has(Capability::Bpf) && !admin.has(Capability::SysResource));
        assert!(!admin.has(Capability::Syslog), "symbol addresses ask for CAP_SYSLOG itself");
        let none = with_status("CapEff:\t0000000000000000\n").unwrap();
        assert_eq!(none.missing(&[Capability::Bpf, Capability::Syslog]), ["CAP_BPF", "CAP_SYSLOG"]);
    }

    /// A status without the line, or with nonsense in it, is refused.
    #[test]
    fn refuses_other_text() {
        for bad in ["", "CapEff:\tzz\n"] {
            assert!(matches!(with_status(bad), Err(FactError::Content { .. })), "{bad:?}");
        }
    }

    /// Only what is wanted and held stays, and `CAP_SYS_ADMIN` only where it stands in for something.
    #[test]
    fn narrows() {
        let bits = |held: u64, wanted: &[Capability]| Capabilities { bits: held }.narrowed(wanted).bits;
        let all = u64::MAX;
        assert_eq!(bits(all, &[Capability::Bpf, Capability::Syslog]), 1 << 39 | 1 << 34);
        assert_eq!(bits(1 << 21, &[Capability::Bpf, Capability::Syslog]), 1 << 21);
        assert_eq!(bits(1 << 38, &[Capability::Bpf]), 0);
        assert_eq!(bits(all, &[]), 0);
    }

    /// A thread that gives everything up has nothing left, and its neighbours keep what they have.
    #[test]
    fn gives_up() {
        let before = Capabilities::effective(Path::new("/")).unwrap();
        let after = std::thread::spawn(|| {
            keep_only(&[]).unwrap();
            rustix::thread::capabilities(None).unwrap()
        });
        let after = after.join().unwrap();
        assert!(after.effective.is_empty() && after.permitted.is_empty() && after.inheritable.is_empty());
        assert_eq!(Capabilities::effective(Path::new("/")).unwrap(), before);
    }

    /// This process has a status.
    #[test]
    fn reads_itself() {
        Capabilities::effective(Path::new("/")).unwrap();
    }
}
