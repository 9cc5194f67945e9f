//! Loaded modules: `/proc/modules`.

use std::path::Path;

use super::file::{ReadError, content, read};
use crate::text::count;

const MODULES: &str = "proc/modules";
const NEEDS_MODULES: &str = "mount /proc, or boot a kernel built with loadable modules (CONFIG_MODULES=y)";

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
    /// References; `None` if the kernel cannot unload modules.
    pub references: Option<u64>,
    /// Modules that use it.
    pub used_by: Vec<String>,
    /// It has an init function, but no exit function, so it cannot be unloaded.
    pub is_permanent: bool,
    /// Its state.
    pub state: State,
    /// Taint letters.
    pub taints: String,
}

/// The loaded modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedModules {
    /// The modules, newest first.
    pub modules: Vec<LoadedModule>,
    /// Number of invalid lines: the name of a module can contain any bytes, and a newline in it splits its line.
    pub skipped: usize,
}

impl LoadedModules {
    /// A sentence about the invalid lines; `None` if there are none.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let lines = count(self.skipped as u64, "line", "lines");
        (self.skipped > 0).then(|| format!("{lines} of /proc/modules skipped: a module has an unusual name"))
    }
}

/// Reads the modules loaded under `root`. An invalid line is skipped and counted.
///
/// # Errors
/// If the file cannot be read, or no line is valid.
pub fn load(root: &Path) -> Result<LoadedModules, ReadError> {
    let text = read(root, MODULES, NEEDS_MODULES)?;
    let modules: Vec<LoadedModule> = text.split_terminator('\n').filter_map(parse_line).collect();
    let skipped = text.split_terminator('\n').count().saturating_sub(modules.len());
    match text.split_terminator('\n').next() {
        Some(first) if modules.is_empty() => Err(content(root, MODULES, first)),
        _ => Ok(LoadedModules { modules, skipped }),
    }
}

/// The kernel's mark, among the users, for a module that cannot be unloaded.
const PERMANENT: &str = "[permanent]";

/// Whether this is a name that the build of a kernel gives to a module. Other names could be the rest of a line that a newline
/// in a name has split.
fn is_usual(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+'))
}

/// `nf_nat 57344 2 nft_chain_nat,iptable_nat, Live 0xffffffffc0a8a000 (OE)`
fn parse_line(line: &str) -> Option<LoadedModule> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().filter(|name| is_usual(name))?.to_owned();
    let size_bytes = words.next()?.parse().ok()?;
    let references = match words.next()? {
        "-" => None,
        count => Some(count.parse().ok()?),
    };
    let users = words.next()?;
    let is_user = |user: &&str| !matches!(*user, "" | "-" | PERMANENT);
    let is_permanent = users.split(',').any(|user| user == PERMANENT);
    let used_by = users.split(',').filter(is_user).map(str::to_owned).collect();
    let state = match words.next()? {
        "Loading" => State::Loading,
        "Live" => State::Live,
        "Unloading" => State::Unloading,
        _ => return None,
    };
    // The address is in between.
    let taints = words.nth(1).unwrap_or_default();
    // `+` and `-` mark modules that are being loaded or unloaded, like the state.
    let taints = taints.trim_matches(['(', ')', '+', '-']).to_owned();
    Some(LoadedModule { name, size_bytes, references, used_by, is_permanent, state, taints })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LoadedModules, State, load, parse_line};

    /// Each form of line that the kernel writes is parsed.
    #[test]
    fn line_of_each_form_is_parsed() {
        let nat = parse_line("nf_nat 57344 2 nft_chain_nat,iptable_nat, Live 0xffffffffc0a8a000").unwrap();
        assert_eq!(nat.used_by, ["nft_chain_nat", "iptable_nat"]);
        assert_eq!((nat.references, nat.state, nat.taints.as_str()), (Some(2), State::Live, ""));

        let tainted = parse_line("vboxdrv 1024 0 - Loading 0x0000000000000000 (OE+)").unwrap();
        assert_eq!((tainted.state, tainted.taints.as_str()), (State::Loading, "OE"));
        assert_eq!(tainted.used_by, Vec::<String>::new());

        let permanent = parse_line("cls 1 1 user,[permanent], Live 0x0").unwrap();
        assert_eq!((permanent.used_by, permanent.is_permanent), (vec!["user".to_owned()], true));

        let no_unload = parse_line("ext4 1 - - Live 0x0").unwrap();
        assert_eq!(no_unload.references, None);
    }

    /// A line of another form is rejected.
    #[test]
    fn invalid_line_is_rejected() {
        for bad in
            ["", "x", "x y 0 - Live 0x0", "x 1 0 - Dead 0x0", "x 1 0 -", "y, 1 0 - Live 0x0", "d\x1b 1 0 - Live 0x0"]
        {
            assert_eq!(parse_line(bad), None, "{bad:?}");
        }
    }

    /// A kernel without modules is distinguished from one with no module loaded.
    #[test]
    fn kernel_without_modules_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let error = load(root.path()).unwrap_err();
        assert!(error.is_absent() && error.to_string().contains("CONFIG_MODULES"), "{error}");
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/modules"), "").unwrap();
        assert_eq!(load(root.path()).unwrap(), LoadedModules::default());
    }

    fn loaded(text: &[u8]) -> LoadedModules {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/modules"), text).unwrap();
        load(root.path()).unwrap()
    }

    /// A name with a newline costs its own lines, which are counted.
    #[test]
    fn odd_name_costs_its_own_lines() {
        let found = loaded(b"udf 1 0 - Live 0x0\nd\x1b\ny, 1 0 - Live 0x0 (OE)\ndummy 1 0 - Live 0x0\n");
        let names: Vec<&str> = found.modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!((names, found.skipped), (vec!["udf", "dummy"], 2));
        assert_eq!(found.note().unwrap(), "2 lines of /proc/modules skipped: a module has an unusual name");
        assert_eq!(loaded(b"udf 1 0 - Live 0x0\n").note(), None);
    }

    proptest! {
        /// Whatever the bytes of one module's name, all other modules are read.
        #[test]
        fn any_name_leaves_the_other_modules(name in proptest::collection::vec(1_u8.., 1..56)) {
            let mut text = b"udf 1 0 - Live 0x0\n".to_vec();
            text.extend(&name);
            text.extend(b" 16384 0 - Live 0x0 (OE)\ndummy 1 0 - Live 0x0\n");
            let found = loaded(&text);
            prop_assert_eq!(found.modules.first().map(|module| module.name.as_str()), Some("udf"));
            prop_assert_eq!(found.modules.last().map(|module| module.name.as_str()), Some("dummy"));
            let lines = text.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(found.modules.len() + found.skipped, lines);
        }
    }
}
