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
