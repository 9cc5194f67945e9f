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
    pub(crate) fn detect() -> Self {
        let (family, name) = read_os_release(&os_release());
        Self { family, name, is_root: rustix::process::geteuid().is_root() }
    }
}

/// The codename of this machine's release if it is a stable Debian release; `None` for other distributions, testing and
/// unstable.
pub(crate) fn debian_codename() -> Option<String> {
    codename(&os_release()).map(str::to_owned)
}

fn codename(os_release: &str) -> Option<&str> {
    // Testing and unstable have no version.
    field(os_release, "VERSION_ID").filter(|_| field(os_release, "ID") == Some("debian"))?;
    field(os_release, "VERSION_CODENAME").filter(|name| name.chars().all(|char| char.is_ascii_lowercase()))
}

/// The text of `os-release`; empty if there is none.
fn os_release() -> String {
    let paths = ["/etc/os-release", "/usr/lib/os-release"];
    paths.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default()
}

fn field<'a>(os_release: &'a str, name: &str) -> Option<&'a str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.map(|value| value.trim_matches(['"', '\'']))
}

/// Parses the family and the name from the text of `os-release`.
fn read_os_release(text: &str) -> (Family, String) {
    let ids = [field(text, "ID"), field(text, "ID_LIKE")].into_iter().flatten().flat_map(str::split_whitespace);
    let family = ids
        .filter_map(|id| match id {
            "debian" | "ubuntu" => Some(Family::Debian),
            "fedora" | "rhel" | "centos" => Some(Family::Fedora),
            "arch" => Some(Family::Arch),
            _ => None,
        })
        .next()
        .unwrap_or(Family::Other);
    (family, field(text, "PRETTY_NAME").unwrap_or("an unknown distribution").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codename_of_stable_debian_is_parsed() {
        let debian = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        assert_eq!(codename(debian), Some("bookworm"));
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=forky\n"), None);
        assert_eq!(codename("ID=ubuntu\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\n"), None);
        assert_eq!(codename(""), None);
    }

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
