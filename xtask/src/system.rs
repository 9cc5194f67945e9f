//! The machine: its distribution, and whether packages can be installed.

use std::fs;

/// Families of distributions with known package names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Debian and derivatives.
    Debian,
    /// Fedora and derivatives.
    Fedora,
    /// Arch Linux and derivatives.
    Arch,
    /// Any other distribution.
    Other,
}

/// Facts about the machine.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// Its family.
    pub(crate) family: Family,
    /// Its display name.
    pub(crate) name: String,
    /// Whether this process can install packages.
    pub(crate) is_root: bool,
}

impl System {
    /// Inspects this machine.
    pub(crate) fn look() -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
        let (family, name) = read_os_release(text.as_deref().unwrap_or_default());
        Self { family, name, is_root: rustix::process::geteuid().is_root() }
    }
}

/// Parses the family and the name from the text of `os-release`.
fn read_os_release(text: &str) -> (Family, String) {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches(['"', '\'']))
    };
    let ids = [field("ID"), field("ID_LIKE")].into_iter().flatten().flat_map(str::split_whitespace);
    let family = ids
        .filter_map(|id| match id {
            "debian" | "ubuntu" => Some(Family::Debian),
            "fedora" | "rhel" | "centos" => Some(Family::Fedora),
            "arch" => Some(Family::Arch),
            _ => None,
        })
        .next()
        .unwrap_or(Family::Other);
    (family, field("PRETTY_NAME").unwrap_or("an unknown distribution").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_is_read_from_id_then_id_like() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(read_os_release(debian), (Family::Debian, "Debian GNU/Linux 12 (bookworm)".to_owned()));
        assert_eq!(read_os_release("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n").0, Family::Debian);
        assert_eq!(read_os_release("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n").0, Family::Fedora);
        assert_eq!(read_os_release("ID=manjaro\nID_LIKE=arch\n").0, Family::Arch);
        assert_eq!(read_os_release("ID=nixos\n").0, Family::Other);
        assert_eq!(read_os_release("").0, Family::Other);
    }
}
