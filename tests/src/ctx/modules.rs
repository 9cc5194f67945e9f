//! The kernel's list of loaded modules.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;

use anyhow::{Context as _, Result, bail};

const PROC_MODULES: &str = "/proc/modules";

/// `O_NONBLOCK`: fail immediately if the module is in use.
const DO_NOT_WAIT: i32 = 0o4000;

/// One line of `/proc/modules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The number of references to it.
    pub references: u32,
    /// The modules that depend on it.
    pub used_by: Vec<String>,
    /// `Live`, `Loading` or `Unloading`.
    pub state: String,
}

/// The loaded modules by name.
///
/// # Errors
/// When `/proc/modules` cannot be read or understood.
pub fn read_modules() -> Result<BTreeMap<String, Module>> {
    parse_modules(&fs::read_to_string(PROC_MODULES).with_context(|| format!("cannot read {PROC_MODULES}"))?)
}

/// `name size references user,user, state address`
fn parse_modules(text: &str) -> Result<BTreeMap<String, Module>> {
    let mut modules = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, _size, references, used_by, state, ..] = fields[..] else {
            bail!("invalid line in {PROC_MODULES}: {line:?}");
        };
        let references = references.parse().with_context(|| format!("invalid line in {PROC_MODULES}: {line:?}"))?;
        let used_by = used_by.split(',').filter(|user| !user.is_empty() && *user != "-" && *user != "[permanent]");
        let used_by = used_by.map(str::to_owned).collect();
        modules.insert(name.to_owned(), Module { references, used_by, state: state.to_owned() });
    }
    Ok(modules)
}

/// Removes one module.
pub(crate) fn remove(name: &str) -> Result<()> {
    let name = CString::new(name).context("the module name contains a NUL byte")?;
    rustix::system::delete_module(&name, DO_NOT_WAIT).context("delete_module")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users, reference counts and states are read; `-` means no users.
    #[test]
    fn proc_modules_is_parsed() {
        let text = "iptable_nat 16384 0 - Live 0x0000000000000000\n\
                    nf_nat 57344 1 iptable_nat, Live 0x0000000000000000\n\
                    ip_tables 36864 1 iptable_nat,iptable_filter, Loading 0xffffffffc0000000 (OE)\n\
                    ext4 1 3 [permanent], Live 0x0\n";
        let modules = parse_modules(text).unwrap();
        assert_eq!(modules["nf_nat"].used_by, ["iptable_nat"]);
        assert_eq!((modules["ip_tables"].used_by.len(), modules["ip_tables"].state.as_str()), (2, "Loading"));
        assert!(modules["iptable_nat"].used_by.is_empty() && modules["ext4"].used_by.is_empty());
        assert_eq!(modules["ext4"].references, 3);
    }

    /// A malformed line is an error.
    #[test]
    fn malformed_line_is_an_error() {
        assert!(parse_modules("dummy 1\n").is_err());
        assert!(parse_modules("dummy 1 x - Live 0x0\n").is_err());
    }
}
