//! Loaded modules: `/proc/modules`.

use std::path::Path;

use super::file::{FactError, content, read};

const MODULES: &str = "proc/modules";
const NEEDS_MODULES: &str = "the kernel was built without loadable modules (CONFIG_MODULES), or /proc is not mounted";

/// The state of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Its init runs.
    Loading,
    /// In use.
    Live,
    /// Its exit runs.
    Unloading,
}

/// A loaded module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedModule {
    /// Its name.
    pub name: String,
    /// Bytes of memory.
    pub size_bytes: u64,
    /// References; `None` when the kernel cannot unload modules.
    pub references: Option<u64>,
    /// Modules that use it.
    pub used_by: Vec<String>,
    /// Its state.
    pub state: State,
    /// Taint letters.
    pub taints: String,
}

/// Reads the modules loaded under `root`, newest first.
///
/// # Errors
/// If the file cannot be read or is not understood.
pub fn load(root: &Path) -> Result<Vec<LoadedModule>, FactError> {
    let text = read(root, MODULES, NEEDS_MODULES)?;
    text.lines().map(|line| parse_line(line).ok_or_else(|| content(root, MODULES, line))).collect()
}

/// `nf_nat 57344 2 nft_chain_nat,iptable_nat, Live 0xffffffffc0a8a000 (OE)`
fn parse_line(line: &str) -> Option<LoadedModule> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?.to_owned();
    let size_bytes = words.next()?.parse().ok()?;
    let references = match words.next()? {
        "-" => None,
        count => Some(count.parse().ok()?),
    };
    let users = words.next()?;
    // `[permanent]` is the kernel's mark for a module that cannot be unloaded, not a module.
    let is_user = |user: &&str| !matches!(*user, "" | "-" | "[permanent]");
    let used_by = users.split(',').filter(is_user).map(str::to_owned).collect();
    let state = match words.next()? {
        "Loading" => State::Loading,
        "Live" => State::Live,
        "Unloading" => State::Unloading,
        _ => return None,
    };
    // The address stands in between.
    let taints = words.nth(1).unwrap_or_default();
    // `+` and `-` mark modules that are being loaded or unloaded, like the state.
    let taints = taints.trim_matches(['(', ')', '+', '-']).to_owned();
    Some(LoadedModule { name, size_bytes, references, used_by, state, taints })
}

#[cfg(test)]
mod tests {
    use super::{LoadedModule, State, load, parse_line};

    /// Each form of line that the kernel writes is understood.
    #[test]
    fn understands_lines() {
        let nat = parse_line("nf_nat 57344 2 nft_chain_nat,iptable_nat, Live 0xffffffffc0a8a000").unwrap();
        assert_eq!(nat.used_by, ["nft_chain_nat", "iptable_nat"]);
        assert_eq!((nat.references, nat.state, nat.taints.as_str()), (Some(2), State::Live, ""));

        let tainted = parse_line("vboxdrv 1024 0 - Loading 0x0000000000000000 (OE+)").unwrap();
        assert_eq!((tainted.state, tainted.taints.as_str()), (State::Loading, "OE"));
        assert_eq!(tainted.used_by, Vec::<String>::new());

        let permanent = parse_line("cls 1 1 user,[permanent], Live 0x0").unwrap();
        assert_eq!(permanent.used_by, ["user"]);

        let no_unload = parse_line("ext4 1 - - Live 0x0").unwrap();
        assert_eq!(no_unload.references, None);
    }

    /// A line of another form is refused.
    #[test]
    fn refuses_other_lines() {
        for bad in ["", "x", "x y 0 - Live 0x0", "x 1 0 - Dead 0x0", "x 1 0 -"] {
            assert_eq!(parse_line(bad), None, "{bad:?}");
        }
    }

    /// A kernel without modules is told from one with none loaded.
    #[test]
    fn absent_is_not_empty() {
        let root = tempfile::tempdir().unwrap();
        let error = load(root.path()).unwrap_err();
        assert!(error.is_absent() && error.to_string().contains("CONFIG_MODULES"), "{error}");
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/modules"), "").unwrap();
        assert_eq!(load(root.path()).unwrap(), Vec::<LoadedModule>::new());
    }
}
