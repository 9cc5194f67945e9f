//! Kernel symbols from `/proc/kallsyms`: addresses to names, and names to addresses.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

const KALLSYMS: &str = "proc/kallsyms";
const KPTR_RESTRICT: &str = "proc/sys/kernel/kptr_restrict";

/// No function of the kernel itself is larger: an address further behind a symbol belongs to no known symbol.
const KERNEL_SYMBOL_BYTES: u64 = 1 << 20;

/// The same for modules and BPF programs: the memory between them may have belonged to modules that are gone.
const MODULE_SYMBOL_BYTES: u64 = 64 << 10;

/// The same for the last symbol of a module: modules are allocated in pages, with a guard page behind.
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
        /// The reason.
        source: std::io::Error,
    },
    /// A line is not `<address> <type> <name> [module]`.
    #[error("invalid line {line} of kallsyms: {text:?}")]
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
    /// More modules or longer names than the table can hold.
    #[error("kallsyms has more than 65,534 modules, 4 GiB of names, or a name of 64 KiB")]
    TooLarge,
}

/// The symbol that contains an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Symbol<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes from its start.
    pub offset: u64,
    /// Its module; `bpf` for BPF programs and trampolines; `None` for the kernel itself.
    pub module: Option<&'a str>,
}

/// A symbol of the table. A kernel has more than a hundred thousand, so names are in one string: 16 bytes each instead of 40.
#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    name_start: u32,
    name_bytes: u16,
    /// Index in [`Kallsyms::modules`] plus 1; 0 is the kernel itself.
    module: u16,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// Functions and global data of the kernel and its modules.
pub struct Kallsyms {
    root: PathBuf,
    /// Sorted by address; symbols at the same address are in the kernel's order.
    entries: Vec<Entry>,
    names: String,
    modules: Vec<Box<str>>,
}

impl Kallsyms {
    /// Reads the symbols of the running kernel.
    ///
    /// # Errors
    /// If they cannot be read or are hidden; the error names the fix.
    pub fn load() -> Result<Self, KallsymsError> {
        Self::load_from(Path::new("/"))
    }

    /// Reads the symbols of the kernel whose file systems are mounted under `root`.
    ///
    /// # Errors
    /// See [`Kallsyms::load`].
    pub fn load_from(root: &Path) -> Result<Self, KallsymsError> {
        let path = root.join(KALLSYMS);
        let read = |source| KallsymsError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(read)?;
        let mut symbols = Self::read(BufReader::new(file)).map_err(|error| match error {
            ParseError::Io(source) => read(source),
            ParseError::Kallsyms(KallsymsError::Hidden { .. }) => {
                // The setting only improves the message.
                let setting = std::fs::read_to_string(root.join(KPTR_RESTRICT));
                let kptr_restrict = setting.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
                KallsymsError::Hidden { kptr_restrict }
            }
            ParseError::Kallsyms(error) => error,
        })?;
        root.clone_into(&mut symbols.root);
        Ok(symbols)
    }

    /// Parses the text of a `/proc/kallsyms`.
    ///
    /// # Errors
    /// If a line is invalid, or all addresses are 0.
    pub fn parse(text: &[u8]) -> Result<Self, KallsymsError> {
        Self::read(text).map_err(|error| match error {
            ParseError::Kallsyms(error) => error,
            ParseError::Io(source) => KallsymsError::Read { path: PathBuf::from(KALLSYMS), source },
        })
    }

    /// Reads the symbols again if modules were loaded or unloaded; returns whether it did. A full read takes tens of
    /// milliseconds, so the caller decides. On error the old symbols stay.
    ///
    /// # Errors
    /// See [`Kallsyms::load`].
    pub fn refresh(&mut self, modules_changed: bool) -> Result<bool, KallsymsError> {
        if modules_changed {
            *self = Self::load_from(&self.root)?;
        }
        Ok(modules_changed)
    }

