//! What the tracker asks the world. A trait, so that its joins are tested without one.

use tracer_ebpf::wire;

use crate::{
    event::{Ancestor, Frame, Process, ProcessId, Text},
    kernel::process::{Liveness, ThreadState},
    modprobe::Resolution,
};

/// Facts about the traced machine.
pub trait Environment {
    /// The acting task in full: itself, its parents, and whether the list of parents is cut.
    fn process(&mut self, context: &wire::Context) -> (Process, Vec<Ancestor>, bool);
    /// A kernel stack from the caller of `request_module()` on.
    fn kernel_stack(&mut self, stack: &wire::Stack) -> Vec<Frame>;
    /// A user stack.
    fn user_stack(&mut self, process: ProcessId, stack: &wire::Stack) -> Vec<Frame>;
    /// What the installed modprobe would do; `None` when that cannot be found out.
    fn resolve(&mut self, name: &Text) -> Option<Resolution>;
    /// What user action asks for this name.
    fn explain(&mut self, name: &Text) -> Option<String>;
    /// What it means that a module has come to life, when it does more than to be there.
    fn effect(&mut self, module: &str) -> Option<String>;
    /// Whether a module is loaded now.
    fn is_loaded(&mut self, module: &str) -> bool;
    /// Whether a process still runs.
    fn liveness(&mut self, process: ProcessId) -> Liveness;
    /// What a thread of a process does: the first may end before the others.
    fn thread_state(&mut self, process: ProcessId, tid: u32) -> ThreadState;
    /// When udev was found to have nothing to do just now, nanoseconds since boot; `None` when it is busy.
    fn udev_was_idle(&mut self) -> Option<u64>;
    /// The module set changed: symbols must be read again before the next stack.
    fn modules_changed(&mut self);
    /// Letters of a module's taint flags.
    fn taints(&mut self, bits: u64) -> String;
}
