//! The configuration of the private apt.
//!
//! apt reads the file that `APT_CONFIG` names before anything else, and only then the directory `Dir::Etc::parts` and the file
//! `Dir::Etc::main` (pkgInitConfig() in apt-pkg/init.cc). A file that moves `Dir` therefore keeps apt from every file below
//! `/etc/apt`: configuration, hooks, preferences, sources, keys and credentials. An option `-c` would be read last, on top
//! of all of these.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::toolchain::probe;

use super::mirrors::Mirror;

/// Directories below the private apt's own that apt warns about or fails without.
pub(super) const DIRECTORIES: [&str; 7] = [
    "etc/apt.conf.d",
    "etc/auth.conf.d",
    "etc/preferences.d",
    "etc/sources.list.d",
    "etc/trusted.gpg.d",
    "state/lists/partial",
    "cache/archives/partial",
];

/// The text of the file that `APT_CONFIG` names. `network` comes from `network_of`.
pub(super) fn text(dir: &Path, mirror: &Mirror, network: &str) -> Result<String> {
    let Some(dir) = dir.to_str().filter(|dir| !dir.contains(['"', '\n'])) else {
        bail!("apt cannot work below {}: quotes and line ends cannot be written in its configuration", dir.display());
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

/// How the machine's apt reaches the network, as lines of a configuration: its proxies, and whether it checks dates, which
/// a machine with a wrong clock or a mirror of a past day cannot. `environment` is added to the machine's own.
pub(super) fn network_of(environment: &[(String, String)]) -> Result<String> {
    let mut command = Command::new("apt-config");
    command.arg("dump").env("LC_ALL", "C").envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(network_settings(&probe::query(&mut command)?))
}

/// Chooses the lines of an `apt-config dump` answer that say how the network is reached.
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
        // A value with a quote in it could end early and be read as more settings.
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

    /// Only a frozen archive may be past its date.
    #[test]
    fn dates_are_checked_unless_the_archive_is_frozen() {
        assert!(!text(Path::new("/d"), &mirror(false), "").unwrap().contains("Check-Valid-Until"));
        assert!(text(Path::new("/d"), &mirror(true), "").unwrap().contains("Check-Valid-Until"));
    }

    /// A directory whose name would end its quotes is refused, not read as settings.
    #[test]
    fn directories_with_quotes_are_refused() {
        assert!(text(Path::new("/d\";Dir \"/"), &mirror(false), "").is_err());
    }

    /// Proxies of every form and date checks are taken over; nothing else is, however close its name.
    #[test]
    fn only_network_settings_are_taken_over() {
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
