//! Names of system calls.

/// An ABI with known system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 32-bit x86, on x86-64: `int 0x80`, `sysenter`, 32-bit `syscall`.
    I386,
    /// x32, on x86-64: 32-bit pointers in 64-bit mode.
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI), on 64-bit Arm.
    Arm,
}

/// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h): in the number of a system call of x32.
const X32_BIT: u32 = 1 << 30;

impl Arch {
    /// The architecture of this binary, and so of the kernel it runs on.
    pub const CURRENT: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else {
        None
    };

    /// The public name of a 32-bit ABI on a 64-bit kernel; `None` for the kernel's own.
    #[must_use]
    pub const fn compat_name(self) -> Option<&'static str> {
        match self {
            Self::I386 => Some("i386"),
            Self::X32 => Some("x32"),
            Self::Arm => Some("arm"),
            Self::X86_64 | Self::Aarch64 => None,
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::X86_64 => include_str!("x86_64.tsv"),
            Self::I386 => include_str!("i386.tsv"),
            Self::X32 => include_str!("x32.tsv"),
            Self::Aarch64 => include_str!("aarch64.tsv"),
            Self::Arm => include_str!("arm.tsv"),
        }
    }
}

/// The name of a system call; `None` if the number is unknown.
#[must_use]
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    let own = rows(arch).find_map(|(found, name)| (found == number).then_some(name));
    // x32 has numbers of its own only where the native call cannot be used.
    if own.is_none() && arch == Arch::X32 { name(Arch::X86_64, number) } else { own }
}

/// The ABI of a system call on this machine, and its number in it. `is_compat`: the kernel marked the call as a 32-bit one.
#[must_use]
pub const fn call(number: u32, is_compat: bool) -> (Option<Arch>, u32) {
    match (Arch::CURRENT, is_compat) {
        (Some(Arch::X86_64), true) => (Some(Arch::I386), number),
        (Some(Arch::X86_64), false) if number & X32_BIT != 0 => (Some(Arch::X32), number & !X32_BIT),
        (Some(Arch::Aarch64), true) => (Some(Arch::Arm), number),
        (_, true) => (None, number),
        (current, false) => (current, number),
    }
}

/// The name of a system call on this machine, or `syscall_<number>`.
#[must_use]
pub fn name_here(number: u32, is_compat: bool) -> String {
    let (arch, number) = call(number, is_compat);
    let known = arch.and_then(|arch| name(arch, number));
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
    use super::{Arch, X32_BIT, call, name, name_here, rows};

    /// Names depend on the architecture, and an unknown number stays a number.
    #[test]
    fn name_of_number_depends_on_the_architecture() {
        assert_eq!(name(Arch::X86_64, 41), Some("socket"));
        assert_eq!(name(Arch::X86_64, 313), Some("finit_module"));
        assert_eq!(name(Arch::Aarch64, 198), Some("socket"));
        assert_eq!(name(Arch::Aarch64, 273), Some("finit_module"));
        assert_eq!(name(Arch::Aarch64, 25), Some("fcntl"));
        assert_eq!(name(Arch::X86_64, 65535), None);
        assert_eq!(name_here(65535, false), "syscall_65535");
    }

    /// A 32-bit call is named by the table of its own ABI.
    #[test]
    fn name_of_a_32_bit_call_is_that_of_its_abi() {
        assert_eq!((name(Arch::I386, 21), name(Arch::I386, 102)), (Some("mount"), Some("socketcall")));
        assert_eq!((name(Arch::I386, 350), name(Arch::I386, 359)), (Some("finit_module"), Some("socket")));
        assert_eq!((name(Arch::Arm, 281), name(Arch::Arm, 379)), (Some("socket"), Some("finit_module")));
        assert_eq!((name(Arch::X32, 541), name(Arch::X32, 41)), (Some("setsockopt"), Some("socket")));
        for arch in [Arch::X86_64, Arch::I386, Arch::Aarch64, Arch::Arm] {
            assert_eq!(name(arch, 435), Some("clone3"), "{arch:?}");
        }
        if Arch::CURRENT == Some(Arch::X86_64) {
            assert_eq!((name_here(21, false), name_here(21, true)), ("access".to_owned(), "mount".to_owned()));
            assert_eq!(call(41 | X32_BIT, false), (Some(Arch::X32), 41));
        }
    }

    /// In the tables, every line except the heading is a row, numbers ascend, and names are identifiers.
    #[test]
    fn every_row_of_the_tables_is_valid() {
        for arch in [Arch::X86_64, Arch::I386, Arch::X32, Arch::Aarch64, Arch::Arm] {
            let rows: Vec<_> = rows(arch).collect();
            let lines = arch.table().lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(rows.len(), lines);
            let least = if arch == Arch::X32 { 36 } else { 300 };
            assert!(rows.len() >= least, "{arch:?} has {}", rows.len());
            assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "{arch:?}");
            let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            assert!(rows.iter().all(|(_, name)| is_name(name)), "{arch:?}");
        }
    }
}
