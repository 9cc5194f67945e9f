//! Kernel symbols from `/proc/kallsyms`: addresses to names, and names to addresses.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use crate::text::count;

const KALLSYMS: &str = "proc/kallsyms";
const KPTR_RESTRICT: &str = "proc/sys/kernel/kptr_restrict";

/// Maximum size of a function of the kernel itself: an address beyond that belongs to no known symbol.
const KERNEL_SYMBOL_BYTES: u64 = 1 << 20;

/// The same for modules and BPF programs: the memory between them may have belonged to modules that were unloaded.
const MODULE_SYMBOL_BYTES: u64 = 64 << 10;

/// The same for the last symbol of a module: modules are allocated in pages, followed by a guard page.
const LAST_SYMBOL_BYTES: u64 = 4 << 10;

/// Why symbols cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KallsymsError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; boot a kernel built with CONFIG_KALLSYMS=y", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
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
        "cannot read kernel symbols: their addresses are hidden (kernel.kptr_restrict is {kptr_restrict}); run as root \
         or with CAP_SYSLOG, and if it is 2, set `sysctl kernel.kptr_restrict=1`"
    )]
    Hidden {
        /// The setting, or "unknown".
        kptr_restrict: String,
    },
    /// More modules or longer names than the table can hold.
    #[error("cannot read kernel symbols: more than 65,534 modules, 4 GiB of names, or a name of 64 KiB")]
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
    skipped: usize,
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
        let read = |reason| KallsymsError::Read { path: path.clone(), reason };
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
            ParseError::Io(reason) => KallsymsError::Read { path: PathBuf::from(KALLSYMS), reason },
        })
    }

    /// Reads the symbols again: modules were loaded or unloaded. This takes tens of milliseconds. On error the old symbols stay.
    ///
    /// # Errors
    /// See [`Kallsyms::load`].
    pub fn reload(&mut self) -> Result<(), KallsymsError> {
        *self = Self::load_from(&self.root)?;
        Ok(())
    }

    /// Number of symbols in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// A sentence about the lines that are not understood; `None` if there are none.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let lines = count(self.skipped as u64, "line", "lines");
        let why = "a module has an unusual name, and its addresses have no symbol";
        (self.skipped > 0).then(|| format!("{lines} of /proc/kallsyms skipped: {why}"))
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
        (offset < size_max && entry.name_bytes != 0).then(|| Symbol {
            name: self.name(entry),
            offset,
            module: module.map(AsRef::as_ref),
        })
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
        let mut symbols = Self {
            root: PathBuf::from("/"),
            entries: Vec::new(),
            names: String::new(),
            modules: Vec::new(),
            skipped: 0,
        };
        let mut line = Vec::new();
        let mut number = 0;
        let mut malformed = None;
        while reader.read_until(b'\n', &mut line)? != 0 {
            number += 1;
            // Nearly every line is valid UTF-8, and is not copied.
            let text = std::str::from_utf8(&line).map_or_else(|_| String::from_utf8_lossy(&line), Cow::Borrowed);
            // The kernel lists its own symbols first: a later line without a module is the rest of one that a newline in the
            // name of a module has split.
            let is_split = |parsed: &Line<'_>| parsed.module.is_none() && !symbols.modules.is_empty();
            match parse_line(&text).filter(|parsed| !is_split(parsed)) {
                Some(parsed) if parsed.is_kept() => symbols.push(&parsed).ok_or(KallsymsError::TooLarge)?,
                Some(_) => {}
                None => {
                    symbols.skipped += 1;
                    malformed.get_or_insert_with(|| (number, text.trim_end().to_owned()));
                    symbols.push_unknown(&text).ok_or(KallsymsError::TooLarge)?;
                }
            }
            line.clear();
        }
        if let Some((line, text)) = malformed.filter(|_| symbols.modules.is_empty()) {
            return Err(KallsymsError::Malformed { line, text }.into());
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

    /// Appends the address of a line with an invalid module name, so that it does not belong to the symbol before it.
    fn push_unknown(&mut self, line: &str) -> Option<()> {
        match line.split_ascii_whitespace().next().map(|address| u64::from_str_radix(address, 16)) {
            Some(Ok(address)) if line.contains('\t') => {
                self.push(&Line { address, kind: b't', name: "", module: Some("?") })
            }
            _ => Some(()),
        }
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

/// The file cannot be read, or its content is invalid.
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
mod tests;
