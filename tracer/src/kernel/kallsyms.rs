//! Addresses to names and back: `/proc/kallsyms`.

mod table;

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    rc::Rc,
};

use table::{Entry, Table};

const KALLSYMS: &str = "proc/kallsyms";
const KPTR_RESTRICT: &str = "proc/sys/kernel/kptr_restrict";

/// The kernel hands out about a page with each read; a larger buffer saves nothing.
const BUFFER_BYTES: usize = 64 << 10;

/// No function of the kernel proper is larger: beyond this an address lies in no symbol that we know.
const KERNEL_SYMBOL_BYTES: u64 = 1 << 20;

/// The same inside a module or a BPF program, where freed memory of other modules lies in between.
const MODULE_SYMBOL_BYTES: u64 = 64 << 10;

/// How far the last symbol of a module reaches: modules are allocated in pages with a guard page behind.
const LAST_SYMBOL_BYTES: u64 = 4 << 10;

/// Why symbols cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KallsymsError {
    /// The file cannot be read.
    #[error("cannot read {}: the kernel must be built with CONFIG_KALLSYMS=y", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not `<address> <type> <name> [module]`.
    #[error("line {line} of kallsyms is not understood: {text:?}")]
    Malformed {
        /// Its number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// All addresses are shown as 0.
    #[error(
        "the kernel hides its symbol addresses (kernel.kptr_restrict is {kptr_restrict}): run as root \
         or with CAP_SYSLOG, and if it is 2, set `sysctl kernel.kptr_restrict=1`"
    )]
    Hidden {
        /// The setting, or "unknown".
        kptr_restrict: String,
    },
    /// More modules than can be numbered.
    #[error("kallsyms names more than 65,534 modules")]
    TooLarge,
    /// They cannot be kept.
    #[error("kernel symbols cannot be packed")]
    Pack(#[source] std::io::Error),
}

/// The symbol an address lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Symbol {
    /// Its name.
    pub name: Rc<str>,
    /// Bytes from its start.
    pub offset: u64,
    /// The module it belongs to; `bpf` for BPF programs and trampolines; `None` for the kernel itself.
    pub module: Option<Rc<str>>,
}

/// Functions and global data of the kernel and its modules.
pub struct Kallsyms {
    root: PathBuf,
    table: Table,
    modules: Vec<Rc<str>>,
}

impl Kallsyms {
    /// Reads those of the running kernel.
    ///
    /// # Errors
    /// When they cannot be read or are hidden; the error says what to do.
    pub fn load() -> Result<Self, KallsymsError> {
        Self::load_from(Path::new("/"))
    }

    /// Reads those of the kernel whose file systems are mounted under `root`.
    ///
    /// # Errors
    /// See [`Kallsyms::load`].
    pub fn load_from(root: &Path) -> Result<Self, KallsymsError> {
        let path = root.join(KALLSYMS);
        let read = |source| KallsymsError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(read)?;
        let mut symbols = Self::read(BufReader::with_capacity(BUFFER_BYTES, file)).map_err(|error| match error {
            ParseError::Io(source) => read(source),
            ParseError::Kallsyms(KallsymsError::Hidden { .. }) => {
                // What the setting is only makes the message better.
                let setting = std::fs::read_to_string(root.join(KPTR_RESTRICT));
                let kptr_restrict = setting.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
                KallsymsError::Hidden { kptr_restrict }
            }
            ParseError::Kallsyms(error) => error,
        })?;
        root.clone_into(&mut symbols.root);
        Ok(symbols)
    }

    /// Reads the text of a `/proc/kallsyms`.
    ///
    /// # Errors
    /// When it is not understood, or all addresses are 0.
    pub fn parse(text: &[u8]) -> Result<Self, KallsymsError> {
        Self::read(text).map_err(|error| match error {
            ParseError::Kallsyms(error) => error,
            ParseError::Io(source) => KallsymsError::Read { path: PathBuf::from(KALLSYMS), source },
        })
    }

    /// Reads again if modules came or went: a full read takes tens of milliseconds, so the caller says
    /// when. True when it did. On error the old symbols stay.
    ///
    /// # Errors
    /// See [`Kallsyms::load`].
    pub fn refresh(&mut self, modules_changed: bool) -> Result<bool, KallsymsError> {
        if modules_changed {
            *self = Self::load_from(&self.root)?;
        }
        Ok(modules_changed)
    }

