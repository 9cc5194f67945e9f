//! The self-test: programs that only show that their attach method works.

/// An attach method that can stop working, and its index in the array of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Alive {
    /// Kprobes, and kretprobes with them.
    Kprobes = 0,
    /// BPF trampolines: fentry and fexit.
    Trampolines = 1,
}

/// Number of entries.
pub const ALIVE_COUNT: u32 = 2;
