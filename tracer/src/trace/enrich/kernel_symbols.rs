//! Symbols for kernel stacks: from the kernel itself, or from `/proc/kallsyms` where it cannot be asked (before 5.13).

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use super::stack::{callers, inside, kernel_frames};
use crate::{
    event::Frame,
    kernel::kallsyms::{Kallsyms, Symbol},
    probe::{SymbolAt, Symbolizer},
};

/// Maximum number of changed modules that are distinguished.
const CHANGED_MAX: usize = 256;

/// Maximum number of addresses whose symbols are kept.
const KNOWN_MAX: usize = 4096;

/// The kernel's symbols.
#[derive(Debug)]
pub struct KernelSymbols {
    root: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    None,
    Kernel(Asked),
    Table(Table),
}

impl KernelSymbols {
    /// Without symbols yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), source: Source::None }
    }

    /// Whether there is a source of symbols.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    /// Uses a table.
    pub fn use_table(&mut self, kallsyms: Kallsyms) {
        self.source = Source::Table(Table { kallsyms, changed: Changed::Only(HashSet::new()) });
    }

    /// Asks the kernel from now on.
    pub fn ask(&mut self, symbolizer: Symbolizer) {
        self.source = Source::Kernel(Asked { symbolizer, known: HashMap::new() });
    }

    /// Notes that a module was loaded, initialized or unloaded; `None` if it is unknown which.
    pub fn module_changed(&mut self, module: Option<&str>) {
        match &mut self.source {
            Source::None => {}
            Source::Kernel(asked) => asked.known.retain(|_, symbol| symbol.as_ref().is_some_and(is_of_kernel)),
            Source::Table(table) => table.changed.add(module),
        }
    }

    /// The frames of a kernel stack.
    pub fn frames(&mut self, addresses: &[u64]) -> Vec<Frame> {
        if let Source::Kernel(asked) = &mut self.source
            && let Err(error) = asked.learn(addresses)
        {
            log::info!("symbols are read from /proc/kallsyms: {error}");
            self.source = Source::None;
            match Kallsyms::load_from(&self.root) {
                Ok(kallsyms) => self.use_table(kallsyms),
                Err(error) => log::warn!("{error}; stacks show addresses"),
            }
        }
        match &mut self.source {
            Source::None => kernel_frames(|_| None, addresses),
            Source::Kernel(asked) => kernel_frames(|address| asked.resolve(address), addresses),
            Source::Table(table) => {
                if table.may_have_moved(addresses) {
                    table.reload();
                }
                kernel_frames(|address| table.kallsyms.resolve(address), addresses)
            }
        }
    }
}

/// The kernel as the source.
#[derive(Debug)]
struct Asked {
    symbolizer: Symbolizer,
    /// By address. Those of modules are forgotten when a module changes.
    known: HashMap<u64, Option<SymbolAt>>,
}

impl Asked {
    /// Asks for the symbols of return addresses that are not known.
    fn learn(&mut self, addresses: &[u64]) -> io::Result<()> {
        if self.known.len() + addresses.len() > KNOWN_MAX {
            self.known.clear();
        }
        for address in addresses.iter().filter_map(|address| inside(*address)) {
            if !self.known.contains_key(&address) {
                let symbol = self.symbolizer.symbol_at(address)?;
                self.known.insert(address, symbol);
            }
        }
        Ok(())
    }

    fn resolve(&self, address: u64) -> Option<Symbol<'_>> {
        let symbol = self.known.get(&address)?.as_ref()?;
        // As in /proc/kallsyms.
        let module = symbol.module.as_deref().or_else(|| is_of_bpf(symbol).then_some("bpf"));
        Some(Symbol { name: &symbol.name, offset: symbol.offset, module })
    }
}

/// Whether a symbol belongs to a BPF program or trampoline, for which the kernel names no module.
fn is_of_bpf(symbol: &SymbolAt) -> bool {
    symbol.module.is_none() && ["bpf_prog_", "bpf_trampoline_"].iter().any(|prefix| symbol.name.starts_with(prefix))
}

/// Whether a symbol belongs to the kernel itself, which does not move.
fn is_of_kernel(symbol: &SymbolAt) -> bool {
    symbol.module.is_none() && !is_of_bpf(symbol)
}