    /// Number of symbols kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.table.len()
    }

    /// True when there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The symbol that an address lies in; of several at one address the kernel's first.
    #[must_use]
    pub fn resolve(&self, address: u64) -> Option<Symbol> {
        let found = self.table.find(address)?;
        let reach_bytes = match (found.module, found.next_is_kin) {
            (0, _) => KERNEL_SYMBOL_BYTES,
            (_, true) => MODULE_SYMBOL_BYTES,
            (_, false) => LAST_SYMBOL_BYTES,
        };
        let module = usize::from(found.module).checked_sub(1).and_then(|index| self.modules.get(index)).cloned();
        (found.offset < reach_bytes).then(|| found.symbol(module))
    }

    /// The addresses of functions or global variables of the kernel itself.
    #[must_use]
    pub fn addresses_of<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        self.table.addresses_of(names)
    }

    fn read(mut reader: impl BufRead) -> Result<Self, ParseError> {
        let mut found = Found::default();
        let mut line = Vec::new();
        let mut number = 0;
        while reader.read_until(b'\n', &mut line)? != 0 {
            number += 1;
            // Nearly always it is text: there is nothing to repair.
            let text = std::str::from_utf8(&line).map_or_else(|_| String::from_utf8_lossy(&line), Cow::Borrowed);
            let parsed = parse_line(&text)
                .ok_or_else(|| KallsymsError::Malformed { line: number, text: text.trim_end().to_owned() })?;
            if parsed.is_kept() {
                found.push(&parsed).ok_or(KallsymsError::TooLarge)?;
            }
            line.clear();
        }
        Ok(found.pack()?)
    }
}

/// Symbols while they are read.
#[derive(Default)]
struct Found {
    /// Address, end of the name, module as in [`Entry`].
    symbols: Vec<(u64, usize, u16)>,
    names: String,
    modules: Vec<Rc<str>>,
}

impl Found {
    /// `None` when an index does not fit.
    fn push(&mut self, line: &Line<'_>) -> Option<()> {
        let module = match line.module {
            None => 0,
            Some(name) => {
                // Symbols of a module follow one another: it is the last one, or new.
                if self.modules.last().is_none_or(|last| **last != *name) {
                    self.modules.push(name.into());
                }
                u16::try_from(self.modules.len()).ok()?
            }
        };
        self.names.push_str(line.name);
        self.symbols.push((line.address, self.names.len(), module));
        Some(())
    }

    fn pack(self) -> Result<Kallsyms, KallsymsError> {
        let Self { symbols, names, modules } = self;
        if symbols.iter().all(|(address, ..)| *address == 0) {
            return Err(KallsymsError::Hidden { kptr_restrict: "unknown".to_owned() });
        }
        let mut start = 0;
        let mut entries = Vec::with_capacity(symbols.len());
        for (address, end, module) in symbols {
            entries.push(Entry { address, module, name: names.get(start..end).unwrap_or_default() });
            start = end;
        }
        // Stable: of several symbols at one address the kernel itself names the first.
        entries.sort_by_key(|entry| entry.address);
        Ok(Kallsyms { root: PathBuf::from("/"), table: Table::new(&entries)?, modules })
    }
}

impl std::fmt::Debug for Kallsyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kallsyms").field("symbols", &self.len()).finish_non_exhaustive()
    }
}

/// Reading fails by itself or for what is read.
enum ParseError {
    Io(std::io::Error),
    Kallsyms(KallsymsError),
}

impl From<std::io::Error> for ParseError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<KallsymsError> for ParseError {
    fn from(error: KallsymsError) -> Self {
        Self::Kallsyms(error)
    }
}

struct Line<'a> {
    address: u64,
    kind: u8,
    name: &'a str,
    module: Option<&'a str>,
}

impl Line<'_> {
    /// Functions and global data. Local data is a third of the file and no one asks for it; absolute
    /// symbols are offsets into per-CPU areas, not addresses.
    const fn is_kept(&self) -> bool {
        !matches!(self.kind, b'a' | b'A' | b'b' | b'd' | b'r' | b'n' | b'N' | b'?')
    }
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = match words.next()?.as_bytes() {
        [kind] => *kind,
        _ => return None,
    };
    let name = words.next()?;
    let module = match words.next() {
        None => None,
        Some(word) => Some(word.strip_prefix('[')?.strip_suffix(']')?),
    };
    Some(Line { address, kind, name, module })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Kallsyms, KallsymsError, Symbol};

    const TEXT: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t free_modprobe_argv
