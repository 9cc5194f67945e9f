//! The configuration of the private apt.
//!
//! apt reads the file in `APT_CONFIG` first, and then the directory `Dir::Etc::parts` and the file `Dir::Etc::main`
//! (pkgInitConfig() in apt-pkg/init.cc). A file that changes `Dir` therefore prevents apt from reading any file below
//! `/etc/apt`: configuration, hooks, preferences, sources, keys and credentials. The option `-c` would not, because its file
//! is read last.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::toolchain::probe;

use super::mirrors::Mirror;

/// Directories of the private apt that must exist, because apt warns or fails without them.
pub(super) const DIRECTORIES: [&str; 7] = [
    "etc/apt.conf.d",
    "etc/auth.conf.d",
    "etc/preferences.d",
    "etc/sources.list.d",
    "etc/trusted.gpg.d",
    "state/lists/partial",
    "cache/archives/partial",
];

/// The text of the `APT_CONFIG` file. `network` comes from `network_of`.
pub(super) fn text(dir: &Path, mirror: &Mirror, network: &str) -> Result<String> {
    let Some(dir) = dir.to_str().filter(|dir| !dir.contains(['"', '\n'])) else {
        bail!("cannot use apt below {}: its configuration cannot contain quotes and line ends", dir.display());
    };
    let dates = if mirror.frozen { "Acquire::Check-Valid-Until \"false\";\n" } else { "" };
    Ok(format!(
        "Dir \"{dir}/\";\n\
         Dir::Etc \"etc\";\n\
         Dir::State \"state\";\n\
         Dir::State::status \"{dir}/status\";\n\
         Dir::Cache \"cache\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Architectures {{ \"amd64\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Update::Error-Mode \"any\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::PDiffs \"false\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::AllowReleaseInfoChange::Suite \"true\";\n\
         Acquire::AllowReleaseInfoChange::Version \"true\";\n\
         {network}{dates}"
    ))
}

/// The network settings of the machine's apt, as lines of a configuration: its proxies, and whether it checks dates (machines
/// with a wrong clock and snapshot mirrors cannot). `environment` is added to the environment.
pub(super) fn network_of(environment: &[(String, String)]) -> Result<String> {
    let mut command = Command::new("apt-config");
    command.arg("dump").env("LC_ALL", "C").envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(network_settings(&probe::query(&mut command)?))
}

/// Selects the lines of `apt-config dump` with network settings.
fn network_settings(dump: &str) -> String {
    let is_chosen = |line: &&str| {
        let Some((name, value)) = line.split_once(' ') else { return false };
        let parts: Vec<String> = name.split("::").map(str::to_ascii_lowercase).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let is_of_network = matches!(
            parts[..],
            ["acquire", "http" | "https", "proxy" | "proxyautodetect" | "proxy-auto-detect"]
                | ["acquire", "http" | "https", "proxy", _]
                | ["acquire", "check-valid-until" | "check-date"]
        );
        // A value that contains a quote could inject more settings.
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix("\";"));
        is_of_network && value.is_some_and(|value| !value.is_empty() && !value.contains('"'))
    };
    dump.lines().filter(is_chosen).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(frozen: bool) -> Mirror {
        Mirror { debian: String::new(), security: String::new(), frozen }
    }

    /// Only a frozen archive may have expired.
    #[test]
    fn dates_are_checked_unless_the_archive_is_frozen() {
        assert!(!text(Path::new("/d"), &mirror(false), "").unwrap().contains("Check-Valid-Until"));
        assert!(text(Path::new("/d"), &mirror(true), "").unwrap().contains("Check-Valid-Until"));
    }

    /// A directory whose name contains a quote is an error, because it could inject settings.
    #[test]
    fn directory_with_quote_is_an_error() {
        assert!(text(Path::new("/d\";Dir \"/"), &mirror(false), "").is_err());
    }

    /// All forms of proxies and date checks are selected, and no other settings, even with similar names.
    #[test]
    fn only_network_settings_are_selected() {
        let taken = "Acquire::http::Proxy \"http://proxy.example:3128\";\n\
                     Acquire::http::Proxy::mirror.example \"DIRECT\";\n\
                     Acquire::https::Proxy \"http://proxy.example:3128\";\n\
                     Acquire::http::Proxy-Auto-Detect \"/usr/bin/detect\";\n\
                     acquire::HTTP::ProxyAutoDetect \"/usr/bin/detect\";\n\
                     Acquire::Check-Valid-Until \"false\";\n\
                     Acquire::Check-Date \"false\";\n";
        let left = "Acquire::http::Proxy::empty \"\";\n\
                    Acquire::http::Proxy::quote \"a\"; DPkg::Pre-Invoke { \"x\";\n\
                    Acquire::https::Verify-Peer \"false\";\n\
                    Acquire::Check-Valid-Until-Not \"false\";\n\
                    Acquire::AllowInsecureRepositories \"true\";\n\
                    APT::Update::Pre-Invoke:: \"touch /x\";\n\
                    APT::Architecture \"riscv64\";\n\
                    Dir::Etc \"etc/apt\";\n\
                    \n";
        assert_eq!(network_settings(&format!("{left}{taken}{left}")), taken);
    }
}