    /// Number of symbols in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table has no symbols.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The symbol that contains an address; of several at the same address, the kernel's first.
    #[must_use]
    pub fn resolve(&self, address: u64) -> Option<Symbol<'_>> {
        let after = self.entries.partition_point(|entry| entry.address <= address);
        let start = self.entries.get(after.checked_sub(1)?)?.address;
        let entry = self.entries.get(self.entries.partition_point(|entry| entry.address < start))?;
        let size_max = match (entry.module, self.entries.get(after)) {
            (0, _) => KERNEL_SYMBOL_BYTES,
            (module, Some(next)) if next.module == module => MODULE_SYMBOL_BYTES,
            _ => LAST_SYMBOL_BYTES,
        };
        let offset = address - start;
        let module = usize::from(entry.module).checked_sub(1).and_then(|index| self.modules.get(index));
        (offset < size_max).then(|| Symbol { name: self.name(entry), offset, module: module.map(AsRef::as_ref) })
    }

    /// The addresses of functions or global variables of the kernel itself.
    #[must_use]
    pub fn addresses_of<const N: usize>(&self, names: [&str; N]) -> [Option<u64>; N] {
        let mut addresses = [None; N];
        for entry in self.entries.iter().filter(|entry| entry.module == 0) {
            let name = self.name(entry);
            for (wanted, address) in names.iter().zip(&mut addresses) {
                if address.is_none() && *wanted == name {
                    *address = Some(entry.address);
                }
            }
        }
        addresses
    }

    fn name(&self, entry: &Entry) -> &str {
        let start = usize::try_from(entry.name_start).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::from(entry.name_bytes));
        self.names.get(start..end).unwrap_or_default()
    }

    fn read(mut reader: impl BufRead) -> Result<Self, ParseError> {
        let mut symbols =
            Self { root: PathBuf::from("/"), entries: Vec::new(), names: String::new(), modules: Vec::new() };
        let mut line = Vec::new();
        let mut number = 0;
        while reader.read_until(b'\n', &mut line)? != 0 {
            number += 1;
            // Nearly every line is valid UTF-8, and is not copied.
            let text = std::str::from_utf8(&line).map_or_else(|_| String::from_utf8_lossy(&line), Cow::Borrowed);
            let parsed = parse_line(&text)
                .ok_or_else(|| KallsymsError::Malformed { line: number, text: text.trim_end().to_owned() })?;
            if parsed.is_kept() {
                symbols.push(&parsed).ok_or(KallsymsError::TooLarge)?;
            }
            line.clear();
        }
        if symbols.entries.iter().all(|entry| entry.address == 0) {
            return Err(KallsymsError::Hidden { kptr_restrict: "unknown".to_owned() }.into());
        }
        // The sort is stable: symbols at the same address stay in the kernel's order.
        symbols.entries.sort_by_key(|entry| entry.address);
        symbols.entries.shrink_to_fit();
        symbols.names.shrink_to_fit();
        Ok(symbols)
    }

    /// Appends a symbol; `None` if a number does not fit.
    fn push(&mut self, line: &Line<'_>) -> Option<()> {
        let module = match line.module {
            None => 0,
            Some(name) => {
                // The symbols of a module follow one another: the module is the last one, or new.
                if self.modules.last().is_none_or(|last| **last != *name) {
                    self.modules.push(name.into());
                }
                u16::try_from(self.modules.len()).ok()?
            }
        };
        let name_start = u32::try_from(self.names.len()).ok()?;
        let name_bytes = u16::try_from(line.name.len()).ok()?;
        self.names.push_str(line.name);
        self.entries.push(Entry { address: line.address, name_start, name_bytes, module });
        Some(())
    }
}

impl std::fmt::Debug for Kallsyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kallsyms").field("symbols", &self.len()).finish_non_exhaustive()
    }
}

