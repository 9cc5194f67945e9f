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
    /// The process that traces, as of [`own_process`]: its own requests and loads are not recorded, and its descendants are
    /// marked. 0: none, because pinned programs outlast the process, whose id is reused.
    OwnProcess = 3,
}

/// The value of [`Setting::OwnProcess`] for a process id in the initial pid namespace. No process equals 0, the idle task (id 0)
/// included.
#[must_use]
pub const fn own_process(pid: u32) -> u64 {
    1 << 32 | pid as u64
}

/// Number of settings.
pub const SETTING_COUNT: u32 = 4;

const _: () = assert!(Setting::OwnProcess as u32 + 1 == SETTING_COUNT, "every setting has an index");
