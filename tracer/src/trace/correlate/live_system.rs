//! The running system as the tracker's environment.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use tracer_ebpf::wire;

use super::environment::Environment;
use crate::{
    environment::HelperView,
    event::{Ancestor, Frame, Process, ProcessId, Text},
    kernel::{
        clock::ClockTriple,
        devices::{PresentDevice, PresentDevices},
        kallsyms::{Kallsyms, KallsymsError},
        process::{self, Liveness, ThreadState},
        taints,
    },
    modprobe::{RECHECK_INTERVAL, Resolution, ResolutionCache, Unresolved},
    modules::{effect, families},
    probe::{Addresses, Symbolizer},
    trace::enrich::{
        kernel_symbols::KernelSymbols, process as from_wire, script, stack, user_stack::UserSymbols, users::Users,
    },
};

/// Information about this system, cached as long as it is valid.
pub struct LiveSystem {
    root: PathBuf,
    symbols: KernelSymbols,
    /// What is to be known about the symbols that were read.
    symbols_note: Option<String>,
    users: Users,
    user_symbols: Option<UserSymbols>,
    resolutions: ResolutionCache,
    /// When the user database was last checked.
    users_looked: Option<Instant>,
    /// Whether `/proc` uses the same process ids as the records.
    has_global_ids: bool,
    /// The namespaces whose users the user database lists.
    own: OwnNamespaces,
    devices: PresentDevices,
    /// The devices that were present at this time.
    present: Option<(u64, Option<Arc<[PresentDevice]>>)>,
}

/// The namespaces of the tracer: a container has users of its own, with the same numbers.
#[derive(Clone, Copy, Debug)]
struct OwnNamespaces {
    pid: Option<u32>,
    user: Option<u32>,
}

impl OwnNamespaces {
    fn read(root: &Path) -> Self {
        Self { pid: process::own_namespace(root, "pid"), user: process::own_namespace(root, "user") }
    }

    /// Whether the user database has the name of a process's user. A service of the host may have a mount namespace of its own,
    /// but a container also has one for processes. With a user namespace of its own, its users are mapped to users of the host.
    /// User 0 is root everywhere.
    fn names(self, process: &Process) -> bool {
        let is_other = |own: Option<u32>, of: u32| of != 0 && own.is_some_and(|own| own != of);
        process.uid == 0 || !is_other(self.pid, process.ns.pid) || is_other(self.user, process.ns.user)
    }
}

/// Number of ancestors searched for a script.
const SCRIPT_GENERATIONS: usize = 4;

impl LiveSystem {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            symbols: KernelSymbols::new(root),
            symbols_note: None,
            users: Users::new(root),
            user_symbols: None,
            resolutions: ResolutionCache::new(root),
            users_looked: None,
            has_global_ids: process::has_global_ids(),
            own: OwnNamespaces::read(root),
            devices: PresentDevices::default(),
            present: None,
        }
    }

    /// Whether the files of the kernel's helper are in another mount namespace, which takes privileges to enter.
    pub(in crate::trace) fn enters_another_namespace(&self) -> bool {
        matches!(self.resolutions.view(), HelperView::Other(_))
    }

    /// A warning if the files of the kernel's helper cannot be found.
    pub(super) fn helper_note(&self) -> Option<String> {
        let HelperView::Hidden(why) = self.resolutions.view() else { return None };
        Some(format!("{why}; meanwhile outcomes that depend on modprobe's configuration are unknown"))
    }

    /// Whether the kernel's symbols are available.
    pub(super) fn has_symbols(&self) -> bool {
        self.symbols.is_available()
    }

    /// A sentence about symbols that could not be read.
    pub(super) fn symbols_note(&self) -> Option<String> {
        self.symbols_note.clone()
    }

    /// Asks the kernel for symbols from now on.
    pub(super) fn ask_for_symbols(&mut self, symbolizer: Symbolizer) {
        self.symbols.ask(symbolizer);
        self.symbols_note = None;
    }

    /// Reads the kernel's symbols; returns the addresses that the BPF programs need. The table is kept, unless the kernel is asked.
    pub(super) fn read_symbols(&mut self) -> Result<Addresses, KallsymsError> {
        let kallsyms = Kallsyms::load_from(&self.root)?;
        let addresses = Addresses::new(&kallsyms);
        if !self.symbols.is_available() {
            self.symbols_note = kallsyms.note();
            self.symbols.use_table(kallsyms);
        }
        Ok(addresses)
    }

    /// Sets the script of the nearest ancestor that is an interpreter.
    fn find_script(&self, process: &Process, ancestors: &mut [Ancestor]) {
        // Only the nearest one: searching all ancestors would be too slow during a storm of requests.
        for ancestor in ancestors.iter_mut().take(SCRIPT_GENERATIONS) {
            ancestor.script = script::script(&self.root, ancestor);
            if ancestor.script.is_some() {
                let line = script::line(&self.root, ancestor);
                // The shell continues as soon as the requester has exited, and then the line is no longer the right one.
                ancestor.script_line = line.filter(|_| process::is_alive(process.id()));
                return;
            }
        }
    }

    /// Enables symbols for user stacks.
    #[cfg(feature = "symbols")]
    #[must_use]
    pub fn with_user_symbols(self) -> Self {
        Self { user_symbols: Some(UserSymbols::new()), ..self }
    }
}

