//! User stacks with symbols, from the symbol tables of a live process: a requester that waits for its module is blocked in
//! the kernel, so its executable and libraries can be read.

use blazesym::{
    Pid,
    symbolize::{
        Input, Symbolized, Symbolizer,
        source::{Process, Source},
    },
};

use crate::event::Frame;

/// Processes after which the cache is emptied: it keeps the tables of every file, and a trace can run for months.
const PROCESSES_MAX: u32 = 256;

/// Reads and caches symbol tables.
pub struct UserSymbols {
    symbolizer: Symbolizer,
    /// Processes since the cache was emptied, at least.
    processes: u32,
    last: Option<u32>,
}

impl Default for UserSymbols {
    fn default() -> Self {
        Self::new()
    }
}

impl UserSymbols {
    /// Creates a reader with an empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self { symbolizer: Symbolizer::builder().enable_auto_reload(true).build(), processes: 0, last: None }
    }

    /// Empties the cache if it has the files of many processes.
    fn note_process(&mut self, pid: u32) {
        if self.last.replace(pid) == Some(pid) {
            return;
        }
        if self.processes >= PROCESSES_MAX {
            *self = Self { last: Some(pid), ..Self::new() };
        }
        self.processes += 1;
    }

    /// The frames of a process, innermost first. A frame without a symbol keeps its address.
    #[must_use]
    pub fn frames(&mut self, pid: u32, addresses: &[u64]) -> Vec<Frame> {
        self.note_process(pid);
        let addresses: Vec<u64> = addresses.iter().copied().filter(|address| *address != 0).collect();
        let mut process = Process::new(Pid::from(pid));
        // Separate debug files are not searched: the tables of the mapped files are sufficient and cheap.
        process.debug_syms = false;
        // By path, through the root of the process: the kernel's links to mapped files require CAP_CHECKPOINT_RESTORE.
        process.map_files = false;
        // The process may have replaced a mapped file in its own directories with a pipe, on which opening would block.
        process.perf_map = false;
        let found = match self.symbolizer.symbolize(&Source::Process(process), Input::AbsAddr(&addresses)) {
            Ok(found) => found,
            Err(error) => {
                log::debug!("the user stack of process {pid} has no names: {error}");
                Vec::new()
            }
        };
        addresses
            .iter()
            .enumerate()
            .map(|(index, address)| {
                let symbol = match found.get(index) {
                    Some(Symbolized::Sym(symbol)) => Some(symbol),
                    Some(Symbolized::Unknown(reason)) => {
                        log::debug!("{address:#x} of process {pid} has no name: {reason}");
                        None
                    }
                    None => None,
                };
                let module = symbol.and_then(|symbol| symbol.module.as_deref());
                Frame {
                    address: format!("{address:#x}"),
                    symbol: symbol.map(|symbol| symbol.name.clone().into_owned()),
                    offset: symbol.and_then(|symbol| u64::try_from(symbol.offset).ok()),
                    module: module.map(|path| path.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned()),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{PROCESSES_MAX, UserSymbols};

    /// An address in this process gets the name and file of its function.
    #[test]
    fn address_in_own_process_has_a_symbol() {
        let own = UserSymbols::frames as *const () as usize as u64;
        let frames = UserSymbols::new().frames(std::process::id(), &[own + 1, 0]);
        assert_eq!(frames.len(), 1);
        let name = frames[0].symbol.as_deref().unwrap_or_default();
        assert!(name.contains("UserSymbols") && name.contains("frames"), "{frames:?}");
        assert!(frames[0].module.as_deref().is_some_and(|file| file.starts_with("kmodtrace")), "{frames:?}");
    }

    /// The cache is emptied after many processes, but not while one process makes many requests.
    #[test]
    fn cache_of_many_processes_is_emptied() {
        let mut symbols = UserSymbols::new();
        for pid in 0..10 * PROCESSES_MAX {
            (0..3).for_each(|_| symbols.note_process(pid));
            assert!((1..=PROCESSES_MAX).contains(&symbols.processes));
        }
        assert_eq!(symbols.processes, PROCESSES_MAX);
    }

    /// A stack of an exited process keeps its addresses.
    #[test]
    fn stack_of_exited_process_keeps_addresses() {
        let frames = UserSymbols::new().frames(u32::MAX >> 1, &[0x1234]);
        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].address.as_str(), frames[0].symbol.as_deref()), ("0x1234", None));
    }
}