/// `/proc/kallsyms` as the source, as of its last reading.
#[derive(Debug)]
struct Table {
    kallsyms: Kallsyms,
    changed: Changed,
}

impl Table {
    /// Whether a caller of the request may be in a changed module.
    fn may_have_moved(&self, addresses: &[u64]) -> bool {
        let callers = callers(|address| self.kallsyms.resolve(address), addresses);
        callers
            .iter()
            .filter(|address| **address != 0)
            .any(|address| self.changed.contains(self.kallsyms.resolve(*address)))
    }

    /// Reads all symbols again, which takes about 100 ms in the kernel.
    fn reload(&mut self) {
        match self.kallsyms.reload() {
            Ok(()) => self.changed = Changed::Only(HashSet::new()),
            Err(error) => log::debug!("kernel symbols cannot be read again: {error}"),
        }
    }
}

/// The modules that were loaded, initialized or unloaded since the symbols were read. Memory that they had may have other symbols
/// now, and memory without symbols may have some.
#[derive(Debug)]
enum Changed {
    Only(HashSet<String>),
    /// More than are distinguished, or unknown ones.
    Any,
}

impl Changed {
    fn add(&mut self, module: Option<&str>) {
        match (&mut *self, module) {
            (Self::Only(modules), Some(module)) if modules.len() < CHANGED_MAX => {
                modules.insert(module.to_owned());
            }
            (Self::Only(modules), Some(module)) if modules.contains(module) => {}
            _ => *self = Self::Any,
        }
    }

    /// Whether the symbol of an address may have changed.
    fn contains(&self, symbol: Option<Symbol<'_>>) -> bool {
        match (self, symbol.map(|symbol| symbol.module)) {
            // The kernel itself does not move.
            (_, Some(None)) => false,
            (Self::Any, _) => true,
            (Self::Only(modules), Some(Some(module))) => modules.contains(module),
            (Self::Only(modules), None) => !modules.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{CHANGED_MAX, KernelSymbols, SymbolAt, is_of_bpf, is_of_kernel};
    use crate::kernel::kallsyms::Kallsyms;

    const CORE: &str = "ffffffff81000000 T __sock_create\n";
    const OLD: u64 = 0xffff_ffff_c000_0010;
    const NEW: u64 = 0xffff_ffff_c010_0010;

    fn write(root: &Path, modules: &str) {
        fs::create_dir_all(root.join("proc")).unwrap();
        fs::write(root.join("proc/kallsyms"), format!("{CORE}{modules}")).unwrap();
    }

    fn read(root: &Path) -> KernelSymbols {
        let mut symbols = KernelSymbols::new(root);
        symbols.use_table(Kallsyms::load_from(root).unwrap());
        symbols
    }

    fn shown(symbols: &mut KernelSymbols, address: u64) -> String {
        symbols.frames(&[address])[0].to_string()
    }

    /// Symbols are read again for a frame in a changed module or in none, not for a frame in another module or in the kernel.
    #[test]
    fn symbols_are_read_again_only_where_they_may_have_changed() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "ffffffffc0000000 t old\t[one]\n");
        let mut symbols = read(root.path());
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
            let mut symbols = read(root.path());
            write(root.path(), "ffffffffc0000000 t new\t[one]\n");
            for number in 0..=CHANGED_MAX {
                let name = format!("module{number}");
                symbols.module_changed(many.then_some(name.as_str()));
            }
            assert_eq!(shown(&mut symbols, OLD), "new+0x10 [one]");
        }
    }

    /// Symbols of modules and of BPF programs are not those of the kernel itself.
    #[test]
    fn symbols_are_of_the_kernel_a_module_or_a_program() {
        let symbol = |name: &str, module: Option<&str>| SymbolAt {
            name: name.to_owned(),
            offset: 0,
            module: module.map(str::to_owned),
        };
        assert!(is_of_kernel(&symbol("__sock_create", None)));
        assert!(!is_of_kernel(&symbol("bpf_prog_1a2b_x", None)) && is_of_bpf(&symbol("bpf_prog_1a2b_x", None)));
        let module = symbol("bpf_prog_x", Some("one"));
        assert!(!is_of_kernel(&module) && !is_of_bpf(&module));
    }
}
