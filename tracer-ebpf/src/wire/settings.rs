//! Values that user space sets while the programs run, in a mapped array.

/// A setting and its index in the array.
///
/// Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Setting {
    /// 1: the reader polls the ring. 0: it sleeps and must be woken.
    ReaderIsAwake = 0,
    /// Address of `modprobe_path` (kernel/kmod.c); 0: unknown.
    ModprobePath = 1,
    /// Address of `free_modprobe_argv` (kernel/kmod.c), the `cleanup` of every modprobe helper; 0: unknown.
    FreeModprobeArgv = 2,
}

/// Number of settings.
pub const SETTING_COUNT: u32 = 3;

const _: () = assert!(Setting::FreeModprobeArgv as u32 + 1 == SETTING_COUNT, "every setting has an index");
