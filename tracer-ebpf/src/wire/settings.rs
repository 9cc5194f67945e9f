//! What user space tells the programs while they run: words of a map that it has in memory.

/// A word, and its index in the map.
///
/// Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Setting {
    /// 1: the reader looks into the ring by itself, and soon. 0: it sleeps, and is to be woken.
    ReaderIsAwake = 0,
    /// Address of `modprobe_path` (kernel/kmod.c); 0: not known.
    ModprobePath = 1,
    /// Address of `free_modprobe_argv` (kernel/kmod.c), the `cleanup` of every modprobe helper; 0: not known.
    FreeModprobeArgv = 2,
}

/// Number of words.
pub const SETTING_COUNT: u32 = 3;

const _: () = assert!(Setting::FreeModprobeArgv as u32 + 1 == SETTING_COUNT, "every word has its place");

/// What is done by a program of its own, which others jump to: its index in the map of such programs of one type.
///
/// The verifier goes through a program once for each one that contains it: what captures a whole task is most of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Tail {
    /// Of kprobes: a request, by the program of its hook.
    Request = 0,
    /// Of kprobes: a module that comes or goes.
    Module = 1,
}

/// Number of places for kprobes' programs.
pub const KPROBE_TAILS: u32 = 2;

/// Number of places for programs at the return of a system call, all of which do the same.
pub const FEXIT_TAILS: u32 = 1;