ffffffff81000200 T __request_module
ffffffff82000000 D modprobe_path
ffffffff82000040 d local_data
ffffffffc0200000 t helper\t[nf_tables]
ffffffffc0200100 T nft_init\t[nf_tables]
ffffffffc0100000 t ctnetlink_init\t[nf_conntrack_netlink]
ffffffffc0400000 t bpf_prog_6deef7357e7b4530_request\t[bpf]
ffffffffc0400100 t bpf_trampoline_6442505566\t[bpf]
";

    fn symbol(name: &str, offset: u64, module: Option<&str>) -> Option<Symbol> {
        Some(Symbol { name: name.into(), offset, module: module.map(Into::into) })
    }

    /// An address belongs to the symbol before it, with its module; of aliases the first one counts.
    #[test]
    fn resolves_addresses() {
        let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(symbols.resolve(0xffff_ffff_8100_0000), symbol("_stext", 0, None));
        assert_eq!(symbols.resolve(0xffff_ffff_8100_0010), symbol("_stext", 0x10, None));
        assert_eq!(symbols.resolve(0xffff_ffff_8100_02ff), symbol("__request_module", 0xff, None));
        assert_eq!(symbols.resolve(0xffff_ffff_c020_0011), symbol("helper", 0x11, Some("nf_tables")));
        assert_eq!(symbols.resolve(0xffff_ffff_c010_0001), symbol("ctnetlink_init", 1, Some("nf_conntrack_netlink")));
        let trampoline = symbol("bpf_trampoline_6442505566", 0x20, Some("bpf"));
        assert_eq!(symbols.resolve(0xffff_ffff_c040_0120), trampoline);
    }

    /// An address far behind a symbol is in none: it may be memory of a module that is gone.
    #[test]
    fn leaves_gaps_unnamed() {
        let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
        for address in [0, 0xffff_ffff_80ff_ffff, 0xffff_ffff_8150_0000, 0xffff_ffff_c020_1100, 0xffff_ffff_c010_2000] {
            assert_eq!(symbols.resolve(address), None, "{address:#x}");
        }
    }

    /// Functions and global variables of the kernel are found by name; per-CPU offsets and modules' symbols are not.
    #[test]
    fn finds_names() {
        let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(
            symbols.addresses_of(["modprobe_path", "free_modprobe_argv", "fixed_percpu_data", "nft_init"]),
            [Some(0xffff_ffff_8200_0000), Some(0xffff_ffff_8100_0100), None, None]
        );
    }

    /// Hidden addresses are an error that names the setting and what to do.
    #[test]
    fn says_that_addresses_are_hidden() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc/sys/kernel");
        std::fs::create_dir_all(&proc).unwrap();
        std::fs::write(proc.join("kptr_restrict"), "2\n").unwrap();
        std::fs::write(root.path().join("proc/kallsyms"), "0000000000000000 T _text\n").unwrap();
        let error = Kallsyms::load_from(root.path()).unwrap_err();
        assert!(matches!(&error, KallsymsError::Hidden { kptr_restrict } if kptr_restrict == "2"));
        assert!(error.to_string().contains("CAP_SYSLOG"), "{error}");
    }

    /// What is read again is what modules brought; without a change nothing is read.
    #[test]
    fn reads_again_only_when_told() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc")).unwrap();
        let file = root.path().join("proc/kallsyms");
        std::fs::write(&file, "ffffffff81000000 T _text\n").unwrap();
        let mut symbols = Kallsyms::load_from(root.path()).unwrap();
        std::fs::write(&file, "ffffffff81000000 T _text\nffffffffc0000000 t init\t[can]\n").unwrap();
        assert!(!symbols.refresh(false).unwrap());
        assert_eq!(symbols.len(), 1);
        assert!(symbols.refresh(true).unwrap());
        assert_eq!(symbols.resolve(0xffff_ffff_c000_0000), symbol("init", 0, Some("can")));
    }

    /// A line that is not understood is named.
    #[test]
    fn names_the_bad_line() {
        for bad in ["ffff T", "zzzz T x", "ffff TT x", "ffff T x nf_tables"] {
            let text = format!("ffffffff81000000 T _text\n{bad}\n");
            let error = Kallsyms::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, KallsymsError::Malformed { line: 2, .. }), "{bad}: {error}");
        }
    }

    proptest! {
        /// Any text is read or refused, and any address is answered.
        #[test]
        fn survives_anything(text in "([0-9a-f]{1,17} [tTdDa] [a-z]{1,8}(\t\\[[a-z]{1,4}\\])?\n){0,20}", address in any::<u64>()) {
            if let Ok(symbols) = Kallsyms::parse(text.as_bytes()) {
                let _ = symbols.resolve(address);
            }
        }
    }

    /// The running kernel's own symbols are read.
    #[test]
    fn reads_the_running_kernel() {
        let symbols = match Kallsyms::load() {
            Ok(symbols) => symbols,
            // Not root: the error is the right answer, and says so.
            Err(error) => return assert!(matches!(error, KallsymsError::Hidden { .. }), "{error}"),
        };
        let [address] = symbols.addresses_of(["do_exit"]).map(Option::unwrap);
        assert_eq!(symbols.resolve(address + 1).map(|symbol| symbol.offset), Some(1));
    }
}