/// The captured frames.
fn frames(stack: &wire::Stack) -> &[u64] {
    let count = usize::try_from(stack.count).unwrap_or(usize::MAX).min(stack.frames.len());
    &stack.frames[..count]
}

impl Environment for LiveSystem {
    fn process(&mut self, context: &wire::Context) -> (Process, Vec<Ancestor>, bool) {
        if self.users_looked.is_none_or(|looked| looked.elapsed() >= RECHECK_INTERVAL) {
            if let Err(error) = self.users.refresh() {
                log::debug!("user names cannot be read: {error}");
            }
            self.users_looked = Some(Instant::now());
        }
        let (mut ancestors, truncated) = from_wire::ancestors(context);
        let mut process = from_wire::process(context, &self.users);
        if !self.own.names(&process) {
            process.user = None;
        }
        self.find_script(&process, &mut ancestors);
        (process, ancestors, truncated)
    }

    fn kernel_stack(&mut self, stack: &wire::Stack) -> Vec<Frame> {
        self.symbols.frames(frames(stack))
    }

    fn user_stack(&mut self, process: ProcessId, stack: &wire::Stack) -> Vec<Frame> {
        match &mut self.user_symbols {
            // The process id may have been reused, and then the mapped files differ.
            Some(symbols) if process::is_alive(process) => symbols.frames(process.pid, frames(stack)),
            _ => stack::user_frames(frames(stack)),
        }
    }

    fn resolve(&mut self, name: &Text) -> Result<Arc<Resolution>, Unresolved> {
        self.resolutions.resolve(name)
    }

    fn expire_before(&mut self, realtime_ns: i64) {
        self.resolutions.expire_before(realtime_ns);
    }

    fn carries(&mut self, name: &Text, module: &str) -> bool {
        self.resolutions.carries(name, module)
    }

    fn has_module(&mut self, module: &str) -> bool {
        self.resolutions.has_module(module)
    }

    fn file_problem(&mut self, module: &str) -> Option<String> {
        self.resolutions.file_problem(module)
    }

    fn changed_since(&mut self, realtime_ns: i64) -> Option<String> {
        self.resolutions.changed_since(realtime_ns)
    }

    fn explain(&mut self, name: &Text, stack: &[Frame]) -> Option<String> {
        families::explain_request(name, stack)
    }

    fn effect(&mut self, module: &str) -> Option<String> {
        effect(module, &self.root)
    }

    fn is_loaded(&mut self, module: &str) -> bool {
        // sysfs spells every name with underscores.
        let name = module.replace('-', "_");
        !name.contains('/') && self.root.join("sys/module").join(name).join("initstate").exists()
    }

    fn liveness(&mut self, process: ProcessId) -> Liveness {
        // Records carry global process ids. In another pid namespace the same number is a different process, or none.
        if self.has_global_ids { process::liveness(process) } else { Liveness::Unknown }
    }

    fn thread_state(&mut self, process: ProcessId, tid: u32) -> ThreadState {
        if self.has_global_ids { process::thread_state(process, tid) } else { ThreadState::Unknown }
    }

    fn udev_was_idle(&mut self) -> Option<u64> {
        // The time is taken before the check: later events are received on the socket.
        let now_ns = ClockTriple::now().boot_ns;
        // udev keeps this file while its queue is not empty (systemd: udev_queue_get_queue_is_empty).
        let is_busy = self.root.join("run/udev/queue").try_exists().unwrap_or(true);
        (!is_busy).then_some(now_ns)
    }

    fn present_devices(&mut self, not_before_ns: u64) -> Option<Arc<[PresentDevice]>> {
        match &self.present {
            Some((read_ns, devices)) if *read_ns >= not_before_ns => devices.clone(),
            _ => {
                // The time is taken before reading, so that a device that a load was for is not missed.
                let now_ns = ClockTriple::now().boot_ns;
                let read = self.devices.read(&self.root);
                let devices = read.inspect_err(|error| log::debug!("devices cannot be listed: {error}")).ok();
                self.present = Some((now_ns, devices.clone()));
                devices
            }
        }
    }

    fn module_changed(&mut self, module: Option<&str>) {
        self.symbols.module_changed(module);
    }

    fn taints(&mut self, bits: u64) -> String {
        taints::letters(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Namespaces;

    /// A user of a container, other than root, has no name of the host, unless it is mapped to a user of the host.
    #[test]
    fn user_of_a_container_has_no_name() {
        let own = OwnNamespaces { pid: Some(1), user: Some(2) };
        let of = |uid, pid, user| Process { uid, ns: Namespaces { pid, user, mnt: 9, net: 9 }, ..Process::default() };
        assert!(own.names(&of(1000, 1, 2)), "a service with its own mount namespace");
        assert!(!own.names(&of(1000, 7, 2)), "a container");
        assert!(own.names(&of(1000, 7, 7)), "a container of a user");
        assert!(own.names(&of(1000, 1, 7)), "a user namespace without a container");
        assert!(own.names(&of(0, 7, 2)));
        assert!(own.names(&of(1000, 0, 0)), "unknown on this kernel");
        assert!(OwnNamespaces { pid: None, user: None }.names(&of(1000, 7, 7)), "a kernel without namespaces");
        assert_eq!(process::own_namespace(Path::new("/nonexistent"), "pid"), None);
        assert!(process::own_namespace(Path::new("/"), "user").is_some_and(|inode| inode > 0));
    }
}