/// A read fails by itself, or because of its content.
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
    /// Functions and global data. Local data is a third of the file and never looked up; absolute symbols are offsets into
    /// per-CPU areas, not addresses.
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

    const fn symbol<'a>(name: &'a str, offset: u64, module: Option<&'a str>) -> Option<Symbol<'a>> {
        Some(Symbol { name, offset, module })
    }

    /// An address belongs to the symbol before it; of several at one address, to the first.
    #[test]
    fn address_belongs_to_symbol_before_it() {
        let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(symbols.resolve(0xffff_ffff_8100_0000), symbol("_stext", 0, None));
        assert_eq!(symbols.resolve(0xffff_ffff_8100_0010), symbol("_stext", 0x10, None));
        assert_eq!(symbols.resolve(0xffff_ffff_8100_02ff), symbol("__request_module", 0xff, None));
        assert_eq!(symbols.resolve(0xffff_ffff_c020_0011), symbol("helper", 0x11, Some("nf_tables")));
        assert_eq!(symbols.resolve(0xffff_ffff_c010_0001), symbol("ctnetlink_init", 1, Some("nf_conntrack_netlink")));
        let trampoline = symbol("bpf_trampoline_6442505566", 0x20, Some("bpf"));
        assert_eq!(symbols.resolve(0xffff_ffff_c040_0120), trampoline);
    }

    /// An address far behind a symbol belongs to none: it may be memory of a module that is gone.
    #[test]
    fn address_in_a_gap_has_no_symbol() {
        let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
        for address in [0, 0xffff_ffff_80ff_ffff, 0xffff_ffff_8150_0000, 0xffff_ffff_c020_1100, 0xffff_ffff_c010_2000] {
            assert_eq!(symbols.resolve(address), None, "{address:#x}");
        }
    }

    /// Functions and global variables of the kernel are found by name; per-CPU offsets and symbols of modules are not.
    #[test]
    fn only_names_of_the_kernel_itself_have_addresses() {
        let symbols = Kallsyms::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(
            symbols.addresses_of(["modprobe_path", "free_modprobe_argv", "fixed_percpu_data", "nft_init"]),
            [Some(0xffff_ffff_8200_0000), Some(0xffff_ffff_8100_0100), None, None]
        );
    }

    /// Hidden addresses are an error that names the setting and the fix.
    #[test]
    fn hidden_addresses_are_an_error() {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc/sys/kernel");
        std::fs::create_dir_all(&proc).unwrap();
        std::fs::write(proc.join("kptr_restrict"), "2\n").unwrap();
        std::fs::write(root.path().join("proc/kallsyms"), "0000000000000000 T _text\n").unwrap();
        let error = Kallsyms::load_from(root.path()).unwrap_err();
        assert!(matches!(&error, KallsymsError::Hidden { kptr_restrict } if kptr_restrict == "2"));
        assert!(error.to_string().contains("CAP_SYSLOG"), "{error}");
    }

    /// A refresh reads the symbols of new modules; without a change it reads nothing.
    #[test]
    fn refresh_reads_only_after_a_change() {
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

    /// The error for an invalid line has its number.
    #[test]
    fn invalid_line_is_reported_with_its_number() {
        for bad in ["ffff T", "zzzz T x", "ffff TT x", "ffff T x nf_tables"] {
            let text = format!("ffffffff81000000 T _text\n{bad}\n");
            let error = Kallsyms::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, KallsymsError::Malformed { line: 2, .. }), "{bad}: {error}");
        }
    }

    proptest! {
        /// Any text is read or refused, and any address is answered.
        #[test]
        fn any_text_is_read_or_refused(text in "([0-9a-f]{1,17} [tTdDa] [a-z]{1,8}(\t\\[[a-z]{1,4}\\])?\n){0,20}", address in any::<u64>()) {
            if let Ok(symbols) = Kallsyms::parse(text.as_bytes()) {
                let _ = symbols.resolve(address);
            }
        }

        /// Lookups find the same symbol as a search through all lines, whatever their order.
        #[test]
        fn lookup_equals_linear_search(
            addresses in proptest::collection::vec(1_u64..60, 1..40),
            asked in proptest::collection::vec(0_u64..70, 1..20),
        ) {
            // A low address is of the kernel itself, a high one of a module: two of their symbols never share an address.
            let module = |address: u64| if address < 30 { "" } else { "\t[can]" };
            let text: String =
                addresses.iter().enumerate().map(|(n, it)| format!("{it:x} t f{n}{}\n", module(*it))).collect();
            let symbols = Kallsyms::parse(text.as_bytes()).unwrap();
            for address in asked {
                let start = addresses.iter().copied().filter(|start| *start <= address).max();
                let wanted = start.map(|start| {
                    let first = addresses.iter().position(|it| *it == start).unwrap();
                    (format!("f{first}"), address - start, (start >= 30).then_some("can"))
                });
                let found = symbols.resolve(address).map(|it| (it.name.to_owned(), it.offset, it.module));
                prop_assert_eq!(found, wanted);
            }
            let last = addresses.len() - 1;
            let wanted = (addresses[last] < 30).then_some(addresses[last]);
            prop_assert_eq!(symbols.addresses_of([&format!("f{last}"), "none"]), [wanted, None]);
        }
    }

    /// The symbols of the running kernel are read, or refused because they are hidden.
    #[test]
    fn running_kernel_is_read() {
        let symbols = match Kallsyms::load() {
            Ok(symbols) => symbols,
            // Without CAP_SYSLOG.
            Err(error) => return assert!(matches!(error, KallsymsError::Hidden { .. }), "{error}"),
        };
        let [address] = symbols.addresses_of(["do_exit"]).map(Option::unwrap);
        assert_eq!(symbols.resolve(address + 1).map(|symbol| symbol.offset), Some(1));
    }
}
