//! Version and settings of the kernel.

use std::path::{Path, PathBuf};

use super::file::{ReadError, content, read, read_line, read_number};

const NEEDS_PROC: &str = "mount it with `mount -t proc proc /proc`";
const NEEDS_SECURITYFS: &str = "mount it with `mount -t securityfs securityfs /sys/kernel/security`; \
     if that fails, boot a kernel built with CONFIG_SECURITYFS=y";
const NEEDS_MODULES: &str = "boot a kernel built with loadable modules (CONFIG_MODULES=y)";
const NEEDS_BPF: &str = "boot a kernel built with the bpf() system call (CONFIG_BPF_SYSCALL=y)";
const NEEDS_PERF: &str = "boot a kernel built with perf events (CONFIG_PERF_EVENTS=y)";

const SECURITYFS: &str = "sys/kernel/security";
const LSM: &str = "sys/kernel/security/lsm";
const LOCKDOWN: &str = "sys/kernel/security/lockdown";

/// The lockdown mode: how far the kernel restricts root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lockdown {
    /// No restrictions, or the kernel has no lockdown.
    None,
    /// Root cannot change the running kernel; tracing works.
    Integrity,
    /// Root cannot read kernel memory either; tracing does not work.
    Confidentiality,
}

impl Lockdown {
    /// Its name in securityfs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

/// Reads information about a system from the file systems mounted under a root.
#[derive(Clone, Debug)]
pub struct SystemInfo {
    root: PathBuf,
}

impl Default for SystemInfo {
    fn default() -> Self {
        Self::new("/")
    }
}

impl SystemInfo {
    /// Information about the system mounted under `root`; `/` is the running one.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Kernel release (`uname -r`).
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn release(&self) -> Result<String, ReadError> {
        self.line("proc/sys/kernel/osrelease", NEEDS_PROC)
    }

    /// Kernel version (`uname -v`).
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn version(&self) -> Result<String, ReadError> {
        self.line("proc/sys/kernel/version", NEEDS_PROC)
    }

    /// Host name.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn hostname(&self) -> Result<String, ReadError> {
        self.line("proc/sys/kernel/hostname", NEEDS_PROC)
    }

