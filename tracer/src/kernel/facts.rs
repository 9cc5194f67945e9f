//! Version and settings of the kernel.

use std::path::{Path, PathBuf};

use super::file::{FactError, content, read, read_line, read_number};

const NEEDS_PROC: &str = "mount it with `mount -t proc proc /proc`";
const NEEDS_SECURITYFS: &str = "mount it with `mount -t securityfs securityfs /sys/kernel/security`; \
     if that fails, the kernel was built without CONFIG_SECURITYFS";
const NEEDS_MODULES: &str = "the kernel was built without loadable modules (CONFIG_MODULES)";
const NEEDS_BPF: &str = "the kernel was built without the bpf() system call (CONFIG_BPF_SYSCALL)";
const NEEDS_PERF: &str = "the kernel was built without perf events (CONFIG_PERF_EVENTS)";

const SECURITYFS: &str = "sys/kernel/security";
const LSM: &str = "sys/kernel/security/lsm";
const LOCKDOWN: &str = "sys/kernel/security/lockdown";

/// How far the kernel locks itself against root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lockdown {
    /// Not at all, or it has no lockdown.
    None,
    /// Root may not change the running kernel; tracing works.
    Integrity,
    /// Root may not read its memory either; tracing does not work.
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

/// Reads facts from the file systems mounted under a root.
#[derive(Clone, Debug)]
pub struct Facts {
    root: PathBuf,
}

impl Default for Facts {
    fn default() -> Self {
        Self::new("/")
    }
}

impl Facts {
    /// Facts of the system mounted under `root`; `/` is the running one.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Kernel release (`uname -r`).
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn release(&self) -> Result<String, FactError> {
        self.line("proc/sys/kernel/osrelease", NEEDS_PROC)
    }

    /// Kernel version (`uname -v`).
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn version(&self) -> Result<String, FactError> {
        self.line("proc/sys/kernel/version", NEEDS_PROC)
    }

