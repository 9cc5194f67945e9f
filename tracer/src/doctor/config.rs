//! The kernel's build configuration, as installed by the distribution.

use crate::kernel::{file::read, sysinfo::SystemInfo};

/// The configuration as text.
pub(super) struct KernelConfig(String);

/// Its paths; `/proc/config.gz` is not read because it is compressed.
const PLACES: [(&str, &str); 3] = [("boot/config-", ""), ("lib/modules/", "/config"), ("usr/lib/modules/", "/config")];

impl KernelConfig {
    /// The configuration of the running kernel; `None` if it is not installed.
    pub(super) fn load(sysinfo: &SystemInfo) -> Option<Self> {
        let release = sysinfo.release().ok()?;
        PLACES.iter().find_map(|(front, back)| {
            let path = format!("{front}{release}{back}");
            read(sysinfo.root(), &path, "make it readable").inspect_err(|error| log::debug!("{error}")).ok().map(Self)
        })
    }

    /// The value of an option; `None` if it is not set.
    pub(super) fn value(&self, option: &str) -> Option<&str> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='))?;
        Some(value.trim().trim_matches('"'))
    }
}

#[cfg(test)]
mod tests {
    use super::KernelConfig;

    /// An option has the value of its own line, and an unset one has none.
    #[test]
    fn option_has_the_value_of_its_line() {
        let text = "# CONFIG_A is not set\nCONFIG_AB=y\nCONFIG_PATH=\"/sbin/helper\"\nCONFIG_EMPTY=\"\"\n";
        let config = KernelConfig(text.to_owned());
        assert_eq!(config.value("CONFIG_A"), None);
        assert_eq!(config.value("CONFIG_AB"), Some("y"));
        assert_eq!(config.value("CONFIG_PATH"), Some("/sbin/helper"));
        assert_eq!(config.value("CONFIG_EMPTY"), Some(""));
    }
}