    /// Id of this boot.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn boot_id(&self) -> Result<String, ReadError> {
        self.line("proc/sys/kernel/random/boot_id", NEEDS_PROC)
    }

    /// When this system booted, seconds since 1970 by the present clock.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn boot_time(&self) -> Result<i64, ReadError> {
        let text = read(&self.root, "proc/stat", NEEDS_PROC)?;
        let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        seconds.ok_or_else(|| content(&self.root, "proc/stat", "no btime"))
    }

    /// Id of this installation; `None` if there is none, as in an initramfs.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn machine_id(&self) -> Result<Option<String>, ReadError> {
        match self.line("etc/machine-id", "make it readable") {
            // systemd writes "uninitialized" before the first boot is done.
            Ok(id) if id.is_empty() || id == "uninitialized" => Ok(None),
            Ok(id) => Ok(Some(id)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The program that the kernel runs to load a module (`kernel.modprobe`). If it is empty, the kernel loads no module.
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no modules.
    pub fn modprobe(&self) -> Result<String, ReadError> {
        self.line("proc/sys/kernel/modprobe", NEEDS_MODULES)
    }

    /// Whether module loading is disabled until the next boot (`kernel.modules_disabled`).
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no modules.
    pub fn modules_disabled(&self) -> Result<bool, ReadError> {
        Ok(self.number("proc/sys/kernel/modules_disabled", NEEDS_MODULES)? != 0)
    }

    /// Restriction of perf events (`kernel.perf_event_paranoid`).
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no perf events.
    pub fn perf_event_paranoid(&self) -> Result<i64, ReadError> {
        self.number("proc/sys/kernel/perf_event_paranoid", NEEDS_PERF)
    }

    /// Restriction of `bpf()` (`kernel.unprivileged_bpf_disabled`): with 0, every user may use it.
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no `bpf()`.
    pub fn unprivileged_bpf_disabled(&self) -> Result<i64, ReadError> {
        self.number("proc/sys/kernel/unprivileged_bpf_disabled", NEEDS_BPF)
    }

    /// Active security modules, in the order in which the kernel calls them.
    ///
    /// # Errors
    /// If securityfs is not mounted.
    pub fn lsms(&self) -> Result<Vec<String>, ReadError> {
        let line = self.line(LSM, NEEDS_SECURITYFS)?;
        Ok(line.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// The lockdown mode.
    ///
    /// # Errors
    /// If securityfs is not mounted: then the mode is unknown.
    pub fn lockdown(&self) -> Result<Lockdown, ReadError> {
        let text = match read(&self.root, LOCKDOWN, NEEDS_SECURITYFS) {
            Ok(text) => text,
            // securityfs is mounted, since it has other files: this kernel has no lockdown.
            Err(error) if error.is_absent() && self.has_securityfs() => return Ok(Lockdown::None),
            Err(error) => return Err(error),
        };
        // "none [integrity] confidentiality"
        let chosen = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
        match chosen {
            Some("none") => Ok(Lockdown::None),
            Some("integrity") => Ok(Lockdown::Integrity),
            Some("confidentiality") => Ok(Lockdown::Confidentiality),
            _ => Err(content(&self.root, LOCKDOWN, &text)),
        }
    }

    fn has_securityfs(&self) -> bool {
        let entries = std::fs::read_dir(self.root.join(SECURITYFS));
        entries.is_ok_and(|mut entries| entries.next().is_some())
    }

    fn line(&self, path: &str, fix: &'static str) -> Result<String, ReadError> {
        read_line(&self.root, path, fix)
    }

    fn number(&self, path: &str, fix: &'static str) -> Result<i64, ReadError> {
        read_number(&self.root, path, fix)
    }
}

/// Major and minor number of a release. Features are detected by trying them, not by this number.
#[must_use]
pub fn major_minor(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.splitn(3, '.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor.get(..digits)?.parse().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Lockdown, SystemInfo, major_minor};
    use crate::kernel::file::ReadError;

    /// A system with these files.
    pub(crate) fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, SystemInfo) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let sysinfo = SystemInfo::new(root.path());
        (root, sysinfo)
    }

    /// Major and minor number are found in releases of all distributions.
    #[test]
    fn release_of_any_distribution_has_two_numbers() {
        let cases = [
            ("6.1.0-56-amd64", Some((6, 1))),
            ("5.10.0", Some((5, 10))),
            ("7.3-rc1", Some((7, 3))),
            ("6.12+deb13", Some((6, 12))),
            ("6", None),
            ("", None),
            ("six.one", None),
        ];
        for (release, expected) in cases {
            assert_eq!(major_minor(release), expected, "{release}");
        }
    }

    /// Each value is read from its file.
    #[test]
    fn values_are_read_from_their_files() {
        let (_root, sysinfo) = tree(&[
            ("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n"),
            ("proc/sys/kernel/modprobe", "/sbin/modprobe\n"),
            ("proc/sys/kernel/modules_disabled", "1\n"),
            ("proc/sys/kernel/perf_event_paranoid", "-1\n"),
            ("sys/kernel/security/lsm", "lockdown,capability,yama,apparmor,bpf"),
            ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
            ("etc/machine-id", "uninitialized\n"),
        ]);
        assert_eq!(sysinfo.release().unwrap(), "6.1.0-56-amd64");
        assert_eq!(sysinfo.modprobe().unwrap(), "/sbin/modprobe");
        assert!(sysinfo.modules_disabled().unwrap());
        assert_eq!(sysinfo.perf_event_paranoid().unwrap(), -1);
        assert_eq!(sysinfo.lsms().unwrap(), ["lockdown", "capability", "yama", "apparmor", "bpf"]);
        assert_eq!(sysinfo.lockdown().unwrap(), Lockdown::Integrity);
        assert_eq!(sysinfo.machine_id().unwrap(), None);
    }

    /// An empty `kernel.modprobe` is a valid value, not an error.
    #[test]
    fn empty_modprobe_is_not_an_error() {
        let (_root, sysinfo) = tree(&[("proc/sys/kernel/modprobe", "\n")]);
        assert_eq!(sysinfo.modprobe().unwrap(), "");
    }

    /// Without securityfs, lockdown is unknown; if only its file is missing, the kernel has none.
    #[test]
    fn lockdown_without_securityfs_is_unknown() {
        let (_root, sysinfo) = tree(&[("sys/kernel/security/lsm", "capability")]);
        assert_eq!(sysinfo.lockdown().unwrap(), Lockdown::None);
        let (_root, sysinfo) = tree(&[("sys/kernel/notes", "")]);
        let error = sysinfo.lockdown().unwrap_err();
        assert!(error.is_absent());
        assert!(error.to_string().contains("mount -t securityfs"), "{error}");
    }

    /// A file with unexpected content is an error that quotes it.
    #[test]
    fn unexpected_content_is_quoted() {
        let (_root, sysinfo) = tree(&[
            ("proc/sys/kernel/modules_disabled", "maybe\n"),
            ("sys/kernel/security/lockdown", "none integrity\n"),
        ]);
        let error = sysinfo.modules_disabled().unwrap_err();
        assert!(matches!(&error, ReadError::Content { content, .. } if content == "maybe"), "{error}");
        assert!(matches!(sysinfo.lockdown(), Err(ReadError::Content { .. })));
    }

    /// The values of the running kernel can be read.
    #[test]
    fn running_kernel_has_a_version() {
        let sysinfo = SystemInfo::default();
        assert!(major_minor(&sysinfo.release().unwrap()).is_some());
        assert_eq!(sysinfo.boot_id().unwrap().len(), 36);
    }
}