    /// Host name.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn hostname(&self) -> Result<String, FactError> {
        self.line("proc/sys/kernel/hostname", NEEDS_PROC)
    }

    /// Id of this boot.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn boot_id(&self) -> Result<String, FactError> {
        self.line("proc/sys/kernel/random/boot_id", NEEDS_PROC)
    }

    /// Id of this installation; `None` where there is none, as in an initramfs.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn machine_id(&self) -> Result<Option<String>, FactError> {
        match self.line("etc/machine-id", "make it readable") {
            // systemd writes "uninitialized" before the first boot is done.
            Ok(id) if id.is_empty() || id == "uninitialized" => Ok(None),
            Ok(id) => Ok(Some(id)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The program the kernel runs to load a module (`kernel.modprobe`); empty: it loads nothing by itself.
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no modules.
    pub fn modprobe(&self) -> Result<String, FactError> {
        self.line("proc/sys/kernel/modprobe", NEEDS_MODULES)
    }

    /// Whether no module can be loaded until the next boot (`kernel.modules_disabled`).
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no modules.
    pub fn modules_disabled(&self) -> Result<bool, FactError> {
        Ok(self.number("proc/sys/kernel/modules_disabled", NEEDS_MODULES)? != 0)
    }

    /// Who may use perf events (`kernel.perf_event_paranoid`).
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no perf events.
    pub fn perf_event_paranoid(&self) -> Result<i64, FactError> {
        self.number("proc/sys/kernel/perf_event_paranoid", NEEDS_PERF)
    }

    /// Who may use `bpf()` (`kernel.unprivileged_bpf_disabled`): 0 is everyone.
    ///
    /// # Errors
    /// If `/proc` is not mounted or the kernel has no `bpf()`.
    pub fn unprivileged_bpf_disabled(&self) -> Result<i64, FactError> {
        self.number("proc/sys/kernel/unprivileged_bpf_disabled", NEEDS_BPF)
    }

    /// Active security modules, in the order in which the kernel asks them.
    ///
    /// # Errors
    /// If securityfs is not mounted.
    pub fn lsms(&self) -> Result<Vec<String>, FactError> {
        let line = self.line(LSM, NEEDS_SECURITYFS)?;
        Ok(line.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// The lockdown mode.
    ///
    /// # Errors
    /// If securityfs is not mounted: the mode is then not known.
    pub fn lockdown(&self) -> Result<Lockdown, FactError> {
        let text = match read(&self.root, LOCKDOWN, NEEDS_SECURITYFS) {
            Ok(text) => text,
            // Other files are there, so securityfs is mounted: this kernel has no lockdown.
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

    fn line(&self, path: &str, fix: &'static str) -> Result<String, FactError> {
        read_line(&self.root, path, fix)
    }

    fn number(&self, path: &str, fix: &'static str) -> Result<i64, FactError> {
        read_number(&self.root, path, fix)
    }
}

/// Major and minor number of a release: for display only. Features are detected by trying them.
#[must_use]
pub fn major_minor(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.splitn(3, '.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor.get(..digits)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Facts, Lockdown, major_minor};
    use crate::kernel::file::FactError;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Facts) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let facts = Facts::new(root.path());
        (root, facts)
    }

    /// Releases of all sorts have their two numbers.
    #[test]
    fn splits_releases() {
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

    /// Each fact is read from its file.
    #[test]
    fn reads_facts() {
        let (_root, facts) = tree(&[
            ("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n"),
            ("proc/sys/kernel/modprobe", "/sbin/modprobe\n"),
            ("proc/sys/kernel/modules_disabled", "1\n"),
            ("proc/sys/kernel/perf_event_paranoid", "-1\n"),
            ("sys/kernel/security/lsm", "lockdown,capability,yama,apparmor,bpf"),
            ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
            ("etc/machine-id", "uninitialized\n"),
        ]);
        assert_eq!(facts.release().unwrap(), "6.1.0-56-amd64");
        assert_eq!(facts.modprobe().unwrap(), "/sbin/modprobe");
        assert!(facts.modules_disabled().unwrap());
        assert_eq!(facts.perf_event_paranoid().unwrap(), -1);
        assert_eq!(facts.lsms().unwrap(), ["lockdown", "capability", "yama", "apparmor", "bpf"]);
        assert_eq!(facts.lockdown().unwrap(), Lockdown::Integrity);
        assert_eq!(facts.machine_id().unwrap(), None);
    }

    /// An empty `kernel.modprobe` is a fact, not an error.
    #[test]
    fn modprobe_may_be_empty() {
        let (_root, facts) = tree(&[("proc/sys/kernel/modprobe", "\n")]);
        assert_eq!(facts.modprobe().unwrap(), "");
    }

    /// Without securityfs lockdown is unknown; with securityfs but without the file there is none.
    #[test]
    fn lockdown_may_be_unknown() {
        let (_root, facts) = tree(&[("sys/kernel/security/lsm", "capability")]);
        assert_eq!(facts.lockdown().unwrap(), Lockdown::None);
        let (_root, facts) = tree(&[("sys/kernel/notes", "")]);
        let error = facts.lockdown().unwrap_err();
        assert!(error.is_absent());
        assert!(error.to_string().contains("mount -t securityfs"), "{error}");
    }

    /// A file that says something else is an error that quotes it.
    #[test]
    fn strange_content_is_quoted() {
        let (_root, facts) = tree(&[
            ("proc/sys/kernel/modules_disabled", "maybe\n"),
            ("sys/kernel/security/lockdown", "none integrity\n"),
        ]);
        let error = facts.modules_disabled().unwrap_err();
        assert!(matches!(&error, FactError::Content { content, .. } if content == "maybe"), "{error}");
        assert!(matches!(facts.lockdown(), Err(FactError::Content { .. })));
    }

    /// The running kernel answers.
    #[test]
    fn reads_the_running_kernel() {
        let facts = Facts::default();
        assert!(major_minor(&facts.release().unwrap()).is_some());
        assert_eq!(facts.boot_id().unwrap().len(), 36);
    }
}
