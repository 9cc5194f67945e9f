//! Names of system calls.

/// An architecture with known system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// The architecture of this binary, and so of the kernel it runs on.
    pub const CURRENT: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else {
        None
    };

    const fn table(self) -> &'static str {
        match self {
            Self::X86_64 => include_str!("x86_64.tsv"),
            Self::Aarch64 => include_str!("aarch64.tsv"),
        }
    }
}

/// The name of a system call; `None` if the number is unknown.
#[must_use]
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    rows(arch).find_map(|(found, name)| (found == number).then_some(name))
}

/// The name of a system call on this machine, or `syscall_<number>`.
#[must_use]
pub fn name_here(number: u32) -> String {
    let known = Arch::CURRENT.and_then(|arch| name(arch, number));
    known.map_or_else(|| format!("syscall_{number}"), str::to_owned)
}

/// Numbers and names, in order of numbers.
fn rows(arch: Arch) -> impl Iterator<Item = (u32, &'static str)> {
    arch.table().lines().filter_map(|line| {
        let (number, name) = line.split_once('\t')?;
        Some((number.parse().ok()?, name))
    })
}

#[cfg(test)]
mod tests {
    use super::{Arch, name, name_here, rows};

    /// Names depend on the architecture, and an unknown number stays a number.
    #[test]
    fn name_of_number_depends_on_the_architecture() {
        assert_eq!(name(Arch::X86_64, 41), Some("socket"));
        assert_eq!(name(Arch::X86_64, 313), Some("finit_module"));
        assert_eq!(name(Arch::Aarch64, 198), Some("socket"));
        assert_eq!(name(Arch::Aarch64, 273), Some("finit_module"));
        assert_eq!(name(Arch::Aarch64, 25), Some("fcntl"));
        assert_eq!(name(Arch::X86_64, 65535), None);
        assert_eq!(name_here(65535), "syscall_65535");
    }

    /// In the tables, every line except the heading is a row, numbers ascend, and names are identifiers.
    #[test]
    fn every_row_of_the_tables_is_valid() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let rows: Vec<_> = rows(arch).collect();
            let lines = arch.table().lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(rows.len(), lines);
            assert!(rows.len() > 300, "{arch:?} has {}", rows.len());
            assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "{arch:?}");
            let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            assert!(rows.iter().all(|(_, name)| is_name(name)), "{arch:?}");
        }
    }
}
