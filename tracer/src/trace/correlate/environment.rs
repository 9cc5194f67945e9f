//! What the tracker needs to know about the system. A trait, so that tests can supply it.

use std::sync::Arc;

use tracer_ebpf::wire;

use crate::{
    event::{Ancestor, Frame, Process, ProcessId, Text},
    kernel::{
        devices::PresentDevice,
        process::{Liveness, ThreadState},
    },
    modprobe::{Resolution, Unresolved},
};

/// Information about the traced system.
pub trait Environment {
    /// The acting task with its ancestors, and whether the list of ancestors is truncated.
    fn process(&mut self, context: &wire::Context) -> (Process, Vec<Ancestor>, bool);
    /// A kernel stack, from the caller of `request_module()` on.
    fn kernel_stack(&mut self, stack: &wire::Stack) -> Vec<Frame>;
    /// A user stack.
    fn user_stack(&mut self, process: ProcessId, stack: &wire::Stack) -> Vec<Frame>;
    /// What the installed modprobe would do with a name.
    ///
    /// # Errors
    /// If that cannot be determined.
    fn resolve(&mut self, name: &Text) -> Result<Arc<Resolution>, Unresolved>;
    /// Makes the next answer of [`Environment::resolve`] not older than this time (nanoseconds since 1970), if it is known.
    fn expire_before(&mut self, realtime_ns: i64);
    /// Whether a module has this name or alias, according to the index of the modules.
    fn carries(&mut self, name: &Text, module: &str) -> bool;
    /// Whether there is a module file with this name.
    fn has_module(&mut self, module: &str) -> bool;
    /// What is wrong with the file of a module now; `None` if nothing is, or if it is unknown.
    fn file_problem(&mut self, module: &str) -> Option<String>;
    /// A file of modprobe's configuration or of its indexes that was changed after a time (nanoseconds since 1970).
    fn changed_since(&mut self, realtime_ns: i64) -> Option<String>;
    /// The user action that causes a request for this name with this kernel stack.
    fn explain(&mut self, name: &Text, stack: &[Frame]) -> Option<String>;
    /// The side effect of loading a module, if it has a known one.
    fn effect(&mut self, module: &str) -> Option<String>;
    /// Whether a module is loaded now.
    fn is_loaded(&mut self, module: &str) -> bool;
    /// Whether a process is still alive.
    fn liveness(&mut self, process: ProcessId) -> Liveness;
    /// The state of a thread. The main thread may exit before the others.
    fn thread_state(&mut self, process: ProcessId, tid: u32) -> ThreadState;
    /// When udev was last seen idle, nanoseconds since boot; `None` if it is busy.
    fn udev_was_idle(&mut self) -> Option<u64>;
    /// The devices that are present, read not before this time (nanoseconds since boot); `None` if they cannot be listed.
    fn present_devices(&mut self, not_before_ns: u64) -> Option<Arc<[PresentDevice]>>;
    /// Notes that a module was loaded, initialized or unloaded, or `None` if any may have been: its symbols may be others now.
    fn module_changed(&mut self, module: Option<&str>);
    /// The letters of a module's taint flags.
    fn taints(&mut self, bits: u64) -> String;
}
