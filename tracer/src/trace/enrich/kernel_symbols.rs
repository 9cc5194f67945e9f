//! The kernel's symbols, which are read again when a frame may belong to a module that came or went.

use std::{collections::HashSet, path::Path};

use super::stack::{callers, kernel_frames};
use crate::{
    event::Frame,
    kernel::kallsyms::{Kallsyms, KallsymsError},
};

/// Maximum number of changed modules that are told apart.
const CHANGED_MAX: usize = 256;

/// The kernel's symbols, as of their last reading.
#[derive(Debug)]
pub struct KernelSymbols {
    kallsyms: Kallsyms,
    changed: Changed,
}

/// The modules that were loaded, initialized or unloaded since the symbols were read. Memory that they had may have other symbols
/// now, and memory without symbols may have some.
#[derive(Debug)]
enum Changed {
    Only(HashSet<String>),
    /// More than are told apart, or unknown ones.
    Any,
}

impl KernelSymbols {
    /// Reads them below a root directory.
    ///
    /// # Errors
    /// See [`Kallsyms::load`].
    pub fn read(root: &Path) -> Result<Self, KallsymsError> {
        Ok(Self { kallsyms: Kallsyms::load_from(root)?, changed: Changed::Only(HashSet::new()) })
    }

    /// The symbols.
    #[must_use]
    pub const fn kallsyms(&self) -> &Kallsyms {
        &self.kallsyms
    }

    /// Notes that a module was loaded, initialized or unloaded; `None` if it is unknown which.
    pub fn module_changed(&mut self, module: Option<&str>) {
        match (&mut self.changed, module) {
            (Changed::Only(modules), Some(module)) if modules.len() < CHANGED_MAX => {
                modules.insert(module.to_owned());
            }
            (Changed::Only(modules), Some(module)) if modules.contains(module) => {}
            _ => self.changed = Changed::Any,
        }
    }

    /// The frames of a kernel stack. Reads the symbols again if one of the callers may be in a changed module: that takes about
    /// 100 ms in the kernel.
    pub fn frames(&mut self, addresses: &[u64]) -> Vec<Frame> {
        let may_have_moved = |address: &u64| *address != 0 && self.may_have_moved(*address);
        if callers(&self.kallsyms, addresses).iter().any(may_have_moved) {
            match self.kallsyms.reload() {
                Ok(()) => self.changed = Changed::Only(HashSet::new()),
                Err(error) => log::debug!("kernel symbols cannot be read again: {error}"),
            }
        }
        kernel_frames(Some(&self.kallsyms), addresses)
    }

    fn may_have_moved(&self, address: u64) -> bool {
        let module = self.kallsyms.resolve(address).map(|symbol| symbol.module);
        match (&self.changed, module) {
            // The kernel itself does not move.
            (_, Some(None)) => false,
            (Changed::Any, _) => true,
            (Changed::Only(modules), Some(Some(module))) => modules.contains(module),
            (Changed::Only(modules), None) => !modules.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{CHANGED_MAX, KernelSymbols};

    const CORE: &str = "ffffffff81000000 T __sock_create\n";
    const OLD: u64 = 0xffff_ffff_c000_0010;
    const NEW: u64 = 0xffff_ffff_c010_0010;

    fn write(root: &Path, modules: &str) {
        fs::create_dir_all(root.join("proc")).unwrap();
        fs::write(root.join("proc/kallsyms"), format!("{CORE}{modules}")).unwrap();
    }

    fn shown(symbols: &mut KernelSymbols, address: u64) -> String {
        symbols.frames(&[address])[0].to_string()
    }

    /// Symbols are read again for a frame in a changed module or in none, not for a frame in another module or in the kernel.
    #[test]
    fn symbols_are_read_again_only_where_they_may_have_changed() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "ffffffffc0000000 t old\t[one]\n");
        let mut symbols = KernelSymbols::read(root.path()).unwrap();
        write(root.path(), "ffffffffc0000000 t other\t[one]\nffffffffc0100000 t new\t[two]\n");
        // Nothing has changed, as far as is known.
        assert_eq!(shown(&mut symbols, NEW), "0xffffffffc0100010");
        symbols.module_changed(Some("two"));
        assert_eq!(shown(&mut symbols, OLD), "old+0x10 [one]");
        assert_eq!(shown(&mut symbols, 0xffff_ffff_8100_0010), "__sock_create+0x10");
        assert_eq!(shown(&mut symbols, NEW), "new+0x10 [two]");
        assert_eq!(shown(&mut symbols, OLD), "other+0x10 [one]");
        // The memory of a module has another one's symbols after both have changed.
        write(root.path(), "ffffffffc0000000 t third\t[three]\n");
        symbols.module_changed(Some("one"));
        symbols.module_changed(Some("three"));
        assert_eq!(shown(&mut symbols, OLD), "third+0x10 [three]");
    }

    /// If it is unknown which module has changed, or there are too many, any may have.
    #[test]
    fn unknown_change_affects_every_module() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "ffffffffc0000000 t old\t[one]\n");
        for many in [false, true] {
            write(root.path(), "ffffffffc0000000 t old\t[one]\n");
            let mut symbols = KernelSymbols::read(root.path()).unwrap();
            write(root.path(), "ffffffffc0000000 t new\t[one]\n");
            for number in 0..=CHANGED_MAX {
                let name = format!("module{number}");
                symbols.module_changed(many.then_some(name.as_str()));
            }
            assert_eq!(shown(&mut symbols, OLD), "new+0x10 [one]");
        }
    }
}
